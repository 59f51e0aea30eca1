"""The results document as Markdown, so that a table in the documentation is copied from a run and never typed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modeling_hfr_ame.evaluation.protocols import RATE_PROTOCOLS, SET_PROTOCOLS
from modeling_hfr_ame.evaluation.tables import conditions

MARKDOWN_FILE = "results.md"

_PRINTED_COMPARISONS = ("mae", "corr")


def write_markdown(document: Mapping[str, Any], folder: Path) -> Path:
    """Writes `results.md` into a folder and returns the file's path."""
    path = folder / MARKDOWN_FILE
    path.write_text(markdown_report(document), encoding="utf-8")
    return path


def markdown_report(document: Mapping[str, Any]) -> str:
    """Draws every table of a results document.

    Args:
        document: A results document.

    Returns:
        Markdown: metrics per protocol and the area under their curves, MAE and correlation per rate or missing set,
        paired differences, restoration, conditions.
    """
    dataset = document["dataset"]["name"]
    title = f"`{dataset}`, {document['split']} split, {document['num_rows']} rows (subset {document['subset']})"
    parts = [title, _metrics_table(document)]
    for protocol in document["protocols"]:
        if protocol in RATE_PROTOCOLS:
            parts += [f"{protocol} by rate, MAE / Corr:", recipes_table(document, protocol, "rate")]
        elif protocol in SET_PROTOCOLS:
            parts += [f"{protocol} by missing set, MAE / Corr:", recipes_table(document, protocol, "missing")]
    if document["comparisons"]:
        parts += ["Paired differences over seeds, 95 % t-interval:", comparisons_table(document)]
    for name, model in document["models"].items():
        if model.get("restoration"):
            parts += [
                f"{name}: squared error of the features over clean energy, before → after restoration, bands low · "
                "mid · … · high:",
                _restoration_table(model["restoration"]),
            ]
    parts.append("\n".join(f"* {line}" for line in conditions(document).splitlines()))
    return "\n\n".join(parts) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Draws a table of finished cells."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def mean_and_sd(summary: Mapping[str, Any], digits: int = 3) -> str:
    """Prints a summary over seeds; a dash for what isn't defined, no spread for one seed."""
    if summary["mean"] is None:
        return "–"
    spread = "" if summary["sd"] is None else f" ± {summary['sd']:.{digits}f}"
    return f"{summary['mean']:.{digits}f}{spread}"


def _metrics_table(document: Mapping[str, Any]) -> str:
    metrics = document["metrics"]
    rows = []
    for protocol in document["protocols"]:
        for name, model in document["models"].items():
            means = model["protocols"][protocol]["mean"]
            rows.append([protocol, name, *(mean_and_sd(means[metric]) for metric in metrics)])
        for name, model in document["models"].items():
            areas = model["protocols"][protocol].get("auilc")
            if areas:
                rows.append([f"{protocol} AUILC", name, *(mean_and_sd(areas[metric]) for metric in metrics)])
    for name, values in document["baselines"].items():
        numbers = ["–" if values[metric] is None else f"{values[metric]:.3f}" for metric in metrics]
        rows.append(["any", f"constant {name.removeprefix('train_')}", *numbers])
    return markdown_table(["protocol", "model", *metrics], rows)


def recipes_table(document: Mapping[str, Any], protocol: str, heading: str) -> str:
    """Draws MAE and correlation of every model, one row per recipe of a protocol."""
    recipes = document["protocols"][protocol]
    rows = []
    for name, model in document["models"].items():
        found = model["protocols"][protocol]["recipes"]
        cells = [
            f"{mean_and_sd(found[recipe]['metrics']['mae'])} / {mean_and_sd(found[recipe]['metrics']['corr'])}"
            for recipe in recipes
        ]
        rows.append([name, *cells])
    # One column per model: a protocol has more recipes than there are models.
    columns = [[heading, *(recipe.partition("-")[2] or "none" for recipe in recipes)], *rows]
    return markdown_table(
        [column[0] for column in columns], [list(line) for line in zip(*(c[1:] for c in columns), strict=True)]
    )


def comparisons_table(document: Mapping[str, Any]) -> str:
    """Draws the paired differences between models in MAE and correlation."""
    rows = []
    for entry in document["comparisons"]:
        if entry["metric"] not in _PRINTED_COMPARISONS:
            continue
        known = entry["low"] is not None
        difference = "–" if entry["mean_difference"] is None else f"{entry['mean_difference']:+.4f}"
        interval = f"[{entry['low']:+.4f}, {entry['high']:+.4f}]" if known else "–"
        verdict = ("yes" if entry["excludes_zero"] else "no") if known else "–"
        pair = f"{entry['a']} − {entry['b']}"
        rows.append([entry["protocol"], pair, entry["metric"], difference, interval, verdict, str(entry["n"])])
    return markdown_table(["protocol", "a − b", "metric", "difference", "interval", "excludes 0", "seeds"], rows)


def _restoration_table(restoration: Mapping[str, Any]) -> str:
    modalities = list(next(iter(restoration.values())))
    rows = []
    for recipe, report in restoration.items():
        cells = []
        for modality in modalities:
            found = report[modality]
            pairs = zip(found["nmse_before"], found["nmse_after"], strict=True)
            bands = " · ".join(
                f"{mean_and_sd(before | {'sd': None}, 2)} → {mean_and_sd(after | {'sd': None}, 2)}"
                for before, after in pairs
            )
            cells.append(f"{bands} ({mean_and_sd(found['gain_db'], 1)} dB)")
        rows.append([recipe, *cells])
    return markdown_table(["recipe", *modalities], rows)
