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
"""MMSLF (Zhang, Zhang, Ying, Tang, Yu, NeurIPS 2025): a teacher that reads a large model's hints, and its student.

Text asks audio and vision. In the teacher the hint of a general multimodal model, compressed to one token per text
position, scales these questions' scores; the student, which never sees a hint, learns the attention maps and the fused
tokens that come of it.

Written from a description of the method and compared with the released code (LOGO-CUHKSZ/MMSLF, which carries no
licence) by numbers only.

Shape legend: B batch, L padded time, T text positions, S source steps, D width, H heads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.output_capturing import OutputRecorder

from .clean_twin import as_target, dropout_off, fit_length
from .conditional_alignment import Alignment, ConditionalAligner, ConditionalLayer
from .configuration_mmslf import MmslfConfig
from .encoders import build_text_model, check_length, encode_text
from .errors import InputError
from .losses import global_mean
from .modality_inputs import ModalityInput
from .modeling_peer import PeerForSentiment
from .token_transformer import TokenTransformer

SOURCES = ("audio", "vision")


class PromptBranch(nn.Module):
    """What a teacher has more than a student: from a prompt to one token per text position.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: MmslfConfig) -> None:
        super().__init__()
        self.is_repaired = config.is_repaired
        self.text_model: Any = build_text_model(config.text_config) if config.prompt_encoder == "own" else None
        self.projection = nn.Linear(config.text_config.hidden_size, config.hidden_size)
        # What the repaired teacher reads where a row has no prompt.
        self.empty_prompt = nn.Parameter(torch.empty(1, 1, config.hidden_size)) if config.is_repaired else None
        self.compression = TokenTransformer(
            config,
            "prompt",
            config.max_prompt_length,
            num_tokens=config.max_text_length,
            num_read=config.max_text_length,
            num_layers=config.num_prompt_layers,
            ffn_size=config.prompt_ffn_size,
            num_heads=config.num_prompt_heads,
            head_size=config.head_size,
            dropout=0.0,
        )
        if self.text_model is not None:
            self.text_model.requires_grad_(False)

    def init_own_parameters(self) -> None:
        """Gives the bare parameters their first values."""
        if self.empty_prompt is not None:
            init.normal_(self.empty_prompt)

    def encode(self, item: ModalityInput, text_model: Any) -> torch.Tensor:
        """States (B, L, text width) of the prompts' tokens: cached ones, or those of an encoder.

        Args:
            item: Prompts as ids or states.
            text_model: The model's text encoder, which encodes prompts where this branch has none of its own.
        """
        if self.text_model is None:
            return encode_text(text_model, item)
        # Frozen, so its dropout stays off as well: the states may come from a cache just as well.
        with as_target(self.text_model):
            return encode_text(self.text_model, item)

    def forward(self, item: ModalityInput, text_model: Any) -> torch.Tensor:
        """Compresses prompts.

        Args:
            item: Prompts as ids or states.
            text_model: As in `encode`.

        Returns:
            (B, max_text_length, D).
        """
        states = self.projection(self.encode(item, text_model))
        if self.empty_prompt is None:
            return self.compression(states, None)[-1]
        mask, present = item.mask.clone(), item.present.view(-1, 1, 1)
        mask[:, 0] |= ~item.present
        states = torch.where(present, states, self.empty_prompt.to(states.dtype))
        return self.compression(states, mask)[-1]


@dataclass
class MmslfPrediction:
    """What one pass of MMSLF gives.

    Args:
        logits: (B, 1).
        alignments: Text aligned with `audio` and with `vision`.
        text_mask: (B, T) bool text positions that count.
        tokens: (B, fusion tokens, D).
    """

    logits: torch.Tensor
    alignments: dict[str, Alignment]
    text_mask: torch.Tensor
    tokens: torch.Tensor

    def targets(self, distill_map: str) -> dict[str, torch.Tensor]:
        """What a student learns from this pass.

        Args:
            distill_map: `conditional` or `plain`.

        Returns:
            `audio_map` and `vision_map` (B, H, T, S) and `tokens` (B, fusion tokens, D), as the batch contract's
            `teacher`.
        """
        maps = {
            f"{name}_map": item.applied_map if distill_map == "conditional" else item.plain_map
            for name, item in self.alignments.items()
        }
        return maps | {"tokens": self.tokens}


