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
"""Configuration of MIDG (`modeling_midg.py`)."""

from itertools import combinations
from typing import Any

from huggingface_hub.dataclasses import strict

from .configuration_sentiment import PeerConfig, SentimentConfig
from .errors import ConfigError

_POSITIVE_FIELDS = (
    "hidden_size",
    "num_layers",
    "num_attention_heads",
    "ffn_size",
    "position_scale",
    "adapter_size",
    "num_adapter_heads",
    "num_experts",
    "num_active_experts",
    "expert_ffn_size",
    "interaction_size",
)
_WEIGHTS = (
    "ood_task_weight",
    "invariance_weight",
    "entropy_weight",
    "decorrelation_weight",
    "sparsity_weight",
    "balance_weight",
    "risk_variance_weight",
)


@strict
class MidgConfig(PeerConfig):
    """Everything that defines a MIDG model. No size of the published model is known: all defaults are ours.

    With all four switches off the model is plain empirical risk minimisation (ERM) on the same encoders and head, and
    the parameters of what is off don't exist.

    Args:
        modalities: Letters of the modalities the model reads, as in `SentimentConfig`.
        hidden_size: Width D of all states.
        num_layers: Transformer layers per modality, over the text encoder's states or the frames.
        num_attention_heads: Heads of these layers.
        ffn_size: Width of their feed-forward blocks.
        position_scale: Length of the relative time axis in sinusoid units; equal times match between modalities.
        use_adapters: Whether a cross-modal adapter follows each layer.
        adapter_size: Bottleneck width of the adapters.
        num_adapter_heads: Heads of their cross-modal attention.
        use_disentanglement: Whether each modality's vector is split into an invariant part, which the score reads, and
            a specific part, from which sentiment must not be predictable.
        num_label_classes: Sentiment classes of that split: labels are rounded to this many equally spaced values.
        use_ood_view: Whether training also scores a simulated out-of-domain view; needs `use_disentanglement`, whose
            specific part is what it changes.
        ood_strength: Spread of the log-scale and of the shift, in standard deviations of the batch, that each channel
            of the specific part undergoes in that view.
        use_experts: Whether a mixture of experts fuses the modalities; otherwise one linear layer does.
        num_experts: Experts. Each starts with a preference for one subset of the modalities, in turn.
        num_active_experts: Experts that a row is routed to.
        expert_ffn_size: Width of an expert's hidden layer.
        interaction_size: Rank of the products by which a subset of several modalities is described.
        subset_preference: How much the preferred subset leads the others at first, in logits.
        ood_task_weight: Weight of the task loss on the simulated view.
        invariance_weight: Weight of both invariance terms: equal fused states, equal routing.
        entropy_weight: Weight of the terms of the entropy split.
        decorrelation_weight: Weight of the correlation between both parts.
        sparsity_weight: Weight of the mean invariant share.
        balance_weight: Weight of the experts' load balance.
        risk_variance_weight: Weight of the variance of the task loss over source domains; acts where a batch names at
            least two in `domain_id`. 0 switches the term off.
    """

    model_type = "midg"

    dropout: float | int = 0.1
    hidden_size: int = 128
    num_layers: int = 1
    num_attention_heads: int = 4
    ffn_size: int = 256
    position_scale: float | int = 64.0
    use_adapters: bool = True
    adapter_size: int = 64
    num_adapter_heads: int = 4
    use_disentanglement: bool = True
    num_label_classes: int = 7
    use_ood_view: bool = True
    ood_strength: float | int = 0.5
    use_experts: bool = True
    num_experts: int = 7
    num_active_experts: int = 2
    expert_ffn_size: int = 256
    interaction_size: int = 32
    subset_preference: float | int = 2.0
    ood_task_weight: float | int = 1.0
    invariance_weight: float | int = 0.1
    entropy_weight: float | int = 0.1
    decorrelation_weight: float | int = 0.01
    sparsity_weight: float | int = 0.01
    balance_weight: float | int = 0.01
    risk_variance_weight: float | int = 0.1

    @property
    def reads_domains(self) -> bool:
        """Whether training makes use of `domain_id`."""
        return self.use_ood_view or self.risk_variance_weight > 0

    @property
    def modality_subsets(self) -> tuple[tuple[str, ...], ...]:
        """Non-empty subsets of the model's modalities, the smallest first."""
        names = self.modality_names
        return tuple(subset for size in range(1, len(names) + 1) for subset in combinations(names, size))

    def validate_variant(self) -> None:
        """There is no released code whose behaviour a variant could keep.

        Raises:
            ConfigError: If another variant than `repaired` is named.
        """
        if self.variant != "repaired":
            raise ConfigError(
                f"MIDG has no public code, so no variant 'reference' exists; found {self.variant!r}; leave variant out"
            )

    def validate_modalities(self) -> None:
        """Unlike the other peers, MIDG is also built for a subset of the modalities.

        Raises:
            ConfigError: If the letters are no such subset.
        """
        SentimentConfig.validate_modalities(self)

    def validate_sizes(self) -> None:
        """Checks that every size is positive, and that heads divide their widths.

        Raises:
            ConfigError: If one isn't positive, heads don't divide their width, the width is odd, or more experts are
                active than there are.
        """
        for name in _POSITIVE_FIELDS:
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive; found {getattr(self, name)}; see the docstring's default")
        for heads, width in (("num_attention_heads", "hidden_size"), ("num_adapter_heads", "adapter_size")):
            if getattr(self, width) % getattr(self, heads):
                raise ConfigError(
                    f"{heads} must divide {width} ({getattr(self, width)}); found {getattr(self, heads)}; change one"
                )
        if self.hidden_size % 2:
            raise ConfigError(f"hidden_size must be even for its position codes; found {self.hidden_size}; change it")
        if self.num_active_experts > self.num_experts:
            raise ConfigError(
                f"num_active_experts must not exceed num_experts ({self.num_experts}); found "
                f"{self.num_active_experts}; lower it"
            )

    def validate_switches(self) -> None:
        """Checks what the parts need of each other.

        Raises:
            ConfigError: If the view lacks the disentanglement that it changes, or there are fewer than two classes.
        """
        if self.use_ood_view and not self.use_disentanglement:
            raise ConfigError(
                "use_ood_view needs use_disentanglement, whose specific part it changes; found it without; switch both"
            )
        if self.num_label_classes < 2:
            raise ConfigError(f"num_label_classes must be at least 2; found {self.num_label_classes}; 7 is the default")

    def validate_weights(self) -> None:
        """Checks weights and strengths.

        Raises:
            ConfigError: If one is negative.
        """
        values: dict[str, Any] = {name: getattr(self, name) for name in (*_WEIGHTS, "ood_strength")}
        for name, value in values.items():
            if value < 0:
                raise ConfigError(f"{name} must not be negative; found {value}; 0 switches it off")
