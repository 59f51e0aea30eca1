"""The one attention module of the package and the transformer layer made from it.

Design choices:
- Positions, where a model wants them inside attention, are added to queries and keys only, through a projection of a
  sinusoid over *relative* clip time. Values carry none, so positions put no energy into the frequency bands, and equal
  times match between modalities of different frame rates.
- No dropout on attention weights: the layers around have theirs, and fused attention kernels stay usable in training.
- Keys may be fully masked in a row (an absent modality): that row then gets a zero output instead of NaN.
"""

import math
from collections.abc import Callable, Mapping, Sequence
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


def masked_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    key_mask: torch.Tensor | None,
    causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attends with the implementation that the configuration names.

    Args:
        module: Carries `config`, `scaling` and `is_causal = False`; a causal mask is part of the bias here.
        query: (B, H, Q, head width).
        key: (B, H, S, head width).
        value: (B, H, S, head width).
        key_mask: (B, S) bool, True = valid. A row without any valid key gives a zero output. None: all are valid.
        causal: Whether step i sees only the keys 0 … i.

    Returns:
        (B, Q, H · head width) and the weights (B, H, Q, S) where the implementation gives them.
    """
    config: Any = module.config
    interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(config._attn_implementation, eager_attention_forward)
    batch_size, num_queries, num_keys = query.shape[0], query.shape[2], key.shape[2]
    bias, has_key = None, None
    if key_mask is not None:
        has_key = key_mask.any(-1)
        open_mask = key_mask | ~has_key.unsqueeze(-1)
        bias = torch.zeros(open_mask.shape, dtype=query.dtype, device=query.device)
        bias = bias.masked_fill(~open_mask, torch.finfo(query.dtype).min)[:, None, None, :]
        bias = bias.expand(-1, -1, num_queries, -1)
    if causal:
        later = torch.ones(num_queries, num_keys, dtype=torch.bool, device=query.device).triu(1)
        bias = query.new_zeros(batch_size, 1, num_queries, num_keys) if bias is None else bias
        bias = bias.masked_fill(later, torch.finfo(query.dtype).min)
    context, weights = interface(module, query, key, value, bias, dropout=0.0, scaling=module.scaling)
    context = context.reshape(batch_size, num_queries, -1)
    return (context if has_key is None else context * has_key.view(-1, 1, 1)), weights


def split_heads(states: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Maps (B, L, H · head width) to (B, H, L, head width)."""
    return states.unflatten(-1, (num_heads, -1)).transpose(1, 2)


