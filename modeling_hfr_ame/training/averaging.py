"""A running average of the weights, which is what is scored, selected and saved.

Late in training the weights still move around a good place, and where they happen to be at the end of an epoch decides
part of the score. The exponential moving average (Polyak and Juditsky, SIAM J. Control Optim. 30(4):838, 1992) is
nearer to that place; the optimiser never sees it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from modeling_hfr_ame.errors import ConfigError

AVERAGE_FILE = "average.safetensors"


class WeightAverage:
    """The exponential moving average of a model's trainable parameters.

    The first steps count less than `decay` says: after n steps the factor is `min(decay, (1 + n) / (10 + n))`, so that
    the random initial weights are forgotten quickly. Frozen parameters and buffers are not averaged.

    Args:
        model: The unwrapped model on its device; the average starts from its weights.
        decay: Weight of the past in each step, in (0, 1). The average looks back over about `1 / (1 - decay)` steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_steps = 0
        self._parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._averages = {name: value.detach().clone() for name, value in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights after an optimiser step."""
        self.num_steps += 1
        decay = min(self.decay, (1 + self.num_steps) / (10 + self.num_steps))
        average = get_ema_multi_avg_fn(decay)
        average(list(self._averages.values()), list(self._parameters.values()), self.num_steps)

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Overwrites the model's weights by the average."""
        for name, value in self._parameters.items():
            value.copy_(self._averages[name])

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Puts the average into the model, and the trained weights back at the end."""
        trained = {name: value.detach().clone() for name, value in self._parameters.items()}
        self.copy_to_model()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in self._parameters.items():
                    value.copy_(trained[name])

    def save(self, path: Path) -> None:
        """Writes the average beside a checkpoint's weights.

        Args:
            path: A `.safetensors` file.
        """
        save_file({name: value.contiguous() for name, value in self._averages.items()}, path)

    @torch.no_grad()
    def load(self, path: Path, num_steps: int) -> None:
        """Goes on from a written average.

        Args:
            path: What `save` wrote.
            num_steps: Optimiser steps it has taken in.

        Raises:
            ConfigError: If the file is missing or belongs to other parameters.
        """
        if not path.is_file():
            raise ConfigError(
                f"a run with average_weights goes on from the average in its checkpoint, but {path} is missing; "
                "--overwrite trains the run again"
            )
        tensors = load_file(path)
        if _shapes(tensors) != _shapes(self._averages):
            raise ConfigError(
                f"{path} must hold the trained parameters of this model, but holds others; --overwrite trains "
                "the run again"
            )
        for name, value in self._averages.items():
            value.copy_(tensors[name])
        self.num_steps = num_steps


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in tensors.items()}
