"""Half-uploaded and tampered repositories: a named error that says what to do, never a model with random weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor

from modeling_hfr_ame import HfrAmeForSentiment, HfrAmeModel
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.hub.export import export_run
from modeling_hfr_ame.repository_checks import RepositoryFileError, RepositoryWeightsError
from tests.hub.run_making import make_run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("good")
    return export_run(make_run(root / "run"), root / "repository")


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "repository"))


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def leave_a_pointer(folder: Path) -> None:
    # What a clone without git-lfs holds.
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def put_nan(folder: Path) -> None:
    rewrite(folder, lambda weights: weights[min(weights)].view(-1)[0].fill_(float("nan")))


def put_infinity(folder: Path) -> None:
    rewrite(folder, lambda weights: weights[max(weights)].view(-1)[0].fill_(float("inf")))


def drop_one(folder: Path) -> None:
    rewrite(folder, lambda weights: weights.pop(max(weights)))


def add_one(folder: Path) -> None:
    rewrite(folder, lambda weights: weights.update(stowaway=torch.zeros(2)))


def widen(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["audio_config"]["feature_size"] = 6
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (truncate, RepositoryFileError, "complete safetensors file, repository has a damaged one .*download or export"),
        (empty, RepositoryFileError, "complete safetensors file, repository has a damaged one .*download or export"),
        (leave_a_pointer, RepositoryFileError, "complete safetensors file, repository has a damaged one"),
        (remove_weights, RepositoryFileError, r"lacks one .*model\.safetensors.*download or export"),
        (put_nan, RepositoryWeightsError, "weights must be finite, found NaN or infinity in .*download"),
        (put_infinity, RepositoryWeightsError, "weights must be finite"),
        (drop_one, RepositoryWeightsError, "exactly those of config.json, found missing .*restore"),
        (add_one, RepositoryWeightsError, "exactly those of config.json, found unexpected stowaway; restore"),
        (widen, RepositoryWeightsError, "shapes of config.json, .*audio.* differ.*restore the config.json"),
    ],
)
def test_damaged_weights_are_refused_by_name(
    folder: Path, damage: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    AutoModel.from_pretrained(folder)
    damage(folder)
    with pytest.raises(error, match=message) as caught:
        AutoModel.from_pretrained(folder)
    assert isinstance(caught.value, DataError)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("processor_config.json", r"repository lacks one.*download or export"),
        ("tokenizer.json", r"repository has none: tokenizer\.json is missing or empty; download or export"),
    ],
)
def test_missing_processor_file_is_named(folder: Path, name: str, message: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=message):
        AutoProcessor.from_pretrained(folder)


def test_mismatch_is_allowed_for_those_who_ask_for_it(folder: Path) -> None:
    widen(folder)
    model, info = HfrAmeForSentiment.from_pretrained(folder, ignore_mismatched_sizes=True, output_loading_info=True)
    assert model.config.audio_config.feature_size == 6
    assert any("audio" in str(key) for key in info["mismatched_keys"])


def test_base_model_of_a_checkpoint_with_a_head_loads(folder: Path) -> None:
    base = HfrAmeModel.from_pretrained(folder)
    whole = HfrAmeForSentiment.from_pretrained(folder)
    assert all(torch.equal(value, whole.model.state_dict()[name]) for name, value in base.state_dict().items())


def test_unreachable_repository_keeps_the_librarys_message() -> None:
    with pytest.raises(OSError, match=r"couldn't connect to .* and couldn't find them in the cached files") as caught:
        HfrAmeForSentiment.from_pretrained("someone/nothing")
    assert not isinstance(caught.value, DataError)