class MultimodalAttention(nn.Module):
    """Multi-head attention, with relative-time positions on queries and keys where a width for them is given.

    Args:
        config: The model's configuration (attention implementation).
        query_size: Width of the query states; also the output width.
        key_size: Width of the key states.
        position_size: Width of the position codes. None: no positions inside attention.
        zero_init: Whether the output projection starts at zero, so that a residual block starts as the identity.
        num_heads: Number of heads. None: `config.num_attention_heads`.
        head_size: Width of a head. None: `query_size` / heads.
        input_bias: Whether the projections to queries, keys and values have a bias.
        project_output: Whether an output projection follows the heads.
        scaling: Factor of the scores. None: 1 / √head_size.
        causal: Whether a step sees only itself and what came before.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        query_size: int,
        key_size: int,
        position_size: int | None = None,
        zero_init: bool = False,
        *,
        num_heads: int | None = None,
        head_size: int | None = None,
        input_bias: bool = True,
        project_output: bool = True,
        scaling: float | None = None,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_heads: int = num_heads or config.num_attention_heads
        self.head_size = head_size or query_size // self.num_heads
        self.scaling = scaling or self.head_size**-0.5
        self.causal = causal
        self.is_causal = False
        inner = self.num_heads * self.head_size
        self.query = nn.Linear(query_size, inner, bias=input_bias)
        self.key = nn.Linear(key_size, inner, bias=input_bias)
        self.value = nn.Linear(key_size, inner, bias=input_bias)
        if position_size is not None:
            self.query_position = nn.Linear(position_size, inner, bias=False)
            self.key_position = nn.Linear(position_size, inner, bias=False)
        output_class = ZeroLinear if zero_init else nn.Linear
        self.output = output_class(inner, query_size) if project_output else nn.Identity()

    def forward(
        self,
        queries: torch.Tensor,
        query_positions: torch.Tensor | None,
        keys: torch.Tensor,
        key_positions: torch.Tensor | None,
        key_mask: torch.Tensor | None,
        values: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attends from queries to keys.

        Args:
            queries: (B, Q, query_size).
            query_positions: (B, Q, position_size); None without positions.
            keys: (B, S, key_size).
            key_positions: (B, S, position_size); None without positions.
            key_mask: (B, S) bool, True = valid. A row without any valid key gives a zero output. None: all are valid.
            values: (B, S, key_size). None: the keys.

        Returns:
            (B, Q, query_size) and the weights (B, H, Q, S) where the implementation gives them.
        """
        query, key = self.query(queries), self.key(keys)
        value = self.value(keys if values is None else values)
        if query_positions is not None and key_positions is not None:
            query = query + self.query_position(query_positions.to(queries.dtype))
            key = key + self.key_position(key_positions.to(keys.dtype))
        query, key, value = (split_heads(states, self.num_heads) for states in (query, key, value))
        context, weights = masked_attention(self, query, key, value, key_mask, self.causal)
        output = self.output(context)
        # The projection's bias is no context either.
        return (output if key_mask is None else output * key_mask.any(-1).view(-1, 1, 1)), weights


def geglu(states: torch.Tensor) -> torch.Tensor:
    """Gates the first half of the channels with the second: (…, 2 F) to (…, F)."""
    values, gates = states.chunk(2, dim=-1)
    return values * nn.functional.gelu(gates)


class FeedForward(nn.Module):
    """Base of layers with a feed-forward block: linear, activation, linear, dropout.

    The block's parts belong to the layer itself, which calls `make_feed_forward` and then `_feed_forward`.
    """

    def make_feed_forward(self, width: int, ffn_size: int, activation: str = "gelu", dropout: float = 0.0) -> None:
        """Adds the block's parts.

        Args:
            width: State width F.
            ffn_size: Width between the two linear layers.
            activation: `gelu`, `relu`, or `geglu`: half of twice the width, gated by the other half.
            dropout: Dropout rate.
        """
        self.ffn_in = nn.Linear(width, 2 * ffn_size if activation == "geglu" else ffn_size)
        self.ffn_out = nn.Linear(ffn_size, width)
        activations: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "gelu": nn.functional.gelu,
            "relu": nn.functional.relu,
            "geglu": geglu,
        }
        self.activation = activations[activation]
        self.dropout = nn.Dropout(dropout)

    def _feed_forward(self, states: torch.Tensor) -> torch.Tensor:
        """Maps (…, F) states to (…, F)."""
        return self.dropout(self.ffn_out(self.activation(self.ffn_in(states))))


