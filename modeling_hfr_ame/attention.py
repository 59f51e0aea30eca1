"""The one attention module of the package and the transformer layer made from it.

Design choices:
- Positions are added to queries and keys only, through a projection of a sinusoid over *relative* clip time. Values
  carry none, so positions put no energy into the frequency bands, and equal times match between modalities of
  different frame rates.
- No dropout on attention weights: the layers around have theirs, and fused attention kernels stay usable in training.
- Keys may be fully masked in a row (an absent modality): that row then gets a zero output instead of NaN.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


class ZeroLinear(nn.Linear):
    """A linear layer that starts at zero, so that the residual path it ends contributes nothing at first."""


def relative_positions(valid: torch.Tensor, width: int, scale: float) -> torch.Tensor:
    """Sinusoidal code of the relative time of each step.

    Args:
        valid: (B, L) bool valid prefix; step i of n valid ones lies at (i + ½) / n · scale.
        width: Even code width P.
        scale: Length of the clip in sinusoid units.

    Returns:
        (B, L, P) float32.
    """
    length = valid.sum(-1, keepdim=True).clamp(min=1)
    index = torch.arange(valid.shape[1], device=valid.device, dtype=torch.float32)
    time = (index + 0.5) / length * scale
    rate = torch.exp(torch.arange(0, width, 2, device=valid.device, dtype=torch.float32) * (-math.log(10000.0) / width))
    angle = time.unsqueeze(-1) * rate
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Plain softmax attention over (B, H, S, head width) tensors; returns (B, S, H, head width) and the weights."""
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


class MultimodalAttention(nn.Module):
    """Multi-head attention with relative-time positions on queries and keys.

    Args:
        config: The model's configuration (attention implementation, heads).
        query_size: Width of the query states; also the output width.
        key_size: Width of the key states.
        position_size: Width of the position codes.
        zero_init: Whether the output projection starts at zero, so that a residual block starts as the identity.
    """

    def __init__(
        self, config: PreTrainedConfig, query_size: int, key_size: int, position_size: int, zero_init: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.head_size = query_size // self.num_heads
        self.scaling = self.head_size**-0.5
        self.is_causal = False
        self.query = nn.Linear(query_size, query_size)
        self.key = nn.Linear(key_size, query_size)
        self.value = nn.Linear(key_size, query_size)
        self.query_position = nn.Linear(position_size, query_size, bias=False)
        self.key_position = nn.Linear(position_size, query_size, bias=False)
        self.output = (ZeroLinear if zero_init else nn.Linear)(query_size, query_size)

    def _heads(self, states: torch.Tensor) -> torch.Tensor:
        return states.view(*states.shape[:2], self.num_heads, self.head_size).transpose(1, 2)

    def forward(
        self,
        queries: torch.Tensor,
        query_positions: torch.Tensor,
        keys: torch.Tensor,
        key_positions: torch.Tensor,
        key_mask: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attends from queries to keys.

        Args:
            queries: (B, Q, query_size).
            query_positions: (B, Q, position_size).
            keys: (B, S, key_size).
            key_positions: (B, S, position_size).
            key_mask: (B, S) bool, True = valid. A row without any valid key gives a zero output.

        Returns:
            (B, Q, query_size) and the weights (B, H, Q, S) where the implementation gives them.
        """
        has_key = key_mask.any(-1)
        open_mask = key_mask | ~has_key.unsqueeze(-1)
        query = self.query(queries) + self.query_position(query_positions.to(queries.dtype))
        key = self.key(keys) + self.key_position(key_positions.to(keys.dtype))
        bias = torch.zeros(open_mask.shape, dtype=query.dtype, device=query.device)
        bias = bias.masked_fill(~open_mask, torch.finfo(query.dtype).min)[:, None, None, :]
        attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        context, weights = attention_interface(
            self,
            self._heads(query),
            self._heads(key),
            self._heads(self.value(keys)),
            bias.expand(-1, -1, queries.shape[1], -1),
            dropout=0.0,
            scaling=self.scaling,
        )
        output = self.output(context.reshape(*queries.shape[:2], -1))
        return output * has_key.view(-1, 1, 1), weights


class TransformerLayer(GradientCheckpointingLayer):
    """Pre-norm self-attention layer with a GELU feed-forward block.

    Args:
        config: The model's configuration.
        width: State width F.
        ffn_size: Width of the feed-forward block.
        position_size: Width of the position codes.
    """

    def __init__(self, config: PreTrainedConfig, width: int, ffn_size: int, position_size: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = MultimodalAttention(config, width, width, position_size)
        self.ffn_norm = nn.LayerNorm(width)
        self.ffn_in = nn.Linear(width, ffn_size)
        self.ffn_out = nn.Linear(ffn_size, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Maps (B, S, F) states with (B, S, P) positions and a (B, S) bool mask to (B, S, F)."""
        normed = self.attention_norm(states)
        attended, _ = self.attention(normed, positions, normed, positions, mask)
        states = states + self.dropout(attended)
        hidden = nn.functional.gelu(self.ffn_in(self.ffn_norm(states)))
        return states + self.dropout(self.ffn_out(hidden))
