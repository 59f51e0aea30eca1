"""One prediction as a figure: the score on its scale, severity bars, and gates."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modeling_hfr_ame.corruption import MODALITIES
from modeling_hfr_ame.prediction.figure_style import (
    FAINT,
    INK,
    LABEL_SIZE,
    MODALITY_COLORS,
    MUTED,
    NEGATIVE,
    POSITIVE,
    SMALL_SIZE,
    TITLE_SIZE,
    TextMeasure,
    new_figure,
    style_axes,
    write,
)
from modeling_hfr_ame.prediction.results import Prediction
from modeling_hfr_ame.prediction.timeline_figure import band_names

_WIDTH, _HEIGHT = 7.2, 3.3
_MARKERS = {"text": "o", "audio": "s", "vision": "^"}


def draw_severity(prediction: Prediction, *, title: str | None = None) -> Figure:
    """Draws one prediction.

    Above the score on the label range; below, how corrupted each modality looks to the model, and the mean gate of each
    frequency band, where the model has them.

    Args:
        prediction: The prediction.
        title: First line; None = the score and its label.

    Returns:
        The figure; see `save_figure`.
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    text = f"score {prediction.score:+.2f}, {prediction.label}"
    if prediction.corruption != "clean":
        text += f", corrupted by {prediction.corruption}"
    text = text if title is None else f"{title}: {text}"
    measure = TextMeasure(TITLE_SIZE)
    write(
        figure, 0.035, 0.955, measure.shortened(text, 0.93 * _WIDTH), fontsize=TITLE_SIZE, fontweight="bold", va="top"
    )
    _draw_scale(figure.add_axes((0.115, 0.72, 0.84, 0.1)), prediction)
    _draw_severities(figure.add_axes((0.115, 0.14, 0.37, 0.38)), prediction)
    _draw_gates(figure.add_axes((0.6, 0.14, 0.355, 0.38)), prediction)
    return figure


def _draw_scale(axes: Axes, prediction: Prediction) -> None:
    low, high = prediction.label_range
    style_axes(axes)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.set_xlim(low, high)
    axes.set_ylim(0, 1)
    color = POSITIVE if prediction.score >= 0 else NEGATIVE
    axes.barh(0.5, prediction.score, height=0.72, color=color, alpha=0.3)
    axes.plot([prediction.score] * 2, [0.04, 0.96], color=color, linewidth=3, solid_capstyle="butt")
    axes.axvline(0, color=INK, linewidth=1.0)
    axes.set_xlabel("sentiment score", fontsize=LABEL_SIZE - 1, labelpad=1)


def _draw_severities(axes: Axes, prediction: Prediction) -> None:
    style_axes(axes)
    places = np.arange(len(MODALITIES))[::-1]
    axes.set_yticks(places, MODALITIES, fontsize=LABEL_SIZE)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(MODALITIES) - 0.4)
    axes.set_xlim(0, 1)
    axes.set_title("estimated corruption (0 intact, 1 lost)", fontsize=LABEL_SIZE, loc="left")
    if prediction.severity is None:
        axes.set_xticks([])
        write(axes, 0.03, 1, "this model estimates none", color=MUTED, va="center", fontsize=LABEL_SIZE - 1)
        return
    for place, name in zip(places, MODALITIES, strict=True):
        if not prediction.present[name]:
            write(axes, 0.03, place, "absent", color=MUTED, va="center", fontsize=LABEL_SIZE - 1)
            continue
        value = prediction.severity[name]
        axes.barh(place, 1, height=0.56, color=FAINT, alpha=0.5)
        axes.barh(place, value, height=0.56, color=MODALITY_COLORS[name])
        is_long = value > 0.8
        write(
            axes,
            value - 0.02 if is_long else value + 0.02,
            place,
            f"{value:.2f}",
            va="center",
            ha="right" if is_long else "left",
            color="white" if is_long else INK,
            fontsize=LABEL_SIZE - 1,
        )


def _draw_gates(axes: Axes, prediction: Prediction) -> None:
    style_axes(axes)
    axes.set_title("gate per frequency band", fontsize=LABEL_SIZE, loc="left")
    if not prediction.gates:
        axes.set_xticks([])
        axes.set_yticks([])
        write(axes, 0.03, 0.5, "this model has none", color=MUTED, va="center", fontsize=LABEL_SIZE - 1)
        return
    num_bands = len(next(iter(prediction.gates.values())))
    bands = np.arange(num_bands)
    spread = max(0.1, *(abs(value - 1) for gates in prediction.gates.values() for value in gates))
    axes.axhline(1, color=INK, linewidth=0.9)
    for index, (name, gates) in enumerate(prediction.gates.items()):
        place = bands + 0.16 * (index - (len(prediction.gates) - 1) / 2)
        axes.vlines(place, 1, gates, color=MODALITY_COLORS[name], linewidth=1.4)
        axes.plot(
            place,
            gates,
            linestyle="none",
            marker=_MARKERS[name],
            markersize=5.5,
            color=MODALITY_COLORS[name],
            label=name,
        )
    axes.set_ylim(1 - 1.25 * spread, 1 + 1.9 * spread)
    axes.set_xlim(-0.5, num_bands - 0.5)
    axes.set_xticks(bands, band_names(num_bands))
    axes.tick_params(axis="x", length=0)
    axes.legend(fontsize=SMALL_SIZE, frameon=False, ncols=3, loc="upper right", handletextpad=0.1, columnspacing=0.9)
