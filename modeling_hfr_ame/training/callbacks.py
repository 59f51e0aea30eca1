"""What happens beside the training loop: the epoch of the sampler, ramps, clipping by value, the JSON-lines log."""

import json
import math
from pathlib import Path
from typing import Any

from torch.nn.utils import clip_grad_value_
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from modeling_hfr_ame.training.averaging import WeightAverage
from modeling_hfr_ame.training.sampling import EpochIndexSampler


def finite_or_none(value: Any) -> Any:
    """Replaces non-finite floats by None, since JSON has no word for them.

    Args:
        value: Anything JSON can hold; dicts and lists are walked through.

    Returns:
        The same structure without NaN and infinities.
    """
    if isinstance(value, dict):
        return {str(key): finite_or_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class SamplerEpoch(TrainerCallback):
    """Tells the training sampler its epoch.

    `Trainer` and Accelerate forward the epoch through their loader wrappers, except when a run resumes in the middle of
    an epoch on several processes: the skipping wrapper around the sharding wrapper then hides the sampler.

    Args:
        sampler: The sampler of the training loader.
    """

    def __init__(self, sampler: EpochIndexSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Sets the epoch that is about to run; after a resume that is the one in which the run stopped."""
        self.sampler.set_epoch(int(state.epoch or 0))


class TrainingProgress(TrainerCallback):
    """Tells a model how far its training is, if the model wants to know.

    A model with a method `set_training_progress(fraction)` gets the fraction of all optimiser steps done, in [0, 1),
    before each step. The value depends on the step only, so a resumed run sees the same ramps.
    """

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hands over the fraction for the coming step."""
        set_progress = getattr(kwargs.get("model"), "set_training_progress", None)
        if set_progress is not None:
            set_progress(state.global_step / max(state.max_steps, 1))


class GradientValueLimit(TrainerCallback):
    """Clips each element of the gradients, as some published recipes do instead of limiting their norm.

    Args:
        limit: Largest absolute value, > 0.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Clips what the optimiser is about to read."""
        clip_grad_value_(kwargs["model"].parameters(), self.limit)


class WeightAveraging(TrainerCallback):
    """Keeps a running average of the weights while a run trains.

    Args:
        decay: Weight of the past in each step, in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: WeightAverage | None = None
        self.resume_file: Path | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts from the model's weights, or from `resume_file`."""
        self.average = WeightAverage(kwargs["model"], self.decay)
        if self.resume_file is not None:
            self.average.load(self.resume_file, num_steps=state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Takes in the new weights, before they are scored or saved."""
        assert self.average is not None
        self.average.update()


class JsonLinesLog(TrainerCallback):
    """Writes every log entry as one line of JSON, on the main process only.

    Args:
        path: The file. A fresh run empties it; a resumed run first rewrites what its checkpoint remembers, so lines of
            steps that are run again don't appear twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts the file from the state's history."""
        if state.is_world_process_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text("".join(_line(entry) for entry in state.log_history), encoding="utf-8")

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Appends the newest entry."""
        if state.is_world_process_zero and state.log_history:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(state.log_history[-1]))


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(finite_or_none(entry), sort_keys=True) + "\n"
