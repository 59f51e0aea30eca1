"""What every reader of a foreign layout hands over, whatever the file looked like.

A reader looks at a source once, and says what it found: splits whose rows are made on demand, so that a conversion
streams. Whatever it repairs on the way it counts under a rule with a name; nothing is dropped or changed in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

Row = dict[str, Any]

# Where a source has no folds and the user gives none. Not `all`, which `datasets` takes for the union of the splits.
WITHOUT_FOLDS = "unsplit"
# The field's tables call an index from 0 a segment id, and a number from 1 a clip id.
COUNTED_FROM_ZERO = "segment_id"

# Each rule is one sentence that ends up in the report next to its count.
RULES: Mapping[str, str] = MappingProxyType(
    {
        "frames_beyond_length_cut": "frames after the stated length that were not zero; the stated length decides",
        "length_beyond_frames": "stated lengths larger than what is stored; all that is stored counts",
        "padding_cut": "all-zero frames outside the valid part, which are padding",
        "lengths_from_padding": "rows whose file states no length; the valid part is what lies inside the zero padding",
        "special_token_steps_cut": "all-zero audio and vision steps of [CLS] and [SEP] in aligned rows",
        "absent_modality": "modalities without a single non-zero frame, stored as absent",
        "non_finite_kept": "NaN or infinite feature values, stored as they are; the model's scaler repairs them",
        "missing_text": "rows whose transcript is blank, stored without text",
        "missing_label_dropped": "rows without a label, left out",
        "empty_interval": "segments whose interval has no length",
        "interval_without_frames": "segments in whose interval a sequence has no frame, stored as absent",
        "missing_sequence": "rows for which the source holds no sequence of a modality, stored as absent",
        "word_without_frames": "words in whose interval a sequence has no frame, stored as a zero frame",
        "pause_words_dropped": "pause marks among the words",
        "segment_ids_shifted": "segment indices from 0, stored as clip ids from 1",
        "no_modality_dropped": "rows without text, audio and vision, left out",
        "frames_without_face": "frames in which OpenFace found no face, stored as zero frames",
        "further_faces_dropped": "lines of OpenFace for a less confident face of the same picture",
        "label_rounded_into_range": "labels that rounding had put outside the range, by less than 0.001",
    }
)


class RuleCounts(Counter[str]):
    """Counts repairs by rule name; a name that `RULES` doesn't know is our mistake."""

    def add(self, rule: str, number: int = 1) -> None:
        """Counts `number` cases of a rule; zero leaves no trace."""
        assert rule in RULES, rule
        if number:
            self[rule] += number


@dataclass
class SourceDataset:
    """One source, opened.

    Attributes:
        layout: Name of the layout, for example `mmsa-unaligned`.
        dataset_name: Name for reports and corruption keys, for example `cmu_mosi`.
        label_range: Lowest and highest label.
        feature_sizes: Frame widths, `{"audio": Da, "vision": Dv}`; also `text_features` where the source holds word
            features and no words.
        splits: Split name (`train`, `validation`, `test`, …) to a function that makes its rows. Rows are as
            `validate_row` takes them; each call starts afresh and counts what it repairs.
        files: The files that the source consists of, for hashing.
        extra_features: `datasets` types of the extra columns.
        counts: Rows per split that the file states or holds, before anything is left out; None where only reading
            tells.
        details: What else is worth a line in the report and the manifest; plain JSON values.
        feature_names: Names of the audio and vision features where the source has them.
    """

    layout: str
    dataset_name: str
    label_range: tuple[float, float]
    feature_sizes: dict[str, int]
    splits: Mapping[str, Callable[[RuleCounts], Iterator[Row]]]
    files: list[Path]
    extra_features: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] | None = None
    details: dict[str, Any] = field(default_factory=dict)
    feature_names: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceOptions:
    """What a user may say about a source. None = find out.

    Attributes:
        dataset_name: Name for reports and corruption keys.
        label_range: Lowest and highest label.
        labels: The label table of a folder of extracted features, or the label sequence of a CSD folder.
        align: `words` = audio and vision of a CSD folder are averaged per word. None = their own frame rates.
        keep_text_features: Whether word features are stored although the source holds the words.
        splits: Split of each video or segment where the source has no folds of its own: a CSV file with the columns
            `video_id`, optionally `clip_id`, and `mode`.
    """

    dataset_name: str | None = None
    label_range: tuple[float, float] | None = None
    labels: Path | None = None
    align: Literal["words"] | None = None
    keep_text_features: bool = False
    splits: Path | None = None


def split_row_id(video_id: str, clip_id: str) -> str:
    """The id of a stored row."""
    return f"{video_id}$_${clip_id}"


def without_padding(frames: np.ndarray, rules: RuleCounts, *, length: int | None) -> np.ndarray | None:
    """Cuts one padded row to its valid part.

    Args:
        frames: (L, D).
        rules: Counts what was cut.
        length: Stated number of valid frames at the start. None: the part between leading and trailing all-zero
            frames; zero frames inside stay.

    Returns:
        (n, D) with n >= 1, or None where nothing is left or no frame is non-zero.
    """
    # NaN counts as a value: it was measured, if badly.
    filled = np.flatnonzero((frames != 0).any(axis=1))
    if not len(filled):
        rules.add("absent_modality")
        return None
    if length is None:
        first, last = int(filled[0]), int(filled[-1]) + 1
        rules.add("lengths_from_padding")
        rules.add("padding_cut", len(frames) - (last - first))
        kept = frames[first:last]
    else:
        kept = frames[: max(length, 0)]
        rules.add("length_beyond_frames", int(length > len(frames)))
        rules.add("frames_beyond_length_cut", int((filled >= len(kept)).sum()))
        rules.add("padding_cut", len(frames) - len(kept) - int((filled >= len(kept)).sum()))
        if not len(kept) or not (kept != 0).any():
            rules.add("absent_modality")
            return None
    rules.add("non_finite_kept", int(kept.size - np.isfinite(kept).sum()))
    return kept
