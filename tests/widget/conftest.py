"""A tiny model for the native features, a drawn talker, and the page in a process of its own."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from modeling_hfr_ame.data.synthetic_clips import SyntheticClip, write_synthetic_clip
from modeling_hfr_ame.prediction import Predictor
from modeling_hfr_ame.widget import ClipScorer
from tests.hub.run_making import make_run
from tests.widget.page_server import PageServer


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("widget") / "run", native=True)


@pytest.fixture(scope="session")
def talker(tmp_path_factory: pytest.TempPathFactory) -> SyntheticClip:
    return write_synthetic_clip(tmp_path_factory.mktemp("talker") / "talker.mp4", num_words=6, seed=2)


@pytest.fixture(scope="session")
def scorer(run_folder: Path) -> ClipScorer:
    return ClipScorer(Predictor.from_pretrained(run_folder))


@pytest.fixture(scope="session")
def page_server(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """The running page; skips where Gradio is missing."""
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("Gradio is not installed; install hfr-ame[demo]")
    with PageServer(run_folder, tmp_path_factory.mktemp("page"), "--max_upload_mb", "2") as server:
        yield server
