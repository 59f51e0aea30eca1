"""From a sequence to one vector."""

import torch


def masked_mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of (B, L, D) over the valid steps of a (B, L) mask; zero for an empty row. Returns (B, D)."""
    weight = mask.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1).clamp(min=1)


def masked_max(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Maximum of (B, L, D) over the valid steps of a (B, L) mask; zero for an empty row. Returns (B, D)."""
    highest = states.masked_fill(~mask.unsqueeze(-1), torch.finfo(states.dtype).min).max(1).values
    return torch.where(mask.any(-1, keepdim=True), highest, torch.zeros_like(highest))
