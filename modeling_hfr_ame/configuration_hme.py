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
"""Configuration of HME."""

from huggingface_hub.dataclasses import strict

from .configuration_sentiment import PeerConfig
from .errors import ConfigError


@strict
class HmeConfig(PeerConfig):
    """Everything that defines an HME model. The defaults are the published sizes for MOSI.

    Args:
        dropout: Dropout rate of the modality encoders, on their input and after every block. Published: 0.2 and 0.3.
        fusion_dropout: Dropout rate of the fusion encoder and the head.
        hidden_size: Width D of all states.
        num_attention_heads: Heads of every attention; divides `hidden_size`.
        num_layers: Layers of each modality encoder (2 for MOSEI).
        num_hyper_layers: Layers of each network that crosses modalities.
        num_latent_layers: Layers of each latent network, a layer asking its source and then itself (3 for MOSEI).
        num_latents: Learned vectors of each latent network.
        latent_ffn_size: Width of the gated feed-forward layers of latent and crossing networks. None: 4 times
            `hidden_size`.
        num_fusion_layers: Layers of the fusion encoder.
        fusion_ffn_size: Width of its feed-forward layers.
        similarity_threshold: Cosine from which on two samples are neighbours.
        similarity_temperature: Width of the smooth step at that threshold; not used by `reference`.
        memory_size: Samples per modality that are kept for retrieval in eval mode; not used by `reference`.
        min_certainty: Smallest weight of a hyper-modality beside its modality.
        max_certainty: Largest such weight.
        max_text_length: Tokens that `reference` pads every text to.
        max_audio_length: Frames that `reference` pads every audio to.
        max_vision_length: Frames that `reference` pads every vision to.
        hyper_weight: Weight of the task loss of the three hyper-modalities.
        kl_weight: Weight of the bottlenecks' divergence from the standard normal.
    """

    model_type = "hme"

    dropout: float | int = 0.3
    fusion_dropout: float | int = 0.1
    hidden_size: int = 192
    num_attention_heads: int = 16
    num_layers: int = 4
    num_hyper_layers: int = 3
    num_latent_layers: int = 4
    num_latents: int = 5
    latent_ffn_size: int | None = None
    num_fusion_layers: int = 2
    fusion_ffn_size: int = 2048
    similarity_threshold: float | int = 0.6
    similarity_temperature: float | int = 0.05
    memory_size: int = 512
    min_certainty: float | int = 0.2
    max_certainty: float | int = 1.0
    max_text_length: int = 50
    max_audio_length: int = 50
    max_vision_length: int = 50
    hyper_weight: float | int = 0.8
    kl_weight: float | int = 0.01

    @property
    def reads_severity(self) -> bool:
        """Whether training reads the true severities."""
        return False

    def validate_sizes(self) -> None:
        """Checks that sizes are positive and the heads divide the width.

        Raises:
            ConfigError: If one isn't positive, or the heads don't divide the width.
        """
        names = [
            "hidden_size",
            "num_attention_heads",
            "num_layers",
            "num_hyper_layers",
            "num_latent_layers",
            "num_latents",
            "num_fusion_layers",
            "fusion_ffn_size",
            "memory_size",
        ]
        names += ["max_text_length", "max_audio_length", "max_vision_length"]
        for name in names:
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{name} must be at least 1; found {getattr(self, name)}; see the docstring's default"
                )
        if self.latent_ffn_size is not None and self.latent_ffn_size < 1:
            raise ConfigError(
                f"latent_ffn_size must be at least 1; found {self.latent_ffn_size}; leave it out for 4 × hidden_size"
            )
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(
                f"num_attention_heads must divide hidden_size ({self.hidden_size}); found {self.num_attention_heads}; "
                "change one"
            )

    def validate_retrieval(self) -> None:
        """Checks what decides on neighbours and on the weight of what was retrieved.

        Raises:
            ConfigError: If the threshold is no cosine, the temperature isn't positive, or the certainties aren't
                ascending from 0.
        """
        # One above all cosines leaves the reference without neighbours.
        is_cosine = -1 <= self.similarity_threshold <= 1 or not self.is_repaired
        if not is_cosine or self.similarity_temperature <= 0:
            raise ConfigError(
                "similarity_threshold is a cosine in [-1, 1], similarity_temperature is positive; found "
                f"{self.similarity_threshold} and {self.similarity_temperature}; the defaults are 0.6 and 0.05"
            )
        if not 0 <= self.min_certainty <= self.max_certainty:
            raise ConfigError(
                f"certainties must be ascending and not negative; found {self.min_certainty} to {self.max_certainty}; "
                "the defaults are 0.2 and 1"
            )

    def validate_loss_weights(self) -> None:
        """Checks loss weights and the second dropout rate.

        Raises:
            ConfigError: If a weight is negative, or the rate lies outside [0, 1).
        """
        for name in ("hyper_weight", "kl_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative; found {getattr(self, name)}; 0 switches the term off")
        if not 0 <= self.fusion_dropout < 1:
            raise ConfigError(f"fusion_dropout must lie in [0, 1); found {self.fusion_dropout}; 0 switches it off")
