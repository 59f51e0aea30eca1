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
"""CyIN, the cyclic informative latent space (Lin et al., NeurIPS 2025, arXiv 2602.04920).

An information bottleneck per modality gives latents from which every modality can be decoded. Translators between the
latents, one per pair and used in both directions, stand in for a modality that is absent; a multimodal transformer
fuses what is there and what was translated. One model serves every pattern of absent modalities.

Written from the paper and a description of the released code (RH-Lin/CyIN, no licence); compared with it by numbers.

Shape legend: B batch, L padded time, T aligned time, D latent width, F fusion width.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from transformers.utils.output_capturing import OutputRecorder

from .attention import MultimodalAttention, TransformerLayer
from .configuration_cyin import CyinConfig
from .configuration_sentiment import MODALITIES
from .crossmodal_encoder import CrossmodalEncoder
from .informative_latents import (
    MIXING_CHOICES,
    Bottleneck,
    Decoder,
    LatentNoise,
    MixingChoice,
    Translator,
    pool_neighbours,
    pool_strided,
)
from .losses import mean_over_rows, normal_divergence, task_loss
from .modality_inputs import ModalityInput
from .modeling_peer import PeerForSentiment

# Target → what it can be translated from, in the order of the choices below.
SOURCES = {"text": ("audio", "vision"), "audio": ("text", "vision"), "vision": ("audio", "text")}
_OWN = MIXING_CHOICES.index((True, False, False))


def translator_name(source: str, target: str) -> str:
    """Name of the translator that serves two modalities, whichever is the source."""
    return "_".join(sorted((source, target), key=MODALITIES.index))


@dataclass
class CyinPrediction:
    """What one pass of CyIN gives.

    Args:
        logits: (B, 1).
        aligned: (B, T, width) features per modality.
        means: (B, T, D) per modality.
        log_variances: (B, T, D) per modality.
        latents: (B, T, D) per modality, its own.
        decoded_latents: (source, target) → (B, T, D) latent of the source that the target is decoded from.
        translated: (source, target) → (B, T, D).
        present: (B, 3) bool.
    """

    logits: torch.Tensor
    aligned: dict[str, torch.Tensor]
    means: dict[str, torch.Tensor]
    log_variances: dict[str, torch.Tensor]
    latents: dict[str, torch.Tensor]
    decoded_latents: dict[tuple[str, str], torch.Tensor]
    translated: dict[tuple[str, str], torch.Tensor]
    present: torch.Tensor


class CyinForSentiment(PeerForSentiment):
    """CyIN with its regression head.

    Training has two stages, told apart by `set_training_progress`: at first every modality is fused as its own latent;
    then translations are trained, and what is fused for a modality is drawn among its own latent, either translation,
    and both.

    Repairs of `variant="repaired"`, the default; `variant="reference"` has none of them:

    - Alignment averages neighbouring valid frames over equal parts of the clip. The reference averages frames that lie
      a multiple of the aligned length apart, padding included: a short text is mixed with states of padding. Inputs of
      one length it takes for aligned, whatever that length is.
    - Evaluation uses the means of the latents. The reference samples them in evaluation too, so the same clip scores
      differently each time.
    - Two translations of one modality are averaged, as each alone has the scale of its target. The reference adds them,
      which asks each to be the whole and their sum to be the whole as well.
    - Decoders are linear. The reference ends them in a sigmoid, which can't reach most values of its targets.
    - Decoders' targets carry no gradient. In the reference the text encoder can lower the loss by making its states
      easy to decode. Latents stay targets with gradient: that both sides of a translation meet is the method's idea.
    - A latent is drawn once per modality and step. The reference encodes each modality three times and keeps the last
      draw, so it decodes other latents than it fuses, at three times the cost.
    - What is fused in the second stage is drawn per row. The reference draws once per batch.
    - The encoders of the fusion see the whole clip. The reference masks the future, though it reads all steps at once.
    - An absent modality is absent in training as well: it is translated, and no loss term counts it. The reference
      trains on complete rows only and would decode and score the zeros that stand for an absent modality.
    - Every step has a position. The reference gives none to a step whose first channel happens to be zero.

    Not repairs, but stated: a row without any modality is an error in both variants, where the released code scores
    inputs that were declared absent. The three encodings of a modality in the released training differ in their noise
    only, so the network runs once here. Attention weights have no dropout in either variant.
    """

    config: CyinConfig
    _can_record_outputs: ClassVar[dict[str, OutputRecorder]] = {
        "hidden_states": OutputRecorder(TransformerLayer, index=0, layer_name="memories"),
        "attentions": OutputRecorder(MultimodalAttention, index=1, layer_name="memories"),
    }
    # A model loaded in half precision keeps only its text encoder there.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = [
        "bottlenecks",
        "decoders",
        "translators",
        "unimodal_heads",
        "projections",
        "crossmodal",
        "memories",
        "fusion_in",
        "fusion_out",
        "head",
    ]

    def __init__(self, config: CyinConfig) -> None:
        super().__init__(config)
        widths = config.input_sizes
        size, width = config.bottleneck_size, config.hidden_size
        self.noise = LatentNoise()
        self.mixing_choice = MixingChoice(per_row=config.is_repaired)
        self.bottlenecks = nn.ModuleDict({name: Bottleneck(config, widths[name]) for name in MODALITIES})
        self.decoders = nn.ModuleDict({name: Decoder(config, widths[name]) for name in MODALITIES})
        self.translators = nn.ModuleDict(
            {name: Translator(config) for name in ("text_audio", "text_vision", "audio_vision")}
        )
        self.unimodal_heads = nn.ModuleDict({name: nn.Linear(size, 1) for name in MODALITIES})
        self.projections = nn.ModuleDict(
            {
                name: nn.Conv1d(
                    size, width, config.projection_kernel_size, padding=config.projection_padding, bias=False
                )
                for name in MODALITIES
            }
        )
        self.crossmodal = nn.ModuleDict(
            {
                f"{target}_with_{source}": self._encoder(width, config.num_crossmodal_layers)
                for target, sources in SOURCES.items()
                for source in sources
            }
        )
        self.memories = nn.ModuleDict({name: self._encoder(2 * width, config.num_memory_layers) for name in MODALITIES})
        self.fusion_in = nn.Linear(6 * width, 6 * width)
        self.fusion_out = nn.Linear(6 * width, 6 * width)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(6 * width, 1)
        self.post_init()

    def _encoder(self, width: int, num_layers: int) -> CrossmodalEncoder:
        config = self.config
        return CrossmodalEncoder(
            config,
            width,
            num_layers=num_layers,
            num_heads=config.num_attention_heads,
            ffn_ratio=config.ffn_ratio,
            causal=config.is_causal,
            use_positions=config.use_positions,
        )

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each loss term."""
        return {
            "task": 1.0,
            "unimodal": self.config.unimodal_weight,
            "bottleneck": 1 / self.config.ib_beta,
            "translation": self.config.translation_weight,
        }

    @property
    def is_mixing(self) -> bool:
        """Whether training is in its second stage."""
        return self.training and self.training_progress >= self.config.first_stage_share

    def align(
        self, inputs: dict[str, ModalityInput], token_type_ids: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Brings every modality to (B, T, width) features on a common time axis.

        Args:
            inputs: From `ModalityReader.read`.
            token_type_ids: (B, Lt) for text encoders that use them.
        """
        size = self.config.aligned_length
        states = {name: self.encode_input(name, item, token_type_ids) for name, item in inputs.items()}
        if self.config.is_repaired:
            return {name: pool_neighbours(states[name], item.mask, size) for name, item in inputs.items()}
        if len({frames.shape[1] for frames in states.values()}) == 1:
            # The reference takes inputs of one length for aligned, whatever that length is.
            return states
        return {name: pool_strided(frames, size) for name, frames in states.items()}

    def translate(self, source: str, target: str, latent: torch.Tensor) -> torch.Tensor:
        """Maps (B, T, D) latents of one modality to those of another."""
        return self.translators[translator_name(source, target)](latent)

    def _decoded_latents(
        self, means: dict[str, torch.Tensor], log_variances: dict[str, torch.Tensor]
    ) -> dict[tuple[str, str], torch.Tensor]:
        """The latent of each source that each target is decoded from, in the order in which they are drawn."""
        found = {}
        for source, mean in means.items():
            deviation = (0.5 * log_variances[source]).exp()
            targets = (source, *(name for name in MODALITIES if name != source))
            for index, target in enumerate(targets):
                if self.training and not self.config.is_repaired:
                    found[source, target] = mean + deviation * self.noise(mean, f"{source}_to_{target}")
                elif index == 0:
                    is_sampled = self.training or not self.config.is_repaired
                    latent = mean + deviation * self.noise(mean, source) if is_sampled else mean
                    found[source, target] = latent
                else:
                    found[source, target] = found[source, source]
        return found

    def predict(self, inputs: dict[str, ModalityInput], token_type_ids: torch.Tensor | None) -> CyinPrediction:
        """Runs the network on checked inputs.

        Args:
            inputs: From `ModalityReader.read`.
            token_type_ids: (B, Lt) for text encoders that use them.
        """
        aligned = self.align(inputs, token_type_ids)
        codes = {name: self.bottlenecks[name](states) for name, states in aligned.items()}
        means = {name: code[0] for name, code in codes.items()}
        log_variances = {name: code[1] for name, code in codes.items()}
        decoded_latents = self._decoded_latents(means, log_variances)
        # The last draw of each modality is the one that goes on.
        latents = {source: latent for (source, _), latent in decoded_latents.items()}
        present = torch.stack([item.present for item in inputs.values()], dim=-1)
        if self.training and not self.config.is_repaired:
            present = torch.ones_like(present)
        translated = {
            (source, target): self.translate(source, target, latents[source])
            for target, sources in SOURCES.items()
            for source in sources
        }
        logits = self.fuse(self._mixed(latents, translated, present))
        return CyinPrediction(logits, aligned, means, log_variances, latents, decoded_latents, translated, present)

    def _mixed(
        self,
        latents: dict[str, torch.Tensor],
        translated: dict[tuple[str, str], torch.Tensor],
        present: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """What is fused for each modality: its own latent, or translations of others."""
        choice = self.mixing_choice(present) if self.is_mixing else torch.full_like(present, _OWN, dtype=torch.long)
        wanted = torch.tensor(MIXING_CHOICES, device=present.device)[choice]
        mixed = {}
        for column, (target, sources) in enumerate(SOURCES.items()):
            columns = [column, *(MODALITIES.index(source) for source in sources)]
            available = present[:, columns]
            # What is wanted but not there is replaced by the modality itself, and where that is absent by the others.
            itself = torch.cat([available[:, :1], available[:, 1:] & ~available[:, :1]], dim=-1)
            used = wanted[:, column] & available
            used = torch.where(used.any(-1, keepdim=True), used, itself)
            candidates = torch.stack([latents[target], *(translated[source, target] for source in sources)], dim=1)
            weight = used.to(candidates.dtype)
            if self.config.is_repaired:
                weight = weight / weight.sum(-1, keepdim=True)
            mixed[target] = (weight[:, :, None, None] * candidates).sum(1)
        return mixed

    def fuse(self, latents: dict[str, torch.Tensor]) -> torch.Tensor:
        """Maps (B, T, D) latents of all modalities to a (B, 1) score."""
        states = {
            name: self.projections[name](latent.transpose(1, 2)).transpose(1, 2) for name, latent in latents.items()
        }
        summaries = []
        # The order of what the head reads is the published one.
        for target in ("text", "vision", "audio"):
            answers = [
                self.crossmodal[f"{target}_with_{source}"](states[target], None, states[source])
                for source in MODALITIES
                if source != target
            ]
            summaries.append(self.memories[target](torch.cat(answers, dim=-1)).mean(1))
        fused = torch.cat(summaries, dim=-1)
        return self.head(fused + self.fusion_out(self.dropout(torch.relu(self.fusion_in(fused)))))

    def training_losses(
        self,
        prediction: CyinPrediction,
        inputs: dict[str, ModalityInput],
        clean: dict[str, ModalityInput] | None,
        severity: torch.Tensor | None,
        labels: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Unimodal scores, the information bottleneck, and in the second stage the translations.

        Args:
            prediction: From `predict`.
            inputs: Received inputs; not used.
            clean: Not used.
            severity: Not used.
            labels: (B,).
        """
        losses = {
            "unimodal": self._unimodal_loss(prediction, labels),
            "bottleneck": self._bottleneck_loss(prediction),
        }
        if self.is_mixing:
            losses["translation"] = self._translation_loss(prediction)
        return losses

    def _unimodal_loss(self, prediction: CyinPrediction, labels: torch.Tensor) -> torch.Tensor:
        terms = [
            task_loss(
                self.unimodal_heads[name](prediction.latents[name].mean(1)),
                labels,
                self.config.task_loss,
                prediction.present[:, column],
            )
            for column, name in enumerate(MODALITIES)
        ]
        return torch.stack(terms).sum()

    def _bottleneck_loss(self, prediction: CyinPrediction) -> torch.Tensor:
        """Divergence from the standard normal, and β times the error of decoding each modality from each."""
        present = dict(zip(MODALITIES, prediction.present.unbind(-1), strict=True))
        divergences = [
            normal_divergence(prediction.means[name], log_variance).mean((1, 2))
            for name, log_variance in prediction.log_variances.items()
        ]
        divergence = mean_over_rows(torch.stack(divergences), prediction.present.T)
        errors, counted = [], []
        for (source, target), latent in prediction.decoded_latents.items():
            wanted = prediction.aligned[target]
            wanted = wanted.detach() if self.config.is_repaired else wanted
            errors.append((self.decoders[target](latent).float() - wanted.float()).square().mean((1, 2)))
            counted.append(present[source] & present[target])
        error = mean_over_rows(torch.stack(errors), torch.stack(counted))
        return divergence.mean() + self.config.ib_beta * error.mean()

    def _translation_loss(self, prediction: CyinPrediction) -> torch.Tensor:
        """Error of each modality's translations, alone and together, and of those that were sent there and back."""
        present = dict(zip(MODALITIES, prediction.present.unbind(-1), strict=True))
        errors, counted = [], []
        for target, sources in SOURCES.items():
            own = prediction.latents[target]
            arrived = [prediction.translated[source, target] for source in sources]
            returned = [self.translate(source, target, prediction.translated[target, source]) for source in sources]
            for found in (*arrived, self._together(arrived), *returned, self._together(returned)):
                errors.append((found.float() - own.float()).square().mean((1, 2)))
            both = [present[target] & present[source] for source in sources]
            # What is sent there and back only needs its own modality.
            counted += [*both, both[0] & both[1], *(3 * [present[target]])]
        # Two kinds of nine terms, each kind averaged.
        return 2 * mean_over_rows(torch.stack(errors), torch.stack(counted)).mean()

    def _together(self, translations: list[torch.Tensor]) -> torch.Tensor:
        stacked = torch.stack(translations)
        return stacked.mean(0) if self.config.is_repaired else stacked.sum(0)
