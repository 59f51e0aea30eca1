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
"""Configuration of DashFusion (`modeling_dashfusion.py`)."""

from typing import Literal

from huggingface_hub.dataclasses import strict

from .configuration_sentiment import PeerConfig
from .errors import ConfigError

# Distance between the labels of two neighbouring classes.
_CLASS_WIDTHS = {"mosi": 1.0, "sims": 0.2}
_POSITIVE_FIELDS = (
    "hidden_size",
    "max_audio_length",
    "max_vision_length",
    "num_audio_layers",
    "num_vision_layers",
    "num_audio_heads",
    "num_vision_heads",
    "encoder_ffn_size",
    "num_alignment_heads",
    "alignment_head_size",
    "num_fusion_levels",
    "num_attention_heads",
    "fusion_ffn_size",
    "num_positives",
)


@strict
class DashFusionConfig(PeerConfig):
    """Everything that defines a DashFusion model. The defaults are the published sizes for MOSI.

    Args:
        hidden_size: Width D of all states.
        max_audio_length: Longest audio in frames; the position table's length, and what `reference` pads to.
        max_vision_length: Longest vision in frames, likewise.
        num_audio_layers: Layers of the audio encoder (4 for MOSEI).
        num_vision_layers: Layers of the vision encoder (4 for MOSEI).
        num_audio_heads: Heads of its attention.
        num_vision_heads: Heads of its attention.
        encoder_ffn_size: Width of both encoders' feed-forward layers.
        dropout: Dropout rate of both encoders; the rest of the model has none.
        num_alignment_heads: Heads of the temporal alignment.
        alignment_head_size: Width of its heads, whatever `hidden_size`.
        num_fusion_levels: Levels of the bottleneck fusion (3 for MOSEI).
        num_bottleneck_tokens: Bottleneck tokens b at the first level; each further level keeps half of them.
        num_attention_heads: Heads of the bottleneck fusion.
        fusion_ffn_size: Width of its feed-forward layers.
        head_sizes: Hidden widths of the regression head.
        contrastive_weight: Weight of the contrastive loss.
        contrast_temperature: Its temperature.
        num_positives: Companions of each row with the label of the row, the most similar ones.
        num_similar_negatives: Companions with another label, the most similar ones.
        num_dissimilar_negatives: Companions with another label, the least similar ones.
        class_width: Labels count as equal after rounding to multiples of this. None: 1 for `metric_scheme` `mosi`,
            0.2 for `sims`.
    """

    model_type = "dashfusion"

    task_loss: Literal["l1", "huber", "mse"] = "mse"
    dropout: float | int = 0.1
    hidden_size: int = 128
    max_audio_length: int = 375
    max_vision_length: int = 500
    num_audio_layers: int = 2
    num_vision_layers: int = 2
    num_audio_heads: int = 8
    num_vision_heads: int = 8
    encoder_ffn_size: int = 256
    num_alignment_heads: int = 8
    alignment_head_size: int = 32
    num_fusion_levels: int = 2
    num_bottleneck_tokens: int = 8
    num_attention_heads: int = 8
    fusion_ffn_size: int = 256
    head_sizes: list[int] | tuple[int, ...] = (256, 128)
    contrastive_weight: float | int = 0.2
    contrast_temperature: float | int = 0.5
    num_positives: int = 2
    num_similar_negatives: int = 2
    num_dissimilar_negatives: int = 2
    class_width: float | int | None = None

    @property
    def label_class_width(self) -> float:
        """Distance between the labels of two neighbouring classes."""
        return float(_CLASS_WIDTHS[self.metric_scheme] if self.class_width is None else self.class_width)

    @property
    def num_companions(self) -> int:
        """Companions of each row in the contrastive loss, positives and negatives."""
        return self.num_positives + self.num_similar_negatives + self.num_dissimilar_negatives

    def bottleneck_size(self, level: int) -> int:
        """Bottleneck tokens that a level keeps; levels count from 0."""
        return max(1, self.num_bottleneck_tokens >> level)

    def validate_sizes(self) -> None:
        """Checks that every size is positive, and that heads divide the width.

        Raises:
            ConfigError: If one isn't positive, no companion is left for a negative, or heads don't divide the width.
        """
        sizes = {name: getattr(self, name) for name in _POSITIVE_FIELDS}
        sizes["each of head_sizes"] = min(self.head_sizes, default=1)
        sizes["number of negatives"] = self.num_companions - self.num_positives
        for name, value in sizes.items():
            if value < 1:
                raise ConfigError(f"{name} must be at least 1; found {value}; see the docstring's default")
        for name in ("num_audio_heads", "num_vision_heads", "num_attention_heads"):
            if self.hidden_size % getattr(self, name):
                raise ConfigError(
                    f"{name} must divide hidden_size ({self.hidden_size}); found {getattr(self, name)}; change one"
                )

    def validate_bottleneck(self) -> None:
        """Checks that a token is left to halve at each level; the reference then goes on with one.

        Raises:
            ConfigError: If the repaired variant has too few tokens for its levels.
        """
        if self.is_repaired and self.num_bottleneck_tokens >> (self.num_fusion_levels - 1) < 1:
            raise ConfigError(
                f"num_bottleneck_tokens is halved at all of the {self.num_fusion_levels} levels but the first and "
                f"must stay at least 1; found {self.num_bottleneck_tokens}; raise it or lower num_fusion_levels"
            )

    def validate_contrast(self) -> None:
        """Checks weight, temperature and class width.

        Raises:
            ConfigError: If weight or a number of negatives is below 0, or temperature or class width isn't above 0.
        """
        if self.contrastive_weight < 0:
            raise ConfigError(
                f"contrastive_weight must not be negative; found {self.contrastive_weight}; 0 switches the term off"
            )
        for name in ("num_similar_negatives", "num_dissimilar_negatives"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative; found {getattr(self, name)}; 0 leaves them out")
        if self.contrast_temperature <= 0 or self.label_class_width <= 0:
            raise ConfigError(
                f"contrast_temperature and class_width must be positive; found {self.contrast_temperature} and "
                f"{self.label_class_width}; published are 0.5, and 1 or 0.2"
            )
