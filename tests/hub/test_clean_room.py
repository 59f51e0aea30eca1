"""A stranger without this package loads an exported repository from a folder, from the Hub, and from the cache."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi
from transformers import AutoModel, AutoModelForSequenceClassification, AutoProcessor, pipeline

from modeling_hfr_ame import HfrAmeForSentiment, HfrAmeProcessor, MultimodalSentimentPipeline
from modeling_hfr_ame.hub.export import export_run
from modeling_hfr_ame.pipeline_sentiment import TASK
from tests.hub.clean_rooms import LOAD, as_lists, logits_of, run_in_clean_room
from tests.hub.loopback_hub import LoopbackHub
from tests.hub.run_making import make_items, make_model, make_processor, make_run
from tests.models.model_fixtures import MODEL_BUILDERS

REPOSITORY_ID = "someone/hfr-ame-mosei"
CLASSES = [
    "HfrAmeForSentiment",
    "HfrAmeProcessor",
    "HfrAmeConfig",
    "HfrAmeAudioFeatureExtractor",
    "MultimodalSentimentPipeline",
]
PEERS = sorted(MODEL_BUILDERS.keys() - {"hfr_ame"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exported")
    return export_run(make_run(root / "run"), root / "repository", card="# A model\n")


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """What the model gives that the run was made from, without any saving and loading."""
    model, processor = make_model(), make_processor()
    pipe = MultimodalSentimentPipeline(model=model, processor=processor, device="cpu")
    return {"logits": logits_of(model, processor, make_items()), "results": json.loads(json.dumps(pipe(make_items())))}


@pytest.fixture(scope="module")
def stranger(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    home = tmp_path_factory.mktemp("stranger")
    task = {
        "task": TASK,
        "items": as_lists(make_items()),
        "sources": {"folder": [str(folder), {}]},
        "again": str(home / "again"),
    }
    report, errors = run_in_clean_room(LOAD, home, task)
    return report["folder"], errors


def test_auto_classes_without_the_package_give_bit_equal_logits(stranger: Any, expected: dict[str, Any]) -> None:
    logits = stranger[0]["logits"]
    assert logits == dict.fromkeys(("AutoModel", "AutoModelForSequenceClassification"), expected["logits"])


def test_auto_classes_without_the_package_report_no_missing_or_unexpected_key(stranger: Any) -> None:
    report, errors = stranger
    assert report["keys"] == {"AutoModel": [], "AutoModelForSequenceClassification": []}
    assert "MISSING" not in errors
    assert "UNEXPECTED" not in errors


def test_every_part_without_the_package_comes_from_the_repository(stranger: Any) -> None:
    assert stranger[0]["classes"] == CLASSES
    assert {name.partition(".")[0] for name in stranger[0]["modules"]} == {"transformers_modules"}


def test_pipeline_without_the_package_gives_the_same_results(stranger: Any, expected: dict[str, Any]) -> None:
    assert stranger[0]["results"] == expected["results"]


def test_pipeline_saved_again_without_the_package_runs_from_there(stranger: Any, expected: dict[str, Any]) -> None:
    assert stranger[0]["again"] == expected["results"]


def test_auto_classes_with_the_package_need_no_remote_code(folder: Path, expected: dict[str, Any]) -> None:
    processor = AutoProcessor.from_pretrained(folder)
    assert type(processor) is HfrAmeProcessor
    for auto in (AutoModel, AutoModelForSequenceClassification):
        model, info = auto.from_pretrained(folder, output_loading_info=True)
        assert type(model) is HfrAmeForSentiment
        assert not any(info.values())
        assert logits_of(model, processor, make_items()) == expected["logits"]


@pytest.mark.parametrize("way", ["class given", "loaded parts", "remote code allowed"])
def test_pipeline_with_the_package_gives_the_same_results(folder: Path, expected: dict[str, Any], way: str) -> None:
    if way == "class given":
        pipe = pipeline(TASK, model=str(folder), pipeline_class=MultimodalSentimentPipeline, device="cpu")
    elif way == "loaded parts":
        parts = {"model": AutoModel.from_pretrained(folder), "processor": AutoProcessor.from_pretrained(folder)}
        pipe = pipeline(TASK, **parts, device="cpu")
    else:
        pipe = pipeline(TASK, model=str(folder), trust_remote_code=True, device="cpu")
    assert json.loads(json.dumps(pipe(make_items()))) == expected["results"]


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a stranger gets from the peers' repositories, all of them loaded by one process."""
    root = tmp_path_factory.mktemp("peers")
    folders = {name: export_run(make_run(root / name, name=name), root / f"exported-{name}") for name in PEERS}
    sources = {name: [str(folder), {}] for name, folder in folders.items()}
    task = {"task": TASK, "items": as_lists(make_items()), "sources": sources}
    return run_in_clean_room(LOAD, root / "stranger", task)[0]


