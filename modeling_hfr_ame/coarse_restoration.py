"""The coarsest stage of restoration: what is expected of a lost frame before any network refines it.

A gap of zeros pulls a whole utterance towards zero and spreads over all bands, so a cascade from low to high would
begin with a low band that is wrong by the share of lost frames. Here a lost frame starts from two sources of evidence:

- a linear readout of what the complementary modalities hold at the same relative time. It is trained on every frame,
  lost or not, so that it teaches the encoders of those modalities what they know about this one;
- the observed frames around it, near ones first, as a correction of that readout (normalised convolution: Knutsson and
  Westin, CVPR 1993), which fades where few frames are left.

What was observed stays as it is. The whole stage is our choice.

Shape legend: B batch, L padded time, D width.
"""

from dataclasses import dataclass

import torch
from torch import nn

from .attention import ZeroLinear
from .configuration_hfr_ame import HfrAmeConfig
from .time_alignment import align_in_time

# Standard deviation of the Gaussian weights in steps, and the weight of an observed frame however far away.
_REACH_STEPS = 4.0
_FAR_WEIGHT = 0.1
# The readout counts as that many observed frames right beside the lost one.
_READOUT_WEIGHT = 1.0


@dataclass
class EncodedSequence:
    """One modality as the coarse stage reads it.

    Args:
        states: (B, L, D) encodings, zero at padding.
        observed: (B, L) float: 1 where a step was observed, else 0.
        mask: (B, L) bool valid prefix.
    """

    states: torch.Tensor
    observed: torch.Tensor
    mask: torch.Tensor


@dataclass
class CoarseEstimate:
    """What the coarse stage makes of one modality.

    Args:
        filled: (B, L, D) float32 states: received where observed, estimated elsewhere, zero at padding.
        judged: The same values, without a gradient to the modality's own encoder.
        readout: (B, L, D) float32 readout of the complementary modalities at every valid step.
    """

    filled: torch.Tensor
    judged: torch.Tensor
    readout: torch.Tensor


def fill_gaps(states: torch.Tensor, observed: torch.Tensor, mask: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Estimates the unobserved steps from the observed ones and from an expectation.

    Args:
        states: (B, L, D) float32.
        observed: (B, L) float, 0 at padding.
        mask: (B, L) bool valid prefix.
        expected: (B, L, D) float32 expectation at each step without any neighbour.

    Returns:
        (B, L, D): `states` at observed steps, estimates at the other valid ones, zero at padding.
    """
    steps = torch.arange(states.shape[1], device=states.device, dtype=torch.float32)
    near = torch.exp(-0.5 * ((steps[:, None] - steps[None]) / _REACH_STEPS).square()) + _FAR_WEIGHT
    weights = near * observed.unsqueeze(1)
    correction = (weights @ (states - expected)) / (weights.sum(-1, keepdim=True) + _READOUT_WEIGHT)
    return torch.where(observed.unsqueeze(-1) > 0, states, expected + correction) * mask.unsqueeze(-1)


class CoarseRestoration(nn.Module):
    """Fills the unobserved frames of audio and vision; text is left alone, its encoder fills it from its context.

    Args:
        config: The model's configuration; `condition="none"` and `condition_on="self"` leave the readouts out.
    """

    def __init__(self, config: HfrAmeConfig) -> None:
        super().__init__()
        self.names = tuple(name for name in config.modality_names if name != "text")
        others = {name: tuple(n for n in config.modality_names if n != name) for name in self.names}
        self.sources = others if config.condition != "none" and config.condition_on == "others" else {}
        width = config.hidden_size
        self.priors = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name in self.names})
        self.readouts = nn.ModuleDict(
            {
                name: ZeroLinear(len(sources) * (width + 1), width, bias=False)
                for name, sources in self.sources.items()
                if sources
            }
        )

    def _readout(self, name: str, sequences: dict[str, EncodedSequence]) -> torch.Tensor:
        target = sequences[name]
        readout = self.priors[name].float().expand(*target.mask.shape, -1)
        if name in self.readouts:
            parts = []
            for source in (sequences[other] for other in self.sources[name]):
                pair = torch.cat([source.states.float(), source.observed.float().unsqueeze(-1)], dim=-1)
                parts.append(align_in_time(pair, source.mask, target.mask))
            readout = readout + self.readouts[name](torch.cat(parts, dim=-1)).float()
        return readout * target.mask.unsqueeze(-1)

    def forward(self, sequences: dict[str, EncodedSequence]) -> dict[str, CoarseEstimate]:
        """Fills one batch; one estimate for each of audio and vision in `sequences`, which holds all modalities."""
        estimates = {}
        for name in self.names:
            item = sequences[name]
            readout = self._readout(name, sequences)
            with torch.autocast(item.states.device.type, enabled=False):
                filled, judged = (
                    fill_gaps(states, item.observed.float(), item.mask, readout)
                    for states in (item.states.float(), item.states.detach().float())
                )
            estimates[name] = CoarseEstimate(filled, judged, readout)
        return estimates
