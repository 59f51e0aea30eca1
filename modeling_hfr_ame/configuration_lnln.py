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
"""Configuration of LNLN."""

from typing import Literal

from huggingface_hub.dataclasses import strict

from .configuration_sentiment import PeerConfig
from .errors import ConfigError

# Every transformer of LNLN by the name it has in `block_sizes`.
BLOCKS = ("text", "audio", "vision", "completeness", "proxy", "reconstruction", "language", "fusion")
_BLOCK_KEYS = ("num_layers", "num_attention_heads", "ffn_size")
# Those that put learned tokens in front of what they read.
TOKEN_BLOCKS = BLOCKS[:5]


@strict
class LnlnConfig(PeerConfig):
    """Everything that defines an LNLN model. The defaults are the published sizes for MOSI.

    Args:
        hidden_size: Width D of all states.
        num_tokens: Tokens T that each modality is condensed to.
        max_text_length: Longest text in tokens; the position table's length, and what `reference` pads to.
        max_audio_length: Longest audio in frames, likewise.
        max_vision_length: Longest vision in frames, likewise.
        num_layers: Layers of each transformer block.
        num_attention_heads: Heads of each transformer block.
        head_size: Width of a head in the transformer blocks, whatever `hidden_size`.
        ffn_size: Width of their feed-forward layers.
        block_sizes: Exceptions by block (`text`, `audio`, `vision`, `completeness`, `proxy`, `reconstruction`,
            `language`, `fusion`): a dict with any of `num_layers`, `num_attention_heads`, `ffn_size`, and for the first
            five `num_tokens`, the learned tokens in front of the input, where they are not as many as are read from
            the output. MOSEI and CH-SIMS use four `fusion` layers.
        num_hyper_layers: Layers of hyper-modality learning; at most one more than the language encoder has.
        num_hyper_heads: Heads of its attention; divides `hidden_size` (`reference` rounds the width of a head down).
        completeness_size: Hidden width of the completeness head.
        discriminator_size: Hidden width of the discriminator.
        completeness_weight: Weight α of the completeness regression.
        adversarial_weight: Weight β of the discriminator's cross-entropy (0.6 for CH-SIMS).
        reconstruction_weight: Weight γ of the reconstruction of the clean tokens.
        task_weight: Weight δ of the task loss.
    """

    model_type = "lnln"

    task_loss: Literal["l1", "huber", "mse"] = "mse"
    hidden_size: int = 128
    num_tokens: int = 8
    max_text_length: int = 50
    max_audio_length: int = 375
    max_vision_length: int = 500
    num_layers: int = 2
    num_attention_heads: int = 8
    head_size: int = 64
    ffn_size: int = 128
    block_sizes: dict[str, dict[str, int]] | None = None
    num_hyper_layers: int = 3
    num_hyper_heads: int = 8
    completeness_size: int = 64
    discriminator_size: int = 64
    completeness_weight: float | int = 0.9
    adversarial_weight: float | int = 0.8
    reconstruction_weight: float | int = 0.1
    task_weight: float | int = 1.0

    @property
    def needs_clean_twin(self) -> bool:
        """Whether training reads the uncorrupted twin of the inputs."""
        return self.adversarial_weight > 0 or self.reconstruction_weight > 0 or not self.is_repaired

    def block_size(self, block: str, key: str) -> int:
        """Size of one block: `num_layers`, `num_attention_heads` or `ffn_size`."""
        return (self.block_sizes or {}).get(block, {}).get(key, getattr(self, key))

    def num_learned_tokens(self, block: str, num_read: int) -> int:
        """Learned tokens in front of a block's input; `num_read`, as many as are read from it, if nothing is said."""
        return (self.block_sizes or {}).get(block, {}).get("num_tokens", num_read)

    def validate_block_sizes(self) -> None:
        """Checks the names in `block_sizes`, and that every size is positive.

        Raises:
            ConfigError: If a block or one of its sizes is unknown, or a size isn't positive.
        """
        for block, sizes in (self.block_sizes or {}).items():
            keys = (*_BLOCK_KEYS, "num_tokens") if block in TOKEN_BLOCKS else _BLOCK_KEYS
            if block not in BLOCKS or set(sizes) - set(keys):
                raise ConfigError(
                    f"block_sizes maps a block ({', '.join(BLOCKS)}) to sizes ({', '.join(keys)}); found "
                    f"{block!r} with {', '.join(sizes) or 'nothing'}; correct the name"
                )
        sizes = {f"{key} of {block}": self.block_size(block, key) for block in BLOCKS for key in _BLOCK_KEYS}
        sizes |= {f"num_tokens of {block}": self.num_learned_tokens(block, self.num_tokens) for block in TOKEN_BLOCKS}
        names = ("hidden_size", "num_tokens", "head_size", "completeness_size", "discriminator_size")
        lengths = ("max_text_length", "max_audio_length", "max_vision_length")
        sizes |= {name: getattr(self, name) for name in (*names, *lengths, "num_hyper_heads", "num_hyper_layers")}
        for name, value in sizes.items():
            if value < 1:
                raise ConfigError(f"{name} must be at least 1; found {value}; see the docstring's default")

    def validate_hyper_layers(self) -> None:
        """Checks depth and heads of hyper-modality learning.

        Raises:
            ConfigError: If it is deeper than the language encoder's states, or its heads don't divide the width.
        """
        states = self.block_size("language", "num_layers") + 1
        if self.num_hyper_layers > states:
            raise ConfigError(
                f"each hyper-modality layer reads one state of the language encoder, which has {states}; found "
                f"num_hyper_layers {self.num_hyper_layers}; lower it or add language layers"
            )
        if self.num_hyper_heads < 1 or (self.is_repaired and self.hidden_size % self.num_hyper_heads):
            raise ConfigError(
                f"num_hyper_heads must divide hidden_size ({self.hidden_size}); found {self.num_hyper_heads}; change it"
            )

    def validate_loss_weights(self) -> None:
        """Checks the loss weights.

        Raises:
            ConfigError: If one is negative.
        """
        for name in ("completeness_weight", "adversarial_weight", "reconstruction_weight", "task_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative; found {getattr(self, name)}; 0 switches the term off")
