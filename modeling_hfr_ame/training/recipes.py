"""The table of trainable models.

A model is one row: how its configuration is built, its class, and the training defaults it wants. Peers are added as
rows; nothing else in this room names a model.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from modeling_hfr_ame.configuration_hfr_ame import HfrAmeConfig
from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.modeling_hfr_ame import HfrAmeForSentiment

ROBUST_DROP_RATES = (0.0, 0.3, 0.5, 0.7)
_TEXT_PREFIX = "text_config."


@dataclass(frozen=True)
class ConfigInputs:
    """What the data and the text encoder say about a model's configuration.

    Args:
        text_config: Configuration of the text encoder.
        feature_sizes: Widths of `audio` and `vision` frames.
        label_range: Smallest and largest label.
        metric_scheme: `mosi` or `sims`.
        unk_token_id: The tokenizer's unknown token; None if it has none.
        overrides: Fields set by the user; keys that start with `text_config.` are applied to the text encoder.
    """

    text_config: Any
    feature_sizes: Mapping[str, int]
    label_range: tuple[float, float]
    metric_scheme: str
    unk_token_id: int | None
    overrides: Mapping[str, Any]

    def fresh_text_config(self) -> Any:
        """Copies the text configuration and applies the overrides that are meant for it.

        Raises:
            ConfigError: If an override names a field that the text encoder doesn't have.
        """
        config = deepcopy(self.text_config)
        for key, value in self.overrides.items():
            name = key.removeprefix(_TEXT_PREFIX)
            if name == key:
                continue
            if not hasattr(config, name):
                raise ConfigError(
                    f"an override must name a field of {type(config).__name__}, but {name!r} is none; correct the key"
                )
            setattr(config, name, value)
        return config

    def model_overrides(self) -> dict[str, Any]:
        """The overrides that are meant for the model itself."""
        return {key: value for key, value in self.overrides.items() if not key.startswith(_TEXT_PREFIX)}


@dataclass(frozen=True)
class Variant:
    """One way to train a model.

    Args:
        train_corruption: Default of `DataArguments.train_corruption`.
        modalities: Default of `DataArguments.modalities`.
        selection_drop_rates: Default of `SentimentTrainingArguments.selection_drop_rates`.
        config: Configuration fields; the user's overrides win.
        matches: Name of the variant whose number of trainable parameters this one is widened to. None: as it is.
    """

    train_corruption: str = "mix"
    modalities: str = "tav"
    selection_drop_rates: tuple[float, ...] = ROBUST_DROP_RATES
    config: Mapping[str, Any] = field(default_factory=dict)
    matches: str | None = None


@dataclass(frozen=True)
class ModelRecipe:
    """A row of the table.

    Args:
        build_config: (inputs, fields of the variant) → configuration.
        model_class: Builds the model from the configuration.
        variants: The ways to train it, by name.
        widen: Maps a configuration, and a width, to a configuration with a larger model; needed by a variant that
            `matches` another one.
        training_defaults: Training arguments that differ from `SentimentTrainingArguments`' own defaults.
    """

    build_config: Callable[[ConfigInputs, Mapping[str, Any]], Any]
    model_class: Callable[[Any], nn.Module]
    variants: Mapping[str, Variant]
    widen: Callable[[Any, int], Any] | None = None
    training_defaults: Mapping[str, Any] = field(default_factory=dict)

    def variant(self, name: str) -> Variant:
        """Looks a variant up.

        Raises:
            ConfigError: If there is no such variant.
        """
        if name not in self.variants:
            raise ConfigError(f"variant must be one of {', '.join(self.variants)}, but is {name!r}; choose one of them")
        return self.variants[name]

    def config_of(self, inputs: ConfigInputs, variant_name: str, modalities: str | None = None) -> Any:
        """Builds the configuration of a variant.

        Args:
            inputs: What data and text encoder say.
            variant_name: Name of the variant.
            modalities: Letters of the modalities the model reads; None for the variant's.

        Returns:
            The configuration.

        Raises:
            ConfigError: If the variant is unknown or a field is refused.
        """
        variant = self.variant(variant_name)
        modalities = modalities or variant.modalities
        config = self.build_config(inputs, {**variant.config, "modalities": modalities})
        if variant.matches is None:
            return config
        target = self.config_of(inputs, variant.matches, modalities)
        return self._matched(config, self.count_parameters(target))

    def count_parameters(self, config: Any) -> int:
        """Counts a configuration's parameters without allocating them."""
        with torch.device("meta"):
            model = self.model_class(deepcopy(config))
        return sum(parameter.numel() for parameter in model.parameters())

    def _matched(self, config: Any, target: int) -> Any:
        assert self.widen is not None
        # The count grows with the width, so the nearest one is found by halving.
        low, high = 1, 1
        while self.count_parameters(self.widen(config, high)) < target:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.count_parameters(self.widen(config, middle)) < target else (low, middle)
        return min(
            (self.widen(config, width) for width in (low, high)),
            key=lambda candidate: abs(self.count_parameters(candidate) - target),
        )


def _hfr_ame_config(inputs: ConfigInputs, variant_fields: Mapping[str, Any]) -> HfrAmeConfig:
    values = {
        "text_config": inputs.fresh_text_config(),
        "label_range": list(inputs.label_range),
        "metric_scheme": inputs.metric_scheme,
        "unk_token_id": inputs.unk_token_id,
        **{f"{name}_config": {"feature_size": size} for name, size in inputs.feature_sizes.items()},
    }
    return HfrAmeConfig(**(values | dict(variant_fields) | inputs.model_overrides()))


def _widened_fusion(config: HfrAmeConfig, width: int) -> HfrAmeConfig:
    widened = deepcopy(config)
    # Twice the attention width, so that the extra parameters aren't all feed-forward; the rest of the way by its size.
    widened.fusion_size = config.fusion_size or 2 * config.hidden_size
    widened.fusion_ffn_size = width
    return widened


RECIPES: Mapping[str, ModelRecipe] = MappingProxyType(
    {
        "hfr_ame": ModelRecipe(
            build_config=_hfr_ame_config,
            model_class=HfrAmeForSentiment,
            widen=_widened_fusion,
            variants=MappingProxyType(
                {
                    "full": Variant(),
                    # Without restoration nothing is compared with the clean twin, so its losses go, too.
                    "control": Variant(
                        config={"use_hfr": False, "band_loss": "off", "anchor_weight": 0.0}, matches="full"
                    ),
                    "text_only": Variant(
                        train_corruption="clean",
                        modalities="t",
                        # The reference for what robustness costs on clean input, so it is also selected on clean input.
                        selection_drop_rates=(0.0,),
                        config={
                            "use_hfr": False,
                            "ame": "none",
                            "fusion": "concat",
                            "severity": "none",
                            "band_loss": "off",
                            "anchor_weight": 0.0,
                            "severity_weight": 0.0,
                        },
                    ),
                }
            ),
        ),
    }
)


def find_recipe(name: str) -> ModelRecipe:
    """Looks a model up.

    Args:
        name: Name of a row.

    Returns:
        The row.

    Raises:
        ConfigError: If there is no such row.
    """
    if name not in RECIPES:
        raise ConfigError(f"model must be one of {', '.join(RECIPES)}, but is {name!r}; choose one of them")
    return RECIPES[name]
