"""A transformer with learned positions and, in front of the sequence, learned tokens that collect what is read.

LNLN and MMSLF, of the same authors, are made of it.

Shape legend: B batch, L padded time, D width.
"""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers import initialization as init

from .attention import TransformerLayer
from .encoders import add_tokens_and_positions, check_length


def transformer_layers(
    config: PreTrainedConfig,
    width: int,
    *,
    num_layers: int,
    ffn_size: int,
    num_heads: int,
    head_size: int,
    dropout: float | None = None,
) -> nn.ModuleList:
    """Pre-norm layers: separate norms for queries, keys and values, heads of a fixed width, no bias before the heads.

    Args:
        config: The model's configuration (attention implementation).
        width: State width D.
        num_layers: Number of layers.
        ffn_size: Width of their feed-forward blocks.
        num_heads: Heads of their attention.
        head_size: Width of a head, whatever D.
        dropout: Dropout rate. None: `config.dropout`.
    """
    return nn.ModuleList(
        TransformerLayer(
            config,
            width,
            ffn_size,
            separate_norms=True,
            dropout=dropout,
            num_heads=num_heads,
            head_size=head_size,
            input_bias=False,
        )
        for _ in range(num_layers)
    )


class TokenTransformer(nn.Module):
    """Transformer with a learned position table and, in front of the sequence, learned tokens.

    Args:
        config: The model's configuration; its `hidden_size` is the width D.
        block: Name of what is read; the configuration's `max_<block>_length` limits it where there is such a field.
        length: Longest input.
        num_tokens: Number of learned tokens; they start at zero.
        num_read: Steps of the output that are read. 0: all of them.
        **layout: Passed to `transformer_layers`.
    """

    def __init__(
        self, config: Any, block: str, length: int, num_tokens: int = 0, num_read: int = 0, **layout: Any
    ) -> None:
        super().__init__()
        self.block, self.length, self.num_tokens, self.num_read = block, length, num_tokens, num_read
        self.config_name = type(config).__name__
        self.position_embedding = nn.Parameter(torch.empty(1, length + num_tokens, config.hidden_size))
        self.token = nn.Parameter(torch.empty(1, num_tokens, config.hidden_size)) if num_tokens else None
        self.layers = transformer_layers(config, config.hidden_size, **layout)

    def init_own_parameters(self) -> None:
        """Gives the bare parameters their first values."""
        init.normal_(self.position_embedding)
        if self.token is not None:
            init.zeros_(self.token)

    def forward(self, states: torch.Tensor, mask: torch.Tensor | None) -> list[torch.Tensor]:
        """Runs the layers.

        Args:
            states: (B, L, D).
            mask: (B, L) bool valid steps. None: all.

        Returns:
            The embedded input and the output of each layer, (B, tokens + L, D); of the last one only the steps that are
            read.

        Raises:
            InputError: The sequence is longer than the position table.
        """
        check_length(states, self.length, self.block, self.config_name)
        mask = None if mask is None else nn.functional.pad(mask, (self.num_tokens, 0), value=True)
        states = add_tokens_and_positions(states, self.token, self.position_embedding)
        outputs = [states]
        for layer in self.layers[:-1]:
            outputs.append(layer(outputs[-1], None, mask))
        read = outputs[-1][:, : self.num_read] if self.num_read else outputs[-1]
        return [*outputs, self.layers[-1](read, None, mask, outputs[-1])]
