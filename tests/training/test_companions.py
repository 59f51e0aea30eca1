"""Training with companions out of the training split."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, TrainerCallback

from modeling_hfr_ame import DashFusionForSentiment
from modeling_hfr_ame.data.companions import NO_ROW
from modeling_hfr_ame.training import main, run
from modeling_hfr_ame.training.companions import CompanionCollator, CompanionDataset, CompanionRanking
from tests.training.tiny_run import tiny_run_words

TINY_DASHFUSION = [
    "hidden_size=16",
    "num_attention_heads=2",
    "num_audio_heads=2",
    "num_vision_heads=2",
    "num_alignment_heads=2",
    "alignment_head_size=8",
    "encoder_ffn_size=16",
    "fusion_ffn_size=16",
    "head_sizes=[16, 16]",
    "text_config.hidden_size=16",
    "text_config.num_attention_heads=2",
    "text_config.intermediate_size=32",
    "text_config.num_hidden_layers=1",
]


def _train(talkers: Path, out: Path, variant: str, *more: str) -> Path:
    words = tiny_run_words(talkers, out, "--model", "dashfusion", "--variant", variant, "--seeds", "1", *more)
    main([*words[: words.index("--config_overrides") + 1], *TINY_DASHFUSION])
    return out / "seed-1"


class _Rows:
    """Rows that are their own number."""

    def __init__(self, classes: list[int]) -> None:
        self.labels = np.array(classes, dtype=float)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: tuple[int, int]) -> dict[str, int]:
        return {"epoch": index[0], "row": index[1]}


@pytest.mark.parametrize("variant", ["repaired", "companions", "reference"])
def test_dashfusion_run_trains_saves_and_loads(talkers: Path, tmp_path: Path, variant: str) -> None:
    folder = _train(talkers, tmp_path, variant)
    log = [json.loads(line) for line in (folder / "trainer_log.jsonl").read_text().splitlines()]
    terms = [entry["loss_contrastive"] for entry in log if "loss_contrastive" in entry]
    assert len(terms) == 2
    assert all(term > 0 for term in terms)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert isinstance(model, DashFusionForSentiment)
    assert model.config.variant == ("reference" if variant == "reference" else "repaired")
    assert {path.name for path in folder.iterdir()} >= {"config.json", "model.safetensors", "run.json"}


def test_drawn_companions_follow_the_lists_and_change_with_the_epoch() -> None:
    dataset = CompanionDataset(_Rows(list(range(40))), (2, 1, 1), seed=3)  # type: ignore[arg-type]
    dataset.lists = [np.tile(np.arange(start, start + 10), (40, 1)) for start in (0, 10, 20)]
    draws = [dataset.draw(epoch, 5) for epoch in range(20)]
    assert all(0 <= a < 10 and 0 <= b < 10 and 10 <= c < 20 <= d < 30 and a != b for a, b, c, d in draws)
    assert len({tuple(draw) for draw in draws}) > 10
    assert draws == [dataset.draw(epoch, 5) for epoch in range(20)]
    assert dataset[4, 5]["companions"] == [{"epoch": 4, "row": row} for row in draws[4]]


def test_short_list_is_filled_and_a_row_from_the_end_is_found() -> None:
    dataset = CompanionDataset(_Rows(list(range(8))), (2, 1, 1), seed=0)  # type: ignore[arg-type]
    dataset.lists = [np.full((8, 3), NO_ROW), np.full((8, 3), -2), np.full((8, 3), 4)]
    draw = dataset.draw(0, 0)
    assert draw[2:] == [6, 4]
    assert all(0 <= row < 8 for row in draw[:2])


def test_collator_keeps_companions_apart_and_leaves_plain_rows_alone() -> None:
    def stack(samples: list[dict[str, int]]) -> dict[str, object]:
        return {"row": torch.tensor([sample["row"] for sample in samples]), "sample_ids": ["x"] * len(samples)}

    collate = CompanionCollator(stack)
    batch = collate([{"row": 1, "companions": [{"row": 2}, {"row": 3}]}, {"row": 4, "companions": [{"row": 5}] * 2}])
    assert batch["row"].tolist() == [1, 4]
    assert set(batch["companions"]) == {"row"}
    assert batch["companions"]["row"].tolist() == [2, 3, 5, 5]
    assert set(collate([{"row": 1}])) == {"row", "sample_ids"}


def test_rows_are_ranked_at_the_start_and_before_every_second_epoch(
    talkers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked: list[float] = []
    rates: list[float] = []
    rank = CompanionRanking._rank

    def watch(self: CompanionRanking, model: DashFusionForSentiment) -> None:
        was_training = model.training
        rank(self, model)
        assert model.training == was_training
        rows = self.dataset.rows
        classes = model.label_classes(torch.as_tensor(rows.labels)).numpy()
        similar = self.dataset.lists[0]
        hits = (classes[similar % len(rows)] == classes[:, None])[similar != NO_ROW]
        ranked.append(len(hits))
        rates.append(hits.mean())

    monkeypatch.setattr(CompanionRanking, "_rank", watch)
    _train(talkers, tmp_path, "companions", "--num_train_epochs", "4")
    assert len(ranked) == 3  # epochs 0, 1 and 3
    assert rates == [1.0] * 3


def test_resumed_run_draws_the_same_companions(talkers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class _Stop(TrainerCallback):
        def on_step_begin(self, args: object, state: object, control: object, **kwargs: object) -> None:
            if state.global_step == 5:  # type: ignore[attr-defined]
                raise KeyboardInterrupt

    more = ("--num_train_epochs", "3", "--save_strategy", "steps", "--eval_strategy", "steps")
    more += ("--save_steps", "4", "--eval_steps", "4", "--load_best_model_at_end", "false")
    whole = _train(talkers, tmp_path / "whole", "companions", *more)
    make = run.JsonLinesLog
    with monkeypatch.context() as patched:
        patched.setattr(run, "JsonLinesLog", lambda path: _StopWith(make(path), _Stop()))
        with pytest.raises(KeyboardInterrupt):
            _train(talkers, tmp_path / "resumed", "companions", *more)
    resumed = _train(talkers, tmp_path / "resumed", "companions", *more)
    assert json.loads((resumed / "run.json").read_text())["resumed"]
    expected, found = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


class _StopWith(TrainerCallback):
    """The run's own log, and a stop in the middle."""

    def __init__(self, log: TrainerCallback, stop: TrainerCallback) -> None:
        self.log, self.stop = log, stop

    def on_train_begin(self, *args: object, **kwargs: object) -> None:
        self.log.on_train_begin(*args, **kwargs)

    def on_step_begin(self, *args: object, **kwargs: object) -> None:
        self.stop.on_step_begin(*args, **kwargs)

    def on_log(self, *args: object, **kwargs: object) -> None:
        self.log.on_log(*args, **kwargs)
