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
"""What every model of the package states about its inputs and labels, and the base of the peers' configurations.

Each model adds its own fields; `docs/paper_to_code.md` says where every part of every model comes from.
"""

import difflib
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .errors import ConfigError

MODALITIES = ("text", "audio", "vision")
MODALITY_LETTERS = {"t": "text", "a": "audio", "v": "vision"}

# Keywords that transformers itself passes through a configuration besides the declared fields.
_LIBRARY_KEYS = frozenset(
    {
        "_attn_implementation",
        "_commit_hash",
        "_name_or_path",
        "_output_attentions",
        "attn_implementation",
        "auto_map",
        "custom_pipelines",
        "experts_implementation",
        "model_type",
        "name_or_path",
        "num_labels",
        "output_attentions",
        "quantization_config",
        "tie_word_embeddings",
        "torch_dtype",
        "trust_remote_code",
        "use_cache",
    }
)


def _refuse_unknown_keys(config: PreTrainedConfig, keys: dict[str, Any]) -> None:
    unknown = sorted(set(keys) - _LIBRARY_KEYS)
    if unknown:
        fields = [name for name in type(config).__dataclass_fields__ if not name.startswith("_")]
        near = [match for key in unknown for match in difflib.get_close_matches(key, fields, n=1)]
        advice = f"did you mean {', '.join(near)}?" if near else "remove it or look the fields up in the docstring"
        raise ConfigError(
            f"{type(config).__name__} accepts only its declared fields; "
            f"found unknown key(s) {', '.join(unknown)}; {advice}"
        )


@strict
class _SequenceConfig(PreTrainedConfig):
    feature_size: int = 1

    def __post_init__(self, **kwargs: Any) -> None:
        _refuse_unknown_keys(self, kwargs)
        super().__post_init__(**kwargs)

    def validate_feature_size(self) -> None:
        """Checks the width of a frame.

        Raises:
            ConfigError: If it isn't positive.
        """
        if self.feature_size < 1:
            raise ConfigError(
                f"feature_size must be at least 1; found {self.feature_size}; "
                f"set {self.base_config_key}.feature_size to the width of the prepared features"
            )


@strict
class HfrAmeAudioConfig(_SequenceConfig):
    """Audio input: frames of `feature_size` standardised features.

    Args:
        feature_size: Width of one audio frame (5 for MMSA's MOSI features, 74 for COVAREP).
    """

    model_type = "hfr_ame_audio"
    base_config_key = "audio_config"
    feature_size: int = 74


@strict
class HfrAmeVisionConfig(_SequenceConfig):
    """Vision input: frames of `feature_size` standardised features.

    Args:
        feature_size: Width of one vision frame (20 for MMSA's MOSI features, 35 for FACET).
    """

    model_type = "hfr_ame_vision"
    base_config_key = "vision_config"
    feature_size: int = 35


