"""Terminal tables drawn from a results document."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

_MISSING = "–"
METRIC_HEADINGS = {
    "mae": "MAE ↓",
    "corr": "Corr",
    "acc2": "Acc-2",
    "acc3": "Acc-3",
    "acc5": "Acc-5",
    "acc7": "Acc-7",
    "f1": "F1",
    "acc2_has0": "Acc-2\nHas0",
    "f1_has0": "F1\nHas0",
    "acc2_non0": "Acc-2\nNon0",
    "f1_non0": "F1\nNon0",
}


def results_table(document: Mapping[str, Any]) -> Table:
    """Draws one row per protocol and model: each metric averaged over the protocol's recipes, mean and ± sd over seeds.

    Protocols over rates get a second row per model, the area under each metric's curve.

    Args:
        document: A results document.
    """
    dataset = document["dataset"]["name"]
    title = f"{dataset}, {document['split']} split, {document['num_rows']} rows (subset {document['subset']})"
    # Two lines per cell and thin rules: nine columns fit a terminal of 80 characters without cutting a number.
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_lines=True)
    table.add_column("", no_wrap=True)
    table.add_column("model", overflow="fold", min_width=8)
    for metric in document["metrics"]:
        table.add_column(METRIC_HEADINGS[metric], justify="right", no_wrap=True)
    for protocol, recipes in document["protocols"].items():
        # Long protocol names break at their underscores.
        title = protocol.replace("_", "\n")
        num_averaged = len(document.get("averaged_recipes", {}).get(protocol, recipes))
        for key, label in (("mean", f"{title}\nof {num_averaged}" if len(recipes) > 1 else title), ("auilc", "AUILC")):
            for name, model in document["models"].items():
                summaries = model["protocols"][protocol].get(key)
                if summaries:
                    cells = (_mean_over_sd(summaries[metric]) for metric in document["metrics"])
                    table.add_row(label, name, *cells)
                    label = ""
        table.add_section()
    for name, metrics in document["baselines"].items():
        values = (_number(metrics[metric]) for metric in document["metrics"])
        table.add_row("any", f"constant\n{name.removeprefix('train_')}", *values, style="dim")
    return table


def comparison_table(document: Mapping[str, Any]) -> Table:
    """Draws the paired differences of the first model to the others in MAE and correlation.

    Args:
        document: A results document.
    """
    title = "Paired differences over seeds (95 % t-interval)"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("", "a − b", "metric", "difference", "interval", "excludes 0", "seeds"):
        table.add_column(heading, justify="right" if heading in ("difference", "interval", "seeds") else "left")
    for entry in document["comparisons"]:
        if entry["metric"] not in ("mae", "corr"):
            continue
        interval = f"[{_signed(entry['low'])}, {_signed(entry['high'])}]" if entry["low"] is not None else _MISSING
        verdict = "yes" if entry["excludes_zero"] else "no"
        table.add_row(
            entry["protocol"],
            f"{entry['a']} − {entry['b']}",
            METRIC_HEADINGS[entry["metric"]],
            _signed(entry["mean_difference"]),
            interval,
            verdict if entry["low"] is not None else _MISSING,
            str(entry["n"]),
        )
    return table


def restoration_tables(document: Mapping[str, Any]) -> list[Table]:
    """Draws, per model with a restoration, the error of each modality and band before and after it under dropping.

    Args:
        document: A results document.
    """
    tables = []
    for name, model in document["models"].items():
        recipes = {recipe: found for recipe, found in model.get("restoration", {}).items() if recipe.startswith("drop")}
        if not recipes:
            continue
        title = f"{name}: error of restored features / clean energy, before → after, low to high band"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("")
        modalities = list(next(iter(recipes.values())))
        for modality in modalities:
            table.add_column(modality)
        for recipe, report in recipes.items():
            cells = []
            for modality in modalities:
                pairs = zip(report[modality]["nmse_before"], report[modality]["nmse_after"], strict=True)
                cells.append(
                    "\n".join(f"{_number(before['mean'])} → {_number(after['mean'])}" for before, after in pairs)
                )
            table.add_row(recipe, *cells)
        tables.append(table)
    return tables


def conditions(document: Mapping[str, Any]) -> str:
    """States under which conditions the numbers were taken: seeds, selection, corruption and data.

    Args:
        document: A results document.
    """
    lines = [
        f"{name}: seeds {', '.join(map(str, model['seeds']))}; selection: {model['selection_rule']}"
        for name, model in document["models"].items()
    ]
    for name, recipes in document["protocols"].items():
        averaged = document.get("averaged_recipes", {}).get(name, recipes)
        left_out = [recipe for recipe in recipes if recipe not in averaged]
        without = f" (without {', '.join(left_out)})" if left_out else ""
        if len(recipes) > 1:
            lines.append(f"{name}: mean of {len(averaged)} recipes{without}")
        if name in document.get("protocol_notes", {}):
            lines.append(f"{name}: {document['protocol_notes'][name]}")
        lines += _padded_lengths(document, name) + _rows_left_out(document, name)
    if any("auilc" in section for model in document["models"].values() for section in model["protocols"].values()):
        lines.append(
            "AUILC: area under a metric over the rate (trapezoids), not divided by the width of the rate range"
        )
    if document["baselines"]:
        lines.append("constant: every row gets the mean or median label of the training split")
    lines += document.get("data_notes", [])
    lines += [
        f"corruption protocol version {document['corruption_protocol_version']}, "
        f"mask seed {document['corruption_seed']}",
        f"data manifest sha256 {document['dataset']['manifest_sha256']}",
        f"± sd over training seeds (n − 1); {_MISSING} not defined",
    ]
    return "\n".join(lines)


def _padded_lengths(document: Mapping[str, Any], protocol: str) -> list[str]:
    """States the padded lengths of a published protocol's masks; models with other tokenizers may differ."""
    models_of_lengths: dict[tuple[int, ...], list[str]] = {}
    for name, model in document["models"].items():
        for recipe in model["protocols"][protocol]["recipes"].values():
            names = models_of_lengths.setdefault(tuple(recipe.get("padded_lengths", ())), [])
            if name not in names:
                names.append(name)
    models_of_lengths.pop((), None)
    return [
        f"{protocol}: masks drawn on arrays of {'/'.join(map(str, lengths))} steps of text/audio/vision "
        f"({', '.join(names)})"
        for lengths, names in models_of_lengths.items()
    ]


def _rows_left_out(document: Mapping[str, Any], protocol: str) -> list[str]:
    """States how many rows a protocol could not score; the count differs between its recipes."""
    counts = [
        recipe.get("num_skipped", 0)
        for model in document["models"].values()
        for recipe in model["protocols"][protocol]["recipes"].values()
    ]
    if not any(counts):
        return []
    return [f"{protocol}: up to {max(counts)} of {document['num_rows']} rows left out that kept no modality to read"]


def _number(value: float | None) -> str:
    return _MISSING if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return _MISSING if value is None else f"{value:+.3f}"


def _mean_over_sd(summary: Mapping[str, Any]) -> str:
    return f"{_number(summary['mean'])}\n±{_number(summary['sd'])}"
