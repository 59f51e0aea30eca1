import dataclasses

import numpy as np
import pytest
from scipy import stats

from modeling_hfr_ame.corruption import SampleKey
from modeling_hfr_ame.corruption.keyed_draws import KeyedDraws
from modeling_hfr_ame.errors import ConfigError

KEY = SampleKey("mosi", "test", "a$_$1", seed=1, epoch=2)


def draw(key: SampleKey, modality: str = "audio", purpose: str = "drop") -> list[float]:
    return KeyedDraws(key, modality, purpose).uniform(4).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "mosei"},
        {"split": "train"},
        {"sample_id": "a$_$2"},
        {"seed": 2},
        {"epoch": 3},
        {"epoch": None},
        {"dataset": "mositest", "split": ""},
    ],
)
def test_draws_one_field_changed_differ(change: dict) -> None:
    assert draw(KEY) != draw(dataclasses.replace(KEY, **change))


def test_draws_modality_or_purpose_changed_differ() -> None:
    assert len({tuple(draw(KEY, *names)) for names in [("audio", "drop"), ("vision", "drop"), ("audio", "noise")]}) == 3


def test_draws_equal_address_repeat() -> None:
    assert draw(KEY) == draw(dataclasses.replace(KEY))


def test_draws_numpy_integers_equal_python_integers() -> None:
    assert draw(KEY) == draw(dataclasses.replace(KEY, seed=np.int64(1), epoch=np.int32(2)))


def test_uniform_many_draws_are_uniform() -> None:
    numbers = KeyedDraws(KEY, "audio", "drop").uniform(200, 100)
    assert numbers.shape == (200, 100)
    assert numbers.min() >= 0.0
    assert numbers.max() < 1.0
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 1e-4


def test_uniform_first_draws_of_many_samples_are_uniform() -> None:
    numbers = [draw(dataclasses.replace(KEY, sample_id=str(index)))[0] for index in range(2000)]
    assert stats.kstest(numbers, "uniform").pvalue > 1e-4


def test_normal_many_draws_are_standard_normal() -> None:
    numbers = KeyedDraws(KEY, "audio", "noise").normal(20000)
    assert stats.kstest(numbers, "norm").pvalue > 1e-4


def test_normal_extreme_bits_are_finite() -> None:
    class Extremes:
        def random_raw(self, size: int) -> np.ndarray:
            return np.array([0, 2**64 - 1], dtype=np.uint64)

    draws = KeyedDraws(KEY, "audio", "noise")
    draws._bits = Extremes()  # type: ignore[assignment]
    low, high = draws.normal(2)
    assert -8.5 < low < -8.0
    assert 8.0 < high < 8.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": 3}, r"SampleKey.dataset must be a string, found int 3; pass str"),
        ({"sample_id": None}, r"SampleKey.sample_id must be a string, found NoneType None"),
        ({"seed": 1.5}, r"SampleKey.seed must be an integer, found float 1.5; pass a whole number"),
        ({"epoch": "1"}, r"SampleKey.epoch must be an integer, found str '1'"),
        ({"epoch": -1}, r"SampleKey.epoch must be None or at least 0, found -1; count epochs from 0"),
    ],
)
def test_sample_key_wrong_field_raises(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(KEY, **change)
