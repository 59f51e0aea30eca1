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
"""Configuration of MMSLF (`modeling_mmslf.py`)."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict

from .configuration_sentiment import PeerConfig
from .errors import ConfigError

# Published depths of aligners and fusion, and the least share of its input that a row keeps in training.
_DEFAULTS_OF_ROLE: dict[str, dict[str, Any]] = {
    "teacher": {"num_aligner_layers": 6, "num_fusion_layers": 6, "min_keep_rate": 0.5},
    "student": {"num_aligner_layers": 2, "num_fusion_layers": 2, "min_keep_rate": 1.0},
}
# Where the paper and the released code differ, each variant follows one of them.
_DEFAULTS_OF_VARIANT: dict[str, dict[str, Any]] = {
    "repaired": {"delta_from": "key", "distill_map": "conditional"},
    "reference": {"delta_from": "value", "distill_map": "plain"},
}
_POSITIVE_FIELDS = (
    "hidden_size",
    "head_size",
    "max_text_length",
    "max_audio_length",
    "max_vision_length",
    "max_prompt_length",
    "num_aligner_layers",
    "num_aligner_heads",
    "aligner_ffn_size",
    "num_fusion_layers",
    "num_attention_heads",
    "fusion_ffn_size",
    "num_fusion_tokens",
    "num_prompt_layers",
    "num_prompt_heads",
    "prompt_ffn_size",
)


@strict
class MmslfConfig(PeerConfig):
    """Everything that defines an MMSLF teacher or student. The defaults are the published sizes for MOSI.

    Args:
        role: `teacher`, which reads a large model's hints (prompts) beside the clip; or `student`, which reads the clip
            alone and learns from a teacher.
        hidden_size: Width D of all states.
        head_size: Width of an attention head, whatever `hidden_size`.
        max_text_length: Longest text in tokens; the position tables' length, what `reference` pads to, and the number
            of tokens that a prompt is compressed to, one per text position.
        max_audio_length: Longest audio in frames (400 for CH-SIMS, 500 for MOSEI).
        max_vision_length: Longest vision in frames (55 for CH-SIMS).
        max_prompt_length: Longest prompt in tokens.
        num_aligner_layers: Layers of both aligners. None: 6 for a teacher, 2 for a student.
        num_aligner_heads: Heads of their attention.
        aligner_ffn_size: Width of their feed-forward blocks (768 for CH-SIMS).
        dropout: Dropout rate in the aligners; the rest of the model has none.
        num_fusion_layers: Layers of the fusion. None: 6 for a teacher, 2 for a student.
        num_attention_heads: Heads of its attention (CH-SIMS: teacher 8, student 4).
        fusion_ffn_size: Width of its feed-forward blocks.
        num_fusion_tokens: Tokens that collect what the head reads.
        num_prompt_layers: Layers that compress a prompt.
        num_prompt_heads: Heads of their attention (8 for CH-SIMS).
        prompt_ffn_size: Width of their feed-forward blocks (64 for CH-SIMS).
        prompt_encoder: What encodes a prompt's tokens in a teacher: `own`, a frozen copy of the text encoder's start;
            or `shared`, the text encoder itself, which then also learns from prompts.
        delta_from: What the prompt is compared with to get the factor of the scores: the `key` (paper) or the `value`
            (released code) of audio or vision. None: `key`; in `reference`, `value`.
        absent_source: What text is aligned with where audio or vision is absent: nothing (`none`), or the `text`
            itself, so that a prompt has something to act on. Only in `repaired`.
        distill_map: Which attention map of the teacher the student learns: the `conditional` one that the prompt has
            shaped (paper), or the `plain` one (released code). None: `conditional`; in `reference`, `plain`.
        task_weight: Weight α of the student's task loss.
        map_weight: Weight β of the difference of attention maps, whose entries are about 1 / length.
        token_weight: Weight γ of the difference of fusion tokens.
        min_keep_rate: In training each row keeps a share of its input that is drawn between this and 1. None: 0.5 for a
            teacher, 1 for a student.
    """

    model_type = "mmslf"

    role: Literal["teacher", "student"] = "student"
    dropout: float | int = 0.5
    hidden_size: int = 64
    head_size: int = 32
    max_text_length: int = 50
    max_audio_length: int = 375
    max_vision_length: int = 500
    max_prompt_length: int = 512
    num_aligner_layers: int | None = None
    num_aligner_heads: int = 4
    aligner_ffn_size: int = 128
    num_fusion_layers: int | None = None
    num_attention_heads: int = 6
    fusion_ffn_size: int = 64
    num_fusion_tokens: int = 4
    num_prompt_layers: int = 2
    num_prompt_heads: int = 6
    prompt_ffn_size: int = 128
    prompt_encoder: Literal["own", "shared"] = "own"
    delta_from: Literal["key", "value"] | None = None
    absent_source: Literal["none", "text"] = "none"
    distill_map: Literal["conditional", "plain"] | None = None
    task_weight: float | int = 1.0
    map_weight: float | int = 60.0
    token_weight: float | int = 8.0
    min_keep_rate: float | int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        for name, value in (_DEFAULTS_OF_ROLE[self.role] | _DEFAULTS_OF_VARIANT[self.variant]).items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        super().__post_init__(**kwargs)

    @property
    def is_teacher(self) -> bool:
        """Whether the model reads prompts."""
        return self.role == "teacher"

    @property
    def reads_prompts(self) -> bool:
        """Whether the model reads hints about its rows."""
        return self.is_teacher

    @property
    def keep_rate(self) -> float:
        """Least share of its input that a row keeps in training."""
        return 1.0 if self.min_keep_rate is None else float(self.min_keep_rate)

    @property
    def reads_severity(self) -> bool:
        """Whether training reads the true severities."""
        return False

    def validate_sizes(self) -> None:
        """Checks that every size is positive.

        Raises:
            ConfigError: If one isn't.
        """
        for name in _POSITIVE_FIELDS:
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{name} must be at least 1; found {getattr(self, name)}; see the docstring's default"
                )

    def validate_absent_source(self) -> None:
        """Checks that the published behaviour is left as it is.

        Raises:
            ConfigError: If `absent_source` is set in the reference variant.
        """
        if self.absent_source != "none" and not self.is_repaired:
            raise ConfigError(
                f"absent_source must be 'none' in the reference variant, which knows no absent modality; found "
                f"{self.absent_source!r}; leave it out or use variant 'repaired'"
            )

    def validate_training(self) -> None:
        """Checks loss weights and keep rate.

        Raises:
            ConfigError: If a weight is negative, or the rate lies outside (0, 1].
        """
        for name in ("task_weight", "map_weight", "token_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative; found {getattr(self, name)}; 0 switches the term off")
        if self.min_keep_rate is not None and not 0 < self.min_keep_rate <= 1:
            raise ConfigError(f"min_keep_rate must lie in (0, 1]; found {self.min_keep_rate}; 1 keeps everything")
