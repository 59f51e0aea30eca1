from collections.abc import Callable

import numpy as np
import pytest

from modeling_hfr_ame.corruption import SampleKey


@pytest.fixture
def key() -> SampleKey:
    return SampleKey("generated", "test", "video$_$7", seed=5)


@pytest.fixture
def make_frames() -> Callable[..., np.ndarray]:
    def make(length: int, width: int = 4, seed: int = 0) -> np.ndarray:
        frames = np.random.default_rng(seed).normal(size=(length, width)).astype(np.float32)
        frames.setflags(write=False)  # a corruption that writes into its input fails in every test
        return frames

    return make