@strict
class SentimentConfig(PreTrainedConfig):
    """Inputs and labels of a sentiment model.

    Args:
        text_config: Any library text encoder's configuration (dict or object). None: a default BERT.
        audio_config: `HfrAmeAudioConfig` or dict.
        vision_config: `HfrAmeVisionConfig` or dict.
        modalities: Letters of the modalities the model reads: any non-empty subset of `tav`, in that order.
        label_range: Smallest and largest label of the data set. Labels outside are an error.
        metric_scheme: Which published metric definitions fit the labels: `mosi` or `sims`.
        unk_token_id: Token id that stands for an unreadable word. None: no such id.
    """

    sub_configs_defaults: ClassVar[dict[str, SubConfigSpec]] = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert"),
        "audio_config": SubConfigSpec(config_class=HfrAmeAudioConfig),
        "vision_config": SubConfigSpec(config_class=HfrAmeVisionConfig),
    }

    # Given as dict, configuration or None; always a configuration afterwards.
    text_config: Any = None
    audio_config: Any = None
    vision_config: Any = None
    modalities: str = "tav"
    label_range: list[float | int] | tuple[float | int, ...] = (-3.0, 3.0)
    metric_scheme: Literal["mosi", "sims"] = "mosi"
    unk_token_id: int | None = 100

    def __post_init__(self, **kwargs: Any) -> None:
        _refuse_unknown_keys(self, kwargs)
        if self.id2label is None and "num_labels" not in kwargs:
            kwargs["num_labels"] = 1
        if self.problem_type is None:  # type: ignore[has-type]
            self.problem_type = "regression"
        super().__post_init__(**kwargs)
        # The library would run these, too, but wrap what they raise.
        for name in dir(type(self)):
            if name.startswith("validate_") and name not in dir(PreTrainedConfig):
                getattr(self, name)()

    @property
    def modality_names(self) -> tuple[str, ...]:
        """The modalities the model reads, in the order text, audio, vision."""
        return tuple(MODALITY_LETTERS[letter] for letter in self.modalities)

    @property
    def input_sizes(self) -> dict[str, int]:
        """Width of what each modality of the model brings: the text encoder's states, audio and vision frames."""
        sizes = {
            "text": self.text_config.hidden_size,
            "audio": self.audio_config.feature_size,
            "vision": self.vision_config.feature_size,
        }
        return {name: sizes[name] for name in self.modality_names}

    @property
    def needs_clean_twin(self) -> bool:
        """Whether training reads the uncorrupted twin of the inputs."""
        return False

    @property
    def reads_severity(self) -> bool:
        """Whether training reads the true severities."""
        return True

    @property
    def reads_prompts(self) -> bool:
        """Whether the model reads hints about its rows."""
        return False

    def validate_modalities(self) -> None:
        """Checks the letters; called by the library at construction, assignment and saving, as all `validate_*`.

        Raises:
            ConfigError: If they are no subset of `tav` in that order, or none.
        """
        allowed = ("tav", "ta", "tv", "av", "t", "a", "v")
        if self.modalities not in allowed:
            raise ConfigError(
                f"modalities must be a non-empty subset of the letters of 'tav' in that order; found "
                f"{self.modalities!r}; choose one of {', '.join(allowed)}"
            )

    def validate_label_range(self) -> None:
        """Checks that the label range is an interval.

        Raises:
            ConfigError: If it isn't two ascending numbers.
        """
        if len(self.label_range) != 2 or not self.label_range[0] < self.label_range[1]:
            raise ConfigError(
                f"label_range must be two ascending numbers; found {list(self.label_range)}; MOSI and MOSEI use "
                "[-3, 3], CH-SIMS uses [-1, 1]"
            )


@strict
class PeerConfig(SentimentConfig):
    """Base of the configurations of published systems that are rebuilt here for comparison.

    Args:
        variant: `repaired`, with every repair that the model's class docstring lists; or `reference`, the behaviour of
            the released code, with the flaws that shape its numbers.
        dropout: Dropout rate of all own layers.
        task_loss: `l1`, `huber` or `mse`.
    """

    variant: Literal["repaired", "reference"] = "repaired"
    dropout: float | int = 0.0
    task_loss: Literal["l1", "huber", "mse"] = "l1"

    @property
    def is_repaired(self) -> bool:
        """Whether the repairs are on."""
        return self.variant == "repaired"

    def length_limit(self, modality: str) -> int:
        """Longest sequence of a modality in steps, for models that have one."""
        return getattr(self, f"max_{modality}_length")

    def validate_modalities(self) -> None:
        """Peers are built for all three modalities; one that is absent in a row is masked.

        Raises:
            ConfigError: If others than `tav` are named.
        """
        if self.modalities != "tav":
            raise ConfigError(
                f"{type(self).__name__} is defined for modalities 'tav'; found {self.modalities!r}; leave "
                "modalities out, an absent modality is a matter of the batch"
            )

    def validate_dropout(self) -> None:
        """Checks the dropout rate.

        Raises:
            ConfigError: If it lies outside [0, 1).
        """
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must lie in [0, 1); found {self.dropout}; 0 switches it off")
