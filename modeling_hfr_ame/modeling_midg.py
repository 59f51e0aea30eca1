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
"""MIDG (Li, Luo, Hu, arXiv 2512.07430): invariant experts with knowledge injection for unseen domains.

Each modality's layers are followed by adapters through which the others' knowledge reaches it; each modality's vector
is split into a part that tells the sentiment and a part that must not; a mixture of experts, which read subsets of the
modalities, fuses the first; a simulated out-of-domain view, in which the second is exchanged and distorted, must give
the same.

A reconstruction from the abstract and a public summary: the authors released no code and the paper's body was not
available, so nothing here has been verified against it. `docs/paper_to_code.md` says what is stated and what is ours.

Shape legend: B batch, L padded time, D width.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.output_capturing import OutputRecorder

from .attention import MultimodalAttention, TransformerLayer, relative_positions
from .configuration_midg import MidgConfig
from .domain_disentanglement import (
    EntropySplit,
    cross_correlation,
    label_classes,
    risk_variance,
    simulate_specific,
)
from .encoders import FeatureEncoder
from .errors import InputError
from .invariant_experts import InvariantExperts, Mixture
from .losses import mean_over_rows, task_loss
from .modality_inputs import ModalityInput
from .modeling_peer import PeerForSentiment
from .pooling import masked_mean


class CrossModalAdapter(nn.Module):
    """A bottleneck on one modality's states, into which a learned share of the other modalities flows.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: MidgConfig) -> None:
        super().__init__()
        width, size = config.hidden_size, config.adapter_size
        self.down = nn.Linear(width, size)
        self.up = nn.Linear(size, width)
        # With one modality there is nobody to ask, and an ordinary adapter is left.
        self.attention, self.gate = None, None
        if len(config.modality_names) > 1:
            self.attention = MultimodalAttention(
                config, size, width, config.hidden_size, num_heads=config.num_adapter_heads
            )
            self.gate = nn.Parameter(torch.empty(1))

    def init_own_parameters(self) -> None:
        """Closes the gate: training starts with each modality's own knowledge."""
        if self.gate is not None:
            init.zeros_(self.gate)

    def forward(
        self,
        states: torch.Tensor,
        positions: torch.Tensor,
        others: torch.Tensor | None,
        other_positions: torch.Tensor | None,
        other_mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """Adapts (B, L, D) states.

        Args:
            states: (B, L, D).
            positions: (B, L, D) their relative time.
            others: (B, S, D) states of the other modalities, one behind another; None for a model of one modality.
            other_positions: (B, S, D).
            other_mask: (B, S) bool valid steps. A row without any is adapted by itself.
        """
        narrow = self.down(states)
        if self.attention is not None and self.gate is not None and others is not None:
            told, _ = self.attention(narrow, positions, others, other_positions, other_mask)
            narrow = narrow + self.gate * told
        return states + self.up(nn.functional.gelu(narrow))


@dataclass
class MidgView:
    """One pass from the modalities' vectors to a score.

    Args:
        logits: (B, 1).
        fused: (B, D).
        invariant: (B, D) by modality; the whole vector without disentanglement.
        shares: (B, D) by modality, invariant share of each channel; empty without disentanglement.
        mixture: Routing; None without experts.
    """

    logits: torch.Tensor
    fused: torch.Tensor
    invariant: dict[str, torch.Tensor]
    shares: dict[str, torch.Tensor]
    mixture: Mixture | None


@dataclass
class MidgPrediction:
    """What one pass of MIDG gives.

    Args:
        view: The pass on what was received.
        pooled: (B, D) by modality, zero where absent.
        present: (B,) bool by modality.
    """

    view: MidgView
    pooled: dict[str, torch.Tensor]
    present: dict[str, torch.Tensor]

    @property
    def logits(self) -> torch.Tensor:
        """(B, 1)."""
        return self.view.logits


class MidgForSentiment(PeerForSentiment):
    """MIDG with its regression head; with all switches of its configuration off, plain ERM.

    A reconstruction that has not been verified against the authors' system. Choices that the abstract leaves open:

    - Adapters stand behind our own layers over the text encoder's states and the frames, not inside the text encoder,
      so that cached states of a frozen encoder serve as input.
    - The score reads invariant parts only. The simulated view is a vector (invariant part plus another row's distorted
      specific part) that is split anew, so that what is learned is to find the invariant part in it.
    - Evaluation uses neither the simulated view nor any statistic of the batch.
    """

    config: MidgConfig
    _can_record_outputs: ClassVar[dict[str, OutputRecorder]] = {
        "hidden_states": OutputRecorder(TransformerLayer, index=0, layer_name="layers.text"),
        "attentions": OutputRecorder(MultimodalAttention, index=1, layer_name="layers.text"),
    }
    # A model loaded in half precision keeps only its text encoder there.
    _keep_in_fp32_modules_strict: ClassVar[list[str]] = [
        "encoders",
        "layers",
        "norms",
        "adapters",
        "splits",
        "fusion",
        "head",
    ]

    def __init__(self, config: MidgConfig) -> None:
        super().__init__(config)
        width, names = config.hidden_size, config.modality_names
        self.encoders = nn.ModuleDict(
            {name: FeatureEncoder(size, width, name != "text") for name, size in config.input_sizes.items()}
        )
        self.layers = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    TransformerLayer(config, width, config.ffn_size, width) for _ in range(config.num_layers)
                )
                for name in names
            }
        )
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in names})
        self.adapters = nn.ModuleDict(
            {
                name: nn.ModuleList(CrossModalAdapter(config) for _ in range(config.num_layers))
                for name in names
                if config.use_adapters
            }
        )
        self.splits = nn.ModuleDict({name: EntropySplit(config) for name in names if config.use_disentanglement})
        self.fusion: nn.Module = (
            InvariantExperts(config) if config.use_experts else nn.Linear(len(names) * width, width)
        )
        # The leading modality is text; a model without text is led by its first one.
        self.leader = names[0]
        self.head = nn.Sequential(
            nn.Linear(2 * width, width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(width, 1)
        )
        self.post_init()

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weight of each loss term."""
        config = self.config
        return {
            "task": 1.0,
            "ood_task": config.ood_task_weight,
            "invariance": config.invariance_weight,
            "routing": config.invariance_weight,
            "invariant_entropy": config.entropy_weight,
            "probe": config.entropy_weight,
            "specific_entropy": config.entropy_weight,
            "decorrelation": config.decorrelation_weight,
            "sparsity": config.sparsity_weight,
            "balance": config.balance_weight,
            "risk_variance": config.risk_variance_weight,
        }

    def encode(
        self, inputs: dict[str, ModalityInput], token_type_ids: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Encodes the modalities and lets them adapt each other.

        Args:
            inputs: From `ModalityReader.read`.
            token_type_ids: (B, Lt) for text encoders that use them.

        Returns:
            (B, D) by modality, zero where absent.
        """
        masks = {name: item.mask for name, item in inputs.items()}
        width, scale = self.config.hidden_size, self.config.position_scale
        positions = {name: relative_positions(mask, width, scale) for name, mask in masks.items()}
        states = {
            name: encoder(self.encode_input(name, inputs[name], token_type_ids), masks[name])
            for name, encoder in self.encoders.items()
        }
        for index in range(self.config.num_layers):
            states = {
                name: layers[index](states[name], positions[name], masks[name])  # type: ignore[index]
                for name, layers in self.layers.items()
            }
            if self.config.use_adapters:
                states = self._adapt(index, states, positions, masks)
        return {name: masked_mean(norm(states[name]), masks[name]) for name, norm in self.norms.items()}

    def _adapt(
        self,
        index: int,
        states: dict[str, torch.Tensor],
        positions: dict[str, torch.Tensor],
        masks: dict[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """Runs the adapters behind layer `index`; all of them read the states before any was adapted."""
        adapted = {}
        for name, adapters in self.adapters.items():
            others = [other for other in states if other != name]
            joined = [
                torch.cat([source[other] for other in others], dim=1) if others else None
                for source in (states, positions, masks)
            ]
            adapted[name] = adapters[index](states[name], positions[name], *joined)  # type: ignore[index]
        return adapted

    def view_of(self, pooled: dict[str, torch.Tensor], present: dict[str, torch.Tensor]) -> MidgView:
        """Scores the modalities' vectors.

        Args:
            pooled: (B, D) by modality, zero where absent.
            present: (B,) bool by modality.
        """
        shares = {name: split(pooled[name]) for name, split in self.splits.items()}
        invariant = {name: states * shares[name] if shares else states for name, states in pooled.items()}
        mixture = None
        if isinstance(self.fusion, InvariantExperts):
            mixture = self.fusion(invariant, present)
            fused = mixture.fused
        else:
            fused = self.fusion(torch.cat(list(invariant.values()), dim=-1))
        logits = self.head(torch.cat([fused, invariant[self.leader]], dim=-1))
        return MidgView(logits, fused, invariant, shares, mixture)

    def predict(self, inputs: dict[str, ModalityInput], token_type_ids: torch.Tensor | None) -> MidgPrediction:
        """Runs the network on checked inputs.

        Args:
            inputs: From `ModalityReader.read`.
            token_type_ids: (B, Lt) for text encoders that use them.
        """
        pooled = self.encode(inputs, token_type_ids)
        present = {name: item.present for name, item in inputs.items()}
        return MidgPrediction(self.view_of(pooled, present), pooled, present)

    def training_losses(
        self,
        prediction: MidgPrediction,
        inputs: dict[str, ModalityInput],
        clean: dict[str, ModalityInput] | None,
        severity: torch.Tensor | None,
        labels: torch.Tensor,
        domain_id: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Terms of the parts that are on.

        Args:
            prediction: What `predict` returned.
            inputs: Received inputs.
            clean: Not read.
            severity: Not read.
            labels: (B,).
            domain_id: (B,) int64 source domain of each row. None: all rows are of one.

        Returns:
            Scalars by term.

        Raises:
            InputError: If `domain_id` doesn't have one source per row.
        """
        if domain_id is not None and domain_id.shape != labels.shape:
            raise InputError(
                f"domain_id must have shape {tuple(labels.shape)}, one source per row; found "
                f"{tuple(domain_id.shape)}; build batches with HfrAmeProcessor.pad"
            )
        config, view = self.config, prediction.view
        terms: dict[str, torch.Tensor] = {}
        if config.use_disentanglement:
            terms |= self._split_losses(prediction, labels)
        if config.use_ood_view:
            terms |= self._view_losses(prediction, labels, domain_id)
        if view.mixture is not None:
            terms["balance"] = view.mixture.imbalance()
        if domain_id is not None and config.risk_variance_weight > 0:
            errors = nn.functional.l1_loss(view.logits.float().squeeze(-1), labels.float(), reduction="none")
            terms["risk_variance"] = risk_variance(errors, domain_id)
        return terms

    def _split_losses(self, prediction: MidgPrediction, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        low, high = self.config.label_range
        classes = label_classes(labels, (float(low), float(high)), self.config.num_label_classes)
        found: dict[str, list[torch.Tensor]] = {}
        for name, split in self.splits.items():
            present, share = prediction.present[name], prediction.view.shares[name]
            invariant = prediction.view.invariant[name]
            specific = prediction.pooled[name] - invariant
            terms = split.losses(invariant, specific, present, classes)  # type: ignore[operator]
            terms["decorrelation"] = cross_correlation(invariant, specific, present)
            terms["sparsity"] = mean_over_rows(share.float().mean(-1), present)
            for term, value in terms.items():
                found.setdefault(term, []).append(value)
        return {term: torch.stack(values).mean() for term, values in found.items()}

    def _view_losses(
        self, prediction: MidgPrediction, labels: torch.Tensor, domain_id: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        view = prediction.view
        simulated = {
            name: invariant
            + simulate_specific(
                prediction.pooled[name] - invariant, prediction.present[name], domain_id, self.config.ood_strength
            )
            for name, invariant in view.invariant.items()
        }
        other = self.view_of(simulated, prediction.present)
        terms = {
            "ood_task": task_loss(other.logits, labels, self.config.task_loss),
            "invariance": (view.fused.float() - other.fused.float()).square().mean(),
        }
        if view.mixture is not None and other.mixture is not None:
            wanted, found = view.mixture.probabilities, other.mixture.probabilities
            terms["routing"] = (wanted * (wanted.log() - found.log())).sum(-1).mean()
        return terms
