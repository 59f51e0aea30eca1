"""LoRA runs: from a command line to an adapter, its base and the merged model."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoProcessor

from modeling_hfr_ame.data import SentimentCollator, SentimentDataset, load_stored_dataset
from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.evaluation.run_folders import find_runs, load_run
from modeling_hfr_ame.hub.export import export_run
from modeling_hfr_ame.training import LoraAdaptation, LoraArguments, main
from modeling_hfr_ame.training.adapters import modules_outside_text_encoder
from tests.training.tiny_run import tiny_run_words

REPOSITORY = Path(__file__).resolve().parents[2]
BASE_ID = "someone/hfr-ame-base"


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("finetune_lora", REPOSITORY / "examples" / "finetune_lora.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lora_run(talkers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a finished LoRA run of the whole model, made by the example."""
    out = tmp_path_factory.mktemp("lora")
    lora = ["--base_id", BASE_ID, "--lora_rank", "2", "--text_learning_rate", "5e-3"]
    summaries = load_example().main([*lora, *tiny_run_words(talkers, out, "--seeds", "1")])
    return summaries[0].folder


@pytest.fixture(scope="module")
def batch(lora_run: Path, talkers: Path) -> dict[str, Any]:
    """Eight samples as the merged model's processor gives them."""
    processor = AutoProcessor.from_pretrained(lora_run)
    samples = SentimentDataset(
        load_stored_dataset(talkers, "validation"),
        processor,
        dataset_name="synthetic_talkers",
        split="validation",
        seed=0,
        modalities="tav",
        label_range=(-3.0, 3.0),
    )
    collated = SentimentCollator(processor)([samples[index] for index in range(8)])
    return {name: value for name, value in collated.items() if name not in ("sample_ids", "labels")}


def logits_of(model: nn.Module, batch: dict[str, Any]) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**batch)["logits"]


def base_of(folder: Path) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(folder / "base")


def test_adapter_on_its_base_scores_as_the_merged_model(lora_run: Path, batch: dict[str, Any]) -> None:
    merged = logits_of(AutoModelForSequenceClassification.from_pretrained(lora_run), batch)
    untouched = logits_of(base_of(lora_run), batch)
    adapted = PeftModel.from_pretrained(base_of(lora_run), str(lora_run / "adapter"))
    torch.testing.assert_close(logits_of(adapted, batch), merged, atol=1e-5, rtol=0)
    torch.testing.assert_close(logits_of(adapted.merge_and_unload(), batch), merged, atol=1e-5, rtol=0)
    assert (merged - untouched).abs().max() > 1e-2


def test_saved_and_reloaded_adapter_gives_bit_equal_logits(
    lora_run: Path, batch: dict[str, Any], tmp_path: Path
) -> None:
    adapted = PeftModel.from_pretrained(base_of(lora_run), str(lora_run / "adapter"))
    adapted.save_pretrained(str(tmp_path), save_embedding_layers=False)
    reloaded = PeftModel.from_pretrained(base_of(lora_run), str(tmp_path))
    assert torch.equal(logits_of(reloaded, batch), logits_of(adapted, batch))


def test_training_changes_the_targets_in_the_text_encoder_and_everything_outside(lora_run: Path) -> None:
    base = base_of(lora_run).state_dict()
    merged = AutoModelForSequenceClassification.from_pretrained(lora_run).state_dict()
    assert base.keys() == merged.keys()
    in_text = {name for name in base if "text_model." in name}
    changed = {name for name in base if not torch.equal(base[name], merged[name])}
    assert changed & in_text == {name for name in in_text if name.endswith(("query.weight", "value.weight"))}
    matrices = {name for name in base.keys() - in_text if base[name].ndim > 1}
    assert matrices <= changed


def test_adapter_folder_names_the_base_by_its_id_and_holds_no_path(lora_run: Path) -> None:
    config = json.loads((lora_run / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == BASE_ID
    files = [path for folder in ("adapter", "base") for path in (lora_run / folder).rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"adapter_config.json", "adapter_model.safetensors", "config.json"}
    places = [str(lora_run.parent).encode(), str(REPOSITORY).encode(), str(Path.home()).encode() + b"/"]
    assert [path.name for path in files for place in places if place in path.read_bytes()] == []


def test_merged_model_is_an_ordinary_run_that_exports(lora_run: Path, batch: dict[str, Any], tmp_path: Path) -> None:
    (run,) = find_runs(lora_run)
    assert run.record["arguments"]["adapter"]["lora_rank"] == 2
    counts = run.record["num_parameters"]
    assert counts["without_text_encoder"] < counts["trainable"] < counts["total"]
    model, _ = load_run(run)
    exported = AutoModelForSequenceClassification.from_pretrained(export_run(lora_run, tmp_path / "exported"))
    assert torch.equal(logits_of(exported, batch), logits_of(model, batch))
    assert not [path for path in (tmp_path / "exported").rglob("*") if "adapter" in path.name]


def test_named_loss_terms_are_logged_through_the_adapter(lora_run: Path) -> None:
    entries = [json.loads(line) for line in (lora_run / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {"loss_task", "loss_band", "loss_severity"} <= entries[0].keys()


def test_run_folder_begun_with_another_rank_is_refused(lora_run: Path, talkers: Path) -> None:
    words = tiny_run_words(talkers, lora_run.parent, "--seeds", "1", "--text_learning_rate", "5e-3")
    with pytest.raises(ConfigError, match="lora_rank 2 -> 4"):
        main(words, adaptation=LoraAdaptation(LoraArguments(base_id=BASE_ID, lora_rank=4)))
    with pytest.raises(ConfigError, match="lora_rank 2 -> None"):
        main(words)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_id": "base"}, "base_id .* is 'base'"),
        ({"base_id": "/data/runs/base"}, "base_id .* not a folder"),
        ({"base_id": "../base"}, "base_id .* not a folder"),
        ({"base_id": "tests/training"}, "base_id .* not a folder"),
        ({"base_id": BASE_ID, "lora_rank": 0}, "lora_rank must be at least 1, but is 0"),
    ],
)
def test_argument_that_does_not_fit_is_refused(
    fields: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(ConfigError, match=message):
        LoraArguments(**fields)


class TinyEncoderModel(nn.Module):
    """A text encoder and a head; on request a parameter that is in neither."""

    def __init__(self, loose_parameter: bool = False) -> None:
        super().__init__()
        self.text_model = nn.ModuleDict({"query": nn.Linear(4, 4)})
        self.heads = nn.ModuleDict({"score": nn.Linear(4, 1), "nothing": nn.Identity()})
        if loose_parameter:
            self.scale = nn.Parameter(torch.ones(1))


def test_modules_outside_the_text_encoder_are_named_without_containers() -> None:
    assert list(modules_outside_text_encoder(TinyEncoderModel())) == ["heads.score"]


def test_parameter_that_no_module_outside_the_text_encoder_holds_is_refused() -> None:
    with pytest.raises(ConfigError, match="the parameter 'scale' lies in 'the model'"):
        list(modules_outside_text_encoder(TinyEncoderModel(loose_parameter=True)))


def test_pattern_that_matches_nothing_is_refused(lora_run: Path) -> None:
    adaptation = LoraAdaptation(LoraArguments(base_id=BASE_ID, lora_targets="nothing"))
    with pytest.raises(ConfigError, match="lora_targets must match modules of the text encoder, but 'nothing'"):
        adaptation.prepare(base_of(lora_run), None)


def test_model_that_reads_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="LoRA needs a text encoder"):
        LoraAdaptation(LoraArguments(base_id=BASE_ID)).prepare(nn.Linear(2, 2), None)
