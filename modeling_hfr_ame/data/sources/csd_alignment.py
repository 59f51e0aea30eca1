"""Which rows of a sequence belong to a segment, and what they become.

A row belongs to the segment that its midpoint lies in: segments that don't overlap share no row, and a word on a border
goes where most of it is spoken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modeling_hfr_ame.data.sources.csd_file import CsdVideo

PAUSE = "sp"


@dataclass(frozen=True)
class SegmentWords:
    """The words of a segment in their order.

    Attributes:
        words: Words without pauses.
        intervals: (len(words), 2) float64, start and end in seconds of the video.
        num_pauses: Pause marks that were left out.
    """

    words: list[str]
    intervals: np.ndarray
    num_pauses: int


def select_rows(intervals: np.ndarray, start_s: float, end_s: float) -> np.ndarray:
    """Finds the rows whose midpoint lies in [start, end).

    Args:
        intervals: (n, 2) seconds.
        start_s: Start of the segment.
        end_s: End of the segment.

    Returns:
        (m,) indices, in the order of the rows.
    """
    midpoints = intervals.mean(axis=1)
    return np.flatnonzero((midpoints >= start_s) & (midpoints < end_s))


def select_words(sequence: CsdVideo, rows: np.ndarray) -> SegmentWords:
    """Takes the words of some rows.

    Args:
        sequence: Words, (n, 1) or more per row.
        rows: (m,) indices.

    Returns:
        The words; pauses and blanks are left out, pauses are counted.
    """
    words = [" ".join(word for word in sequence.features[row] if word) for row in rows]
    spoken = [position for position, word in enumerate(words) if word and word != PAUSE]
    return SegmentWords(
        words=[words[position] for position in spoken],
        intervals=sequence.intervals[rows][spoken].reshape(-1, 2),
        num_pauses=sum(word == PAUSE for word in words),
    )


def average_per_word(frames: CsdVideo, word_intervals: np.ndarray) -> tuple[np.ndarray, int]:
    """Brings frames to one per word: the mean of those whose midpoint lies in the word.

    Args:
        frames: (n, D) numbers. A mean over a NaN or infinite value is not finite either; the model's scaler repairs it.
        word_intervals: (m, 2) seconds.

    Returns:
        (m, D) float64, an exact zero frame where a word has none, and the number of such words.
    """
    averaged = np.zeros((len(word_intervals), frames.features.shape[1]))
    if not len(word_intervals):
        return averaged, 0
    # A video has far more frames than a segment, and each word looks through all that are left.
    near = select_rows(frames.intervals, word_intervals[:, 0].min(), word_intervals[:, 1].max())
    features, intervals = frames.features[near], frames.intervals[near]
    num_empty = 0
    for position, (start, end) in enumerate(word_intervals):
        rows = select_rows(intervals, start, end)
        if len(rows):
            # inf - inf gives NaN, which says the same.
            with np.errstate(invalid="ignore", over="ignore"):
                averaged[position] = features[rows].mean(axis=0, dtype=np.float64)
        else:
            num_empty += 1
    return averaged, num_empty
