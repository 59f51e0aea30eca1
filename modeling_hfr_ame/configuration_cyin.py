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
"""Configuration of CyIN."""

from huggingface_hub.dataclasses import strict

from .configuration_sentiment import PeerConfig
from .errors import ConfigError


@strict
class CyinConfig(PeerConfig):
    """Everything that defines a CyIN model. The defaults are the public settings for MOSI, in brackets those for MOSEI.

    Args:
        aligned_length: Steps T that every modality is brought to.
        max_text_length: Longest text in tokens that `reference` pads to.
        max_audio_length: Longest audio in frames, likewise (217).
        max_vision_length: Longest vision in frames, likewise (651).
        bottleneck_size: Width D of the informative latent space (256).
        bottleneck_hidden_size: Hidden width of its encoders and decoders (16).
        translator_sizes: Widths inside a translator's autoencoder from the outside in, at least one ((128, 64, 32)).
        num_translator_blocks: Autoencoders in each translator (4).
        translator_kernel_size: Their kernel width in steps, odd.
        hidden_size: Width F of the cross-modal encoders (16).
        num_crossmodal_layers: Layers of each of the six cross-modal encoders (8).
        num_memory_layers: Layers of each of the three encoders behind them.
        ffn_ratio: Width of their feed-forward layers as a multiple of their own.
        num_attention_heads: Heads of both (2); divides `hidden_size`.
        projection_kernel_size: Width in steps of the convolution in front of the cross-modal encoders.
        projection_padding: Zeros it adds at both ends.
        causal: Whether those encoders see the past only. None: only in `reference`.
        use_positions: Whether they add positions; the published files don't say.
        ib_beta: Weight β of the reconstruction beside the divergence; divides the bottleneck loss as a whole (32).
        unimodal_weight: Weight of the three scores from one modality each.
        translation_weight: Weight γ of the translation loss (5).
        first_stage_share: Share of training before translations are trained and mixed in (0.3).
    """

    model_type = "cyin"

    dropout: float | int = 0.3
    aligned_length: int = 50
    max_text_length: int = 128
    max_audio_length: int = 105
    max_vision_length: int = 315
    bottleneck_size: int = 128
    bottleneck_hidden_size: int = 256
    translator_sizes: list[int] | tuple[int, ...] = (64, 32, 16)
    num_translator_blocks: int = 8
    translator_kernel_size: int = 3
    hidden_size: int = 256
    num_crossmodal_layers: int = 2
    num_memory_layers: int = 3
    ffn_ratio: int = 4
    num_attention_heads: int = 8
    projection_kernel_size: int = 3
    projection_padding: int = 0
    causal: bool | None = None
    use_positions: bool = True
    ib_beta: float | int = 16.0
    unimodal_weight: float | int = 1.0
    translation_weight: float | int = 10.0
    first_stage_share: float | int = 0.1

    @property
    def reads_severity(self) -> bool:
        """Whether training reads the true severities."""
        return False

    @property
    def is_causal(self) -> bool:
        """Whether the encoders of the fusion see the past only."""
        return not self.is_repaired if self.causal is None else self.causal

    def validate_sizes(self) -> None:
        """Checks that every size is positive and that those that depend on each other agree.

        Raises:
            ConfigError: If one isn't positive, heads don't divide the width, or the aligned length is shorter than
                the kernel.
        """
        sizes = ("bottleneck_size", "bottleneck_hidden_size", "ffn_ratio", "projection_kernel_size")
        counts = ("num_translator_blocks", "num_crossmodal_layers", "num_memory_layers", "num_attention_heads")
        for name in (*sizes, *counts, "max_text_length", "max_audio_length", "max_vision_length"):
            found = getattr(self, name)
            if found < 1:
                raise ConfigError(f"{name} must be at least 1; found {found}; see the docstring's default")
        if self.hidden_size < 1 or self.hidden_size % self.num_attention_heads:
            raise ConfigError(
                f"hidden_size must be a positive multiple of num_attention_heads ({self.num_attention_heads}); found "
                f"{self.hidden_size}; change one"
            )
        padded = self.aligned_length + 2 * self.projection_padding
        if self.projection_padding < 0 or padded < self.projection_kernel_size:
            raise ConfigError(
                f"aligned_length must be at least projection_kernel_size ({self.projection_kernel_size}) less twice "
                f"projection_padding ({self.projection_padding}), or nothing is left behind the convolution; found "
                f"{self.aligned_length}; change one"
            )

    def validate_translators(self) -> None:
        """Checks the translators' widths and kernel.

        Raises:
            ConfigError: If there is no width, one isn't positive, or the kernel is even.
        """
        if not self.translator_sizes or min(self.translator_sizes) < 1:
            raise ConfigError(
                f"translator_sizes must hold at least one positive width; found {list(self.translator_sizes)}; the "
                "default is (64, 32, 16)"
            )
        if self.translator_kernel_size < 1 or self.translator_kernel_size % 2 == 0:
            raise ConfigError(
                f"translator_kernel_size must be odd, so that a sequence keeps its length; found "
                f"{self.translator_kernel_size}; the default is 3"
            )

    def validate_loss_weights(self) -> None:
        """Checks the loss weights and the share of the first stage.

        Raises:
            ConfigError: If a weight is negative, `ib_beta` isn't positive, or the share lies outside [0, 1].
        """
        if self.ib_beta <= 0:
            raise ConfigError(f"ib_beta must be positive, the loss is divided by it; found {self.ib_beta}; change it")
        for name in ("unimodal_weight", "translation_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative; found {getattr(self, name)}; 0 switches the term off")
        if not 0 <= self.first_stage_share <= 1:
            raise ConfigError(
                f"first_stage_share must lie in [0, 1]; found {self.first_stage_share}; 0 trains translations at once"
            )
