"""Whole runs of the real model: from a command line to a finished run folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoProcessor, TrainerCallback

from modeling_hfr_ame.corruption import CorruptionRecipe
from modeling_hfr_ame.data import SentimentCollator, SentimentDataset, load_stored_dataset
from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.evaluation import predict
from modeling_hfr_ame.training import main, run
from modeling_hfr_ame.training.run_record import last_checkpoint
from tests.training.tiny_run import tiny_run_words


def weights_in(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_weights(first: Path, second: Path) -> None:
    expected, found = weights_in(first), weights_in(second)
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


@pytest.fixture(scope="module")
def finished(talkers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parent folder of one finished run with seed 1."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    main(tiny_run_words(talkers, out, "--seeds", "1"))
    return out


def test_run_folder_holds_what_the_architecture_names(finished: Path, talkers: Path) -> None:
    folder = finished / "seed-1"
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "run.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "trainer_log.jsonl",
    }
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert (record["seed"], record["model"], record["variant"]) == (1, "hfr_ame", "full")
    assert record["dataset_folder"] == str(talkers)
    assert record["dataset_name"] == "synthetic_talkers"
    assert len(record["manifest_sha256"]) == 64
    assert record["num_rows"] == {"train": 26, "validation": 8}
    assert record["num_parameters"]["without_text_encoder"] < record["num_parameters"]["total"]
    assert record["num_steps"] == 2 * (26 // 8)
    assert [entry["epoch"] for entry in record["validation_history"]] == [1.0, 2.0]
    best = min(record["validation_history"], key=lambda entry: entry["eval_mae"])
    assert record["selected_epoch"] == best["epoch"]
    assert record["selected_validation"] == best
    assert "0, 0.3, 0.5, 0.7" in record["selection_rule"]
    assert (record["world_size"], record["device"]) == (1, "cpu")
    assert record["versions"]["torch"] == torch.__version__


def test_run_log_names_every_loss_term(finished: Path) -> None:
    lines = (finished / "seed-1" / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    first = next(entry for entry in map(json.loads, lines) if "loss" in entry)
    assert {"loss_task", "loss_band", "loss_anchor", "loss_severity"} <= first.keys()


def test_run_saved_model_reproduces_its_selected_validation_mae(finished: Path, talkers: Path) -> None:
    folder = finished / "seed-1"
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    rows = load_stored_dataset(talkers, "validation")
    for rate in (0.0, 0.5):
        recipe = CorruptionRecipe.from_name(f"drop-{rate}")
        data = SentimentDataset(
            rows, processor, dataset_name="synthetic_talkers", split="validation", corruption=recipe
        )
        _, predictions, labels = predict(model, data, SentimentCollator(processor), device="cpu")
        expected = record["selected_validation"][f"eval_mae_drop_{rate}"]
        assert float(np.abs(predictions - labels).mean()) == pytest.approx(expected, abs=1e-5)


def test_run_with_several_seeds_equals_single_runs(finished: Path, talkers: Path, tmp_path: Path) -> None:
    summaries = main(tiny_run_words(talkers, tmp_path, "--seeds", "2", "1"))
    assert [(summary.seed, summary.status) for summary in summaries] == [(2, "trained"), (1, "trained")]
    assert_same_weights(finished / "seed-1", tmp_path / "seed-1")
    assert not torch.equal(
        weights_in(tmp_path / "seed-1")["head.output.weight"], weights_in(tmp_path / "seed-2")["head.output.weight"]
    )


def test_run_finished_is_skipped_and_untouched(finished: Path, talkers: Path) -> None:
    before = (finished / "seed-1" / "run.json").stat().st_mtime_ns
    summary = main(tiny_run_words(talkers, finished, "--seeds", "1"))[0]
    assert summary.status == "skipped"
    assert summary.record["seed"] == 1
    assert (finished / "seed-1" / "run.json").stat().st_mtime_ns == before


def test_run_finished_with_other_arguments_is_refused(finished: Path, talkers: Path) -> None:
    words = tiny_run_words(talkers, finished, "--seeds", "1", "--weight_decay", "0.5", "--variant", "control")
    with pytest.raises(ConfigError, match=r"variant 'full' -> 'control'; weight_decay 0.01 -> 0.5"):
        main(words)


def test_run_overwrite_trains_again(talkers: Path, tmp_path: Path) -> None:
    words = ["--seeds", "1", "--max_steps", "1", "--eval_strategy", "no", "--save_strategy", "no"]
    words = tiny_run_words(talkers, tmp_path, *words, "--no_load_best_model_at_end")
    (tmp_path / "seed-1").mkdir()
    (tmp_path / "seed-1" / "run.json").write_text('{"arguments": {}, "seed": 1}', encoding="utf-8")
    assert main([*words, "--overwrite"])[0].status == "trained"
    assert main(words)[0].status == "skipped"


def test_run_in_a_strange_folder_is_refused(talkers: Path, tmp_path: Path) -> None:
    (tmp_path / "seed-1").mkdir()
    (tmp_path / "seed-1" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"holds thesis\.tex"):
        main(tiny_run_words(talkers, tmp_path, "--seeds", "1"))
    assert (tmp_path / "seed-1" / "thesis.tex").exists()


def test_run_seed_listed_twice_is_refused(talkers: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"seeds are \[1, 1\]"):
        main(tiny_run_words(talkers, tmp_path, "--seeds", "1", "1"))


class Interrupt(TrainerCallback):
    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 4:
            raise KeyboardInterrupt


def test_run_interrupted_is_resumed_to_the_same_weights(
    finished: Path, talkers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tiny_run_words(talkers, tmp_path, "--seeds", "1")
    plain = run.JsonLinesLog

    class InterruptingLog(Interrupt, plain):  # type: ignore[misc, valid-type]
        pass

    with monkeypatch.context() as patch:
        patch.setattr(run, "JsonLinesLog", InterruptingLog)
        with pytest.raises(KeyboardInterrupt):
            main(words)
    checkpoint = last_checkpoint(tmp_path / "seed-1")
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-3"
    (tmp_path / "seed-1" / "checkpoint-4").mkdir()  # a checkpoint that was cut off does not count
    summary = main(words)[0]
    assert summary.status == "resumed"
    assert summary.record["resumed"] is True
    assert_same_weights(finished / "seed-1", tmp_path / "seed-1")
    assert not list((tmp_path / "seed-1").glob("checkpoint-*"))


def test_run_interrupted_with_other_arguments_is_refused(talkers: Path, tmp_path: Path) -> None:
    (tmp_path / "seed-1").mkdir()
    (tmp_path / "seed-1" / "arguments.json").write_text('{"model": {"model": "other"}}', encoding="utf-8")
    with pytest.raises(ConfigError, match="model 'other' -> 'hfr_ame'"):
        main(tiny_run_words(talkers, tmp_path, "--seeds", "1"))


def test_run_text_only_is_a_clean_fine_tune_of_the_text_encoder(talkers: Path, tmp_path: Path) -> None:
    summary = main(tiny_run_words(talkers, tmp_path, "--seeds", "1", "--variant", "text_only"))[0]
    arguments = summary.record["arguments"]
    assert (arguments["data"]["modalities"], arguments["data"]["train_corruption"]) == ("t", "clean")
    assert summary.record["selection_rule"] == "lowest validation MAE averaged over drop rates 0 (fixed masks)"
    names = weights_in(summary.folder)
    assert not [name for name in names if "audio" in name or "vision" in name or "restoration" in name]


def test_run_with_modalities_leaves_rows_without_them_out(talkers: Path, tmp_path: Path) -> None:
    from modeling_hfr_ame.data import read_manifest, stored_rows, write_stored_dataset

    splits = {name: list(stored_rows(load_stored_dataset(talkers, name))) for name in ("train", "validation", "test")}
    for row in splits["train"][:2]:
        row["audio"] = row["vision"] = None
    manifest = {
        key: read_manifest(talkers)[key] for key in ("builder", "builder_version", "label_range", "feature_names")
    }
    folder = write_stored_dataset(tmp_path / "data", splits, manifest, feature_sizes={"audio": 12, "vision": 16})
    words = ["--seeds", "1", "--modalities", "av", "--max_steps", "1", "--eval_strategy", "no", "--save_strategy", "no"]
    summary = main(tiny_run_words(folder, tmp_path / "runs", *words, "--no_load_best_model_at_end"))[0]
    assert summary.record["num_rows_left_out"] == {"train": 2, "validation": 0}
    assert summary.record["num_rows"]["train"] == 24


def test_run_generates_the_synthetic_dataset_beside_the_runs(
    tmp_path: Path, talkers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modeling_hfr_ame.training import assembly

    calls = []

    def prepare(folder: Path) -> None:
        import shutil

        calls.append(folder)
        shutil.copytree(talkers, folder)

    monkeypatch.setattr(assembly, "prepare_synthetic_talkers", prepare)
    words = tiny_run_words(Path("synthetic_talkers"), tmp_path, "--seeds", "1", "2", "--max_steps", "1")
    main([*words[: words.index("--config_overrides")], "--eval_strategy", "no", "--save_strategy", "no",
          "--no_load_best_model_at_end", *words[words.index("--config_overrides") :]])  # fmt: skip
    assert calls == [tmp_path / "synthetic_talkers"]
