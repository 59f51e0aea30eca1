"""The picture of a data sheet: labels, lengths, and one sample clean and corrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from modeling_hfr_ame.corruption import CorruptionRecipe, SampleKey, corrupt_sample
from modeling_hfr_ame.data import load_stored_dataset, stored_rows, training_vocabulary
from modeling_hfr_ame.data.schema import FRAME_COLUMNS
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.evaluation.data_sheet import DataSheet

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_NUM_BINS = 25
_SHOWN_STD = 3.0
_MAX_WORDS = 14
_CANDIDATES = 200


def draw_data_sheet(
    folder: str | Path, sheet: DataSheet, path: str | Path, recipe: str, sample_id: str | None = None
) -> Path:
    """Draws label histogram, length histograms, and one sample's three modalities clean and corrupted.

    Args:
        folder: The stored dataset.
        sheet: From `read_data_sheet` of the same folder.
        path: PNG file to write.
        recipe: Name of the corruption to show.
        sample_id: Id of the row; None = the first one with the most modalities.

    Returns:
        The path.

    Raises:
        ConfigError: The recipe doesn't exist.
        DataError: No row has that id, or the recipe needs a training split and there is none.
    """
    plan = CorruptionRecipe.from_name(recipe)
    split, row = _find_row(folder, sheet, sample_id)
    figure = Figure(figsize=(13, 8), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 4)
    _draw_labels(figure.add_subplot(grid[0, 0]), sheet)
    for column, modality in enumerate(("text", *FRAME_COLUMNS), start=1):
        _draw_lengths(figure.add_subplot(grid[0, column]), sheet, modality)
    clean: dict[str, Any] = {
        "text": None if row["text"] is None else row["text"].split(),
        **{modality: _standardised(row[modality], sheet, modality) for modality in FRAME_COLUMNS},
    }
    vocabulary = None
    if plan.needs_vocabulary:
        if "train" not in sheet.splits:
            raise DataError(f"{recipe!r} takes words from the training split, the dataset has none; show another one")
        vocabulary = training_vocabulary(load_stored_dataset(folder, "train"))
    key = SampleKey(sheet.manifest["dataset_name"], split, row["id"], 0)
    damaged = corrupt_sample(clean["text"], clean["audio"], clean["vision"], plan, key, vocabulary=vocabulary)
    for line, (title, values) in enumerate(
        (
            ("clean", clean),
            (plan.name, {"text": damaged.words, "audio": damaged.audio, "vision": damaged.vision}),
        ),
        start=1,
    ):
        _draw_words(figure.add_subplot(grid[line, :2]), values["text"], f"text, {title}")
        for column, modality in enumerate(FRAME_COLUMNS, start=2):
            _draw_frames(figure.add_subplot(grid[line, column]), values[modality], f"{modality}, {title}")
    title = f"{sheet.manifest['dataset_name']}; the sample is {row['id']} of {split}, label {row['label']:g}"
    figure.suptitle(_plain(title))
    figure.savefig(path, dpi=110)
    return Path(path)


def _find_row(folder: str | Path, sheet: DataSheet, sample_id: str | None) -> tuple[str, dict[str, Any]]:
    if sample_id is None:
        split = "test" if "test" in sheet.splits else next(iter(sheet.splits))
        rows = stored_rows(load_stored_dataset(folder, split))
        candidates = rows[: min(_CANDIDATES, len(rows))]
        return split, max(candidates, key=lambda row: sum(row[m] is not None for m in ("text", *FRAME_COLUMNS)))
    for split in sheet.splits:
        dataset = load_stored_dataset(folder, split)
        ids = dataset.select_columns(["id"])[:]["id"]
        if sample_id in ids:
            return split, stored_rows(dataset)[ids.index(sample_id)]
    raise DataError(f"--sample must be the id of a row, found {sample_id!r} in none of {', '.join(sheet.splits)}")


def _standardised(frames: np.ndarray | None, sheet: DataSheet, modality: str) -> np.ndarray | None:
    """Frames in standard deviations, exact zero frames untouched, as the processor would make them."""
    if frames is None:
        return None
    std = sheet.feature_std[modality]
    scaled = (frames - sheet.feature_mean[modality]) / np.where(std > 0, std, 1)
    scaled = np.where(np.isfinite(scaled) & frames.any(axis=1, keepdims=True), scaled, 0)
    return np.clip(scaled, -5, 5).astype(np.float32)


def _draw_labels(axes: Axes, sheet: DataSheet) -> None:
    low, high = sheet.manifest["label_range"]
    edges = np.linspace(low, high, _NUM_BINS)
    for (name, split), colour in zip(sheet.splits.items(), _COLOURS, strict=False):
        axes.hist(split.labels, edges.tolist(), density=True, histtype="step", color=colour, label=name, linewidth=1.6)
    axes.set_title("labels (density)")
    axes.legend(frameon=False)


def _draw_lengths(axes: Axes, sheet: DataSheet, modality: str) -> None:
    lengths = {name: split.modalities[modality].lengths for name, split in sheet.splits.items()}
    longest = max((int(values.max()) for values in lengths.values() if len(values)), default=0)
    axes.set_title(f"{modality}: {'words' if modality == 'text' else 'frames'} per row")
    if not longest:
        _say_absent(axes)
        return
    edges = np.linspace(0, longest + 1, min(_NUM_BINS, longest + 2))
    for (name, values), colour in zip(lengths.items(), _COLOURS, strict=False):
        if len(values):
            axes.hist(values, edges.tolist(), density=True, histtype="step", color=colour, label=name, linewidth=1.6)


def _draw_words(axes: Axes, words: list[str] | None, title: str) -> None:
    axes.set_title(title)
    axes.set_axis_off()
    if words is None:
        _say_absent(axes)
        return
    shown = words[: 6 * _MAX_WORDS]
    lines = [" ".join(shown[start : start + _MAX_WORDS]) for start in range(0, len(shown), _MAX_WORDS)]
    text = "\n".join(lines) + (" …" if len(shown) < len(words) else "")
    axes.text(0.0, 0.95, _plain(text), va="top", ha="left", fontsize=8, family="monospace", transform=axes.transAxes)


def _draw_frames(axes: Axes, frames: np.ndarray | None, title: str) -> None:
    axes.set_title(title)
    if frames is None:
        axes.set_axis_off()
        _say_absent(axes)
        return
    axes.imshow(frames.T, aspect="auto", cmap="RdBu_r", vmin=-_SHOWN_STD, vmax=_SHOWN_STD, interpolation="nearest")
    axes.set_xlabel("frame")
    axes.set_ylabel("feature (± 3 sd)")


def _plain(text: str) -> str:
    """Keeps a dollar sign, which ids hold, from starting a formula."""
    return text.replace("$", r"\$")


def _say_absent(axes: Axes) -> None:
    axes.text(0.5, 0.5, "absent", ha="center", va="center", transform=axes.transAxes)
