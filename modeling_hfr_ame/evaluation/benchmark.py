"""Evaluates trained runs under named protocols, alone or side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from modeling_hfr_ame.corruption import read_recipe
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.evaluation.evaluation_data import EvaluationData, load_evaluation_data, recorded_dataset_folder
from modeling_hfr_ame.evaluation.evaluation_prompts import read_evaluation_prompts
from modeling_hfr_ame.evaluation.figures import draw_robustness
from modeling_hfr_ame.evaluation.markdown import write_markdown
from modeling_hfr_ame.evaluation.metrics import require_scheme, scheme_of_label_range
from modeling_hfr_ame.evaluation.protocols import protocol_recipes
from modeling_hfr_ame.evaluation.restoration import RestorationReport, evaluate_restoration, measures_restoration
from modeling_hfr_ame.evaluation.results import build_results, write_predictions, write_results
from modeling_hfr_ame.evaluation.run_folders import RunPaths, SavedRun, find_runs, load_run
from modeling_hfr_ame.evaluation.runner import RecipeResult, evaluate_model
from modeling_hfr_ame.evaluation.tables import comparison_table, conditions, restoration_tables, results_table

DEFAULT_PROTOCOLS = ("P0", "P1", "P2")
FIGURE_FILE = "robustness.png"


def evaluate_runs(
    run_paths: RunPaths,
    *,
    data: str | Path | None = None,
    split: str = "test",
    protocols: Sequence[str] = DEFAULT_PROTOCOLS,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    out: str | Path | None = None,
    subset: str | None = None,
    corruption_seed: int = 0,
    padded_lengths: tuple[int, int, int] | None = None,
    prompts: str | Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Evaluates one model: a run, or several seeds of it.

    Args:
        run_paths: A run folder, a parent of `seed-*` run folders, or a list of such folders that are seeds of one
            model.
        data: Folder of the stored dataset. None means the one that `run.json` records.
        split: Split to score.
        protocols: Names as in `protocol_recipes`.
        batch_size: Samples per forward pass.
        device: Where to run. None means CUDA if there is one, else the CPU.
        out: Folder for the files. None means the run folder, if one is given.
        subset: `"all"` rows, or the `"complete"` ones that have all three modalities. None means all.
        corruption_seed: Seed of the corruption masks, the same for every training seed.
        padded_lengths: For published protocols, as in `evaluate_model`.
        prompts: Folder of prompt stores, for models that read hints. None means the one that `run.json` records.
        console: Where progress and tables are printed. None means standard output.

    Returns:
        The document that is written to `results.json`. Beside it: `results.md`, `predictions.parquet`, and
        `robustness.png` where a protocol over rates (P1, P3, lnln, emt_dlfr or imder_mr) was evaluated.

    Raises:
        ConfigError: If a protocol, the subset or the label scheme is unknown, or `out` is needed and missing.
        DataError: If a run or the dataset can't be used.
    """
    if not isinstance(run_paths, str | Path):
        run_paths = list(run_paths)
        if len(run_paths) == 1:
            run_paths = run_paths[0]
    if isinstance(run_paths, str | Path):
        name, out = Path(run_paths).resolve().name, out or run_paths
    else:
        name = "model"
    return compare_runs(
        {name: run_paths},
        data=data,
        split=split,
        protocols=protocols,
        batch_size=batch_size,
        device=device,
        out=out,
        subset=subset,
        corruption_seed=corruption_seed,
        padded_lengths=padded_lengths,
        prompts=prompts,
        console=console,
    )


