"""The timeline as a figure: thumbnails, score, severity, gates and words over one time axis."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from modeling_hfr_ame.media import TimedWord
from modeling_hfr_ame.prediction.figure_style import (
    FAINT,
    GATE_MAP,
    INK,
    LABEL_SIZE,
    MUTED,
    NEGATIVE,
    POSITIVE,
    SEVERITY_MAP,
    SMALL_SIZE,
    TITLE_SIZE,
    TextMeasure,
    new_figure,
    style_axes,
    write,
)
from modeling_hfr_ame.prediction.results import Timeline, Window

_WIDTH, _LEFT, _RIGHT, _LABEL = 11.0, 1.05, 1.0, 0.16
_INNER = _WIDTH - _LEFT - _RIGHT
_TITLE, _SCORE, _GAP, _AXIS, _BOTTOM = 0.62, 2.1, 0.14, 0.42, 0.12
_SEVERITY_ROW, _GATE_ROW = 0.19, 0.12
_THUMBNAIL, _THUMBNAIL_GAP = 0.62, 0.05
_MAX_COLUMNS, _MAX_LINES, _MAX_NOTE_LINES = 13, 9, 3
_STEPS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_UNSURE = 0.5  # confidence of a recogniser below which a word is drawn in grey
_LOST_WORDS = ("[UNK]", "[MASK]")
_MIN_GATE_SPREAD = 0.1
_BAND_NAMES = {1: ("all",), 2: ("low", "high"), 3: ("low", "mid", "high")}


@dataclass
class _Column:
    """Places panels from top to bottom; positions in inches."""

    figure: Figure
    height: float
    at: float = 0.0

    def panel(self, height: float, left: float = _LEFT, width: float = _INNER) -> Axes:
        """A panel below what was placed so far."""
        self.at += height
        return self.figure.add_axes((left / _WIDTH, 1 - self.at / self.height, width / _WIDTH, height / self.height))

    def skip(self, height: float) -> None:
        self.at += height


def draw_timeline(timeline: Timeline, *, title: str | None = None) -> Figure:
    """Draws a timeline.

    From top to bottom, as far as known: thumbnails at their times; the score at the middle of each window, above and
    below a zero line; how corrupted each modality looks to the model; the gate of each modality's bands; the words in
    columns, each under its stretch of the axis (grey: a recogniser was unsure; orange: lost in corruption).

    Args:
        timeline: The timeline.
        title: First line; None = the file's name.

    Returns:
        The figure; see `save_figure`.
    """
    has_severity = any(window.prediction.severity is not None for window in timeline.windows)
    num_bands, gated = _num_bands(timeline.windows), _gated_modalities(timeline)
    step_s = _column_step(timeline.duration_s)
    measure = TextMeasure(SMALL_SIZE)
    columns = _word_columns(timeline.words, timeline.duration_s, step_s, measure)
    num_lines = max((len(column.lines) for column in columns), default=0)
    notes = _note_lines(timeline, measure)
    heights = {
        "thumbnails": _THUMBNAIL + _THUMBNAIL_GAP if timeline.thumbnails else 0.0,
        "severity": _GAP + _SEVERITY_ROW * len(timeline.modalities) if has_severity else 0.0,
        "gates": _GAP + _GATE_ROW * num_bands * len(gated) if num_bands else 0.0,
        "words": num_lines * measure.line_inches + 0.08 if num_lines else 0.0,
        "notes": len(notes) * measure.line_inches + 0.06 if notes else 0.0,
    }
    height = _TITLE + _SCORE + _AXIS + _BOTTOM + sum(heights.values())
    figure = new_figure(_WIDTH, height)
    column = _Column(figure, height)
    _draw_title(column, timeline, title or timeline.name)
    if timeline.thumbnails:
        _draw_thumbnails(column, timeline)
    panels = [_draw_score(column.panel(_SCORE), timeline)]
    panels[0].grid(axis="x", color=FAINT, linewidth=0.6)
    _label_panel(column, panels[0], "sentiment score")
    if has_severity:
        column.skip(_GAP)
        panels.append(_draw_severity_strip(column, timeline))
    if num_bands:
        column.skip(_GAP)
        panels.append(_draw_gate_strip(column, timeline, num_bands))
    for axes in panels:
        _share_time_axis(axes, timeline.duration_s, step_s, is_last=axes is panels[-1])
    column.skip(_AXIS)
    if num_lines:
        _draw_words(column, columns, timeline, measure, heights["words"])
    for line, note in enumerate(notes):
        y = 1 - (column.at + 0.06 + line * measure.line_inches) / height
        write(figure, _LEFT / _WIDTH, y, note, va="top", color=MUTED)
    return figure


def _note_lines(timeline: Timeline, measure: TextMeasure) -> list[str]:
    """What stands beneath the figure, in lines that fit."""
    notes = list(timeline.notes)
    if any(not window.prediction.present[name] for window in timeline.windows for name in timeline.modalities):
        notes.insert(0, "Hatched: the modality is absent.")
    lines = []
    for note in notes:
        words = note.split()
        for line in measure.wrapped(words, _WIDTH - _LEFT - 0.2, _MAX_NOTE_LINES):
            lines.append(" ".join(words[index] for _, index in line))
    return lines


def _draw_title(column: _Column, timeline: Timeline, title: str) -> None:
    figure, height = column.figure, column.height
    measure = TextMeasure(TITLE_SIZE)
    write(
        figure,
        _LEFT / _WIDTH,
        1 - 0.12 / height,
        measure.shortened(title, _INNER),
        fontsize=TITLE_SIZE,
        fontweight="bold",
        va="top",
    )
    damage = "" if timeline.corruption == "clean" else f", corrupted by {timeline.corruption}"
    windows = (
        f"windows of {timeline.window_s:g} s every {timeline.hop_s:g} s, each value at the middle of its window"
        if len(timeline.windows) > 1
        else f"one window of {timeline.window_s:g} s"
    )
    write(
        figure,
        _LEFT / _WIDTH,
        1 - 0.34 / height,
        f"{_clock(timeline.duration_s)}, mean score {timeline.score:+.2f} ({timeline.label}){damage}; {windows}",
        fontsize=LABEL_SIZE,
        color=MUTED,
        va="top",
    )
    column.skip(_TITLE)


def _draw_thumbnails(column: _Column, timeline: Timeline) -> None:
    axes = column.panel(_THUMBNAIL)
    axes.set_xlim(0, timeline.duration_s)
    axes.set_ylim(0, 1)
    axes.axis("off")
    seconds_per_inch = timeline.duration_s / _INNER
    rows, columns = timeline.thumbnails[0].pixels.shape[:2]
    width_s = _THUMBNAIL * columns / rows * seconds_per_inch
    gap_s = 0.04 * seconds_per_inch
    free_from = 0.0
    for each in timeline.thumbnails:  # the next one that has room
        # A picture stands with its middle at its time, moved inwards at the ends of the axis only.
        left = min(max(each.time_s - width_s / 2, 0.0), max(timeline.duration_s - width_s, 0.0))
        if left < free_from:
            continue
        axes.imshow(each.pixels, extent=(left, left + width_s, 0, 1), aspect="auto", interpolation="antialiased")
        axes.add_patch(Rectangle((left, 0), width_s, 1, fill=False, edgecolor=FAINT, linewidth=0.6))
        free_from = left + width_s + gap_s
    axes.set_xlim(0, timeline.duration_s)
    axes.set_ylim(0, 1)
    column.skip(_THUMBNAIL_GAP)


def _draw_score(axes: Axes, timeline: Timeline) -> Axes:
    centres, scores = timeline.centres_s, timeline.scores
    low, high = timeline.label_range
    style_axes(axes)
    for run in _runs(timeline):
        x, y = centres[run], scores[run]
        axes.fill_between(x, 0, y, where=y >= 0, interpolate=True, color=POSITIVE, alpha=0.22, linewidth=0)
        axes.fill_between(x, 0, y, where=y <= 0, interpolate=True, color=NEGATIVE, alpha=0.22, linewidth=0)
        axes.plot(x, y, color=INK, linewidth=1.2)
    if len(scores) <= 120:
        axes.scatter(centres, scores, s=13, c=[POSITIVE if y >= 0 else NEGATIVE for y in scores], zorder=3)
    axes.axhline(0, color=INK, linewidth=1.0)
    axes.axhline(timeline.score, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    margin = 0.04 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    place = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": LABEL_SIZE - 1}
    write(axes, 1.012, timeline.score, f"mean {timeline.score:+.2f}", color=MUTED, **place)
    if abs(timeline.score - high) > 0.12 * (high - low):
        write(axes, 1.012, high, "positive", color=POSITIVE, **place)
    if abs(timeline.score - low) > 0.12 * (high - low):
        write(axes, 1.012, low, "negative", color=NEGATIVE, **place)
    return axes


def _draw_severity_strip(column: _Column, timeline: Timeline) -> Axes:
    axes = column.panel(_SEVERITY_ROW * len(timeline.modalities))
    values = np.array(
        [
            [_severity(window, name) if window.prediction.present[name] else np.nan for window in timeline.windows]
            for name in timeline.modalities
        ]
    )
    _fill_strip(axes, timeline, values, SEVERITY_MAP, Normalize(0, 1), list(timeline.modalities))
    _label_panel(column, axes, "severity")
    _add_color_bar(column, axes, SEVERITY_MAP, Normalize(0, 1), [0, 0.5, 1], ["0 intact", "0.5", "1 lost"])
    return axes


def _draw_gate_strip(column: _Column, timeline: Timeline, num_bands: int) -> Axes:
    names = _gated_modalities(timeline)
    axes = column.panel(_GATE_ROW * num_bands * len(names))
    rows, labels = [], []
    for name in names:
        for band, band_name in enumerate(band_names(num_bands)):
            gates = [(window.prediction.gates or {}).get(name) for window in timeline.windows]
            rows.append([np.nan if gate is None else gate[band] for gate in gates])
            labels.append(f"{name} {band_name}" if band == 0 else band_name)
    values = np.array(rows)
    spread = max(_MIN_GATE_SPREAD, float(np.nanmax(np.abs(values - 1), initial=0.0)))
    norm = Normalize(1 - spread, 1 + spread)
    _fill_strip(axes, timeline, values, GATE_MAP, norm, labels, size=6.2)
    for edge in range(num_bands, num_bands * len(names), num_bands):
        axes.axhline(edge, color="white", linewidth=1.6)
    _label_panel(column, axes, "gates")
    ticks = [1 - spread, 1.0, 1 + spread]
    names = [f"{ticks[0]:.2f} weaker", "1", f"{ticks[2]:.2f} stronger"]
    _add_color_bar(column, axes, GATE_MAP, norm, ticks, names)
    return axes


def _fill_strip(
    axes: Axes,
    timeline: Timeline,
    values: np.ndarray,
    color_map: str,
    norm: Normalize,
    labels: Sequence[str],
    size: float = SMALL_SIZE,
) -> None:
    """Draws one row of cells per label, the first on top; NaN = absent, hatched."""
    style_axes(axes)
    edges, columns = _cells(timeline)
    spread = np.full((len(values), len(columns)), np.nan)
    known = np.array([index is not None for index in columns])
    spread[:, known] = values[:, [index for index in columns if index is not None]]
    axes.pcolormesh(
        edges,
        np.arange(len(values) + 1),
        np.ma.masked_invalid(spread),
        cmap=colormaps[color_map],
        norm=norm,
        rasterized=True,
    )
    for row, column in zip(*np.nonzero(np.isnan(spread) & known), strict=True):
        axes.add_patch(
            Rectangle(
                (edges[column], row),
                edges[column + 1] - edges[column],
                1,
                facecolor="#F4F4F4",
                edgecolor="#BBBBBB",
                hatch="/////",
                linewidth=0.0,
            )
        )
    for row in range(1, len(values)):
        axes.axhline(row, color="white", linewidth=0.6)
    axes.set_ylim(len(values), 0)
    axes.set_yticks(np.arange(len(values)) + 0.5, labels, fontsize=size)
    axes.tick_params(axis="y", length=0, labelsize=size, pad=3)
    axes.spines[["left", "bottom"]].set_visible(False)


def _label_panel(column: _Column, axes: Axes, text: str) -> None:
    """Writes what a panel shows, all on one line down the left side."""
    box = axes.get_position()
    write(
        column.figure,
        _LABEL / _WIDTH,
        (box.y0 + box.y1) / 2,
        text,
        fontsize=LABEL_SIZE,
        rotation=90,
        ha="center",
        va="center",
    )


def _add_color_bar(
    column: _Column, axes: Axes, color_map: str, norm: Normalize, ticks: Sequence[float], names: Sequence[str]
) -> None:
    box = axes.get_position()
    bar = column.figure.add_axes((box.x1 + 0.012, box.y0, 0.1 / _WIDTH, box.height))
    column.figure.colorbar(ScalarMappable(norm, colormaps[color_map]), cax=bar)
    bar.set_yticks(ticks, names, fontsize=6.2)
    bar.tick_params(length=2, pad=2, color=MUTED)
    bar.spines[:].set_visible(False)


def _share_time_axis(axes: Axes, duration_s: float, step_s: float, is_last: bool) -> None:
    axes.set_xlim(0, duration_s)
    ticks = np.arange(0, duration_s + 1e-9, step_s)
    axes.set_xticks(ticks, [_clock(tick, duration_s) for tick in ticks] if is_last else [""] * len(ticks))
    axes.tick_params(axis="x", labelsize=LABEL_SIZE - 1, length=3 if is_last else 0)
    if is_last:
        unit = "time (s)" if duration_s < 120 else "time (min:s)"
        axes.set_xlabel(unit, fontsize=LABEL_SIZE, labelpad=2)


@dataclass
class _WordColumn:
    start_s: float
    words: list[TimedWord]
    texts: list[str]
    lines: list[list[tuple[float, int]]]


def _word_columns(
    words: Sequence[TimedWord], duration_s: float, step_s: float, measure: TextMeasure
) -> list[_WordColumn]:
    width = _INNER * step_s / duration_s - 0.1
    columns = []
    for start_s in np.arange(0, duration_s, step_s):
        inside = [word for word in words if start_s <= (word.start_s or 0.0) < start_s + step_s]
        if inside:
            texts = [measure.shortened(word.text, width) for word in inside]
            lines = measure.wrapped(texts, width, _MAX_LINES)
            offset, last = lines[-1][-1]
            if last + 1 < len(texts):
                texts[last] = measure.shortened(texts[last], width - offset, always=True)
            columns.append(_WordColumn(float(start_s), inside, texts, lines))
    return columns


def _draw_words(
    column: _Column, columns: Sequence[_WordColumn], timeline: Timeline, measure: TextMeasure, height: float
) -> None:
    top = column.at
    column.skip(height)
    per_second = _INNER / timeline.duration_s
    middle = 1 - (top + height / 2) / column.height
    write(column.figure, _LABEL / _WIDTH, middle, "words", fontsize=LABEL_SIZE, rotation=90, ha="center", va="center")
    for each in columns:
        left = _LEFT + each.start_s * per_second + 0.03
        for row, line in enumerate(each.lines):
            # On one baseline: words aligned at their tops would dance with their tallest letters.
            y = 1 - (top + (row + 0.72) * measure.line_inches) / column.height
            for offset, index in line:
                word = each.words[index]
                unsure = word.confidence is not None and word.confidence < _UNSURE
                color = NEGATIVE if word.text in _LOST_WORDS else MUTED if unsure else INK
                write(column.figure, (left + offset) / _WIDTH, y, each.texts[index], va="baseline", color=color)


def _runs(timeline: Timeline) -> list[slice]:
    """Stretches of windows without a skipped one between, so that no line is drawn over a gap."""
    starts = [0]
    for index in range(1, len(timeline.windows)):
        if timeline.windows[index].start_s - timeline.windows[index - 1].start_s > timeline.hop_s + 1e-6:
            starts.append(index)
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(timeline.windows)], strict=True)]


def _cells(timeline: Timeline) -> tuple[np.ndarray, list[int | None]]:
    """Edges of a strip's cells in seconds, and the window in each cell; None = a gap."""
    centres, half = timeline.centres_s, timeline.hop_s / 2
    if len(centres) == 1:
        window = timeline.windows[0]
        return np.array([window.start_s, window.end_s]), [0]
    edges: list[float] = [centres[0] - half]
    columns: list[int | None] = []
    for index, centre in enumerate(centres):
        if centre - half > edges[-1] + 1e-6:
            edges.append(centre - half)
            columns.append(None)
        after = centres[index + 1] if index + 1 < len(centres) else np.inf
        edges.append(min(centre + half, (centre + after) / 2))
        columns.append(index)
    return np.array(edges), columns


