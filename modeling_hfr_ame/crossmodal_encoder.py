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
"""The encoder of the multimodal transformer family (MulT), which several peers build on.

Positions are added to the scaled input, unlike in our own fusion, where they act inside attention only.
"""

import math

import torch
from torch import nn

from .attention import TransformerLayer
from .configuration_sentiment import PeerConfig


def sinusoidal_positions(length: int, width: int, device: torch.device) -> torch.Tensor:
    """Position codes as this family numbers them: from 1 on, all sines before all cosines.

    Args:
        length: Number of steps L.
        width: Code width D; an odd one ends with a zero.
        device: Where the codes are made.

    Returns:
        (L, D) float32.
    """
    half = width // 2
    exponent = torch.arange(half, device=device, dtype=torch.float32) / max(half - 1, 1)
    angle = torch.arange(1, length + 1, device=device, dtype=torch.float32).unsqueeze(-1) * 10000.0**-exponent
    return nn.functional.pad(torch.cat([angle.sin(), angle.cos()], dim=-1), (0, width % 2))


class CrossmodalEncoder(nn.Module):
    """Pre-norm transformer in which one sequence asks another one, or itself.

    Args:
        config: The model's configuration (variant, dropout, attention implementation).
        width: State width D.
        num_layers: Number of layers.
        num_heads: Number of heads; divides `width`.
        ffn_ratio: Width of the feed-forward layers as a multiple of `width`.
        causal: Whether a step sees only itself and what came before.
        use_positions: Whether positions are added to the input.
    """

    def __init__(
        self,
        config: PeerConfig,
        width: int,
        *,
        num_layers: int,
        num_heads: int,
        ffn_ratio: int = 4,
        causal: bool = False,
        use_positions: bool = True,
    ) -> None:
        super().__init__()
        self.config, self.width, self.use_positions = config, width, use_positions
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(config, width, ffn_ratio * width, activation="relu", num_heads=num_heads, causal=causal)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)

    def _embed(self, states: torch.Tensor) -> torch.Tensor:
        embedded = math.sqrt(self.width) * states
        if self.use_positions:
            positions = sinusoidal_positions(states.shape[1], self.width, states.device)
            if not self.config.is_repaired:
                # The reference takes an exact zero in the first channel for padding, which gets no position.
                positions = positions * (states[:, :, :1] != 0)
            embedded = embedded + positions.to(embedded.dtype)
        return self.dropout(embedded)

    def forward(
        self,
        states: torch.Tensor,
        mask: torch.Tensor | None = None,
        source: torch.Tensor | None = None,
        source_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Maps (B, Q, D) states to (B, Q, D).

        Args:
            states: (B, Q, D) what asks.
            mask: (B, Q) bool valid steps of `states`; read only without a source. None: all.
            source: (B, S, D) what every layer asks; it is embedded, but not updated. None: the states themselves, as
                the layer before left them.
            source_mask: (B, S) bool valid steps of the source. None: all.
        """
        embedded = self._embed(states)
        asked = None if source is None else embedded if source is states else self._embed(source)
        key_mask = mask if source is None else source_mask
        for layer in self.layers:
            embedded = layer(embedded, None, key_mask, asked)
        return self.norm(embedded)
