"""The running average of the weights: its values, and what a run scores, keeps and resumes with it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainerCallback

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.training.averaging import AVERAGE_FILE, WeightAverage
from tests.training.test_trainer import StopAt, make_trainer, weights_of

AVERAGED = ["--num_train_epochs", "4", "--average_weights", "0.8"]


class RecordWeights(TrainerCallback):
    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._take(kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._take(kwargs["model"])

    def _take(self, model: nn.Module) -> None:
        self.seen.append({name: value.detach().clone() for name, value in model.named_parameters()})


def average_by_hand(seen: list[dict[str, torch.Tensor]], decay: float) -> dict[str, torch.Tensor]:
    average = dict(seen[0])
    for step, weights in enumerate(seen[1:], start=1):
        now = min(decay, (1 + step) / (10 + step))
        average = {name: now * average[name] + (1 - now) * weights[name] for name in weights}
    return average


def test_average_of_a_run_follows_from_its_steps(tmp_path: Path) -> None:
    record = RecordWeights()
    words = [*AVERAGED, "--learning_rate", "0.1", "--no_load_best_model_at_end", "--save_strategy", "no"]
    trainer = make_trainer(tmp_path, *words, callbacks=[record])
    trainer.train()
    assert len(record.seen) == 13
    for name, value in average_by_hand(record.seen, 0.8).items():
        torch.testing.assert_close(trainer.model.get_parameter(name).detach(), value)
    assert not torch.allclose(trainer.model.head.weight, record.seen[-1]["head.weight"], rtol=0.01)


def test_average_does_not_change_the_training(tmp_path: Path) -> None:
    plain, averaged = RecordWeights(), RecordWeights()
    make_trainer(tmp_path / "plain", "--num_train_epochs", "4", dropout=0.3, callbacks=[plain]).train()
    make_trainer(tmp_path / "averaged", *AVERAGED, dropout=0.3, callbacks=[averaged]).train()
    for first, second in zip(plain.seen, averaged.seen, strict=True):
        assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_average_is_what_validation_selects_and_the_model_holds(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, *AVERAGED, "--learning_rate", "0.3", "--save_total_limit", "9")
    trainer.train()
    scores = [entry["eval_mae"] for entry in trainer.state.log_history if "eval_mae" in entry]
    assert trainer.evaluate()["eval_mae"] == pytest.approx(min(scores), rel=1e-6)
    checkpoints = sorted(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    for folder, score in zip(checkpoints, scores, strict=True):
        average = WeightAverage(trainer.model, 0.8)
        average.load(folder / AVERAGE_FILE, num_steps=0)
        average.copy_to_model()
        assert trainer.evaluate()["eval_mae"] == pytest.approx(score, rel=1e-6)


@pytest.mark.parametrize(("load_best", "as_given"), [(True, str), (False, Path)])
def test_average_resumed_equals_uninterrupted(
    tmp_path: Path, load_best: bool, as_given: type[str] | type[Path]
) -> None:
    words = [*AVERAGED, *([] if load_best else ["--no_load_best_model_at_end"])]
    whole = make_trainer(tmp_path / "whole", *words, dropout=0.3)
    whole.train()
    broken = make_trainer(tmp_path / "broken", *words, dropout=0.3, callbacks=[StopAt(7)])
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    resumed = make_trainer(tmp_path / "broken", *words, dropout=0.3)
    resumed.train(resume_from_checkpoint=as_given(tmp_path / "broken" / "checkpoint-6"))
    for name, value in weights_of(whole).items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_average_gives_the_trained_weights_back_after_an_error() -> None:
    model = nn.Linear(3, 1)
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        model.weight.add_(1)
    trained = model.weight.detach().clone()

    def fail_while_averaged() -> None:
        with average.in_model():
            assert not torch.equal(model.weight, trained)
            raise KeyError

    with pytest.raises(KeyError):
        fail_while_averaged()
    assert torch.equal(model.weight, trained)


def test_average_leaves_frozen_weights_alone(tmp_path: Path) -> None:
    model = nn.Linear(3, 1)
    model.bias.requires_grad_(False)
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        model.bias.fill_(7.0)
    average.update()
    average.copy_to_model()
    assert model.bias.item() == 7.0


def test_average_missing_in_the_checkpoint_is_refused(tmp_path: Path) -> None:
    make_trainer(tmp_path, "--num_train_epochs", "1").train()
    with pytest.raises(ConfigError, match=r"goes on from the average in its checkpoint, but .* is missing"):
        make_trainer(tmp_path, *AVERAGED).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


def test_average_resumed_without_a_named_checkpoint_is_refused(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, *AVERAGED)
    with pytest.raises(ConfigError, match="must name a checkpoint folder with average_weights, but is True"):
        trainer.train(resume_from_checkpoint=True)


def test_average_of_other_parameters_is_refused(tmp_path: Path) -> None:
    WeightAverage(nn.Linear(3, 1), 0.5).save(tmp_path / AVERAGE_FILE)
    with pytest.raises(ConfigError, match="must hold the trained parameters of this model, but holds others"):
        WeightAverage(nn.Linear(4, 1), 0.5).load(tmp_path / AVERAGE_FILE, num_steps=1)


@pytest.mark.parametrize("decay", ["0", "1", "-0.5", "nan"])
def test_average_with_an_impossible_decay_is_refused(tmp_path: Path, decay: str) -> None:
    with pytest.raises(ConfigError, match="average_weights must be between 0 and 1"):
        make_trainer(tmp_path, "--average_weights", decay)


def test_average_of_sharded_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = Trainer.create_accelerator_and_postprocess

    def create_sharded(self: Trainer) -> None:
        create(self)
        self.is_fsdp_enabled = True

    monkeypatch.setattr(Trainer, "create_accelerator_and_postprocess", create_sharded)
    with pytest.raises(ConfigError, match="FSDP and DeepSpeed shard them"):
        make_trainer(tmp_path, *AVERAGED)
