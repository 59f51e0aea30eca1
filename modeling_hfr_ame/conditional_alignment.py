"""Alignment of text with audio or vision whose attention a prompt shapes: MMSLF's own idea.

Shape legend: B batch, T text positions, S source steps, D width, H heads.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import initialization as init

from .attention import TransformerLayer, split_heads
from .configuration_mmslf import MmslfConfig
from .errors import InputError


def masked_softmax(scores: torch.Tensor, key_mask: torch.Tensor | None) -> torch.Tensor:
    """Softmax over the valid keys.

    Args:
        scores: (B, H, T, S).
        key_mask: (B, S) bool. None: all are valid.

    Returns:
        (B, H, T, S) float32; zero at keys that aren't valid, and everywhere in rows without any.
    """
    scores = scores.float()
    if key_mask is None:
        return scores.softmax(-1)
    valid = key_mask[:, None, None, :]
    return scores.masked_fill(~valid, torch.finfo(scores.dtype).min).softmax(-1) * valid


class ConditionalLayer(TransformerLayer):
    """Cross-attention layer whose scores a prompt scales.

    Args:
        config: The model's configuration; only a teacher's layers have a prompt.
    """

    def __init__(self, config: MmslfConfig) -> None:
        super().__init__(
            config,
            config.hidden_size,
            config.aligner_ffn_size,
            separate_norms=True,
            num_heads=config.num_aligner_heads,
            head_size=config.head_size,
            input_bias=False,
        )
        self.delta_from = config.delta_from
        self.prompt_norm = nn.LayerNorm(config.hidden_size) if config.is_teacher else None
        inner = config.num_aligner_heads * config.head_size
        self.prompt = nn.Linear(config.hidden_size, inner, bias=False) if config.is_teacher else None

    def forward(  # type: ignore[override]
        self,
        states: torch.Tensor,
        source: torch.Tensor,
        mask: torch.Tensor | None,
        prompts: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Aligns text with a source.

        Args:
            states: (B, T, D) text.
            source: (B, S, D) audio or vision.
            mask: (B, S) bool valid source steps. None: all.
            prompts: (B, T, D) one prompt token per text position; None in a student.

        Returns:
            (B, T, D); the plain map, softmax of query times key; and the map that was applied, which in a teacher is
            the conditional one. Both (B, H, T, S).
        """
        assert self.key_norm is not None
        assert self.value_norm is not None
        attention = self.attention
        query, key, value = (
            split_heads(part, attention.num_heads)
            for part in (
                attention.query(self.attention_norm(states)),
                attention.key(self.key_norm(source)),
                attention.value(self.value_norm(source)),
            )
        )
        scores = query @ key.transpose(2, 3) * attention.scaling
        plain = masked_softmax(scores, mask)
        applied = plain
        if prompts is not None and self.prompt is not None and self.prompt_norm is not None:
            asked = split_heads(self.prompt(self.prompt_norm(prompts)), attention.num_heads)
            delta = asked @ (key if self.delta_from == "key" else value).transpose(2, 3) * attention.scaling
            applied = masked_softmax(scores * delta, mask)
        context = (applied.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        answer = attention.output(context)
        if mask is not None:
            # The projection's bias is no context either.
            answer = answer * mask.any(-1).view(-1, 1, 1)
        states = states + self.dropout(answer)
        return states + self._feed_forward(self.ffn_norm(states)), plain, applied


@dataclass
class Alignment:
    """Text aligned with one source.

    Args:
        states: (B, T, D).
        plain_map: (B, H, T, S) softmax of query times key in the last layer.
        applied_map: (B, H, T, S) the map that the last layer applied; in a teacher the conditional one.
        mask: (B, S) bool source steps that count.
    """

    states: torch.Tensor
    plain_map: torch.Tensor
    applied_map: torch.Tensor
    mask: torch.Tensor


class ConditionalAligner(nn.Module):
    """Aligns text with audio or vision, layer by layer.

    Args:
        config: The model's configuration.
        name: `audio` or `vision`.
    """

    def __init__(self, config: MmslfConfig, name: str) -> None:
        super().__init__()
        self.name, self.length = name, config.length_limit(name)
        self.is_repaired, self.uses_text = config.is_repaired, config.absent_source == "text"
        shape = (1, config.max_text_length, config.hidden_size)
        self.source_position_embedding = nn.Parameter(torch.empty(1, self.length, config.hidden_size))
        self.target_position_embedding = nn.Parameter(torch.empty(shape))
        self.prompt_position_embedding = nn.Parameter(torch.empty(shape)) if config.is_teacher else None
        num_layers: Any = config.num_aligner_layers
        self.layers = nn.ModuleList(ConditionalLayer(config) for _ in range(num_layers))

    def init_own_parameters(self) -> None:
        """Gives the bare parameters their first values."""
        init.normal_(self.source_position_embedding)
        init.normal_(self.target_position_embedding)
        if self.prompt_position_embedding is not None:
            init.normal_(self.prompt_position_embedding)

    def forward(
        self,
        text: torch.Tensor,
        text_mask: torch.Tensor,
        source: torch.Tensor,
        source_mask: torch.Tensor,
        prompts: torch.Tensor | None,
    ) -> Alignment:
        """Aligns one batch.

        Args:
            text: (B, T, D).
            text_mask: (B, T) bool valid text positions.
            source: (B, S, D).
            source_mask: (B, S) bool valid steps, all False where the source is absent.
            prompts: (B, T, D); None in a student.

        Raises:
            InputError: The source is longer than the position table.
        """
        if source.shape[1] > self.length:
            raise InputError(
                f"{self.name} has at most {self.length} steps (MmslfConfig.max_{self.name}_length); found "
                f"{source.shape[1]}; cut the sequence or build a model for longer ones"
            )
        num_positions = text.shape[1]
        text = text + self.target_position_embedding[:, :num_positions]
        source = source + self.source_position_embedding[:, : source.shape[1]]
        if prompts is not None and self.prompt_position_embedding is not None:
            prompts = prompts + self.prompt_position_embedding[:, :num_positions]
        if self.uses_text:
            absent = ~source_mask.any(-1, keepdim=True)
            source = torch.cat([source, text], dim=1)
            source_mask = torch.cat([source_mask, text_mask & absent], dim=1)
        mask = source_mask if self.is_repaired else None
        states = text
        for layer in self.layers:
            states, plain, applied = layer(states, source, mask, prompts)
        return Alignment(states, plain, applied, source_mask)
