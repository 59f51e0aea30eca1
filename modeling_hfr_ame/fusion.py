"""Fusion of the enforced sequences and the regression head; plain on purpose, so that gains belong to HFR and AME.

Shape legend: B batch, L padded time, D width, F fusion width.
"""

import torch
from torch import nn

from .attention import TransformerLayer, relative_positions
from .configuration_hfr_ame import HfrAmeConfig
from .frequency_restoration import ModalityFeatures
from .pooling import masked_mean


class FusionTransformer(nn.Module):
    """[q ; H_t ; H_a ; H_v] with type embeddings through pre-norm transformer layers; q becomes the fused state."""

    def __init__(self, config: HfrAmeConfig) -> None:
        super().__init__()
        self.config = config
        self.names = config.modality_names
        width = config.fusion_size or config.hidden_size
        ffn_size = config.fusion_ffn_size or 4 * width
        self.query = nn.Parameter(torch.empty(1, 1, width))
        self.type_embedding = nn.Parameter(torch.empty(len(self.names), width))
        self.layers = nn.ModuleList(
            TransformerLayer(config, width, ffn_size, config.hidden_size) for _ in range(config.num_fusion_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, states: dict[str, torch.Tensor], features: dict[str, ModalityFeatures]) -> torch.Tensor:
        """Maps (B, L, F) states per modality to the fused (B, F) state."""
        batch_size = len(next(iter(states.values())))
        tokens = [self.query.expand(batch_size, -1, -1)]
        masks = [torch.ones(batch_size, 1, dtype=torch.bool, device=self.query.device)]
        # A sequence of one step: the fused state sits in the middle of the clip.
        positions = [relative_positions(masks[0], self.config.hidden_size, self.config.position_scale)]
        for index, name in enumerate(self.names):
            mask = features[name].mask
            tokens.append(states[name] + self.type_embedding[index])
            masks.append(mask)
            positions.append(relative_positions(mask, self.config.hidden_size, self.config.position_scale))
        hidden, mask, position = torch.cat(tokens, 1), torch.cat(masks, 1), torch.cat(positions, 1)
        for layer in self.layers:
            hidden = layer(hidden, position, mask)
        return self.norm(hidden[:, 0])


class SentimentFusion(nn.Module):
    """Fuses the enforced sequences and the text encoder's sentence state into one vector.

    Args:
        config: The model's configuration; `fusion="concat"` leaves the transformer out.
    """

    def __init__(self, config: HfrAmeConfig) -> None:
        super().__init__()
        self.config = config
        self.names = config.modality_names
        width = config.fusion_size or config.hidden_size
        self.projections = nn.ModuleDict(
            {
                name: nn.Linear(config.hidden_size, width) if width != config.hidden_size else nn.Identity()
                for name in self.names
            }
        )
        self.transformer = FusionTransformer(config) if config.fusion == "transformer" else None
        self.sentence = nn.Linear(config.text_config.hidden_size, width) if "text" in self.names else None
        parts = (self.transformer is not None) + len(self._pooled_groups()) + (self.sentence is not None)
        self.output_size = parts * width

    def _pooled_groups(self) -> list[tuple[str, ...]]:
        """Modalities whose pooled states share one slot of the head: audio and vision are added."""
        groups = [tuple(n for n in self.names if n == "text"), tuple(n for n in self.names if n != "text")]
        return [group for group in groups if group]

    def forward(
        self,
        enforced: dict[str, torch.Tensor],
        features: dict[str, ModalityFeatures],
        sentence: torch.Tensor | None,
    ) -> torch.Tensor:
        """Fuses one batch.

        Args:
            enforced: (B, L, D) per modality.
            features: Masks of the same modalities.
            sentence: (B, text width) state of the leading special token, zero where text is absent; None without text.

        Returns:
            (B, `output_size`).
        """
        states = {name: self.projections[name](enforced[name]) for name in self.names}
        parts = [] if self.transformer is None else [self.transformer(states, features)]
        for group in self._pooled_groups():
            pooled = [masked_mean(states[name], features[name].mask) for name in group]
            parts.append(torch.stack(pooled).sum(0))
        if self.sentence is not None and sentence is not None:
            parts.append(self.sentence(sentence))
        return torch.cat(parts, dim=-1)


class RegressionHead(nn.Module):
    """LayerNorm → linear → GELU → dropout → linear to one score."""

    def __init__(self, config: HfrAmeConfig, in_size: int) -> None:
        super().__init__()
        width = config.fusion_size or config.hidden_size
        self.norm = nn.LayerNorm(in_size)
        self.hidden = nn.Linear(in_size, width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(width, 1)

    def forward(self, fused: torch.Tensor) -> torch.Tensor:
        """Maps (B, in_size) to (B, 1)."""
        return self.output(self.dropout(nn.functional.gelu(self.hidden(self.norm(fused)))))