class TransformerLayer(FeedForward, GradientCheckpointingLayer):
    """Attention layer with a feed-forward block; pre-norm, and self-attention unless a source is given.

    Args:
        config: The model's configuration.
        width: State width F.
        ffn_size: Width of the feed-forward block.
        position_size: Width of the position codes inside attention. None: none.
        separate_norms: Whether keys and values have norms of their own; otherwise all three share one.
        source_norm: Whether keys and values share a norm that isn't that of the queries.
        activation: `gelu`, `relu`, or `geglu`: half of twice the width, gated by the other half.
        norm_first: Whether norms come before their blocks; otherwise after the sums, and a source isn't normalised.
        norm_branch: Whether norms come between a block and its sum instead, which leaves the residual path bare.
        dropout: Dropout rate. None: `config.dropout`.
        **attention: Passed to `MultimodalAttention`.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        width: int,
        ffn_size: int,
        position_size: int | None = None,
        *,
        separate_norms: bool = False,
        source_norm: bool = False,
        activation: str = "gelu",
        norm_first: bool = True,
        norm_branch: bool = False,
        dropout: float | None = None,
        **attention: Any,
    ) -> None:
        super().__init__()
        self.norm_first, self.norm_branch = norm_first, norm_branch
        self.attention_norm = nn.LayerNorm(width)
        self.key_norm = nn.LayerNorm(width) if separate_norms or source_norm else None
        self.value_norm = nn.LayerNorm(width) if separate_norms else None
        self.attention = MultimodalAttention(config, width, width, position_size, **attention)
        self.ffn_norm = nn.LayerNorm(width)
        self.make_feed_forward(width, ffn_size, activation, config.dropout if dropout is None else dropout)

    def forward(
        self,
        states: torch.Tensor,
        positions: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        source: torch.Tensor | None = None,
        source_positions: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Maps (B, Q, F) states to (B, Q, F).

        Args:
            states: (B, Q, F).
            positions: (B, Q, P) positions inside attention.
            mask: (B, S) bool valid keys. None: all.
            source: (B, S, F) what is attended to. None: the states themselves.
            source_positions: (B, S, P) of the source.
        """
        if source is None:
            source, source_positions = states, positions
        if self.norm_branch or not self.norm_first:
            attended, _ = self.attention(states, positions, source, source_positions, mask)
            if self.norm_branch:
                states = states + self.dropout(self.attention_norm(attended))
                return states + self.ffn_norm(self._feed_forward(states))
            states = self.attention_norm(states + self.dropout(attended))
            return self.ffn_norm(states + self._feed_forward(states))
        normed = self.attention_norm(states)
        if self.key_norm is not None:
            keys = self.key_norm(source)
            values = keys if self.value_norm is None else self.value_norm(source)
        else:
            keys = normed if source is states else self.attention_norm(source)
            values = keys
        attended, _ = self.attention(normed, positions, keys, source_positions, mask, values)
        states = states + self.dropout(attended)
        return states + self._feed_forward(self.ffn_norm(states))


class MultiSourceAttention(nn.Module):
    """One sequence asks several others, each with keys and values of its own; the answers are added up.

    Args:
        config: The model's configuration (attention implementation).
        width: State width F.
        sources: Names of the sequences that are asked.
        num_heads: Number of heads.
        head_size: Width of a head. None: `width` / heads.
        project_output: Whether an output projection follows the sum.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        width: int,
        sources: Sequence[str],
        *,
        num_heads: int,
        head_size: int | None = None,
        project_output: bool = True,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_heads = num_heads
        inner = num_heads * (head_size or width // num_heads)
        self.scaling = (inner // num_heads) ** -0.5
        self.is_causal = False
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.ModuleDict({name: nn.Linear(width, inner, bias=False) for name in sources})
        self.value = nn.ModuleDict({name: nn.Linear(width, inner, bias=False) for name in sources})
        self.output = nn.Linear(inner, width) if project_output else nn.Identity()

    def forward(
        self,
        queries: torch.Tensor,
        sources: Mapping[str, torch.Tensor],
        masks: Mapping[str, torch.Tensor | None],
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor | None]]:
        """Attends from queries to every source.

        Args:
            queries: (B, Q, F).
            sources: (B, S, F) by name; others than the module's own are not read.
            masks: (B, S) bool valid keys by name, or None for all. A row without any adds nothing.

        Returns:
            (B, Q, F), and by name the weights (B, H, Q, S) where the implementation gives them.
        """
        query = split_heads(self.query(queries), self.num_heads)
        answers, weights = [], {}
        for name, project in self.key.items():
            key, value = (split_heads(part(sources[name]), self.num_heads) for part in (project, self.value[name]))
            answer, weights[name] = masked_attention(self, query, key, value, masks[name])
            answers.append(answer)
        return self.output(torch.stack(answers).sum(0)), weights
