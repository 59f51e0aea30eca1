import re
from dataclasses import fields
from typing import Any

import pytest
from transformers import BertConfig

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.training.arguments import ModelArguments
from modeling_hfr_ame.training.recipes import RECIPES, ConfigInputs, find_recipe


def inputs_with(**overrides: Any) -> ConfigInputs:
    text_config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    return ConfigInputs(text_config, {"audio": 5, "vision": 7}, (-3.0, 3.0), "mosi", 1, overrides)


def test_recipe_takes_sizes_range_and_unknown_token_from_the_data() -> None:
    config = find_recipe("hfr_ame").config_of(inputs_with(), "full")
    assert (config.audio_config.feature_size, config.vision_config.feature_size) == (5, 7)
    assert list(config.label_range) == [-3.0, 3.0]
    assert config.unk_token_id == 1
    assert config.text_config.hidden_size == 16


def test_recipe_overrides_reach_model_and_text_encoder() -> None:
    inputs = inputs_with(**{"num_bands": 2, "text_config.hidden_dropout_prob": 0.25})
    config = find_recipe("hfr_ame").config_of(inputs, "full")
    assert config.num_bands == 2
    assert config.text_config.hidden_dropout_prob == 0.25
    assert inputs.text_config.hidden_dropout_prob == 0.1


@pytest.mark.parametrize("overrides", [{}, {"hidden_size": 32, "unet_channels": [32, 48]}])
def test_recipe_variants_without_parts_have_the_parameters_of_the_full_model(overrides: dict[str, Any]) -> None:
    recipe = find_recipe("hfr_ame")
    full, coarse, control = (recipe.config_of(inputs_with(**overrides), name) for name in ("full", "coarse", "control"))
    assert (coarse.restores_bands, coarse.fills_gaps, control.use_hfr) == (False, True, False)
    for variant in (coarse, control):
        assert recipe.count_parameters(variant) == pytest.approx(recipe.count_parameters(full), rel=0.002)


def test_recipe_variants_are_all_named_by_the_help_and_the_docstring() -> None:
    [variant] = [field for field in fields(ModelArguments) if field.name == "variant"]
    variants = {name for recipe in RECIPES.values() for name in recipe.variants}
    assert variants - set(re.findall(r"\w+", variant.metadata["help"])) == set()
    assert variants - set(re.findall(r"`(\w+)`", ModelArguments.__doc__ or "")) == set()


def test_recipe_unknown_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model must be one of .*hfr_ame.*, but is 'bert'"):
        find_recipe("bert")


def test_recipe_unknown_variant_is_refused() -> None:
    with pytest.raises(ConfigError, match="one of full, coarse, control, text_only, but is 'ful'"):
        find_recipe("hfr_ame").config_of(inputs_with(), "ful")


def test_recipe_unknown_override_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_bandz"):
        find_recipe("hfr_ame").config_of(inputs_with(num_bandz=2), "full")


def test_recipe_unknown_text_override_is_refused() -> None:
    with pytest.raises(ConfigError, match="field of BertConfig, but 'hidden_sise' is none"):
        find_recipe("hfr_ame").config_of(inputs_with(**{"text_config.hidden_sise": 2}), "full")
