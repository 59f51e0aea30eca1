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
"""LNLN, the language-dominated noise-resistant learning network (Zhang, Wang, Yu, NeurIPS 2024, arXiv 2409.20012).

Each modality is condensed to a few tokens. A completeness score says how far the text can be trusted; where it can't, a
proxy made from audio and vision stands in for it. The corrected text then leads the fusion.

Written from the method and compared with the released code (Haoyu-ha/LNLN, MIT) by numbers.

Shape legend: B batch, L padded time, T tokens per modality, D width, H heads.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.output_capturing import OutputRecorder

from .attention import MultimodalAttention, MultiSourceAttention, TransformerLayer
from .clean_twin import as_target
from .configuration_lnln import LnlnConfig
from .configuration_sentiment import MODALITIES
from .encoders import add_tokens_and_positions
from .losses import mean_over_rows
from .modality_inputs import ModalityInput
from .modeling_peer import PeerForSentiment
from .token_transformer import TokenTransformer, transformer_layers

# In which order the reconstruction stacks the modalities.
_RECONSTRUCTION_ORDER = ("audio", "vision", "text")


class _ReversedGradient(torch.autograd.Function):
    """The identity, whose gradient changes its sign."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor) -> torch.Tensor:
        return states.view_as(states)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return -gradients[0]


def reverse_gradient(states: torch.Tensor) -> torch.Tensor:
    """Returns its input; what lies before it climbs the loss that what lies behind it descends."""
    return _ReversedGradient.apply(states)


def _block_layout(config: LnlnConfig, block: str) -> dict[str, Any]:
    """Sizes of one transformer block, as `transformer_layers` takes them."""
    return {
        "num_layers": config.block_size(block, "num_layers"),
        "ffn_size": config.block_size(block, "ffn_size"),
        "num_heads": config.block_size(block, "num_attention_heads"),
        "head_size": config.head_size,
    }


def _token_transformer(
    config: LnlnConfig, block: str, length: int, num_tokens: int = 0, num_read: int = 0
) -> TokenTransformer:
    return TokenTransformer(config, block, length, num_tokens, num_read, **_block_layout(config, block))


class HyperModalityLayer(nn.Module):
    """One step of hyper-modality learning: language asks audio and vision, the answers are added up.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: LnlnConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in (*MODALITIES, "hyper")})
        self.attention = MultiSourceAttention(
            config,
            width,
            ("audio", "vision"),
            num_heads=config.num_hyper_heads,
            # The reference projects only what several heads give.
            project_output=config.is_repaired or config.num_hyper_heads > 1,
        )

    def forward(
        self,
        language: torch.Tensor,
        tokens: dict[str, torch.Tensor],
        masks: dict[str, torch.Tensor | None],
        hyper: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor | None]]:
        """Updates the hyper-modality.

        Args:
            language: (B, T, D) state of the language encoder.
            tokens: (B, T, D) tokens of audio and vision.
            masks: (B, T) bool valid tokens of both, or None.
            hyper: (B, T, D).

        Returns:
            (B, T, D), and the attention weights (B, H, T, T) of audio and vision where the implementation gives them.
        """
        sources = {name: self.norms[name](tokens[name]) for name in ("audio", "vision")}
        context, weights = self.attention(self.norms["text"](language), sources, masks)
        # The residual path starts behind the norm, as published.
        return self.norms["hyper"](hyper) + context, weights


class LanguageGuidedFusion(nn.Module):
    """Cross-attention from the language states to the hyper-modality, both led by one shared learned token.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: LnlnConfig) -> None:
        super().__init__()
        shape = (1, config.num_tokens + 1, config.hidden_size)
        self.token = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.source_position_embedding = nn.Parameter(torch.empty(shape))
        self.target_position_embedding = nn.Parameter(torch.empty(shape))
        self.layers = transformer_layers(config, config.hidden_size, **_block_layout(config, "fusion"))

    def init_own_parameters(self) -> None:
        """Gives the bare parameters their first values."""
        init.zeros_(self.token)
        init.normal_(self.source_position_embedding)
        init.normal_(self.target_position_embedding)

    def forward(self, hyper: torch.Tensor, language: torch.Tensor) -> torch.Tensor:
        """Maps (B, T, D) hyper-modality and (B, T, D) language states to (B, 1 + T, D)."""
        source = add_tokens_and_positions(hyper, self.token, self.source_position_embedding)
        states = add_tokens_and_positions(language, self.token, self.target_position_embedding)
        for layer in self.layers:
            states = layer(states, None, None, source)
        return states


@dataclass
class LnlnPrediction:
    """What one pass of LNLN gives.

    Args:
        logits: (B, 1).
        tokens: (B, T, D) per modality.
        completeness: (B, 1) trust in the text, in [0, 1].
        proxy: (B, T, D) stand-in for the text, made from audio and vision.
        corrected: (B, T, D) mixture of text and proxy.
    """

    logits: torch.Tensor
    tokens: dict[str, torch.Tensor]
    completeness: torch.Tensor
    proxy: torch.Tensor
    corrected: torch.Tensor


