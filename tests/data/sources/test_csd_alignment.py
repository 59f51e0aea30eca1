import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modeling_hfr_ame.data.sources.csd_alignment import average_per_word, select_rows, select_words
from modeling_hfr_ame.data.sources.csd_file import CsdVideo
from tests.data.sources.hdf5_making import steps


def test_select_rows_midpoint_on_the_border_belongs_to_the_later_segment() -> None:
    intervals = np.array([[0.0, 2.0], [2.0, 4.0], [4.0, 6.0]])
    assert select_rows(intervals, 0, 3).tolist() == [0]
    assert select_rows(intervals, 3, 6).tolist() == [1, 2]
    assert select_rows(intervals, 3, 3).tolist() == []


@given(st.lists(st.floats(0, 100, width=32), min_size=2, max_size=8, unique=True))
def test_select_rows_adjacent_segments_share_and_lose_nothing(borders: list[float]) -> None:
    borders = [-1.0, *sorted(borders), 101.0]
    intervals = steps(200, step_s=0.5)
    found = [select_rows(intervals, start, end) for start, end in itertools.pairwise(borders)]
    assert np.concatenate(found).tolist() == list(range(200))


def test_select_words_pauses_and_blanks_are_left_out() -> None:
    video = CsdVideo(np.array([["sp"], ["so"], [""], ["good"], ["sp"]], dtype=object), steps(5))
    found = select_words(video, np.array([0, 1, 2, 3]))
    assert (found.words, found.num_pauses) == (["so", "good"], 1)
    assert found.intervals.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert select_words(video, np.array([], dtype=np.int64)).intervals.shape == (0, 2)


def test_average_per_word_means_frames_and_counts_words_without() -> None:
    frames = CsdVideo(np.arange(20.0).reshape(10, 2), steps(10, step_s=0.5))
    averaged, num_empty = average_per_word(frames, np.array([[0.0, 1.0], [1.1, 1.2], [2.0, 5.0]]))
    expected = [frames.features[:2].mean(axis=0), [0, 0], frames.features[4:].mean(axis=0)]
    np.testing.assert_allclose(averaged, expected)
    assert num_empty == 1


def test_average_per_word_infinite_frames_stay_visible() -> None:
    frames = CsdVideo(np.array([[np.inf, 1.0], [-np.inf, 3.0]]), steps(2))
    averaged, _ = average_per_word(frames, np.array([[0.0, 2.0]]))
    assert np.isnan(averaged[0, 0])
    assert averaged[0, 1] == 2.0


def test_average_per_word_without_words_is_empty() -> None:
    averaged, num_empty = average_per_word(CsdVideo(np.ones((2, 3)), steps(2)), np.zeros((0, 2)))
    assert averaged.shape == (0, 3)
    assert num_empty == 0
