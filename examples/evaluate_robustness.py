"""Evaluates trained runs under named corruption protocols, one model or several side by side.

One model, a run folder or a parent of `seed-*` runs:

    python examples/evaluate_robustness.py --runs runs/full --protocols P0 P1 P2

Several models, each under a name; the first one is compared with every other seed by seed:

    python examples/evaluate_robustness.py --runs full=runs/full control=runs/control --out runs/comparison

A published protocol, on the masks of arrays that are padded to these lengths:

    python examples/evaluate_robustness.py --runs runs/full --protocols lnln --padded_lengths 50/375/500
"""

from dataclasses import dataclass, field
from typing import Any

from transformers import HfArgumentParser

from modeling_hfr_ame.corruption import read_padded_lengths
from modeling_hfr_ame.errors import ConfigError, HfrAmeError
from modeling_hfr_ame.evaluation import compare_runs, evaluate_runs


@dataclass
class EvaluationArguments:
    """What to evaluate, on what, and where the results go."""

    runs: list[str] = field(
        metadata={"help": "One run folder or parent of seed-* runs; or several as name=folder, to compare them."}
    )
    data: str | None = field(
        default=None, metadata={"help": "Folder of the stored dataset; left out: the one that run.json records."}
    )
    protocols: list[str] = field(
        default_factory=lambda: ["P0", "P1", "P2"],
        metadata={"help": "Protocols: P0 to P5, or published ones such as lnln; see docs/evaluation.md."},
    )
    split: str = field(default="test", metadata={"help": "Split to score."})
    subset: str = field(default="all", metadata={"help": "Rows: all, or complete for those with all three modalities."})
    batch_size: int = field(default=32, metadata={"help": "Rows per forward pass."})
    device: str | None = field(default=None, metadata={"help": "Torch device; left out: CUDA where there is one."})
    out: str | None = field(
        default=None, metadata={"help": "Folder for results.json, predictions.parquet and robustness.png."}
    )
    corruption_seed: int = field(default=0, metadata={"help": "Seed of the corruption masks, for all models."})
    padded_lengths: str | None = field(
        default=None,
        metadata={
            "help": "For published protocols: padded lengths text/audio/vision that their masks are drawn on, such as "
            "50/375/500; left out: the longest row of each."
        },
    )


def read_named_runs(runs: list[str]) -> dict[str, str]:
    """Splits `name=folder` arguments.

    Args:
        runs: The arguments.

    Raises:
        ConfigError: If one has no name, or a name occurs twice.
    """
    pairs = [run.partition("=") for run in runs]
    if not all(name and folder for name, _, folder in pairs):
        raise ConfigError(f"several runs are given as name=folder, found {' '.join(runs)}; name every one of them")
    named = {name: folder for name, _, folder in pairs}
    if len(named) < len(pairs):
        raise ConfigError(f"models need different names, found {' '.join(runs)}; rename one of them")
    return named


def main() -> None:
    """Reads the command line and evaluates."""
    (arguments,) = HfArgumentParser(EvaluationArguments).parse_args_into_dataclasses()
    options: dict[str, Any] = {
        "data": arguments.data,
        "split": arguments.split,
        "protocols": arguments.protocols,
        "batch_size": arguments.batch_size,
        "device": arguments.device,
        "out": arguments.out,
        "subset": arguments.subset,
        "corruption_seed": arguments.corruption_seed,
    }
    try:
        if arguments.padded_lengths is not None:
            options["padded_lengths"] = read_padded_lengths(arguments.padded_lengths)
        if len(arguments.runs) == 1 and "=" not in arguments.runs[0]:
            evaluate_runs(arguments.runs[0], **options)
        else:
            compare_runs(read_named_runs(arguments.runs), **options)
    except HfrAmeError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