@pytest.mark.parametrize("name", PEERS)
def test_peer_without_the_package_gives_bit_equal_logits_and_the_same_results(peers: dict[str, Any], name: str) -> None:
    model, processor, found = make_model(name=name), make_processor(), peers[name]
    expected = logits_of(model, processor, make_items())
    assert found["logits"] == dict.fromkeys(("AutoModel", "AutoModelForSequenceClassification"), expected)
    assert found["keys"] == {"AutoModel": [], "AutoModelForSequenceClassification": []}
    pipe = MultimodalSentimentPipeline(model=model, processor=processor, device="cpu")
    assert found["results"] == json.loads(json.dumps(pipe(make_items())))


@pytest.mark.parametrize("name", PEERS)
def test_peer_without_the_package_comes_from_its_own_repository(peers: dict[str, Any], name: str) -> None:
    model = make_model(name=name)
    assert peers[name]["classes"] == [type(model).__name__, CLASSES[1], type(model.config).__name__, *CLASSES[3:]]
    assert {module.partition(".")[0] for module in peers[name]["modules"]} == {"transformers_modules"}


@pytest.mark.usefixtures("client")
def test_hub_main_pinned_revision_and_offline_cache_each_give_their_model(
    hub: LoopbackHub, folder: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    newer = export_run(make_run(tmp_path / "run", position_scale=16.0), tmp_path / "newer")
    api = HfApi()
    api.create_repo(REPOSITORY_ID, private=True)
    pinned = api.upload_folder(repo_id=REPOSITORY_ID, folder_path=folder).oid
    api.upload_folder(repo_id=REPOSITORY_ID, folder_path=newer)
    task = {
        "task": TASK,
        "items": as_lists(make_items()),
        "sources": {"pinned": [REPOSITORY_ID, {"revision": pinned}], "main": [REPOSITORY_ID, {}]},
    }
    address = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_owner", "HF_HUB_DISABLE_XET": "1"}
    online, _ = run_in_clean_room(LOAD, tmp_path / "home", task, HF_HUB_OFFLINE="0", **address)
    assert hub.unknown_requests == []
    hub.stop()
    offline, _ = run_in_clean_room(LOAD, tmp_path / "home", task, **address)
    newer_logits = logits_of(make_model(position_scale=16.0), make_processor(), make_items())
    assert newer_logits != expected["logits"]
    for report in (online, offline):
        assert set(report["pinned"]["logits"].values()) == {expected["logits"]}
        assert report["pinned"]["results"] == expected["results"]
        assert set(report["main"]["logits"].values()) == {newer_logits}
        assert all(keys == [] for source in report.values() for keys in source["keys"].values())
        assert all(pinned in module for module in report["pinned"]["modules"])


def test_export_leaves_the_loaded_run_on_the_cpu_and_bit_equal(folder: Path) -> None:
    written = HfrAmeForSentiment.from_pretrained(folder).state_dict()
    original = make_model().state_dict()
    assert written.keys() == original.keys()
    assert all(torch.equal(written[name], value) for name, value in original.items())
