import hashlib

import numpy as np
import pytest
import scipy.stats

from modeling_hfr_ame.data.synthetic_draws import KeyedDraws


def test_uniform_draws_equal_numpys_doubles_of_the_same_philox() -> None:
    key = int.from_bytes(hashlib.sha256(b"a\x1f1").digest()[:16], "little")
    expected = np.random.Generator(np.random.Philox(key=key)).random(1000)
    np.testing.assert_array_equal(KeyedDraws("a", 1).uniform(1000), expected)


def test_normal_draws_follow_the_standard_normal_distribution() -> None:
    draws = KeyedDraws("normal").normal(200, 50)
    assert draws.shape == (200, 50)
    assert scipy.stats.kstest(draws.ravel(), "norm").pvalue > 0.01
    assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 0.2


def test_integer_draws_cover_both_ends_evenly() -> None:
    stream = KeyedDraws("integers")
    counts = np.bincount([stream.integer(3, 6) for _ in range(2000)])
    assert counts[:3].sum() == 0
    assert scipy.stats.chisquare(counts[3:]).pvalue > 0.01


def test_draws_without_a_shape_are_single_numbers() -> None:
    assert 0.0 <= float(KeyedDraws("x").uniform()) < 1.0
    assert np.isfinite(float(KeyedDraws("x").normal()))


@pytest.mark.parametrize("other", [("a", 2), ("b", 1), ("a1",), (1, "a")])
def test_streams_with_different_keys_are_unrelated(other: tuple[str | int, ...]) -> None:
    first, second = KeyedDraws("a", 1).normal(4000), KeyedDraws(*other).normal(4000)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


def test_streams_with_equal_keys_are_equal() -> None:
    np.testing.assert_array_equal(KeyedDraws("a", 1).normal(7), KeyedDraws("a", 1).normal(7))