class MmslfForSentiment(PeerForSentiment):
    """An MMSLF teacher or student with its regression head.

    Repairs of `variant="repaired"`, the default; `variant="reference"` has none of them:

    - Padding of text, audio, vision and prompts is masked in every attention, so a prediction doesn't depend on batch
      mates. The reference pads to fixed lengths and attends to the padding.
    - An absent modality is masked: text isn't aligned with what isn't there, and without text the first position alone
      asks audio and vision. `absent_source="text"` aligns text with itself instead, since otherwise a prompt has
      nothing to act on where both sources are absent.
    - A row without a prompt is read as one learned empty token. The reference has none; here its rows without a prompt
      are read as zero states.
    - The prompt is compared with the keys, as the paper says; in the reference with the values (`delta_from`).
    - The student learns the map that the prompt has shaped, as the paper says; in the reference the teacher's plain map
      (`distill_map`).
    - Distillation is a mean over text positions and source steps that exist; the reference counts padding.
    - In training a teacher loses whole frames and words; in the reference single numbers, and special tokens and
      padding of the text as well.
    - A teacher teaches without dropout and gradient (`teach`); the released script leaves its dropout on.

    Not repairs, but stated: there is no dropout inside feed-forward blocks, where the released code has a second one;
    the last layers of fusion and prompt compression are computed for the learned tokens only, which changes no number;
    positions and norms of the prompt that the released student holds and never reads are left out.
    """

    config: MmslfConfig
    _can_record_outputs: ClassVar[dict[str, OutputRecorder]] = {
        # Text aligned with audio, then with vision, and the maps that were applied on the way.
        "hidden_states": OutputRecorder(ConditionalLayer, index=0),
        "attentions": OutputRecorder(ConditionalLayer, index=2),
    }
    _no_split_modules: ClassVar[list[str]] = ["TransformerLayer", "ConditionalLayer"]
    # A model loaded in half precision keeps only its text encoders there.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = [
        "projections",
        "aligners",
        "prompts.projection",
        "prompts.empty_prompt",
        "prompts.compression",
        "fusion",
        "head",
    ]

    def __init__(self, config: MmslfConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.projections = nn.ModuleDict({name: nn.Linear(size, width) for name, size in config.input_sizes.items()})
        self.prompts = PromptBranch(config) if config.is_teacher else None
        self.aligners = nn.ModuleDict({name: ConditionalAligner(config, name) for name in SOURCES})
        num_layers: Any = config.num_fusion_layers
        self.fusion = TokenTransformer(
            config,
            "fusion",
            2 * config.max_text_length,
            num_tokens=config.num_fusion_tokens,
            num_read=config.num_fusion_tokens,
            num_layers=num_layers,
            ffn_size=config.fusion_ffn_size,
            num_heads=config.num_attention_heads,
            head_size=config.head_size,
            dropout=0.0,
        )
        self.head = nn.Linear(config.num_fusion_tokens * width, 1)
        self.post_init()

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each loss term."""
        if self.config.is_teacher:
            return {"task": 1.0}
        return {"task": self.config.task_weight, "map": self.config.map_weight, "tokens": self.config.token_weight}

    def copy_text_encoder_to_prompts(self) -> None:
        """Gives the frozen encoder of the prompts the text encoder's present weights."""
        if self.prompts is not None and self.prompts.text_model is not None:
            self.prompts.text_model.load_state_dict(self.text_model.state_dict())

    @torch.no_grad()
    def teach(
        self,
        distill_map: str,
        *,
        token_type_ids: torch.Tensor | None = None,
        prompt_input_ids: torch.Tensor | None = None,
        prompt_attention_mask: torch.Tensor | None = None,
        prompt_states: torch.Tensor | None = None,
        **batch: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Gives what a student learns from this teacher, without dropout, augmentation or gradient.

        Args:
            distill_map: `conditional` or `plain`: the student's `MmslfConfig.distill_map`.
            token_type_ids: As in the batch contract.
            prompt_input_ids: As in the batch contract.
            prompt_attention_mask: As in the batch contract.
            prompt_states: As in the batch contract.
            **batch: The rest of the batch contract; labels and what else is for training alone isn't read.

        Returns:
            The batch contract's `teacher`.
        """
        with dropout_off(self):
            inputs = self.reader.read({name: value for name, value in batch.items() if name != "labels"})
            rows = len(inputs["text"].mask)
            prompts = self.reader.read_prompts(rows, prompt_input_ids, prompt_attention_mask, prompt_states)
            return self.predict(inputs, token_type_ids, prompts).targets(distill_map)

    def predict(
        self,
        inputs: dict[str, ModalityInput],
        token_type_ids: torch.Tensor | None,
        prompts: ModalityInput | None = None,
    ) -> MmslfPrediction:
        """Runs the network on checked inputs.

        Args:
            inputs: From `ModalityReader.read`.
            token_type_ids: (B, Lt) for text encoders that use them.
            prompts: From `ModalityReader.read_prompts`; None: no row has one. A student doesn't read them.

        Raises:
            InputError: A sequence is longer than its position table.
        """
        if self.training and self.config.keep_rate < 1:
            inputs = self.augment(inputs)
        states = {
            name: self.projections[name](self.encode_input(name, item, token_type_ids)) for name, item in inputs.items()
        }
        num_positions = states["text"].shape[1]
        check_length(states["text"], self.config.max_text_length, "text", "MmslfConfig")
        masks = {name: fit_length(item.mask, states[name].shape[1]) for name, item in inputs.items()}
        text_mask = masks["text"].clone()
        text_mask[:, 0] = True
        prompt_tokens = self._prompt_tokens(prompts, len(text_mask), num_positions)
        alignments = {
            name: aligner(states["text"], text_mask, states[name], masks[name], prompt_tokens)
            for name, aligner in self.aligners.items()
        }
        # Vision keeps its place behind the longest text, so that a prediction doesn't depend on the padding.
        joined = torch.cat(
            [fit_length(item.states, self.config.max_text_length) for item in alignments.values()], dim=1
        )
        joined_mask = fit_length(text_mask, self.config.max_text_length).repeat(1, len(SOURCES))
        tokens = self.fusion(joined, joined_mask if self.config.is_repaired else None)[-1]
        return MmslfPrediction(self.head(tokens.flatten(1)), alignments, text_mask, tokens)

    def _prompt_tokens(self, prompts: ModalityInput | None, size: int, num_positions: int) -> torch.Tensor | None:
        if self.prompts is None:
            return None
        if prompts is None:
            width = self.config.text_config.hidden_size
            nothing = torch.zeros(size, 1, dtype=torch.bool, device=self.device)
            prompts = ModalityInput(torch.zeros(size, 1, width, device=self.device), nothing, nothing.squeeze(-1))
        return self.prompts(prompts, self.text_model)[:, :num_positions]

    def augment(
        self,
        inputs: dict[str, ModalityInput],
        draw_rates: Callable[[int], torch.Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, ModalityInput]:
        """Takes a random share out of every row: frames become zero, words unknown.

        Args:
            inputs: From `ModalityReader.read`.
            draw_rates: Number of rows → (rows,) shares to keep. None: uniform between `min_keep_rate` and 1.
            generator: Of the draws. None: PyTorch's own.
        """
        low = self.config.keep_rate
        augmented = dict(inputs)
        # In the order in which the released code draws.
        for name in ("vision", "audio", "text"):
            item = inputs[name]
            values, device = item.values, item.values.device
            is_ids = not values.is_floating_point()
            rows = len(values)
            rates = low + (1 - low) * torch.rand(rows, device=device) if draw_rates is None else draw_rates(rows)
            by_step = is_ids or self.config.is_repaired
            shape = values.shape[:2] if by_step else values.shape
            drawn = torch.rand(shape, device=device, generator=generator)
            lost = drawn >= rates.to(device).view(-1, *[1] * (drawn.dim() - 1))
            if name == "text" and self.config.is_repaired:
                lost = lost & _inner_positions(item.mask)
            if is_ids:
                unknown = self.config.unk_token_id
                values = values if unknown is None else values.masked_fill(lost, unknown)
            else:
                values = values.masked_fill(lost.unsqueeze(-1) if by_step else lost, 0.0)
            augmented[name] = ModalityInput(values, item.mask, item.present)
        return augmented

    def training_losses(
        self,
        prediction: MmslfPrediction,
        inputs: dict[str, ModalityInput],
        clean: dict[str, ModalityInput] | None,
        severity: torch.Tensor | None,
        labels: torch.Tensor,
        teacher: dict[str, torch.Tensor] | None = None,
    ) -> dict[str, torch.Tensor]:
        """What a student learns from its teacher.

        Args:
            prediction: From `predict`.
            inputs: Received inputs, not used.
            clean: Clean twin, not used.
            severity: (B, 3), not used.
            labels: (B,), not used.
            teacher: The teacher's `MmslfPrediction.targets` for the same rows. None: nothing is learned from one.

        Raises:
            InputError: Teacher and student don't fit together.
        """
        if teacher is None or self.config.is_teacher:
            return {}
        own = prediction.targets("plain")
        for name, values in own.items():
            if teacher[name].shape != values.shape:
                raise InputError(
                    f"a teacher must have the student's heads, fusion tokens, width and lengths; found {name} of shape "
                    f"{tuple(teacher[name].shape)} for the student's {tuple(values.shape)}; train both alike"
                )
        errors = {name: (values.float() - teacher[name].detach().float()).abs() for name, values in own.items()}
        if not self.config.is_repaired:
            maps = [errors[f"{name}_map"].mean() for name in SOURCES]
            return {"map": torch.stack(maps).sum(), "tokens": errors["tokens"].mean()}
        maps = []
        for name in SOURCES:
            item = prediction.alignments[name]
            counted = (prediction.text_mask.unsqueeze(-1) & item.mask.unsqueeze(1)).unsqueeze(1)
            error = errors[f"{name}_map"]
            maps.append(global_mean((error * counted).sum(), counted.sum() * error.shape[1]))
        return {"map": torch.stack(maps).sum(), "tokens": errors["tokens"].mean()}


def _inner_positions(mask: torch.Tensor) -> torch.Tensor:
    """(B, L) valid positions without the first and the last one, which hold special tokens."""
    inner = mask.clone()
    inner[:, 0] = False
    inner[:, :-1] &= mask[:, 1:]
    inner[:, -1] = False
    return inner
