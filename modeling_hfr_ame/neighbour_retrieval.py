# Copyright 2026 The HFR-AME contributors. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Retrieval of similar samples, as HME enhances a modality with its neighbours.

Shape legend: B batch, S samples to choose from, D width.
"""

import torch
from torch import nn
from transformers import initialization as init


def batch_neighbours(states: torch.Tensor, threshold: float) -> torch.Tensor:
    """Mean of each sample's neighbours in the batch, as the released code of HME has it.

    A sample without neighbour, or whose vector adds up to exactly zero, gets the mean of all others that don't.

    Args:
        states: (B, D).
        threshold: Cosine from which on another sample is a neighbour.

    Returns:
        (B, D).
    """
    unit = nn.functional.normalize(states, dim=-1)
    near = (unit @ unit.T >= threshold) & ~torch.eye(len(states), dtype=torch.bool, device=states.device)
    is_filled = states.sum(-1) != 0
    chosen = torch.where((near.any(-1) & is_filled).unsqueeze(-1), near, is_filled).to(states.dtype)
    return chosen @ states / chosen.sum(-1, keepdim=True).clamp(min=1)


def smooth_neighbours(
    states: torch.Tensor,
    present: torch.Tensor,
    keys: torch.Tensor,
    usable: torch.Tensor,
    threshold: float,
    temperature: float,
) -> torch.Tensor:
    """Mean of the usable keys, weighted by how surely each is a neighbour.

    Similarity is the cosine after the mean of all usable keys is taken off; without that, the vectors of an encoder are
    all alike. The weight of a key is a smooth step at the threshold, so that a prediction doesn't jump and a sample
    without neighbours gets the nearest others. An absent sample has nothing to compare and gets the plain mean.

    Args:
        states: (B, D).
        present: (B,) bool samples whose states mean something.
        keys: (S, D) samples to choose from.
        usable: (B, S) bool which of them each sample may choose.
        threshold: Cosine at which the weight is one half.
        temperature: Width of the step.

    Returns:
        (B, D); zero in rows without a usable key. Only the keys get a gradient.
    """
    with torch.no_grad():
        counted = usable.any(0).to(keys.dtype)
        centre = counted @ keys / counted.sum().clamp(min=1)
        query, key = (nn.functional.normalize(item - centre, dim=-1) for item in (states, keys))
        scores = nn.functional.logsigmoid((query @ key.T - threshold) / temperature) * present.unsqueeze(-1)
        is_found = usable.any(-1, keepdim=True)
        weights = scores.masked_fill(~(usable | ~is_found), -torch.inf).softmax(-1) * is_found
    return weights @ keys


class NeighbourMemory(nn.Module):
    """Retrieves from the batch in training, and in eval mode from what training has seen last.

    The memory is a buffer of the checkpoint, so a prediction depends on the model and the sample alone. It never holds
    an absent modality. On several processes each retrieves among its own rows, and the first one's memory counts.

    Args:
        num_modalities: Number of modalities M.
        width: Vector width D.
        size: Samples kept per modality.
        threshold: Cosine from which on samples are neighbours.
        temperature: Width of the smooth step there.
    """

    vectors: torch.Tensor
    filled: torch.Tensor

    def __init__(self, num_modalities: int, width: int, size: int, threshold: float, temperature: float) -> None:
        super().__init__()
        self.threshold, self.temperature = threshold, temperature
        self.register_buffer("vectors", torch.zeros(num_modalities, size, width))
        # Zeros and ones: loading in another precision would turn a bool buffer into numbers.
        self.register_buffer("filled", torch.zeros(num_modalities, size))

    def init_own_parameters(self) -> None:
        """Empties the memory."""
        init.zeros_(self.vectors)
        init.zeros_(self.filled)

    def forward(self, modality: int, states: torch.Tensor, present: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Retrieves for one modality; in training also keeps what is present.

        Args:
            modality: Its number.
            states: (B, D).
            present: (B,) bool.

        Returns:
            (B, D), and (B,) bool whether there was anything. Where nothing else is known, a sample stands for itself.
        """
        if self.training:
            alone = torch.eye(len(states), dtype=torch.bool, device=states.device)
            keys, usable = states, present & ~alone
            self._keep(modality, states.detach(), present)
        else:
            keys, usable = self.vectors[modality], (self.filled[modality] > 0).expand(len(states), -1)
        found = usable.any(-1)
        retrieved = smooth_neighbours(states, present, keys, usable, self.threshold, self.temperature)
        return torch.where((present & ~found).unsqueeze(-1), states, retrieved), present | found

    @torch.no_grad()
    def _keep(self, modality: int, states: torch.Tensor, present: torch.Tensor) -> None:
        vectors = torch.cat([states.to(self.vectors.dtype), self.vectors[modality]])
        filled = torch.cat([present.to(self.filled.dtype), self.filled[modality]])
        # The newest first, what is absent last.
        order = torch.argsort(filled, descending=True, stable=True)[: self.filled.shape[1]]
        self.vectors[modality].copy_(vectors[order])
        self.filled[modality].copy_(filled[order])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # Processes evaluate with the memory that the first one saves.
            for kept in (self.vectors[modality], self.filled[modality]):
                torch.distributed.broadcast(kept, src=0)
