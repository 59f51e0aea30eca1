"""The restoration view as a figure: feature maps, band energies and errors, one row per modality."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from modeling_hfr_ame.prediction.figure_style import (
    FEATURE_MAP,
    INK,
    LABEL_SIZE,
    MUTED,
    SMALL_SIZE,
    TITLE_SIZE,
    TextMeasure,
    new_figure,
    style_axes,
    write,
)
from modeling_hfr_ame.prediction.restoration_view import ModalityRestoration, RestorationView
from modeling_hfr_ame.prediction.timeline_figure import band_names

_WIDTH, _TITLE, _BOTTOM = 11.0, 0.72, 0.3
_ROW, _MAP_HEIGHT = 2.12, 1.35
_LEFT, _MAP_WIDTH, _MAP_GAP = 0.72, 1.92, 0.14
_BARS_LEFT, _BAR_WIDTH, _BAR_GAP = 7.78, 1.3, 0.52
_MAX_PIECES = 14
_FOOTER = (
    "Features of the model's own encoders; one row per channel, by its clean mean. Energy: mean square per step and "
    "channel. NMSE: squared error / clean energy, 1 is as bad as zeros."
)
# Clean, corrupted, restored; told apart without colour by lightness.
_STAGES = (("clean", "#56B4E9"), ("corrupted", "#D55E00"), ("restored", "#222222"))


def draw_restoration(view: RestorationView, *, title: str | None = None) -> Figure:
    """Draws a restoration view.

    One row per modality: the encoder's features of the undamaged input, of what was received and of what was restored,
    on one colour scale (rows are channels, in the order of their clean mean; marks above a map show steps that were not
    received); then per frequency band the energy of the three, and the error before and after restoration.

    Args:
        view: The view.
        title: First line; None = the clip's name.

    Returns:
        The figure; see `save_figure`.
    """
    height = _TITLE + _BOTTOM + _ROW * max(1, len(view.modalities))
    figure = new_figure(_WIDTH, height)
    _draw_title(figure, height, view, title or view.name)
    if not view.modalities:
        write(
            figure,
            0.5,
            (height - _TITLE) / 2 / height,
            "no modality is left to compare",
            ha="center",
            fontsize=LABEL_SIZE,
            color=MUTED,
        )
    for row, each in enumerate(view.modalities.values()):
        _draw_row(figure, height, _TITLE + row * _ROW, each)
    write(figure, _LEFT / _WIDTH, 0.1 / height, _FOOTER, color=MUTED, va="bottom")
    return figure


def _draw_title(figure: Figure, height: float, view: RestorationView, title: str) -> None:
    inner = _WIDTH - _LEFT - 0.2
    first, second = TextMeasure(TITLE_SIZE), TextMeasure(LABEL_SIZE)
    write(
        figure,
        _LEFT / _WIDTH,
        1 - 0.12 / height,
        first.shortened(f"{title}, corrupted by {view.corruption}", inner),
        fontsize=TITLE_SIZE,
        fontweight="bold",
        va="top",
    )
    gone = [name for name, there in view.clean.present.items() if there and name not in view.modalities]
    text = (
        f"score {view.clean.score:+.2f} ({view.clean.label}) undamaged, {view.corrupted.score:+.2f} "
        f"({view.corrupted.label}) corrupted" + (f"; removed: {', '.join(gone)}" if gone else "")
    )
    write(
        figure,
        _LEFT / _WIDTH,
        1 - 0.34 / height,
        second.shortened(text, inner),
        fontsize=LABEL_SIZE,
        color=MUTED,
        va="top",
    )


def _draw_row(figure: Figure, height: float, top: float, each: ModalityRestoration) -> None:
    def panel(left: float, width: float) -> Axes:
        bottom = 1 - (top + 0.3 + _MAP_HEIGHT) / height
        return figure.add_axes((left / _WIDTH, bottom, width / _WIDTH, _MAP_HEIGHT / height))

    write(
        figure,
        0.16 / _WIDTH,
        1 - (top + 0.3 + _MAP_HEIGHT / 2) / height,
        each.modality,
        fontsize=LABEL_SIZE + 1,
        fontweight="bold",
        rotation=90,
        ha="center",
        va="center",
    )
    order = np.argsort(-each.clean.mean(0), kind="stable")
    limit = float(np.quantile(np.abs(np.concatenate([each.clean, each.corrupted, each.restored])), 0.99)) or 1.0
    norm = Normalize(-limit, limit)
    for index, (stage, _) in enumerate(_STAGES):
        axes = panel(_LEFT + index * (_MAP_WIDTH + _MAP_GAP), _MAP_WIDTH)
        _draw_map(axes, each, getattr(each, stage)[:, order], norm, stage)
        axes.set_title(_map_title(each, stage), fontsize=LABEL_SIZE, pad=8, color=INK)
        if stage == "corrupted":
            _mark_unobserved(axes, each)
    bar = panel(_LEFT + 3 * _MAP_WIDTH + 2 * _MAP_GAP + 0.06, 0.07)
    figure.colorbar(ScalarMappable(norm, colormaps[FEATURE_MAP]), cax=bar, extend="both", extendfrac=0.04)
    bar.set_yticks([-limit, 0, limit], [f"−{limit:.1f}", "0", f"{limit:.1f}"], fontsize=SMALL_SIZE - 0.8)
    bar.tick_params(length=2, pad=2, color=MUTED)
    bar.spines[:].set_visible(False)
    _draw_energies(panel(_BARS_LEFT, _BAR_WIDTH), each)
    _draw_errors(panel(_BARS_LEFT + _BAR_WIDTH + _BAR_GAP, _BAR_WIDTH), each)


def _map_title(each: ModalityRestoration, stage: str) -> str:
    if stage == "corrupted":
        lost = int((~each.observed).sum())
        return f"corrupted ({lost} of {len(each.observed)} lost)" if lost else "corrupted"
    return stage


def _draw_map(axes: Axes, each: ModalityRestoration, values: np.ndarray, norm: Normalize, stage: str) -> None:
    steps = len(values)
    is_text = each.modality == "text"
    step_s = 1.0 if is_text or steps < 2 else float(each.times_s[1] - each.times_s[0])
    start = each.times_s[0] - step_s / 2
    extent = (start, start + steps * step_s, values.shape[1], 0)
    axes.imshow(values.T, aspect="auto", cmap=colormaps[FEATURE_MAP], norm=norm, extent=extent, interpolation="nearest")
    style_axes(axes)
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    if stage == "clean":
        axes.set_ylabel(f"{values.shape[1]} channels", fontsize=SMALL_SIZE, labelpad=3)
    # The pieces are those that were received, so they stand under what was received.
    if stage == "corrupted" and 0 < len(each.labels) <= _MAX_PIECES:
        axes.set_xticks(np.arange(steps), [_piece(text) for text in each.labels])
        axes.tick_params(axis="x", labelrotation=90, labelsize=SMALL_SIZE - 0.8, length=2, pad=1)
        for label in axes.get_xticklabels():
            label.set_parse_math(False)
    else:
        axes.tick_params(axis="x", labelsize=SMALL_SIZE, length=2, pad=2)
        if is_text:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("word piece" if is_text else "time (s)", fontsize=SMALL_SIZE, labelpad=1)


def _piece(text: str) -> str:
    return text if len(text) <= 7 else text[:6] + "…"


def _mark_unobserved(axes: Axes, each: ModalityRestoration) -> None:
    lost = each.times_s[~each.observed]
    axes.plot(
        lost,
        np.full(len(lost), 1.025),
        linestyle="none",
        marker="v",
        markersize=2.2,
        color="#D55E00",
        transform=axes.get_xaxis_transform(),
        clip_on=False,
    )


def _draw_energies(axes: Axes, each: ModalityRestoration) -> None:
    style_axes(axes)
    bands = np.arange(len(each.energy_clean))
    width = 0.8 / len(_STAGES)
    for index, (stage, color) in enumerate(_STAGES):
        place = bands + (index - 1) * width
        axes.bar(place, getattr(each, f"energy_{stage}"), width * 0.92, color=color, label=stage)
    axes.set_ylim(0, 1.25 * max(float(np.max(getattr(each, f"energy_{stage}"))) for stage, _ in _STAGES) or 1.0)
    axes.set_title("mean energy", fontsize=LABEL_SIZE, pad=8)
    _finish_bars(axes, len(bands))


def _draw_errors(axes: Axes, each: ModalityRestoration) -> None:
    style_axes(axes)
    values = np.array([[*each.nmse_before, each.total_before], [*each.nmse_after, each.total_after]])
    places = np.arange(values.shape[1], dtype=float)
    places[-1] += 0.35  # the total stands apart
    for index, (label, color) in enumerate((("before", "#D55E00"), ("after", "#222222"))):
        axes.bar(places + (index - 0.5) * 0.38, np.nan_to_num(values[index]), 0.35, color=color, label=label)
    axes.axhline(1, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_ylim(0, 1.3 * max(1.0, float(np.nanmax(values, initial=0.0))))
    gain = "no damage" if np.isnan(each.gain_db) else f"gain {each.gain_db:+.1f} dB".replace("-", "−")
    axes.set_title(f"NMSE, {gain}", fontsize=LABEL_SIZE, pad=8)
    _finish_bars(axes, values.shape[1] - 1)
    axes.set_xticks(places, [*band_names(values.shape[1] - 1), "total"])


def _finish_bars(axes: Axes, num_bands: int) -> None:
    axes.set_xticks(np.arange(num_bands), band_names(num_bands))
    axes.tick_params(labelsize=SMALL_SIZE)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("frequency band", fontsize=SMALL_SIZE, labelpad=1)
    axes.legend(
        fontsize=SMALL_SIZE - 0.8,
        frameon=False,
        handlelength=0.9,
        handletextpad=0.4,
        borderaxespad=0.0,
        labelspacing=0.25,
        loc="upper right",
        ncols=1,
    )