def compare_runs(
    runs: Mapping[str, RunPaths],
    *,
    data: str | Path | None = None,
    split: str = "test",
    protocols: Sequence[str] = DEFAULT_PROTOCOLS,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    out: str | Path | None = None,
    subset: str | None = None,
    corruption_seed: int = 0,
    padded_lengths: tuple[int, int, int] | None = None,
    prompts: str | Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Evaluates several models on the same rows and masks, and the first one against each other one.

    Args:
        runs: Name of a model to its run paths, as `evaluate_runs` takes them. Paired differences are the first minus
            another one over the seeds that both have.
        data: As in `evaluate_runs`.
        split: As in `evaluate_runs`.
        protocols: As in `evaluate_runs`.
        batch_size: As in `evaluate_runs`.
        device: As in `evaluate_runs`.
        out: Folder for the files; required.
        subset: As in `evaluate_runs`.
        corruption_seed: As in `evaluate_runs`.
        padded_lengths: As in `evaluate_runs`.
        prompts: As in `evaluate_runs`.
        console: As in `evaluate_runs`.

    Returns:
        As `evaluate_runs`, with all models in one document, one table and one figure.

    Raises:
        ConfigError: As in `evaluate_runs`.
        DataError: As in `evaluate_runs`.
    """
    recipes = list(dict.fromkeys(recipe for protocol in protocols for recipe in protocol_recipes(protocol)))
    if not recipes or not runs:
        raise ConfigError("an evaluation needs at least one protocol and one model, found none; name them")
    if out is None:
        raise ConfigError("several run folders need a folder for the results, found none; pass out (--out)")
    console = console or Console()
    found_runs = {name: find_runs(paths) for name, paths in runs.items()}
    all_runs = [run for of_model in found_runs.values() for run in of_model]
    loaded = load_evaluation_data(
        data or recorded_dataset_folder(all_runs),
        split,
        subset=subset,
        with_vocabulary=any(read_recipe(recipe).needs_vocabulary for recipe in recipes),
    )
    results: dict[str, dict[int, dict[str, RecipeResult]]] = {name: {} for name in runs}
    restorations: dict[str, dict[int, dict[str, RestorationReport]]] = {name: {} for name in runs}
    schemes: dict[str, SavedRun] = {}
    for name, of_model in found_runs.items():
        for run in of_model:
            console.print(f"Evaluating {name}, seed {run.seed}: {len(recipes)} recipes", highlight=False)
            model, processor = load_run(run)
            hints = read_evaluation_prompts(model, processor, run, loaded, prompts)
            scheme = _scheme_of(model, run, loaded)
            schemes[scheme] = run
            results[name][run.seed] = evaluate_model(
                model,
                processor,
                loaded.rows,
                dataset_name=loaded.name,
                split=split,
                recipes=recipes,
                seed=corruption_seed,
                batch_size=batch_size,
                device=device,
                scheme=scheme,
                vocabulary=loaded.vocabulary,
                padded_lengths=padded_lengths,
                prompts=hints,
            )
            if measures_restoration(model):
                restorations[name][run.seed] = evaluate_restoration(
                    model,
                    processor,
                    loaded.rows,
                    dataset_name=loaded.name,
                    split=split,
                    seed=corruption_seed,
                    batch_size=batch_size,
                    device=device,
                    scheme=scheme,
                )
    if len(schemes) > 1:
        raise ConfigError(
            f"compared models must share a metric scheme, found {', '.join(schemes)}; compare like with like"
        )
    document = build_results(
        results,
        found_runs,
        loaded,
        protocols=protocols,
        scheme=next(iter(schemes)),
        corruption_seed=corruption_seed,
        restorations=restorations,
    )
    _write_and_print(document, results, Path(out), console)
    return document


def _write_and_print(
    document: dict[str, Any],
    results: Mapping[str, Mapping[int, Mapping[str, RecipeResult]]],
    out: Path,
    console: Console,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_predictions(results, out)
    figure = draw_robustness(document, out / FIGURE_FILE)
    path = write_results(document, out)
    write_markdown(document, out)
    console.print(results_table(document))
    if document["comparisons"]:
        console.print(comparison_table(document))
    for table in restoration_tables(document):
        console.print(table)
    console.print(conditions(document), highlight=False)
    console.print(f"Written: {path}" + (f", {figure}" if figure else ""), highlight=False, soft_wrap=True)


def _scheme_of(model: torch.nn.Module, run: SavedRun, data: EvaluationData) -> str:
    config = model.config
    label_range = getattr(config, "label_range", None)
    if label_range is not None and tuple(float(value) for value in label_range) != data.label_range:
        raise DataError(
            f"a model predicts in its own label range, {run.folder} has {list(label_range)} and the dataset "
            f"{data.name!r} {list(data.label_range)}; evaluate on a dataset prepared for the model's range"
        )
    scheme = getattr(config, "metric_scheme", None) or scheme_of_label_range(data.label_range)
    require_scheme(scheme)
    return scheme
