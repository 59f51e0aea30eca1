import numpy as np
import pytest

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.time_windows import cut_frames, mean_over_time, window_spans


@pytest.mark.parametrize(
    ("duration_s", "window_s", "hop_s", "expected"),
    [
        (3.0, 8.0, 2.0, [(0.0, 3.0)]),
        (8.0, 8.0, 2.0, [(0.0, 8.0)]),
        (12.0, 8.0, 2.0, [(0.0, 8.0), (2.0, 10.0), (4.0, 12.0)]),
        (11.0, 8.0, 2.0, [(0.0, 8.0), (2.0, 10.0), (3.0, 11.0)]),
        (0.9, 0.3, 0.3, [(0.0, 0.3), (0.3, 0.6), (0.6, 0.9)]),
    ],
)
def test_windows_reach_from_start_to_end(
    duration_s: float, window_s: float, hop_s: float, expected: list[tuple[float, float]]
) -> None:
    spans = window_spans(duration_s, window_s, hop_s)
    np.testing.assert_allclose(spans, expected, atol=1e-9)
    assert spans[-1][1] <= duration_s


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 8.0, 2.0), "a duration, a length and a hop above 0"),
        ((9.0, 0.0, 2.0), "a duration, a length and a hop above 0"),
        ((9.0, 8.0, 0.0), "a duration, a length and a hop above 0"),
        ((9.0, 2.0, 3.0), "no hop longer than the window"),
        ((float("inf"), 8.0, 2.0), "a duration, a length and a hop above 0"),
        ((float("nan"), 8.0, 2.0), "a duration, a length and a hop above 0"),
        ((1e6, 1.0, 0.01), "a recording may have 10000 windows"),
    ],
)
def test_windows_that_make_no_sense_are_refused(arguments: tuple[float, float, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        window_spans(*arguments)


def test_every_frame_lies_in_exactly_one_of_windows_side_by_side() -> None:
    for rate_hz in (10.0, 5.0, 12.5, 3.0):
        frames = np.arange(round(7 * rate_hz))[:, None]
        for hop_s in (0.3, 0.5, 1.0, 7.0):
            parts = [cut_frames(frames, rate_hz, *span) for span in window_spans(7.0, hop_s, hop_s)[:-1]]
            joined = np.concatenate([part for part in parts if part is not None] or [frames[:0]])
            np.testing.assert_array_equal(joined, frames[: len(joined)])


def test_cut_takes_frames_by_their_middle_and_none_where_there_is_none() -> None:
    frames = np.arange(10)[:, None]
    part = cut_frames(frames, 10.0, 0.26, 0.55)
    assert part is not None
    assert part.ravel().tolist() == [3, 4]
    assert cut_frames(frames, 10.0, 1.0, 2.0) is None
    assert cut_frames(frames, 10.0, 0.41, 0.44) is None


def test_mean_over_time_weighs_by_length_and_counts_overlap_once() -> None:
    assert mean_over_time([(0, 2), (2, 3)], [1.0, 4.0]) == pytest.approx(2.0)
    # Second 0 has the first value, second 1 the mean of both, second 2 the second; a gap counts for nothing.
    assert mean_over_time([(0, 2), (1, 3), (9, 10)], [0.0, 2.0, 3.0]) == pytest.approx((0 + 1 + 2 + 3) / 4)
