"""One modality's steps on another modality's time axis."""

import torch


def align_in_time(states: torch.Tensor, source_mask: torch.Tensor, target_mask: torch.Tensor) -> torch.Tensor:
    """Reads a sequence at the relative times of another one, by linear interpolation between its valid steps.

    Step i of n valid ones lies at (i + ½) / n of the clip, for both sequences. Before the first and after the last
    source step its value is held.

    Args:
        states: (B, S, D) source.
        source_mask: (B, S) bool valid prefix.
        target_mask: (B, L) bool valid prefix.

    Returns:
        (B, L, D), zero at padding and where the source has no valid step.
    """
    index = torch.arange(target_mask.shape[1], device=states.device, dtype=torch.float32)
    num_source = source_mask.sum(-1, keepdim=True)
    num_target = target_mask.sum(-1, keepdim=True).clamp(min=1)
    last = (num_source - 1).clamp(min=0)
    place = ((index + 0.5) / num_target * num_source - 0.5).clamp(min=0).minimum(last)
    before = place.floor().long()
    after = (before + 1).minimum(last)
    share = (place - before).unsqueeze(-1).to(states.dtype)
    width = states.shape[-1]
    left = states.gather(1, before.unsqueeze(-1).expand(-1, -1, width))
    right = states.gather(1, after.unsqueeze(-1).expand(-1, -1, width))
    usable = target_mask & (num_source > 0)
    return torch.lerp(left, right, share.expand_as(left)) * usable.unsqueeze(-1)
