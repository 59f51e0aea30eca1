"""The robustness figure: how error and correlation change as more of the input is lost."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter

# Okabe and Ito's palette, told apart with any kind of colour vision; markers and dashes say the same without colour.
_STYLES = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#E69F00", "v", "-"),
    ("#56B4E9", "P", "--"),
    ("#000000", "X", "-."),
)
_FLOOR_COLOR = "#767676"
_X_LABELS = {
    "P1": "share of words and frames dropped",
    "P3": "share of each sequence lost in one block",
    "lnln": "share of word pieces and frames dropped",
    "emt_dlfr": "share of word pieces and frames dropped",
    "imder_mr": "share of modalities missing",
}
_SIZE_INCHES = (9.6, 4.4)
_PAD_INCHES = 0.08
_DOTS_PER_INCH = 150
_MAX_LEGEND_COLUMNS = 4


def draw_robustness(document: Mapping[str, Any], path: Path) -> Path | None:
    """Draws MAE and Pearson correlation over the rate of lost input, one line per model.

    Lines are means over seeds, bands one standard deviation to either side. The dotted line is the constant predictor,
    which a model should stay below.

    Args:
        document: A results document.
        path: PNG file to write.

    Returns:
        The path; None where no protocol over rates was evaluated, in which case nothing is written. Of several the
        figure shows the first of P1, P3, lnln, emt_dlfr and imder_mr.
    """
    protocol = next((name for name in _X_LABELS if name in document["protocols"]), None)
    if protocol is None:
        return None
    figure = Figure(figsize=_SIZE_INCHES, layout=ConstrainedLayoutEngine(w_pad=_PAD_INCHES, h_pad=_PAD_INCHES))
    FigureCanvasAgg(figure)
    error_axes, correlation_axes = figure.subplots(1, 2)
    _draw_metric(error_axes, document, protocol, "mae")
    _draw_metric(correlation_axes, document, protocol, "corr")
    floor = (document["baselines"].get("train_median") or {}).get("mae")
    if floor is not None:
        error_axes.axhline(
            floor, color=_FLOOR_COLOR, linestyle=(0, (1, 1)), linewidth=1.5, label="constant (train median)"
        )
    error_axes.set_ylabel("mean absolute error (label units)")
    error_axes.set_title("MAE, lower is better", fontsize=12)
    correlation_axes.set_ylabel("Pearson correlation")
    correlation_axes.set_title("Correlation, higher is better", fontsize=12)
    for axes in (error_axes, correlation_axes):
        axes.set_xlabel(_X_LABELS[protocol])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = error_axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=_num_legend_columns(len(labels)), frameon=False, fontsize=11
    )
    figure.suptitle(_headline(document, protocol), fontsize=12)
    figure.savefig(path, dpi=_DOTS_PER_INCH)
    return path


def _draw_metric(axes: Axes, document: Mapping[str, Any], protocol: str, metric: str) -> None:
    recipes = document["protocols"][protocol]
    for index, (name, model) in enumerate(document["models"].items()):
        color, marker, dashes = _STYLES[index % len(_STYLES)]
        section = model["protocols"][protocol]
        summaries = [section["recipes"][recipe]["metrics"][metric] for recipe in recipes]
        mean, sd = (
            np.array([np.nan if summary[key] is None else summary[key] for summary in summaries])
            for key in ("mean", "sd")
        )
        axes.plot(section["rates"], mean, color=color, marker=marker, markersize=5, linestyle=dashes, label=name)
        axes.fill_between(section["rates"], mean - sd, mean + sd, color=color, alpha=0.18, linewidth=0)


def _num_legend_columns(num_entries: int) -> int:
    num_lines = math.ceil(num_entries / _MAX_LEGEND_COLUMNS)
    return math.ceil(num_entries / num_lines)


def _headline(document: Mapping[str, Any], protocol: str) -> str:
    counts = sorted({len(model["seeds"]) for model in document["models"].values()})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    spread = "one seed" if counts == [1] else f"mean ± sd of {seeds} seeds"
    return (
        f"{document['dataset']['name']}, {document['split']} split ({document['num_rows']} rows), {protocol}, {spread}"
    )
