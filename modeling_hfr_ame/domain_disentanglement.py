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
"""What MIDG splits and perturbs: invariant and specific parts, the simulated out-of-domain view, their losses.

Shape legend: B batch, D width, C sentiment classes.
"""

import math

import torch
from torch import nn

from .configuration_midg import MidgConfig
from .losses import global_mean, mean_over_rows

_SMALL = 1e-5


def label_classes(labels: torch.Tensor, label_range: tuple[float, float], num_classes: int) -> torch.Tensor:
    """Rounds labels to equally spaced values from the lowest to the highest one.

    Args:
        labels: (B,).
        label_range: Lowest and highest label.
        num_classes: Number of values C.

    Returns:
        (B,) int64 in [0, C).
    """
    low, high = label_range
    return ((labels.float() - low) / (high - low) * (num_classes - 1)).round().long()


class EntropySplit(nn.Module):
    """Splits a modality's vector into an invariant and a specific part, and says how well each tells the sentiment.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: MidgConfig) -> None:
        super().__init__()
        self.share = nn.Linear(config.hidden_size, config.hidden_size)
        self.invariant_probe = nn.Linear(config.hidden_size, config.num_label_classes)
        self.specific_probe = nn.Linear(config.hidden_size, config.num_label_classes)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Gives the invariant share of each channel of (B, D) states, (B, D) in (0, 1)."""
        return self.share(states).sigmoid()

    def losses(
        self, invariant: torch.Tensor, specific: torch.Tensor, present: torch.Tensor, classes: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Terms of the entropy split, means over the rows that have the modality.

        The specific part's probe learns from a copy without gradient, and the specific part learns against a copy of
        the probe: otherwise the probe would raise its entropy by forgetting.

        Args:
            invariant: (B, D).
            specific: (B, D).
            present: (B,) bool.
            classes: (B,) int64.

        Returns:
            `invariant_entropy`, the cross-entropy of the class given the invariant part; `probe`, that of the class
            given the specific part, which trains the probe alone; `specific_entropy`, how far the probe's answer is
            from complete uncertainty, in [0, 1].
        """
        probe = self.specific_probe
        known = nn.functional.cross_entropy(self.invariant_probe(invariant).float(), classes, reduction="none")
        guessed = nn.functional.cross_entropy(probe(specific.detach()).float(), classes, reduction="none")
        answer = nn.functional.linear(specific, probe.weight.detach(), probe.bias.detach()).float().log_softmax(-1)
        entropy = -(answer.exp() * answer).sum(-1)
        certainty = 1 - entropy / math.log(answer.shape[-1])
        return {
            "invariant_entropy": mean_over_rows(known, present),
            "probe": mean_over_rows(guessed, present),
            "specific_entropy": mean_over_rows(certainty, present),
        }


def _centred(states: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean (1, D), deviation (1, D) and centred values (B, D; zero where not counted) over the rows that count."""
    count = weight.sum().clamp(min=1)
    mean = (states * weight).sum(0, keepdim=True) / count
    centred = (states - mean) * weight
    return mean, (centred.square().sum(0, keepdim=True) / count + _SMALL).sqrt(), centred


def cross_correlation(first: torch.Tensor, second: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Mean squared correlation between the channels of two parts over the rows of this process.

    Args:
        first: (B, D).
        second: (B, D).
        present: (B,) bool rows that count.

    Returns:
        Scalar in [0, 1].
    """
    weight = present.unsqueeze(-1).float()
    (_, first_sd, first), (_, second_sd, second) = (_centred(part.float(), weight) for part in (first, second))
    return ((first / first_sd).T @ (second / second_sd) / weight.sum().clamp(min=1)).square().mean()


def draw_partners(present: torch.Tensor, domain_id: torch.Tensor | None) -> torch.Tensor:
    """Draws for each row another one that has the modality, of another source domain where the batch holds one.

    Args:
        present: (B,) bool.
        domain_id: (B,) int64 source of each row. None: all rows are of one.

    Returns:
        (B,) int64; the row itself where there is no other.
    """
    size, device = len(present), present.device
    itself = torch.eye(size, dtype=torch.bool, device=device)
    allowed = present.unsqueeze(0) & ~itself
    if domain_id is not None:
        strangers = allowed & (domain_id.unsqueeze(0) != domain_id.unsqueeze(1))
        allowed = torch.where(strangers.any(-1, keepdim=True), strangers, allowed)
    allowed = torch.where(allowed.any(-1, keepdim=True), allowed, itself)
    return torch.multinomial(allowed.float(), 1).squeeze(-1)


def simulate_specific(
    specific: torch.Tensor, present: torch.Tensor, domain_id: torch.Tensor | None, strength: float
) -> torch.Tensor:
    """Gives rows the specific part of another row, with channel statistics that no source has.

    Args:
        specific: (B, D).
        present: (B,) bool rows that have the modality.
        domain_id: As in `draw_partners`.
        strength: Spread of the log-scale and of the shift of each row and channel, in standard deviations of the batch.

    Returns:
        (B, D) without gradient; zero where the modality is absent.
    """
    weight = present.unsqueeze(-1).float()
    specific = specific.detach().float()
    mean, deviation, centred = _centred(specific, weight)
    borrowed = (centred / deviation)[draw_partners(present, domain_id)]
    scale = (strength * torch.randn_like(borrowed)).exp()
    return (mean + deviation * (borrowed * scale + strength * torch.randn_like(borrowed))) * weight


def risk_variance(errors: torch.Tensor, domain_id: torch.Tensor) -> torch.Tensor:
    """Variance of the mean error over the domains of the batch; zero for a single one.

    Args:
        errors: (B,) losses.
        domain_id: (B,) int64.

    Returns:
        Scalar; each domain counts once, whatever its rows.
    """
    same = (domain_id.unsqueeze(0) == domain_id.unsqueeze(1)).to(errors.dtype)
    size = same.sum(-1)
    # One weight per domain: its rows share it.
    risk, weight = same @ errors / size, 1 / size
    mean = global_mean((risk * weight).sum(), weight.sum())
    return global_mean(((risk - mean).square() * weight).sum(), weight.sum())
