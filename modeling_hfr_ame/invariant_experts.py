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
"""A mixture of experts that read subsets of the modalities.

Shape legend: B batch, D width, S subsets, E experts.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init

from .configuration_midg import MidgConfig


@dataclass
class Mixture:
    """What the mixture gives.

    Args:
        fused: (B, D).
        probabilities: (B, E) of the router, before the selection.
        selected: (B, E) bool experts that count.
    """

    fused: torch.Tensor
    probabilities: torch.Tensor
    selected: torch.Tensor

    def imbalance(self) -> torch.Tensor:
        """Measures how unevenly the rows are spread over the experts.

        Returns:
            Scalar: the product of the share of rows and the mean probability of each expert, summed and times E; 1 for
            equal loads, at most E.
        """
        share = self.selected.float().mean(0) / self.selected.float().sum(-1).mean()
        return share.shape[0] * (share * self.probabilities.mean(0)).sum()


class SubsetTokens(nn.Module):
    """One vector per subset of the modalities: a modality's own, or a low-rank product of several.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: MidgConfig) -> None:
        super().__init__()
        self.subsets = config.modality_subsets
        several = [subset for subset in self.subsets if len(subset) > 1]
        names = config.modality_names if several else ()
        self.factors = nn.ModuleDict({name: nn.Linear(config.hidden_size, config.interaction_size) for name in names})
        self.outputs = nn.ModuleDict(
            {"_".join(subset): nn.Linear(config.interaction_size, config.hidden_size) for subset in several}
        )

    def forward(
        self, states: dict[str, torch.Tensor], present: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Describes every subset.

        Args:
            states: (B, D) by modality.
            present: (B,) bool by modality.

        Returns:
            (B, S, D) tokens, and (B, S) bool subsets of which every member is present.
        """
        factors = {name: factor(states[name]).tanh() for name, factor in self.factors.items()}
        tokens = []
        for subset in self.subsets:
            if len(subset) == 1:
                tokens.append(states[subset[0]])
                continue
            product = torch.stack([factors[name] for name in subset]).prod(0)
            tokens.append(self.outputs["_".join(subset)](product))
        valid = [torch.stack([present[name] for name in subset]).all(0) for subset in self.subsets]
        return torch.stack(tokens, dim=1), torch.stack(valid, dim=1)


class InvariantExperts(nn.Module):
    """Routes each row to the experts that its invariant parts ask for, and adds up what these say.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: MidgConfig) -> None:
        super().__init__()
        self.num_active, self.preference = config.num_active_experts, config.subset_preference
        size, width, hidden = config.num_experts, config.hidden_size, config.expert_ffn_size
        self.tokens = SubsetTokens(config)
        self.router = nn.Linear(len(config.modality_names) * width, size)
        num_subsets = len(self.tokens.subsets)
        # With a single subset there is nothing to prefer.
        self.subset_query = nn.Parameter(torch.empty(size, num_subsets)) if num_subsets > 1 else None
        self.channel_embedding = nn.Parameter(torch.empty(size, width))
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.ModuleList(nn.Linear(width, hidden) for _ in range(size))
        self.output = nn.ModuleList(nn.Linear(hidden, width) for _ in range(size))
        self.dropout = nn.Dropout(config.dropout)

    def init_own_parameters(self) -> None:
        """Gives the bare parameters their first values: open channels, and a preferred subset for each expert."""
        init.constant_(self.channel_embedding, 2.0)
        if self.subset_query is not None:
            size, num_subsets = self.subset_query.shape
            preferred = torch.arange(size) % num_subsets == torch.arange(num_subsets).unsqueeze(-1)
            init.copy_(self.subset_query, self.preference * preferred.T.to(self.subset_query))

    def forward(self, states: dict[str, torch.Tensor], present: dict[str, torch.Tensor]) -> Mixture:
        """Fuses the modalities.

        Args:
            states: (B, D) invariant parts by modality, zero where absent.
            present: (B,) bool by modality.
        """
        tokens, valid = self.tokens(states, present)
        logits = self.router(torch.cat(list(states.values()), dim=-1)).float()
        probabilities = logits.softmax(-1)
        chosen = probabilities.topk(self.num_active, dim=-1).indices
        selected = torch.zeros_like(probabilities, dtype=torch.bool).scatter(-1, chosen, True)
        weights = probabilities * selected
        weights = weights / weights.sum(-1, keepdim=True)
        if self.subset_query is None:
            read = tokens.expand(-1, len(self.hidden), -1)
        else:
            scores = self.subset_query.unsqueeze(0).masked_fill(~valid.unsqueeze(1), torch.finfo(torch.float32).min)
            read = scores.softmax(-1).to(tokens.dtype) @ tokens
        read = self.norm(read * self.channel_embedding.sigmoid())
        # Every expert is computed for every row: they are small, and no parameter is idle in a step.
        said = [
            output(self.dropout(nn.functional.gelu(hidden(read[:, index]))))
            for index, (hidden, output) in enumerate(zip(self.hidden, self.output, strict=True))
        ]
        fused = (weights.unsqueeze(-1) * torch.stack(said, dim=1)).sum(1)
        return Mixture(fused, probabilities, selected)
