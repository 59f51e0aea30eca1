import numpy as np
import pytest
from scipy import stats

from modeling_hfr_ame.corruption import SampleKey, draw_missing_patterns
from modeling_hfr_ame.errors import ConfigError, DataError

TENTHS = [tenth / 10 for tenth in range(8)]


def keys(num_rows: int, seed: int = 0) -> list[SampleKey]:
    return [SampleKey("tiny", "test", f"row {index}", seed) for index in range(num_rows)]


@pytest.mark.parametrize("missing_rate", TENTHS)
def test_missing_patterns_meet_the_rate_and_keep_a_modality_in_every_row(missing_rate):
    kept = draw_missing_patterns(keys(686), missing_rate)
    assert kept.shape == (686, 3)
    assert kept.any(axis=1).all()
    assert 1 - kept.mean() == pytest.approx(min(missing_rate, 2 / 3), abs=0.005)


# The mix of rows with three, two and one modality that the published construction gives on 686 rows, in percent.
@pytest.mark.parametrize(
    ("missing_rate", "published"),
    [(0.1, (72, 25, 3)), (0.3, (31, 48, 21)), (0.5, (6, 38, 56)), (0.6, (1, 19, 80)), (0.7, (0, 0, 100))],
)
def test_missing_patterns_have_the_published_mix(missing_rate, published):
    kept = draw_missing_patterns(keys(686), missing_rate).sum(axis=1)
    found = [100 * np.mean(kept == count) for count in (3, 2, 1)]
    assert found == pytest.approx(published, abs=4)  # both sides are draws; sd of a share is below 1.9


def test_missing_patterns_treat_modalities_alike():
    kept = draw_missing_patterns(keys(3000), 0.5).sum(axis=0)
    assert stats.chisquare(kept).pvalue > 0.001


def test_missing_patterns_at_the_highest_rate_keep_one_modality_drawn_uniformly():
    kept = draw_missing_patterns(keys(3000), 0.7)
    assert (kept.sum(axis=1) == 1).all()
    assert stats.chisquare(kept.sum(axis=0)).pvalue > 0.001
    np.testing.assert_array_equal(kept, draw_missing_patterns(keys(3000), 2 / 3))


def test_missing_patterns_follow_the_row_in_any_order():
    forward = draw_missing_patterns(keys(200), 0.4)
    np.testing.assert_array_equal(draw_missing_patterns(keys(200)[::-1], 0.4)[::-1], forward)


def test_missing_patterns_of_another_seed_are_others():
    assert (draw_missing_patterns(keys(200), 0.4) != draw_missing_patterns(keys(200, seed=1), 0.4)).mean() > 0.2


@pytest.mark.parametrize("num_rows", [1, 2, 11])
@pytest.mark.parametrize("missing_rate", TENTHS)
def test_missing_patterns_of_a_small_split_come_as_close_as_they_can(num_rows, missing_rate):
    kept = draw_missing_patterns(keys(num_rows), missing_rate)
    error = abs(kept.mean() - (1 - min(missing_rate, 2 / 3)))
    assert error <= max(0.005, 0.5 / kept.size) + 1e-9


@pytest.mark.parametrize("missing_rate", [-0.1, 0.71, 1.0])
def test_missing_patterns_impossible_rate_raises(missing_rate):
    with pytest.raises(ConfigError, match=rf"must be in \[0, 0.7\], found {missing_rate}; .* nothing above 2/3 exists"):
        draw_missing_patterns(keys(4), missing_rate)


def test_missing_patterns_without_rows_raise():
    with pytest.raises(DataError, match="at least one row, found none; pass the keys of a whole split"):
        draw_missing_patterns([], 0.3)
