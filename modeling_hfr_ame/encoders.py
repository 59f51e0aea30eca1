"""Encoders that bring text, audio and vision to one common width without adding positions.

A position code would put fixed energy into the frequency bands, so positions enter only inside attention.
"""

import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from .errors import InputError
from .modality_inputs import ModalityInput


class TimeConv(nn.Module):
    """Convolution over time on (B, L, C) states, kernel 3, zero padding at both ends.

    Written as one matrix product over three shifted views: on CPU this is faster than a transposed `Conv1d` for the
    short sequences of this field, and the layout stays channel-last for the layer norms around it.

    Args:
        in_size: Input channels.
        out_size: Output channels.
        stride: 1, or 2 to halve time (L must be even).
    """

    def __init__(self, in_size: int, out_size: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.linear = nn.Linear(3 * in_size, out_size)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Maps (B, L, in_size) to (B, L / stride, out_size); padding must hold zeros."""
        length = states.shape[1]
        padded = nn.functional.pad(states, (0, 0, 1, 1))
        views = [padded[:, offset : offset + length : self.stride] for offset in range(3)]
        return self.linear(torch.cat(views, dim=-1))


class FeatureEncoder(nn.Module):
    """Linear → (GELU) → convolution over time → layer norm, zero at padding.

    Args:
        in_size: Feature width of the modality (or of the text encoder's states).
        hidden_size: Common width D.
        activation: Whether a GELU follows the linear layer (audio and vision; not for text states).
        kernel_size: 3, or 1 for a layer per step: then a lost frame leaves the encodings of its neighbours intact.
    """

    def __init__(self, in_size: int, hidden_size: int, activation: bool, kernel_size: int = 3) -> None:
        super().__init__()
        self.projection = nn.Linear(in_size, hidden_size)
        self.activation = nn.GELU() if activation else nn.Identity()
        mixing = TimeConv if kernel_size == 3 else nn.Linear
        self.convolution = mixing(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Maps (B, L, in_size) frames with a (B, L) bool mask to (B, L, D)."""
        mask = mask.unsqueeze(-1)
        states = self.activation(self.projection(frames)) * mask
        return self.norm(self.convolution(states)) * mask


def check_length(states: torch.Tensor, limit: int, name: str, config_class: str) -> None:
    """Refuses (B, L, …) states that are longer than a position table.

    Args:
        states: What is to be embedded.
        limit: Longest sequence L.
        name: What the sequence is; the field `max_<name>_length` of the configuration says how long it may be.
        config_class: Name of that configuration's class.

    Raises:
        InputError: L is larger.
    """
    if states.shape[1] > limit:
        raise InputError(
            f"{name} has at most {limit} steps ({config_class}.max_{name}_length); found {states.shape[1]}; cut the "
            "sequence or build a model for longer ones"
        )


def add_tokens_and_positions(
    states: torch.Tensor, tokens: torch.Tensor | None, positions: torch.Tensor
) -> torch.Tensor:
    """Puts learned tokens in front of a sequence and adds a learned position to every step.

    Args:
        states: (B, L, D).
        tokens: (1, T, D); None for none.
        positions: (1, ≥ T + L, D) table, whose first steps belong to the tokens.

    Returns:
        (B, T + L, D).
    """
    if tokens is not None:
        states = torch.cat([tokens.expand(len(states), -1, -1).to(states.dtype), states], dim=1)
    return states + positions[:, : states.shape[1]]


def build_text_model(text_config: PreTrainedConfig) -> PreTrainedModel:
    """Builds any library text encoder from its configuration, without an unused pooler where the class has one."""
    try:
        return AutoModel.from_config(text_config, add_pooling_layer=False)
    except TypeError as error:
        if "add_pooling_layer" not in str(error):
            raise
        return AutoModel.from_config(text_config)


def encode_text(
    text_model: PreTrainedModel, item: ModalityInput, token_type_ids: torch.Tensor | None = None
) -> torch.Tensor:
    """States of the text encoder, or the cached ones that the batch carries.

    Args:
        text_model: The library text encoder.
        item: Text from `ModalityReader`: ids, or states.
        token_type_ids: (B, Lt) for encoders that use them. None: the encoder's own default.

    Returns:
        (B, Lt, H) float32; zero in rows without text. Padding holds whatever the encoder makes of it.
    """
    if item.values.is_floating_point():
        return item.frames()
    # An absent text keeps one open position, so that no attention row is fully masked.
    mask = item.mask.clone()
    mask[:, 0] |= ~item.present
    kwargs = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
    states = text_model(input_ids=item.values, attention_mask=mask.long(), **kwargs).last_hidden_state
    return states.float() * item.present.view(-1, 1, 1)
