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
"""HME, hyper-modality enhancement (Zhuang et al., NeurIPS 2025).

Nothing that is missing is reconstructed. Each modality is enriched with what similar samples show in it; the three
enriched vectors are crossed into one hyper-modality per modality, which a variational bottleneck squeezes. The
bottleneck's standard deviation says how uncertain it is, and weighs it against the modality itself.

Written from descriptions of the method and compared with the released code (YetZzzzzz/HME, MIT) by numbers; the paper's
text was not available.

Shape legend: B batch, L padded time, S keys, D width.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.output_capturing import OutputRecorder

from .attention import MultimodalAttention, TransformerLayer
from .configuration_hme import HmeConfig
from .configuration_sentiment import MODALITIES
from .crossmodal_encoder import CrossmodalEncoder
from .losses import normal_divergence, task_loss
from .modality_inputs import ModalityInput
from .modeling_peer import PeerForSentiment
from .neighbour_retrieval import NeighbourMemory, batch_neighbours
from .pooling import masked_max

# Where a bottleneck's standard deviation starts: softplus of this.
_STD_SHIFT = -5.0
_START_STD = math.log1p(math.exp(_STD_SHIFT))


class SingleKeyMap(nn.Module):
    """What attention over one key amounts to: its weight is always 1, so queries and keys need no parameters.

    Takes the place of `MultimodalAttention`.

    Args:
        width: State width D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width)

    def forward(
        self,
        queries: torch.Tensor,
        query_positions: torch.Tensor | None,
        keys: torch.Tensor,
        key_positions: torch.Tensor | None,
        key_mask: torch.Tensor | None,
        values: torch.Tensor,
    ) -> tuple[torch.Tensor, None]:
        """Maps (B, 1, D) values to (B, Q, D); zero where `key_mask` (B, 1) is False."""
        answer = self.output(self.value(values)).expand_as(queries)
        return (answer if key_mask is None else answer * key_mask.unsqueeze(-1)), None


def _gated_layer(config: HmeConfig, *, asks_source: bool, single_key: bool = False) -> nn.Module:
    width = config.hidden_size
    layer: Any = TransformerLayer(
        config,
        width,
        config.latent_ffn_size or 4 * width,
        source_norm=asks_source,
        activation="geglu",
        dropout=0.0,
        input_bias=False,
    )
    if single_key:
        layer.attention_norm, layer.attention = nn.Identity(), SingleKeyMap(width)
    return layer