def _severity(window: Window, name: str) -> float:
    return np.nan if window.prediction.severity is None else window.prediction.severity[name]


def _num_bands(windows: Sequence[Window]) -> int:
    return max((len(bands) for window in windows for bands in (window.prediction.gates or {}).values()), default=0)


def _gated_modalities(timeline: Timeline) -> list[str]:
    """Modalities that are there at least once; a strip of nothing but absence says nothing about gates."""
    return [name for name in timeline.modalities if any(name in (w.prediction.gates or {}) for w in timeline.windows)]


def band_names(num_bands: int) -> tuple[str, ...]:
    """Short names of frequency bands, lowest first."""
    return _BAND_NAMES.get(num_bands, tuple(f"band {band}" for band in range(1, num_bands + 1)))


def _column_step(duration_s: float) -> float:
    return next((step for step in _STEPS_S if duration_s / step <= _MAX_COLUMNS), duration_s / _MAX_COLUMNS)


def _clock(time_s: float, duration_s: float | None = None) -> str:
    """A time as seconds, or as minutes and seconds on an axis of two minutes or more."""
    if (time_s if duration_s is None else duration_s) < 120:
        return f"{time_s:g}" if duration_s is not None else f"{time_s:.1f} s"
    return f"{int(time_s // 60)}:{int(time_s % 60):02d}" + (" min" if duration_s is None else "")
