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
"""What the peers share: reading a batch, adding up a loss, and the output object.

A peer is a published system rebuilt here for comparison. Its own file holds its own idea: the modules, a `predict` and
the loss terms that training adds.

Shape legend: B batch, L padded time, D width.
"""

import math
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .attention import MultimodalAttention, TransformerLayer
from .clean_twin import fit_length
from .configuration_sentiment import PeerConfig
from .encoders import build_text_model, encode_text
from .errors import InputError
from .losses import task_loss, weighted_sum
from .modality_inputs import ModalityInput, ModalityReader
from .modeling_outputs import SentimentOutput
from .repository_checks import CheckedPreTrainedModel


class PeerForSentiment(CheckedPreTrainedModel):
    """Base of the peer models with their regression heads.

    A subclass builds its modules after `super().__init__(config)`, ends with `self.post_init()`, and defines `predict`,
    `training_losses` and `loss_weights`. A module with bare parameters gives them their first values in a method
    `init_own_parameters`, through the functions of `transformers.initialization`, which leave loaded weights alone.
    """

    config: PeerConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("text", "audio", "video")
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules: ClassVar[list[str]] = ["TransformerLayer"]
    _can_record_outputs: ClassVar[dict[str, OutputRecorder]] = {
        "hidden_states": OutputRecorder(TransformerLayer, index=0),
        "attentions": OutputRecorder(MultimodalAttention, index=1),
    }

    def __init__(self, config: PeerConfig) -> None:
        super().__init__(config)
        self.text_model: Any = build_text_model(config.text_config) if "text" in config.modality_names else None
        self.reader = ModalityReader(config)
        self.training_progress = 1.0

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Linear | nn.Conv1d):
            # PyTorch's own start, which the published systems train from; the library's is a narrow normal.
            bound = 1 / math.sqrt(module.weight[0].numel())
            init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                init.uniform_(module.bias, -bound, bound)
        own = getattr(module, "init_own_parameters", None)
        if own is not None:
            own()

    def get_input_embeddings(self) -> nn.Module:
        """The text encoder's token embeddings."""
        self._require_text_model()
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the text encoder's token embeddings."""
        self._require_text_model()
        self.text_model.set_input_embeddings(value)

    def _require_text_model(self) -> None:
        if self.text_model is None:
            raise InputError("token embeddings exist only in a model that reads text; found modalities without 't'")

    def set_training_progress(self, fraction: float) -> None:
        """Tells how much of training is done, for models that train in stages.

        Args:
            fraction: 0 at the first step, 1 at the end. Without this call the model is in its last stage.
        """
        self.training_progress = float(fraction)

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each loss term by name; a term without one is a monitor and left out of the loss."""
        raise NotImplementedError

    def encode_input(self, name: str, item: ModalityInput, token_type_ids: torch.Tensor | None = None) -> torch.Tensor:
        """Reads one modality: the text encoder's states, or frames.

        Args:
            name: `text`, `audio` or `vision`.
            item: From `ModalityReader.read`. The `reference` variant sees it padded to the published length.
            token_type_ids: (B, Lt) for text encoders that use them; not read for frames.

        Returns:
            (B, L, width) float32.
        """
        if not self.config.is_repaired:
            item = item.padded(self.config.length_limit(name), self.config.text_config.pad_token_id)
        if name != "text":
            return item.frames()
        if token_type_ids is not None:
            token_type_ids = fit_length(token_type_ids, item.mask.shape[1])
        return encode_text(self.text_model, item, token_type_ids)

    def predict(self, inputs: dict[str, ModalityInput], token_type_ids: torch.Tensor | None) -> Any:
        """Runs the network on checked inputs.

        Args:
            inputs: From `ModalityReader.read`, for text, audio and vision.
            token_type_ids: (B, Lt) for text encoders that use them.

        Returns:
            An object of the model's own with `logits` (B, 1) and whatever `training_losses` needs.
        """
        raise NotImplementedError

    def training_losses(
        self,
        prediction: Any,
        inputs: dict[str, ModalityInput],
        clean: dict[str, ModalityInput] | None,
        severity: torch.Tensor | None,
        labels: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Terms that training adds to the task loss, unweighted scalars by name.

        Args:
            prediction: What `predict` returned.
            inputs: Received inputs.
            clean: Clean twin; None without one, or where `config.needs_clean_twin` is False.
            severity: (B, 3) true severities, None without.
            labels: (B,).
        """
        raise NotImplementedError

    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        text_states: torch.FloatTensor | None = None,
        audio_values: torch.FloatTensor | None = None,
        audio_mask: torch.Tensor | None = None,
        vision_values: torch.FloatTensor | None = None,
        vision_mask: torch.Tensor | None = None,
        modality_mask: torch.Tensor | None = None,
        clean_input_ids: torch.LongTensor | None = None,
        clean_attention_mask: torch.Tensor | None = None,
        clean_text_states: torch.FloatTensor | None = None,
        clean_audio_values: torch.FloatTensor | None = None,
        clean_audio_mask: torch.Tensor | None = None,
        clean_vision_values: torch.FloatTensor | None = None,
        clean_vision_mask: torch.Tensor | None = None,
        clean_text_index: torch.LongTensor | None = None,
        severity: torch.FloatTensor | None = None,
        labels: torch.FloatTensor | None = None,
        companions: dict[str, torch.Tensor] | None = None,
        prompt_input_ids: torch.LongTensor | None = None,
        prompt_attention_mask: torch.Tensor | None = None,
        prompt_states: torch.FloatTensor | None = None,
        teacher: dict[str, torch.Tensor] | None = None,
        domain_id: torch.LongTensor | None = None,
        output_losses: bool = False,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> SentimentOutput:
        """Scores a batch; in training also computes the complete loss.

        Args: the batch contract of `docs/architecture.md` (all shapes there). `clean_*` and `severity` are read only in
            training; `clean_text_index` only by models that compare step by step.
            companions: Further rows that training compares each row with, as a batch of their own; only for models that
                say what they are.
            prompt_input_ids, prompt_attention_mask, prompt_states: A large model's hint for each row, only for models
                that read prompts.
            teacher: What a teacher made of the rows, in training and only for models that learn from one.
            domain_id: (B,) source domain of each row, in training and only for models that tell sources apart.
            output_losses, output_hidden_states, output_attentions: what to return besides the logits.

        Returns:
            `SentimentOutput`; `logits` is (B, 1) in the label range, not clipped.

        Raises:
            InputError: An input breaks the batch contract.
        """
        received = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "text_states": text_states,
            "audio_values": audio_values,
            "audio_mask": audio_mask,
            "vision_values": vision_values,
            "vision_mask": vision_mask,
            "modality_mask": modality_mask,
            "severity": severity if self.training else None,
            "labels": labels,
        }
        inputs = self.reader.read(received)
        prompts = self.reader.read_prompts(
            len(next(iter(inputs.values())).mask), prompt_input_ids, prompt_attention_mask, prompt_states
        )
        prediction = self.predict(inputs, token_type_ids, **({} if prompts is None else {"prompts": prompts}))
        loss, losses = None, None
        if labels is not None:
            losses = {"task": task_loss(prediction.logits, labels, self.config.task_loss)}
            if self.training:
                clean = self._read_clean(
                    {
                        "clean_input_ids": clean_input_ids,
                        "clean_attention_mask": clean_attention_mask,
                        "clean_text_states": clean_text_states,
                        "clean_audio_values": clean_audio_values,
                        "clean_audio_mask": clean_audio_mask,
                        "clean_vision_values": clean_vision_values,
                        "clean_vision_mask": clean_vision_mask,
                    }
                )
                domains = domain_id if getattr(self.config, "reads_domains", False) else None
                given = {"companions": companions, "teacher": teacher, "domain_id": domains}
                further = {name: value for name, value in given.items() if value is not None}
                losses |= self.training_losses(prediction, inputs, clean, severity, labels, **further)
            loss = weighted_sum(losses, self.loss_weights)
        return SentimentOutput(loss=loss, logits=prediction.logits, losses=losses if output_losses else None)

    def _read_clean(self, clean: dict[str, torch.Tensor | None]) -> dict[str, ModalityInput] | None:
        values = ("input_ids", "text_states", "audio_values", "vision_values")
        given = any(clean[f"clean_{name}"] is not None for name in values)
        return self.reader.read(clean, prefix="clean_") if given and self.config.needs_clean_twin else None
