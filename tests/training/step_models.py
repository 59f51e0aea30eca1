"""Takes a few steps with every tiny model in the processes that a launcher started; rank 0 writes what all of them saw.

Usage: step_models.py OUT.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch.nn.parallel import DistributedDataParallel

from modeling_hfr_ame.informative_latents import LatentNoise, MixingChoice
from tests.models.model_fixtures import MODEL_BUILDERS, random_batch, shake

# The rows of two processes differ in length and in what is absent.
LENGTHS = [(9, 12, 6), (4, 3, 10), (7, 0, 5), (3, 1, 2), (5, 9, 4), (0, 6, 8)]
NUM_STEPS = 3


def build_without_chance(name: str) -> torch.nn.Module:
    """A model in training mode that draws nothing, so that its loss depends on the rows alone."""
    model = shake(MODEL_BUILDERS[name]()).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(module, LatentNoise):
            module.forward = lambda like, name: torch.zeros_like(like)
        elif isinstance(module, MixingChoice):
            module.forward = lambda present: torch.full_like(present, 2, dtype=torch.long)
    return model


def take_steps(model: torch.nn.Module, rank: int = 0, world_size: int = 1) -> list[float]:
    """Descends on the rows of one process; gives the loss of each step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batch = {name: value[rank::world_size] for name, value in random_batch(LENGTHS, training=True).items()}
    losses = []
    for _ in range(NUM_STEPS):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main(out: Path) -> None:
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    found: dict[str, dict[str, Any]] = {}
    for name in MODEL_BUILDERS:
        model = build_without_chance(name)
        losses = take_steps(DistributedDataParallel(model), state.process_index, state.num_processes)
        total = sum(value.double().sum().item() for value in model.state_dict().values())
        found[name] = {"losses": gather_object([losses]), "sums": gather_object([total])}
    if state.is_main_process:
        out.write_text(json.dumps(found), encoding="utf-8")
    state.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
