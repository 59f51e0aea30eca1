"""The training loop on the tiny model, in one process."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import EarlyStoppingCallback, TrainerCallback, set_seed

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.training.arguments import SentimentTrainingArguments, parse_arguments
from modeling_hfr_ame.training.callbacks import JsonLinesLog
from modeling_hfr_ame.training.trainer import SentimentTrainer
from tests.training.tiny_sentiment import TinyConfig, TinyForSentiment, TinyRows, collate_rows, mean_absolute_error


def make_args(folder: Path, *words: str) -> SentimentTrainingArguments:
    fixed = ["--output_dir", str(folder), "--use_cpu", "--disable_tqdm", "true", "--global_batch_size", "8"]
    return parse_arguments([*fixed, *words])[2]


def make_trainer(folder: Path, *words: str, dropout: float = 0.0, **kwargs: Any) -> SentimentTrainer:
    args = make_args(folder, *words)
    set_seed(args.seed)
    options = {"eval_dataset": TinyRows(13, seed=1), "compute_metrics": mean_absolute_error} | kwargs
    return SentimentTrainer(
        TinyForSentiment(TinyConfig(dropout=dropout)), args, collate_rows, options.pop("rows", TinyRows(29)), **options
    )


class StopAt(TrainerCallback):
    """Breaks a run off as a killed process would, after whatever was saved at that step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def weights_of(trainer: SentimentTrainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize(("save_words", "stop", "resume"), [("epoch", 7, 6), ("steps --save_steps 5", 7, 5)])
def test_resume_with_dropout_gives_the_same_weights_bit_for_bit(
    tmp_path: Path, save_words: str, stop: int, resume: int
) -> None:
    words = ["--num_train_epochs", "4", "--no_load_best_model_at_end", "--save_strategy", *save_words.split()]
    whole = make_trainer(tmp_path / "whole", *words, dropout=0.3)
    whole.train()
    broken = make_trainer(tmp_path / "broken", *words, dropout=0.3, callbacks=[StopAt(stop)])
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    resumed = make_trainer(tmp_path / "broken", *words, dropout=0.3)
    torch.rand(17)  # the state of the global generator at the restart must not matter
    resumed.train(resume_from_checkpoint=str(tmp_path / "broken" / f"checkpoint-{resume}"))
    assert resumed.state.global_step == whole.state.global_step == 12
    for name, value in weights_of(whole).items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert resumed.model.seen_ids == whole.model.seen_ids[resume:]
    assert resumed.model.progress == whole.model.progress[resume:]


def test_training_seed_changes_order_and_weights(tmp_path: Path) -> None:
    first = make_trainer(tmp_path / "a", "--num_train_epochs", "1", "--seed", "1")
    second = make_trainer(tmp_path / "b", "--num_train_epochs", "1", "--seed", "2")
    first.train()
    second.train()
    assert first.model.seen_ids != second.model.seen_ids
    assert not torch.equal(first.model.head.weight, second.model.head.weight)


def test_training_eight_rows_are_overfitted(tmp_path: Path) -> None:
    rows = TinyRows(8)
    words = ["--num_train_epochs", "150", "--learning_rate", "3e-2", "--text_learning_rate", "1e-3", "--eval_strategy"]
    trainer = make_trainer(tmp_path, *words, "no", "--save_strategy", "no", "--no_load_best_model_at_end", rows=rows)
    before = trainer.evaluate(rows)["eval_mae"]
    trainer.train()
    assert trainer.evaluate(rows)["eval_mae"] < 0.1 * before


def test_training_bf16_stays_near_fp32(tmp_path: Path) -> None:
    words = ["--num_train_epochs", "3", "--no_load_best_model_at_end", "--save_strategy", "no"]
    full = make_trainer(tmp_path / "fp32", *words)
    half = make_trainer(tmp_path / "bf16", *words, "--bf16")
    full.train()
    half.train()
    assert half.accelerator.mixed_precision == "bf16"
    assert all(parameter.dtype == torch.float32 for parameter in half.model.parameters())
    assert not torch.equal(half.model.head.weight, full.model.head.weight)
    assert torch.allclose(half.model.head.weight, full.model.head.weight, atol=0.02)


def test_training_accumulated_batches_equal_one_batch(tmp_path: Path) -> None:
    words = ["--num_train_epochs", "4", "--no_load_best_model_at_end", "--save_strategy", "no"]
    whole = make_trainer(tmp_path / "whole", *words)
    halves = make_trainer(tmp_path / "halves", *words, "--gradient_accumulation_steps", "2")
    whole.train()
    halves.train()
    assert halves.state.global_step == whole.state.global_step == 12
    pairs = zip(halves.model.seen_ids[::2], halves.model.seen_ids[1::2], strict=True)
    assert [first + second for first, second in pairs] == whole.model.seen_ids
    for name, value in weights_of(whole).items():
        assert torch.allclose(value, halves.model.state_dict()[name], atol=1e-5), name


def test_optimizer_uses_the_text_learning_rate_after_warm_up(tmp_path: Path) -> None:
    words = ["--learning_rate", "1e-2", "--text_learning_rate", "1e-4", "--num_train_epochs", "10"]
    trainer = make_trainer(tmp_path, *words)
    trainer.create_optimizer_and_scheduler(num_training_steps=30)
    for _ in range(3):
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    rates = {group["name"]: group["lr"] for group in trainer.optimizer.param_groups}
    assert rates == pytest.approx({"rest": 1e-2, "rest_no_decay": 1e-2, "text": 1e-4, "text_no_decay": 1e-4})


def test_gradients_are_clipped_by_value_before_each_step(tmp_path: Path) -> None:
    seen: list[float] = []

    class SeeGradients(TrainerCallback):
        def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            gradients = [p.grad for p in kwargs["model"].parameters() if p.grad is not None]
            seen.append(max(float(gradient.abs().max()) for gradient in gradients))

    words = ["--num_train_epochs", "1", "--no_load_best_model_at_end", "--save_strategy", "no", "--max_grad_norm", "0"]
    make_trainer(tmp_path, *words, callbacks=[SeeGradients()]).train()
    free, seen[:] = list(seen), []
    limit = min(free) / 2
    make_trainer(tmp_path, *words, "--max_grad_value", str(limit), callbacks=[SeeGradients()]).train()
    assert seen == pytest.approx([limit] * len(free))


def test_log_averages_named_losses_over_the_window(tmp_path: Path) -> None:
    words = ["--num_train_epochs", "2", "--no_load_best_model_at_end", "--save_strategy", "no"]
    log = tmp_path / "trainer_log.jsonl"
    trainer = make_trainer(tmp_path, *words, callbacks=[JsonLinesLog(log)])
    trainer.train()
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    logged = [entry for entry in entries if "loss" in entry]
    assert [entry["step"] for entry in logged] == [3, 6]
    for entry in logged:
        assert entry["loss"] == pytest.approx(entry["loss_task"] + 0.01 * entry["loss_size"], rel=1e-5)
    assert len([entry for entry in entries if "eval_mae" in entry]) == 2
    assert len(entries) == len(trainer.state.log_history)


def test_log_after_resume_holds_each_step_once(tmp_path: Path) -> None:
    words = ["--num_train_epochs", "3", "--no_load_best_model_at_end"]
    log = tmp_path / "trainer_log.jsonl"
    with pytest.raises(KeyboardInterrupt):
        make_trainer(tmp_path, *words, callbacks=[JsonLinesLog(log), StopAt(6)]).train()
    checkpoint = str(tmp_path / "checkpoint-6")
    make_trainer(tmp_path, *words, callbacks=[JsonLinesLog(log)]).train(resume_from_checkpoint=checkpoint)
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [entry["step"] for entry in entries if "loss" in entry] == [3, 6, 9]


def test_progress_reaches_the_model_before_each_step(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, "--num_train_epochs", "2", "--no_load_best_model_at_end", "--save_strategy", "no")
    trainer.train()
    assert trainer.model.progress == [step / 6 for step in range(6)]


class ScriptedMetric:
    """Gives the listed values, one per evaluation."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def __call__(self, prediction: Any) -> dict[str, float]:
        return {"mae": self.values.pop(0)}


class KeepHeads(TrainerCallback):
    def __init__(self) -> None:
        self.heads: list[torch.Tensor] = []

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.heads.append(kwargs["model"].head.weight.detach().clone())


def test_selection_loads_the_epoch_with_the_lowest_mae(tmp_path: Path) -> None:
    keep = KeepHeads()
    metric = ScriptedMetric(0.9, 0.4, 0.7, 0.5)
    trainer = make_trainer(tmp_path, "--num_train_epochs", "4", callbacks=[keep], compute_metrics=metric)
    trainer.train()
    assert trainer.state.best_global_step == 6
    assert torch.equal(trainer.model.head.weight, keep.heads[1])
    assert not torch.equal(trainer.model.head.weight, keep.heads[3])


def test_early_stopping_ends_after_its_patience_also_across_a_resume(tmp_path: Path) -> None:
    words = ["--num_train_epochs", "9"]
    first = make_trainer(
        tmp_path,
        *words,
        callbacks=[EarlyStoppingCallback(3), StopAt(9)],
        compute_metrics=ScriptedMetric(0.5, 0.6, 0.6),
    )
    with pytest.raises(KeyboardInterrupt):
        first.train()
    second = make_trainer(
        tmp_path, *words, callbacks=[EarlyStoppingCallback(3)], compute_metrics=ScriptedMetric(0.6, 0.1)
    )
    second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-9"))
    assert second.state.epoch == 4.0


def test_prediction_is_the_logits_alone(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    result = trainer.predict(TinyRows(13, seed=1))
    assert result.predictions.shape == (13, 1)
    assert result.label_ids.tolist() == pytest.approx(TinyRows(13, seed=1).labels.tolist())


def test_trainer_split_smaller_than_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="training split has 5 rows and global_batch_size is 8"):
        make_trainer(tmp_path, rows=TinyRows(5))