class LatentSummary(nn.Module):
    """Learned vectors that ask a source and then each other, averaged to one.

    Args:
        config: The model's configuration.
        single_key: Whether the source is one vector, and attention to it needs no queries.
    """

    def __init__(self, config: HmeConfig, single_key: bool) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.empty(config.num_latents, config.hidden_size))
        self.source_layers = nn.ModuleList(
            _gated_layer(config, asks_source=True, single_key=single_key) for _ in range(config.num_latent_layers)
        )
        self.latent_layers = nn.ModuleList(
            _gated_layer(config, asks_source=False) for _ in range(config.num_latent_layers)
        )
        self.norm = nn.LayerNorm(config.hidden_size)

    def init_own_parameters(self) -> None:
        """Gives the bare parameters their first values."""
        init.normal_(self.latents)

    def forward(self, source: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Maps (B, S, D) with a (B, S) bool mask (None: all valid) to (B, D)."""
        states = self.latents.expand(len(source), -1, -1)
        for source_layer, latent_layer in zip(self.source_layers, self.latent_layers, strict=True):
            states = latent_layer(source_layer(states, None, mask, source))
        return self.norm(states.mean(1))


class CrossingEncoder(nn.Module):
    """One vector asks others.

    Args:
        config: The model's configuration.
        single_key: Whether there is one other only, and attention to it needs no queries.
    """

    def __init__(self, config: HmeConfig, single_key: bool) -> None:
        super().__init__()
        self.source_layers = nn.ModuleList(
            _gated_layer(config, asks_source=True, single_key=single_key) for _ in range(config.num_hyper_layers)
        )
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(self, query: torch.Tensor, source: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Maps (B, D) and (B, S, D) with a (B, S) bool mask (None: all valid) to (B, D)."""
        states = query.unsqueeze(1)
        for layer in self.source_layers:
            states = layer(states, None, mask, source)
        return self.norm(states.squeeze(1))


@dataclass
class BottleneckState:
    """What a bottleneck makes of a hyper-modality.

    Args:
        mean: (B, D).
        std: (B, D) standard deviation.
        encoding: (B, D) sample, or the mean where nothing is drawn.
        logits: (B, 1) score from the encoding alone.
        divergence: Scalar, from the standard normal, mean over rows and channels.
    """

    mean: torch.Tensor
    std: torch.Tensor
    encoding: torch.Tensor
    logits: torch.Tensor
    divergence: torch.Tensor


class Bottleneck(nn.Module):
    """Variational information bottleneck of one hyper-modality, with a regression head of its own.

    Args:
        width: State width D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, 2 * width),
        )
        self.head = nn.Linear(width, 1)

    def forward(self, states: torch.Tensor, noise: torch.Tensor | None) -> BottleneckState:
        """Encodes (B, D) states; `noise` is standard normal (B, D), None for the mean."""
        mean, raw = self.encoder(states).float().chunk(2, dim=-1)
        std = nn.functional.softplus(raw + _STD_SHIFT)
        encoding = mean if noise is None else mean + std * noise
        divergence = normal_divergence(mean, 2 * std.log()).mean()
        return BottleneckState(mean, std, encoding, self.head(encoding), divergence)


class WeightedMixture(nn.Module):
    """Softmax mixture of vectors, whose scores are scaled by how certain each vector is.

    Args:
        width: Vector width D.
        num_parts: Number of vectors N.
    """

    def __init__(self, width: int, num_parts: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(num_parts * width, width)
        self.score = nn.Linear(width, num_parts)
        self.scaling = width**-0.5

    def forward(self, parts: torch.Tensor, certainty: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Mixes (B, N, D) parts with (B, N) certainties, over the (B, N) bool mask (None: all), to (B, D)."""
        scores = self.score(nn.functional.relu(self.hidden(parts.flatten(1)))) * certainty * self.scaling
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return (scores.float().softmax(-1).unsqueeze(-1) * parts).sum(1)


@dataclass
class HmePrediction:
    """What one pass of HME gives.

    Args:
        logits: (B, 1).
        bottlenecks: One per modality.
    """

    logits: torch.Tensor
    bottlenecks: dict[str, BottleneckState]


class HmeForSentiment(PeerForSentiment):
    """HME with its regression head.

    Repairs of `variant="repaired"`, the default; `variant="reference"` has none of them:

    - Padding is masked in attention and pooling. The reference attends to the padding and takes maxima over it.
    - Whether a modality is there comes from the masks. The reference asks whether a pooled vector adds up to zero,
      which the first optimiser step ends: from then on all samples without a modality retrieve each other.
    - An absent modality is never retrieved, is no key of the summary of all modalities, and doesn't enter the mixture
      with its hyper-modality.
    - Neighbours are compared after their mean is taken off, by a smooth step at the threshold. Raw cosines of encoder
      outputs are all near 1, so the reference's threshold selects everyone.
    - In eval mode samples retrieve from a memory of the last training samples, which the checkpoint holds, and the
      bottlenecks give their means. In the reference a prediction depends on its batch mates and on noise, and a batch
      of one fails.
    - Attention over a single key is the linear map that it equals. In the reference its queries and keys are parameters
      that never get a gradient.
    - Certainty is measured on a logarithmic scale from where the standard deviation starts. The reference inverts
      standard deviations near 0.007, so one weight sits at its limit and the others follow an arg-max.

    Not repairs, but stated: dropout has one rate inside the encoders and none on attention weights, where the published
    flags have several; text that is absent is encoded as one padding token.
    """

    config: HmeConfig
    _can_record_outputs: ClassVar[dict[str, OutputRecorder]] = {
        "hidden_states": OutputRecorder(TransformerLayer, index=0, layer_name="fusion_layers"),
        "attentions": OutputRecorder(MultimodalAttention, index=1, layer_name="fusion_layers"),
    }
    # A model loaded in half precision keeps only its text encoder there.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = [
        "projections",
        "encoders",
        "memory",
        "summaries",
        "crossings",
        "hyper_encoders",
        "bottlenecks",
        "mixtures",
        "fusion_layers",
        "head",
    ]

    def __init__(self, config: HmeConfig) -> None:
        super().__init__(config)
        width, is_repaired = config.hidden_size, config.is_repaired
        self.projections = nn.ModuleDict(
            {name: nn.Linear(size, width, bias=False) for name, size in config.input_sizes.items()}
        )
        self.encoders = nn.ModuleDict(
            {
                name: CrossmodalEncoder(
                    config, width, num_layers=config.num_layers, num_heads=config.num_attention_heads
                )
                for name in MODALITIES
            }
        )
        self.memory = (
            NeighbourMemory(
                len(MODALITIES),
                width,
                config.memory_size,
                config.similarity_threshold,
                config.similarity_temperature,
            )
            if is_repaired
            else None
        )
        self.summaries = nn.ModuleDict({name: LatentSummary(config, single_key=is_repaired) for name in MODALITIES})
        self.summaries["sample"] = LatentSummary(config, single_key=False)
        self.crossings = nn.ModuleDict(
            {
                f"{asking}_{asked}": CrossingEncoder(config, single_key=is_repaired)
                for asking in MODALITIES
                for asked in MODALITIES
                if asked != asking
            }
        )
        self.hyper_encoders = nn.ModuleDict({name: CrossingEncoder(config, single_key=False) for name in MODALITIES})
        self.bottlenecks = nn.ModuleDict({name: Bottleneck(width) for name in MODALITIES})
        self.mixtures = nn.ModuleDict({name: WeightedMixture(width, 2) for name in MODALITIES})
        self.mixtures["hyper"] = WeightedMixture(width, len(MODALITIES))
        self.fusion_layers = nn.ModuleList(
            TransformerLayer(
                config,
                width,
                config.fusion_ffn_size,
                activation="relu",
                norm_first=False,
                dropout=config.fusion_dropout,
            )
            for _ in range(config.num_fusion_layers)
        )
        self.head = nn.Sequential(
            nn.Linear((len(MODALITIES) + 1) * width, 2 * width),
            nn.Dropout(config.fusion_dropout),
            nn.ReLU(),
            nn.Linear(2 * width, 1),
        )
        self.post_init()

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each loss term."""
        return {"task": 1.0, "hyper": self.config.hyper_weight, "kl": self.config.kl_weight}

    def pool(self, name: str, item: ModalityInput, token_type_ids: torch.Tensor | None = None) -> torch.Tensor:
        """Encodes one modality to (B, D), the maximum over time; repaired: zero where it is absent."""
        projected = self.projections[name](self.encode_input(name, item, token_type_ids))
        if not self.config.is_repaired:
            return self.encoders[name](projected, source=projected).max(1).values
        encoded = self.encoders[name](projected, source=projected, source_mask=item.mask)
        return masked_max(encoded.float(), item.mask)

    def predict(self, inputs: dict[str, ModalityInput], token_type_ids: torch.Tensor | None) -> HmePrediction:
        """Runs the network on checked inputs.

        Args:
            inputs: From `ModalityReader.read`.
            token_type_ids: (B, Lt) for text encoders that use them.
        """
        pooled, present = {}, {}
        enhanced, is_enhanced = {}, {}
        for column, (name, item) in enumerate(inputs.items()):
            pooled[name] = self.pool(name, item, token_type_ids)
            if self.memory is None:
                retrieved = batch_neighbours(pooled[name], self.config.similarity_threshold)
                enhanced[name] = self.summaries[name](retrieved.unsqueeze(1), None)
            else:
                retrieved, is_enhanced[name] = self.memory(column, pooled[name], item.present)
                present[name] = item.present
                enhanced[name] = self.summaries[name](retrieved.unsqueeze(1), is_enhanced[name].unsqueeze(1))
        sample = self.summaries["sample"](torch.stack([*pooled.values()], dim=1), _stacked_mask(present, MODALITIES))
        bottlenecks = {}
        for name in MODALITIES:
            others = [other for other in MODALITIES if other != name]
            crossed = [
                self.crossings[f"{name}_{other}"](enhanced[name], enhanced[other].unsqueeze(1), None)
                for other in others
            ]
            hyper = self.hyper_encoders[name](sample, torch.stack(crossed, dim=1), _stacked_mask(is_enhanced, others))
            is_drawn = self.training or not self.config.is_repaired
            noise = torch.randn_like(hyper, dtype=torch.float32) if is_drawn else None
            bottlenecks[name] = self.bottlenecks[name](hyper, noise)
        return HmePrediction(self._fuse(pooled, present, bottlenecks), bottlenecks)

    def _fuse(
        self,
        pooled: dict[str, torch.Tensor],
        present: dict[str, torch.Tensor],
        bottlenecks: dict[str, BottleneckState],
    ) -> torch.Tensor:
        within, between = self._certainties(bottlenecks)
        tokens = []
        for column, name in enumerate(MODALITIES):
            parts = torch.stack([pooled[name], bottlenecks[name].encoding], dim=1)
            weights = torch.stack([torch.ones_like(within[:, column]), within[:, column]], dim=-1)
            mask = None
            if present:
                mask = torch.stack([present[name], torch.ones_like(present[name])], dim=-1)
            tokens.append(self.mixtures[name](parts, weights, mask))
        encodings = torch.stack([state.encoding for state in bottlenecks.values()], dim=1)
        states = torch.stack([*tokens, self.mixtures["hyper"](encodings, between, None)], dim=1)
        for layer in self.fusion_layers:
            states = layer(states)
        return self.head(states.flatten(1))

    def _certainties(self, bottlenecks: dict[str, BottleneckState]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3) weights of the hyper-modalities, each beside its modality and among each other."""
        low, high = self.config.min_certainty, self.config.max_certainty
        std = torch.stack([state.std for state in bottlenecks.values()], dim=1)
        if self.config.is_repaired:
            certainty = -(std / _START_STD).log().mean(-1)
            return low + (high - low) * certainty.sigmoid(), certainty.softmax(-1)
        certainty = 1 / (std.mean(-1) + 1e-8)
        return certainty.clamp(low, high), certainty.softmax(-1)

    def training_losses(
        self,
        prediction: HmePrediction,
        inputs: dict[str, ModalityInput],
        clean: dict[str, ModalityInput] | None,
        severity: torch.Tensor | None,
        labels: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Task loss of each hyper-modality alone, and the bottlenecks' divergence, both averaged over modalities.

        Args:
            prediction: From `predict`.
            inputs: Not used.
            clean: Not used.
            severity: Not used.
            labels: (B,).
        """
        states: Any = prediction.bottlenecks.values()
        return {
            "hyper": torch.stack([task_loss(state.logits, labels, self.config.task_loss) for state in states]).mean(),
            "kl": torch.stack([state.divergence for state in states]).mean(),
        }


def _stacked_mask(masks: dict[str, torch.Tensor], names: Any) -> torch.Tensor | None:
    """(B, N) mask of the named modalities; None where no masks are kept."""
    return torch.stack([masks[name] for name in names], dim=-1) if masks else None