class LnlnForSentiment(PeerForSentiment):
    """LNLN with its regression head.

    Repairs of `variant="repaired"`, the default; `variant="reference"` has none of them:

    - Padding is masked in every attention, so a prediction doesn't depend on batch mates, and a short clip differs from
      a corrupted one. The reference pads to a fixed length and attends to the padding.
    - An absent modality is masked: its tokens are no keys, and a text that isn't there has completeness 0. The
      reference replaces its content and keeps its length, which leaks.
    - The gradient is reversed on its way from the discriminator to the proxy only. In the reference the reversal sits
      on the proxy itself, so the task loss pushes the proxy's generator away from good predictions.
    - The discriminator judges the proxy, as the paper says. In the reference it judges the mixture with the text, which
      for a trusted text is the very thing that it is to be told from.
    - Clean tokens are targets without gradient, encoded without dropout. In the reference the losses also move them,
      which lets the encoders lower a loss by collapsing, at a third of the training cost.
    - Rows whose text or clean twin is absent don't count in the terms that would need it.

    Not repairs, but stated: the last layer of an embedder is computed for the learned tokens only, which changes no
    number; corruption is drawn anew for each sample and epoch by the training data, where the reference's loader almost
    never draws it again. In the reference variant, too, a text that the batch doesn't hold is read as zero states,
    since its length is unknown; the published protocol passes its two special tokens and unknown words instead.
    """

    config: LnlnConfig
    _can_record_outputs: ClassVar[dict[str, OutputRecorder]] = {
        "hidden_states": OutputRecorder(TransformerLayer, index=0, layer_name="fusion"),
        "attentions": OutputRecorder(MultimodalAttention, index=1, layer_name="fusion"),
    }
    # A model loaded in half precision keeps only its text encoder there.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = [
        "projections",
        "embedders",
        "completeness_encoder",
        "completeness_head",
        "proxy_generator",
        "proxy_token",
        "discriminator",
        "reconstructors",
        "language_encoder",
        "hyper_layers",
        "hyper_token",
        "fusion",
        "head",
    ]

    def __init__(self, config: LnlnConfig) -> None:
        super().__init__(config)
        width, size = config.hidden_size, config.num_tokens
        self.projections = nn.ModuleDict(
            {name: nn.Linear(in_size, width) for name, in_size in config.input_sizes.items()}
        )
        self.embedders = nn.ModuleDict(
            {name: self._condenser(name, config.length_limit(name), size) for name in MODALITIES}
        )
        self.completeness_encoder = self._condenser("completeness", size, 1)
        self.completeness_head = nn.Sequential(
            nn.Linear(width, config.completeness_size),
            nn.LeakyReLU(0.1),
            nn.Linear(config.completeness_size, 1),
            nn.Sigmoid(),
        )
        self.proxy_token = nn.Parameter(torch.empty(1, size, width))
        self.proxy_generator = self._condenser("proxy", 3 * size, size)
        self.language_encoder = _token_transformer(config, "language", size)
        self.hyper_token = nn.Parameter(torch.empty(1, size, width))
        self.hyper_layers = nn.ModuleList(HyperModalityLayer(config) for _ in range(config.num_hyper_layers))
        self.fusion = LanguageGuidedFusion(config)
        self.head = nn.Linear(width, 1)
        self.reconstructors = nn.ModuleDict(
            {name: _token_transformer(config, "reconstruction", size) for name in _RECONSTRUCTION_ORDER}
            if config.reconstruction_weight > 0 or not config.is_repaired
            else {}
        )
        self.discriminator = (
            nn.Sequential(
                nn.Linear(width, config.discriminator_size),
                nn.LeakyReLU(0.1),
                nn.Linear(config.discriminator_size, 2),
            )
            if config.adversarial_weight > 0 or not config.is_repaired
            else None
        )
        self.post_init()

    def _condenser(self, block: str, length: int, num_read: int) -> TokenTransformer:
        """A block that puts learned tokens in front, of which only the first steps are read afterwards."""
        num_tokens = self.config.num_learned_tokens(block, num_read)
        return _token_transformer(self.config, block, length, num_tokens, num_read)

    def init_own_parameters(self) -> None:
        """Gives the bare parameters their first values."""
        init.ones_(self.proxy_token)
        init.ones_(self.hyper_token)

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each loss term."""
        return {
            "task": self.config.task_weight,
            "completeness": self.config.completeness_weight,
            "adversarial": self.config.adversarial_weight,
            "reconstruction": self.config.reconstruction_weight,
        }

    def condense(
        self, inputs: dict[str, ModalityInput], token_type_ids: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Maps the inputs of all modalities to (B, T, D) tokens each."""
        tokens = {}
        for name, item in inputs.items():
            states = self.encode_input(name, item, token_type_ids)
            mask = item.mask if self.config.is_repaired else None
            tokens[name] = self.embedders[name](self.projections[name](states), mask)[-1]
        return tokens

    def _token_mask(self, item: ModalityInput) -> torch.Tensor | None:
        return item.present.unsqueeze(-1).expand(-1, self.config.num_tokens) if self.config.is_repaired else None

    def predict(self, inputs: dict[str, ModalityInput], token_type_ids: torch.Tensor | None) -> LnlnPrediction:
        """Runs the network on checked inputs.

        Args:
            inputs: From `ModalityReader.read`.
            token_type_ids: (B, Lt) for text encoders that use them.
        """
        tokens = self.condense(inputs, token_type_ids)
        masks = {name: self._token_mask(item) for name, item in inputs.items()}
        completeness = self.completeness_head(self.completeness_encoder(tokens["text"], None)[-1][:, 0])
        proxy = self._proxy(tokens, masks)
        if self.config.is_repaired:
            completeness = completeness * inputs["text"].present.unsqueeze(-1)
        else:
            proxy = reverse_gradient(proxy)
        trust = completeness.unsqueeze(-1)
        corrected = trust * tokens["text"] + (1 - trust) * proxy
        language = self.language_encoder(corrected, None)
        hyper = self.hyper_token.expand(len(corrected), -1, -1)
        for layer, states in zip(self.hyper_layers, language, strict=False):
            hyper, _ = layer(states, tokens, masks, hyper)
        fused = self.fusion(hyper, language[-1])[:, 1:].mean(1)
        return LnlnPrediction(self.head(fused), tokens, completeness, proxy, corrected)

    def _proxy(self, tokens: dict[str, torch.Tensor], masks: dict[str, torch.Tensor | None]) -> torch.Tensor:
        start = self.proxy_token.expand(len(tokens["text"]), -1, -1)
        sequence = torch.cat([start, tokens["audio"], tokens["vision"]], dim=1)
        mask = None
        if masks["audio"] is not None and masks["vision"] is not None:
            mask = torch.cat([torch.ones_like(masks["audio"]), masks["audio"], masks["vision"]], dim=1)
        return self.proxy_generator(sequence, mask)[-1]

    def training_losses(
        self,
        prediction: LnlnPrediction,
        inputs: dict[str, ModalityInput],
        clean: dict[str, ModalityInput] | None,
        severity: torch.Tensor | None,
        labels: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Completeness, adversarial and reconstruction terms.

        Args:
            prediction: From `predict`.
            inputs: Received inputs.
            clean: Clean twin; without it only the completeness term is computed.
            severity: (B, 3) true severities; without them there is no completeness term.
            labels: (B,), not used.
        """
        losses = {}
        if severity is not None and (self.config.completeness_weight > 0 or not self.config.is_repaired):
            error = (prediction.completeness.float().squeeze(-1) - (1 - severity[:, 0].float())).square()
            losses["completeness"] = self._row_mean(error, inputs["text"].present)
        if clean is None:
            return losses
        targets = self._clean_tokens(clean)
        if self.discriminator is not None:
            losses["adversarial"] = self._adversarial(prediction, targets["text"], clean["text"].present)
        if self.reconstructors:
            errors = []
            for name, reconstructor in self.reconstructors.items():
                found = reconstructor(prediction.tokens[name], None)[-1]
                errors.append((found.float() - targets[name].float()).square().mean((1, 2)))
            present = torch.stack([clean[name].present for name in self.reconstructors])
            losses["reconstruction"] = self._row_mean(torch.stack(errors), present)
        return losses

    def _row_mean(self, values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
        """Mean over the rows that count; the reference counts all."""
        counted = counted if self.config.is_repaired else torch.ones_like(counted)
        return mean_over_rows(values.flatten(), counted.flatten())

    def _clean_tokens(self, clean: dict[str, ModalityInput]) -> dict[str, torch.Tensor]:
        if not self.config.is_repaired:
            return self.condense(clean)
        with as_target(self):
            return self.condense(clean)

    def _adversarial(
        self, prediction: LnlnPrediction, clean_text: torch.Tensor, clean_present: torch.Tensor
    ) -> torch.Tensor:
        assert self.discriminator is not None
        judged = reverse_gradient(prediction.proxy) if self.config.is_repaired else prediction.corrected
        logits = self.discriminator(torch.cat([judged, clean_text]).flatten(0, 1))
        rows, size = judged.shape[:2]
        # Class 1 is the imitation, class 0 the clean text.
        wanted = torch.arange(2, device=logits.device).flip(0).repeat_interleave(rows * size)
        errors = nn.functional.cross_entropy(logits.float(), wanted, reduction="none").view(2 * rows, size).mean(1)
        return self._row_mean(errors, torch.cat([torch.ones_like(clean_present), clean_present]))
