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
"""DashFusion: dual-stream alignment and hierarchical bottleneck fusion.

Text asks audio and vision what goes with each word (temporal alignment), a contrastive loss pulls the modalities of
one clip and clips of one label together (semantic alignment), and a few bottleneck tokens, halved level by level, carry
what the three sequences tell each other.

Written from a description of the method and compared with the released code (ultramarineX/DashFusion) by numbers only.

Shape legend: B batch, L padded time, D width, H heads.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.output_capturing import OutputRecorder

from .attention import FeedForward, MultimodalAttention, MultiSourceAttention, TransformerLayer
from .configuration_dashfusion import DashFusionConfig
from .configuration_sentiment import MODALITIES
from .contrastive_companions import Companions, ContrastTerms, choose_companions, contrast_pairs
from .encoders import add_tokens_and_positions, check_length, encode_text
from .errors import InputError
from .modality_inputs import ModalityInput
from .modeling_peer import PeerForSentiment
from .pooling import masked_mean

# In which order the head reads the sequences, behind the bottleneck; as published, so that weights can be imported.
_HEAD_ORDER = ("text", "vision", "audio")


def nonzero_frames(frames: torch.Tensor) -> torch.Tensor:
    """Which frames the reference takes for valid.

    Args:
        frames: (B, L, width).

    Returns:
        (B, L) bool: the first frame, and every one whose features don't add up to zero.
    """
    valid = frames.sum(-1) != 0
    valid[:, 0] = True
    return valid


class StreamEncoder(nn.Module):
    """Post-norm transformer over the frames of audio or vision, with a class token in front.

    Args:
        config: The model's configuration.
        name: `audio` or `vision`.
    """

    def __init__(self, config: DashFusionConfig, name: str) -> None:
        super().__init__()
        width = config.hidden_size
        self.name, self.length = name, config.length_limit(name)
        self.projection = nn.Linear(config.input_sizes[name], width)
        self.token = nn.Parameter(torch.empty(1, 1, width))
        self.position_embedding = nn.Parameter(torch.empty(1, self.length + 1, width))
        self.layers = nn.ModuleList(
            TransformerLayer(
                config,
                width,
                config.encoder_ffn_size,
                norm_first=False,
                num_heads=getattr(config, f"num_{name}_heads"),
            )
            for _ in range(getattr(config, f"num_{name}_layers"))
        )
        self.norm = nn.LayerNorm(width)

    def init_own_parameters(self) -> None:
        """Gives the bare parameters their first values."""
        init.ones_(self.token)
        init.zeros_(self.position_embedding)

    def embed(self, frames: torch.Tensor) -> torch.Tensor:
        """Maps (B, L, width) frames to (B, 1 + L, D): class token, projected frames, positions added."""
        check_length(frames, self.length, self.name, "DashFusionConfig")
        return add_tokens_and_positions(self.projection(frames), self.token, self.position_embedding)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Encodes one sequence.

        Args:
            frames: (B, L, width).
            mask: (B, 1 + L) bool valid steps behind the class token, and whether that counts.

        Returns:
            (B, 1 + L, D), zero wherever `mask` is False.
        """
        states = self.embed(frames)
        for layer in self.layers:
            states = layer(states, None, mask)
        return self.norm(states) * mask.unsqueeze(-1)


