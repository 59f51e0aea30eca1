"""Hierarchical frequency restoration (HFR): the FM-UNet and the cascade from low to high bands.

The abstract states: distinct frequency-band features are reconstructed from low to high frequency by a Frequency
Multimodal UNet that takes the complementary modalities' features as conditions. Everything finer is our choice
(`docs/paper_to_code.md`):

- Lost frames are filled first (`coarse_restoration.py`). What the FM-UNets add is a residual confined to its band, and
  every path into it starts at zero: at initialisation nothing that was observed is changed, so intact input passes
  unchanged until training finds a reason, but for frames that were unobserved in it (no face, silence).
- The FM-UNets read features without a gradient to the encoders (`band_loss_trains`): an encoder that the band loss
  reached that way would learn features that are easy to restore, not ones that tell a sentiment. The severity
  estimate keeps its gradient, and so do the readouts by which lost frames are filled.
- All modalities of a stage are restored in parallel from the previous stage's state; the result can't depend on their
  order.
- Layer norm over channels at each step: no statistic crosses time, so padding can't leak.

Shape legend: B batch, L padded time, K bands, D width, C UNet channels, G condition width, P position width.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention import MultimodalAttention, ZeroLinear, relative_positions
from .coarse_restoration import CoarseEstimate
from .configuration_hfr_ame import HfrAmeConfig
from .configuration_sentiment import MODALITIES
from .encoders import TimeConv
from .frequency import BandAnalysis
from .pooling import masked_mean
from .time_alignment import align_in_time


@dataclass
class ModalityFeatures:
    """Encoded features of one modality on their way through HFR.

    Args:
        states: (B, L, D) encoder output Y, zero at padding.
        mask: (B, L) bool valid prefix.
        present: (B,) bool.
        observed: (B, L) float: 0 for an exact zero frame, an unknown token or padding, else 1.
        analysis: Band analysis over the valid prefix.
        bands: (K, B, L, D) float32 bands of `states`.
        start: (K, B, L, D) float32 bands that restoration starts from: `bands`, or those of the filled states.
        coarse: What the coarse stage made of the states; None for text, and without that stage.
    """

    states: torch.Tensor
    mask: torch.Tensor
    present: torch.Tensor
    observed: torch.Tensor
    analysis: BandAnalysis
    bands: torch.Tensor
    start: torch.Tensor
    coarse: CoarseEstimate | None = None


@dataclass
class Conditions:
    """What the FM-UNet of one modality sees of the others.

    Args:
        tokens: (B, S, D) condition tokens, or None without cross-attention.
        positions: (B, S, P) relative positions of the sources' steps.
        mask: (B, S) bool.
        code: (B, G) global code, or None without FiLM.
        aligned: (B, L, A) the sources' states and observed flags at the restored modality's own times, or None.
    """

    tokens: torch.Tensor | None
    positions: torch.Tensor
    mask: torch.Tensor
    code: torch.Tensor | None
    aligned: torch.Tensor | None


class SeverityHead(nn.Module):
    """Estimates how strongly one modality is corrupted, from what was received alone.

    It plays the part of a noise-level code without an oracle (precedent: LNLN's completeness estimate).
    """

    def __init__(self, config: HfrAmeConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * config.hidden_size + 1, config.hidden_size)
        self.output = nn.Linear(config.hidden_size, 1)

    def forward(self, features: ModalityFeatures) -> torch.Tensor:
        """Returns (B,) severities in (0, 1); exactly 1 where the modality is absent."""
        states = features.states
        summary = torch.cat(
            [
                masked_mean(states, features.mask),
                masked_mean(states.abs(), features.mask),
                masked_mean(features.observed.unsqueeze(-1).to(states.dtype), features.mask),
            ],
            dim=-1,
        )
        score = self.output(nn.functional.gelu(self.hidden(summary))).squeeze(-1)
        return torch.where(features.present, torch.sigmoid(score.float()), 1.0)


class ResidualBlock(nn.Module):
    """LayerNorm → SiLU → conv → LayerNorm → FiLM → SiLU → dropout → conv, plus a shortcut; masked at each conv."""

    def __init__(self, config: HfrAmeConfig, in_size: int, out_size: int, use_film: bool) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(in_size)
        self.conv_in = TimeConv(in_size, out_size)
        self.norm_out = nn.LayerNorm(out_size)
        self.conv_out = TimeConv(out_size, out_size)
        self.dropout = nn.Dropout(config.dropout)
        self.shortcut = nn.Linear(in_size, out_size) if in_size != out_size else nn.Identity()
        self.film = ZeroLinear(config.condition_size, 2 * out_size) if use_film else None

    def forward(self, states: torch.Tensor, mask: torch.Tensor, code: torch.Tensor | None) -> torch.Tensor:
        """Maps (B, L, in_size) with a (B, L, 1) mask and an optional (B, G) code to (B, L, out_size)."""
        hidden = self.conv_in(nn.functional.silu(self.norm_in(states)) * mask)
        hidden = self.norm_out(hidden)
        if self.film is not None:
            scale, shift = self.film(code).unsqueeze(1).chunk(2, dim=-1)
            hidden = hidden * (1 + scale) + shift
        hidden = self.conv_out(self.dropout(nn.functional.silu(hidden)) * mask)
        return (self.shortcut(states) + hidden) * mask


class ConditionAttention(nn.Module):
    """Pre-norm cross-attention from UNet features to condition tokens; a residual that starts at zero."""

    def __init__(self, config: HfrAmeConfig, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = MultimodalAttention(config, channels, config.hidden_size, config.hidden_size, zero_init=True)

    def forward(
        self, states: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, conditions: Conditions
    ) -> torch.Tensor:
        """Maps (B, L, C) states with (B, L, P) positions and a (B, L, 1) mask to (B, L, C)."""
        attended, _ = self.attention(
            self.norm(states), positions, conditions.tokens, conditions.positions, conditions.mask
        )
        return states + attended * mask


class FMUNet(GradientCheckpointingLayer):
    """Frequency Multimodal UNet: predicts the correction of one band of one modality.

    Down the levels of `unet_channels` by stride-2 convolutions, back up by nearest-neighbour doubling with skip
    connections; the condition tokens enter by cross-attention at the bottom and at each level upwards, the global
    code by FiLM in every block. What the other modalities hold at the same relative time enters the stem as well: fast
    detail needs a time precision that attention over position codes learns late.

    Args:
        config: The model's configuration.
        num_aligned: Number of aligned sources; 0 leaves them out.
    """

    def __init__(self, config: HfrAmeConfig, num_aligned: int) -> None:
        super().__init__()
        channels = list(config.unet_channels)
        use_film = config.condition in ("xattn_film", "film")
        use_attention = config.condition in ("xattn_film", "xattn")
        self.use_observed = config.use_observed
        width = (3 if config.use_observed else 2) * config.hidden_size + config.use_observed
        self.stem = nn.Linear(width + num_aligned * (config.hidden_size + 1), channels[0])
        self.down_blocks = nn.ModuleList(ResidualBlock(config, width, width, use_film) for width in channels)
        self.down_convs = nn.ModuleList(TimeConv(fine, coarse, stride=2) for fine, coarse in pairwise(channels))
        self.middle = ResidualBlock(config, channels[-1], channels[-1], use_film)
        self.up_convs = nn.ModuleList(TimeConv(coarse, fine) for fine, coarse in pairwise(channels))
        self.up_blocks = nn.ModuleList(ResidualBlock(config, 2 * width, width, use_film) for width in channels[:-1])
        self.attentions = nn.ModuleList(ConditionAttention(config, width) for width in channels if use_attention)
        self.output = ZeroLinear(channels[0], config.hidden_size)

    def _attend(
        self, level: int, states: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, conditions: Conditions
    ) -> torch.Tensor:
        if not self.attentions:
            return states
        stride = 2**level
        return self.attentions[level](states, positions[:, ::stride], mask, conditions)

    def forward(
        self,
        band: torch.Tensor,
        lower: torch.Tensor,
        received: torch.Tensor,
        observed: torch.Tensor,
        mask: torch.Tensor,
        tokens: torch.Tensor | None,
        token_positions: torch.Tensor,
        token_mask: torch.Tensor,
        code: torch.Tensor | None,
        aligned: torch.Tensor | None,
        position_scale: float,
    ) -> torch.Tensor:
        """Predicts the correction before it is confined to its band.

        The conditions come as tensors: reentrant checkpointing detaches arguments, and would not find a tensor inside
        an object, so that its backward would run through the conditions' own graph twice.

        Args:
            band: (B, L, D) the band to begin with: Y^(b), with its gaps filled by the coarse stage.
            lower: (B, L, D) restored lower part R^(<b), zeros for the first band.
            received: (B, L, D) all received bands Y.
            observed: (B, L) observed flags.
            mask: (B, L) bool valid prefix.
            tokens: (B, S, D) condition tokens, or None without cross-attention.
            token_positions: (B, S, P) relative positions of the sources' steps.
            token_mask: (B, S) bool.
            code: (B, G) global code, or None without FiLM.
            aligned: (B, L, A) the sources at the times of this modality's steps, or None.
            position_scale: Length of the relative time axis.

        Returns:
            (B, L, D) correction Δ, zero at padding and at initialisation.
        """
        conditions = Conditions(tokens=tokens, positions=token_positions, mask=token_mask, code=code, aligned=aligned)
        length = mask.shape[1]
        step = 2 ** len(self.down_convs)
        pad = -length % step
        mask = nn.functional.pad(mask, (0, pad))
        positions = relative_positions(mask, conditions.positions.shape[-1], position_scale)
        parts = [band, lower]
        if self.use_observed:
            # What was received at the observed steps and the lower bands don't explain yet: a gap spreads over all
            # bands, so the band's own part alone can't tell what is known there.
            seen = observed.unsqueeze(-1).to(band.dtype)
            parts += [(received - lower) * seen, seen]
        if aligned is not None:
            parts.append(aligned)
        states = nn.functional.pad(torch.cat(parts, dim=-1), (0, 0, 0, pad))
        masks = [mask[:, :: 2**level].unsqueeze(-1) for level in range(len(self.down_blocks))]
        states = self.stem(states) * masks[0]
        skips: list[torch.Tensor] = []
        for level, block in enumerate(self.down_blocks):
            if level > 0:
                states = self.down_convs[level - 1](states) * masks[level]
            states = block(states, masks[level], conditions.code)
            skips.append(states)
        bottom = len(skips) - 1
        states = self._attend(bottom, states, positions, masks[bottom], conditions)
        states = self.middle(states, masks[bottom], conditions.code)
        for level in reversed(range(bottom)):
            states = self.up_convs[level](states.repeat_interleave(2, dim=1) * masks[level]) * masks[level]
            states = self.up_blocks[level](torch.cat([states, skips[level]], dim=-1), masks[level], conditions.code)
            states = self._attend(level, states, positions, masks[level], conditions)
        return (self.output(states) * masks[0])[:, :length]


class FrequencyRestoration(nn.Module):
    """The cascade: for each band, from low to high, restore every modality conditioned on the others.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: HfrAmeConfig) -> None:
        super().__init__()
        self.config = config
        self.names = config.modality_names
        width = config.hidden_size
        keys = {
            "modality": list(self.names),
            "all": ["all"],
            "none": [f"{name}_{band}" for name in self.names for band in range(config.num_bands)],
        }[config.share_unet]
        num_aligned = len(self._aligned_names(self.names[0])) if config.aligns_conditions else 0
        self.unets = nn.ModuleDict({key: FMUNet(config, num_aligned) for key in keys})
        self.uses_tokens = config.condition in ("xattn_film", "xattn")
        self.uses_code = config.condition in ("xattn_film", "film")
        if self.uses_tokens:
            self.modality_embedding = nn.Parameter(torch.empty(len(self.names), width))
        if self.uses_code:
            self.band_embedding = nn.Parameter(torch.empty(config.num_bands, config.condition_size))
            summary_size = len(self.names) * width + config.condition_size + len(MODALITIES)
            self.code_hidden = nn.Linear(summary_size, config.condition_size)
            self.code_output = nn.Linear(config.condition_size, config.condition_size)

    def _sources(self, name: str) -> tuple[str, ...]:
        """The modalities that condition `name`; itself where the model has no other one."""
        others = tuple(other for other in self.names if other != name)
        return (name,) if self.config.condition_on == "self" or not others else others

    def _aligned_names(self, name: str) -> tuple[str, ...]:
        """The modalities with a place in the aligned condition of `name`: all of them in a network shared by all."""
        return self.names if self.config.share_unet == "all" else self._sources(name)

    def _aligned(
        self, name: str, features: dict[str, ModalityFeatures], states: dict[str, torch.Tensor]
    ) -> torch.Tensor | None:
        if not self.config.aligns_conditions:
            return None
        target = features[name]
        parts = []
        for source in self._aligned_names(name):
            if source in states:
                seen = features[source].observed.unsqueeze(-1).to(states[source].dtype)
                pair = torch.cat([states[source], seen], dim=-1)
                parts.append(align_in_time(pair, features[source].mask, target.mask))
            else:
                parts.append(target.bands.new_zeros(*target.mask.shape, self.config.hidden_size + 1))
        return torch.cat(parts, dim=-1)

    def _unet(self, name: str, band: int) -> nn.Module:
        key = {"modality": name, "all": "all", "none": f"{name}_{band}"}[self.config.share_unet]
        return self.unets[key]

    def _read(self, features: dict[str, ModalityFeatures]) -> dict[str, ModalityFeatures]:
        """The features as the FM-UNets read them: with `band_loss_trains="networks"`, without a gradient."""
        if self.config.band_loss_trains != "networks":
            return features
        return {
            name: replace(item, states=item.states.detach(), start=item.start.detach())
            for name, item in features.items()
        }

    def _order(self) -> list[int]:
        order = list(range(self.config.num_bands))
        return order[::-1] if self.config.hfr_order == "high_to_low" else order

    def _conditions(
        self,
        name: str,
        band: int,
        features: dict[str, ModalityFeatures],
        lower: dict[str, torch.Tensor],
        positions: dict[str, torch.Tensor],
        severity: torch.Tensor,
    ) -> Conditions:
        sources = self._sources(name)
        states = {source: features[source].start[band] + lower[source] for source in sources}
        tokens = code = None
        if self.uses_tokens:
            tokens = torch.cat(
                [states[source] + self.modality_embedding[self.names.index(source)] for source in sources], dim=1
            )
        if self.uses_code:
            # One slot per modality, so that a shared network can tell which ones it was given.
            empty = torch.zeros_like(severity[:, :1]).expand(-1, self.config.hidden_size)
            pooled = [
                masked_mean(states[other], features[other].mask) if other in sources else empty for other in self.names
            ]
            embedding = self.band_embedding[band].expand(len(severity), -1)
            summary = torch.cat([*pooled, embedding, severity], dim=-1)
            code = self.code_output(nn.functional.silu(self.code_hidden(summary)))
        return Conditions(
            tokens=tokens,
            positions=torch.cat([positions[source] for source in sources], dim=1),
            mask=torch.cat([features[source].mask for source in sources], dim=1),
            code=code,
            aligned=self._aligned(name, features, states),
        )

    def forward(
        self,
        features: dict[str, ModalityFeatures],
        severity: torch.Tensor,
        clean_bands: dict[str, torch.Tensor] | None = None,
        teacher_rows: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Restores all bands of all modalities.

        Args:
            features: One entry per modality of the model.
            severity: (B, 3) severities of text, audio, vision.
            clean_bands: Bands of the clean twin, (K, B, L, D) each; only for teacher forcing.
            teacher_rows: (B,) bool rows whose conditions use clean lower bands.

        Returns:
            Restored bands X̂, (K, B, L, D) float32 per modality, zero at padding.
        """
        parallel = self.config.hfr_order == "parallel"
        # What is read and what is handed on are the same values; only the gradient differs.
        passed_on, features = features, self._read(features)
        lower = {name: torch.zeros_like(item.bands[0]) for name, item in features.items()}
        clean_lower = dict(lower)
        positions = {
            name: relative_positions(item.mask, self.config.hidden_size, self.config.position_scale)
            for name, item in features.items()
        }
        corrections: dict[str, dict[int, torch.Tensor]] = {name: {} for name in features}
        for band in self._order():
            shown = lower
            if clean_bands is not None and teacher_rows is not None:
                rows = teacher_rows.view(-1, 1, 1)
                shown = {name: torch.where(rows, clean_lower[name], lower[name]) for name in features}
            for name, item in features.items():
                conditions = self._conditions(name, band, features, shown, positions, severity)
                correction = self._unet(name, band)(
                    item.start[band],
                    lower[name],
                    item.states,
                    item.observed,
                    item.mask,
                    conditions.tokens,
                    conditions.positions,
                    conditions.mask,
                    conditions.code,
                    conditions.aligned,
                    self.config.position_scale,
                )
                corrections[name][band] = item.analysis.project(correction, band)
            if parallel:
                continue
            for name in features:
                done = features[name].start[band] + corrections[name][band]
                lower[name] = lower[name] + (done.detach() if self.config.detach_lower else done)
                if clean_bands is not None:
                    clean_lower[name] = clean_lower[name] + clean_bands[name][band]
        return {
            name: passed_on[name].start + torch.stack([bands[band] for band in range(self.config.num_bands)])
            for name, bands in corrections.items()
        }
