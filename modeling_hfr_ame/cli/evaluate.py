"""`hfr-ame evaluate`."""

from pathlib import Path
from typing import Any

import typer

from ..errors import InputError


def evaluate(
    runs: list[str] = typer.Argument(
        ...,
        metavar="RUN...",
        help="Run folder, or a folder that holds seed-* runs. Several, as NAME=FOLDER or FOLDER: the first is compared "
        "with each of the others.",
    ),
    data: Path | None = typer.Option(None, "--data", help="Stored dataset; left out: the one that the run recorded."),
    protocol: list[str] = typer.Option(
        ["P0", "P1", "P2"],
        "--protocol",
        help="Protocol to apply; repeatable. P0 to P5, or a published one: lnln, tfr_net, emt_dlfr, imder_mr, "
        "fixed_modalities, fixed_modalities_lnln.",
    ),
    split: str = typer.Option("test", "--split", help="Split to evaluate on."),
    subset: str | None = typer.Option(
        None, "--subset", help="Rows to use: all, or complete for those with all three modalities."
    ),
    corruption_seed: int = typer.Option(0, "--corruption-seed", help="Seed of the corruption masks."),
    padded_lengths: str | None = typer.Option(
        None,
        "--padded-lengths",
        metavar="TEXT/AUDIO/VISION",
        help="For published protocols: padded lengths that their masks are drawn on, such as 50/375/500; left out: the "
        "longest row of each.",
    ),
    batch_size: int = typer.Option(32, "--batch-size", min=1, help="Rows per forward pass."),
    device: str | None = typer.Option(None, "--device", help="Torch device; left out: CUDA where there is one."),
    prompts: Path | None = typer.Option(
        None, "--prompts", help="Folder of prompt stores for MMSLF teachers; left out: the one that the run recorded."
    ),
    out: Path | None = typer.Option(None, "--out", help="Folder for results.json and robustness.png."),
) -> None:
    """Evaluate trained models under named corruption protocols; write results.json and robustness.png."""
    from ..corruption import read_padded_lengths
    from ..evaluation import compare_runs, evaluate_runs

    folders = _name_folders(runs)
    options: dict[str, Any] = {
        "data": data,
        "split": split,
        "protocols": tuple(protocol),
        "batch_size": batch_size,
        "device": device,
        "out": out,
        "subset": subset,
        "corruption_seed": corruption_seed,
        "prompts": prompts,
        "padded_lengths": None if padded_lengths is None else read_padded_lengths(padded_lengths),
    }
    if len(folders) == 1:
        evaluate_runs(*folders.values(), **options)
    else:
        compare_runs(folders, **options)


def _name_folders(runs: list[str]) -> dict[str, Path]:
    """Reads `NAME=FOLDER` and `FOLDER`, which is named by its last part, in the order given."""
    folders: dict[str, Path] = {}
    for run in runs:
        name, separator, folder = run.partition("=")
        path = Path(folder if separator else run)
        name = name if separator else path.name
        if not name or name in folders:
            raise InputError(
                f"runs that are compared need different names, found {name!r} for {str(path)!r}; pass NAME=FOLDER"
            )
        folders[name] = path
    return folders