class BottleneckLevel(FeedForward):
    """One level of the fusion: the bottleneck shrinks, collects from all sequences, and gives back to each.

    Args:
        config: The model's configuration.
        level: Number of the level, from 0.
    """

    def __init__(self, config: DashFusionConfig, level: int) -> None:
        super().__init__()
        width, ffn_size = config.hidden_size, config.fusion_ffn_size
        self.size = config.bottleneck_size(level)
        self.is_last = level == config.num_fusion_levels - 1
        self.is_repaired = config.is_repaired

        def layer() -> TransformerLayer:
            return TransformerLayer(
                config,
                width,
                ffn_size,
                norm_branch=True,
                dropout=0.0,
                project_output=False,
                scaling=None if config.is_repaired else width**-0.5,
            )

        self.bottleneck_layer = layer()
        self.collection = MultiSourceAttention(
            config, width, MODALITIES, num_heads=config.num_attention_heads, project_output=False
        )
        self.collection_norm = nn.LayerNorm(width)
        self.make_feed_forward(width, ffn_size)
        self.ffn_norm = nn.LayerNorm(width)
        self.stream_layers = nn.ModuleDict({name: layer() for name in MODALITIES})

    def forward(
        self,
        bottleneck: torch.Tensor,
        bottleneck_mask: torch.Tensor | None,
        streams: dict[str, torch.Tensor],
        masks: dict[str, torch.Tensor | None],
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Runs the level.

        Args:
            bottleneck: (B, Q, D).
            bottleneck_mask: (B, Q) bool valid tokens. None: all.
            streams: (B, S, D) by modality.
            masks: (B, S) bool valid steps by modality, or None for all.

        Returns:
            (B, min(Q, b), D) bottleneck, and the streams; of the last level only their first steps, since nothing else
            is read from them.
        """
        bottleneck = self.bottleneck_layer(bottleneck, None, bottleneck_mask)[:, : self.size]
        collected, _ = self.collection(bottleneck, streams, masks)
        bottleneck = self.collection_norm(bottleneck + collected)
        bottleneck = self.ffn_norm(bottleneck + self._feed_forward(bottleneck))
        if bottleneck_mask is not None:
            bottleneck_mask = bottleneck_mask[:, : self.size]
        if self.is_last and self.is_repaired:
            streams = {name: states[:, :1] for name, states in streams.items()}
        streams = {
            name: layer(streams[name], None, bottleneck_mask, bottleneck) for name, layer in self.stream_layers.items()
        }
        return bottleneck, streams


@dataclass
class DashFusionStates:
    """Encoded and aligned sequences.

    Args:
        streams: (B, S, D) by modality, zero at padding.
        masks: (B, S) bool valid steps by modality.
        pooled: (B, D) by modality, mean over the valid steps.
        aligned: (B, Lt, D) text with what audio and vision added.
        present: (3, B) bool modalities that there are.
    """

    streams: dict[str, torch.Tensor]
    masks: dict[str, torch.Tensor]
    pooled: dict[str, torch.Tensor]
    aligned: torch.Tensor
    present: torch.Tensor

    def views(self) -> torch.Tensor:
        """The views that are compared: text, audio, vision, aligned; (4, B, D)."""
        return torch.stack([*(self.pooled[name] for name in MODALITIES), self.aligned[:, 0]])

    def views_present(self) -> torch.Tensor:
        """(4, B) bool views that there are."""
        return torch.cat([self.present, torch.ones_like(self.present[:1])])

    def features(self) -> torch.Tensor:
        """(B, 3 D) by which rows are called similar."""
        return torch.cat([self.pooled[name] for name in MODALITIES], dim=-1)


@dataclass
class DashFusionPrediction:
    """What one pass of DashFusion gives.

    Args:
        logits: (B, 1).
        states: What the fusion read.
    """

    logits: torch.Tensor
    states: DashFusionStates


class DashFusionForSentiment(PeerForSentiment):
    """DashFusion with its regression head.

    Repairs of `variant="repaired"`, the default; `variant="reference"` has none of them:

    - Padding is masked in the alignment and in the fusion, text included, so a prediction doesn't depend on batch
      mates. The reference masks inside the two encoders only and later attends to padding, of which text has as much
      as the longest row of the batch asks for.
    - Masks come from lengths. The reference takes every frame whose features add up to zero for padding, also in the
      middle of a clip, and leaves the first frame of an absent modality visible.
    - An absent modality is no key for anything, and none of its views is compared; its slot in the head holds what the
      bottleneck tells it.
    - Scores of all attention layers are scaled by the head's width; some layers of the reference use the full width.
    - Companions share the label class exactly when they are meant to. The reference's lists hold positions in a ranking
      that are then used as row numbers, so its positives share the label about as often as random rows.
    - The contrastive loss averages over pairs that have negatives. In the reference, 12 of 22 pairs have none and
      are constant zero, which dilutes the rest.
    - Companions are chosen inside the batch, hardest first: every row is encoded once. The reference encodes six more
      clips per row, gradients included. `companions` in the batch are used instead where a training provides them.
    - Dropout in the encoders is the configured 0.1. In the reference 0.5 wins over its own configuration.
    - Parameters that no output depends on are left out.

    Not repairs, but stated: of the streams the last level computes only the step that the head reads; attention weights
    have no dropout.
    """

    config: DashFusionConfig
    _can_record_outputs: ClassVar[dict[str, OutputRecorder]] = {
        "hidden_states": OutputRecorder(TransformerLayer, index=0, layer_name="bottleneck_layer"),
        "attentions": OutputRecorder(MultimodalAttention, index=1, layer_name="bottleneck_layer"),
    }
    # A model loaded in half precision keeps only its text encoder there.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = ["text_projector", "encoders", "alignment", "levels", "head"]

    def __init__(self, config: DashFusionConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        text_size = config.input_sizes["text"]
        alignment_size = config.num_alignment_heads * config.alignment_head_size
        # Where the widths are equal already, the reference leaves these two projections out.
        self.text_projector = (
            nn.Sequential(
                nn.Linear(text_size, width, bias=False),
                nn.GELU(),
                nn.Linear(width, width, bias=False),
                nn.GELU(),
                nn.LayerNorm(width),
            )
            if config.is_repaired or text_size != width
            else nn.Identity()
        )
        self.encoders = nn.ModuleDict({name: StreamEncoder(config, name) for name in ("audio", "vision")})
        self.alignment = MultiSourceAttention(
            config,
            width,
            ("audio", "vision"),
            num_heads=config.num_alignment_heads,
            head_size=config.alignment_head_size,
            project_output=config.is_repaired or alignment_size != width,
        )
        self.levels = nn.ModuleList(BottleneckLevel(config, level) for level in range(config.num_fusion_levels))
        sizes = [4 * width, *config.head_sizes]
        hidden = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.GELU())]
        self.head = nn.Sequential(*hidden, nn.Linear(sizes[-1], 1))
        self.post_init()

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each loss term."""
        return {"task": 1.0, "contrastive": self.config.contrastive_weight}

    def encode(self, inputs: dict[str, ModalityInput], token_type_ids: torch.Tensor | None = None) -> DashFusionStates:
        """Encodes all modalities and aligns text with the others.

        Args:
            inputs: From `ModalityReader.read`.
            token_type_ids: (B, Lt) for text encoders that use them.
        """
        text = inputs["text"]
        states = self.text_projector(encode_text(self.text_model, text, token_type_ids))
        streams, masks = {"text": states * text.mask.unsqueeze(-1)}, {"text": text.mask}
        for name, encoder in self.encoders.items():
            frames, present = self.encode_input(name, inputs[name]), inputs[name].present
            valid = inputs[name].mask
            if not self.config.is_repaired:
                # The reference sees every sequence at its full length, and an absent one as zeros.
                valid, present = nonzero_frames(frames), torch.ones_like(present)
            masks[name] = torch.cat([present.unsqueeze(-1), valid], dim=1)
            streams[name] = encoder(frames, masks[name])
        pooled = {name: masked_mean(streams[name], masks[name]) for name in MODALITIES}
        added, _ = self.alignment(streams["text"], streams, self._seen(masks))
        present = torch.stack([inputs[name].present for name in MODALITIES])
        return DashFusionStates(streams, masks, pooled, streams["text"] + added, present)

    def _seen(self, masks: dict[str, torch.Tensor]) -> dict[str, torch.Tensor | None]:
        """The masks of the keys; the reference has none."""
        return {name: mask if self.config.is_repaired else None for name, mask in masks.items()}

    def predict(self, inputs: dict[str, ModalityInput], token_type_ids: torch.Tensor | None) -> DashFusionPrediction:
        """Runs the network on checked inputs.

        Args:
            inputs: From `ModalityReader.read`.
            token_type_ids: (B, Lt) for text encoders that use them.
        """
        states = self.encode(inputs, token_type_ids)
        bottleneck, streams = states.aligned, states.streams
        masks, bottleneck_mask = self._seen(states.masks), None
        if self.config.is_repaired:
            # Without text the first step alone starts the bottleneck, with what audio and vision added to it.
            bottleneck_mask = states.masks["text"].clone()
            bottleneck_mask[:, 0] = True
        for level in self.levels:
            bottleneck, streams = level(bottleneck, bottleneck_mask, streams, masks)
            if bottleneck_mask is not None:
                bottleneck_mask = bottleneck_mask[:, : bottleneck.shape[1]]
        fused = torch.cat([bottleneck[:, 0], *(streams[name][:, 0] for name in _HEAD_ORDER)], dim=-1)
        return DashFusionPrediction(self.head(fused), states)

    def label_classes(self, labels: torch.Tensor) -> torch.Tensor:
        """Maps (B,) labels to whole numbers, equal for labels that count as the same."""
        return (labels.float() / self.config.label_class_width).round()

    def training_losses(
        self,
        prediction: DashFusionPrediction,
        inputs: dict[str, ModalityInput],
        clean: dict[str, ModalityInput] | None,
        severity: torch.Tensor | None,
        labels: torch.Tensor,
        companions: dict[str, torch.Tensor] | None = None,
    ) -> dict[str, torch.Tensor]:
        """The contrastive term.

        Args:
            prediction: From `predict`.
            inputs: Received inputs, not used.
            clean: Clean twin, not used.
            severity: (B, 3), not used.
            labels: (B,).
            companions: Batch contract of the companions of each row, row by row: positives, then negatives, with
                `labels`. None: they are chosen inside the batch, in `repaired`; `reference` then has no such term.
        """
        is_off = self.config.contrastive_weight == 0 if self.config.is_repaired else companions is None
        if is_off:
            return {}
        terms = self.contrast(prediction.states, labels, companions)
        if self.config.is_repaired:
            return {"contrastive": terms.mean()}
        return {"contrastive": terms.row_means(self.num_empty_pairs).mean()}

    @property
    def num_empty_pairs(self) -> int:
        """Pairs of each row that the reference counts though they are zero: a companion's text with its own signals."""
        return 2 * self.config.num_companions

    def contrast(
        self, states: DashFusionStates, labels: torch.Tensor, companions: dict[str, torch.Tensor] | None
    ) -> ContrastTerms:
        """Compares each row with its companions.

        Args:
            states: Of the rows.
            labels: (B,).
            companions: As in `training_losses`.
        """
        views, present = states.views(), states.views_present()
        if companions is None:
            chosen, others, others_present = self._batch_companions(states, labels), views, present
        else:
            chosen = self._given_companions(companions, labels)
            other_states = self.encode(self.reader.read(companions), companions.get("token_type_ids"))
            others, others_present = other_states.views(), other_states.views_present()
        groups = torch.cat([views.unsqueeze(2), others[:, chosen.index]], dim=2)
        counted = torch.cat([present.unsqueeze(2), others_present[:, chosen.index] & chosen.valid], dim=2)
        if not self.config.is_repaired:
            counted = torch.ones_like(counted)
        return contrast_pairs(groups, counted, chosen.num_positives, self.config.contrast_temperature)

    def _batch_companions(self, states: DashFusionStates, labels: torch.Tensor) -> Companions:
        return choose_companions(
            states.features(),
            self.label_classes(labels),
            num_positives=self.config.num_positives,
            num_similar_negatives=self.config.num_similar_negatives,
            num_dissimilar_negatives=self.config.num_dissimilar_negatives,
        )

    def _given_companions(self, companions: dict[str, torch.Tensor], labels: torch.Tensor) -> Companions:
        """Where the companions of the batch stand; one whose label contradicts its place doesn't count."""
        size, number = len(labels), self.config.num_companions
        found = companions["labels"]
        if len(found) != size * number:
            raise InputError(
                f"each of the {size} rows needs {number} companions (DashFusionConfig.num_positives and negatives); "
                f"found {len(found)} rows of them; give {size * number}"
            )
        same = self.label_classes(found).view(size, number) == self.label_classes(labels).unsqueeze(-1)
        wanted = torch.arange(number, device=labels.device) < self.config.num_positives
        index = torch.arange(size * number, device=labels.device).view(size, number)
        return Companions(index, same == wanted, self.config.num_positives)
