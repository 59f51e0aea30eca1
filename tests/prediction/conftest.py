"""A tiny model for the native features and generated talkers, made once for all tests of this folder."""

from pathlib import Path

import pytest

from modeling_hfr_ame.data.synthetic_clips import generate_synthetic_clips
from modeling_hfr_ame.prediction import Predictor
from tests.hub.run_making import make_run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("prediction") / "run", native=True)


@pytest.fixture(scope="session")
def talkers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two drawn talkers of 2 to 4 seconds and their labels."""
    return generate_synthetic_clips(tmp_path_factory.mktemp("talkers") / "clips", num_clips=2)


@pytest.fixture(scope="session")
def predictor(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor.from_pretrained(run_folder, cache_dir=tmp_path_factory.mktemp("features"))
