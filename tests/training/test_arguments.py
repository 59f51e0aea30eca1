from pathlib import Path

import pytest

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.training.arguments import parse_arguments, parse_overrides


def write_yaml(folder: Path, text: str) -> str:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_defaults_are_the_documented_recipe() -> None:
    model_args, data_args, args = parse_arguments([])
    assert (model_args.model, model_args.variant, model_args.text_encoder) == ("hfr_ame", None, "small")
    assert data_args.dataset == "synthetic_talkers"
    assert (args.learning_rate, args.text_learning_rate, args.weight_decay) == (5e-4, 3e-5, 0.01)
    assert (args.lr_scheduler_type, args.warmup_steps, args.max_grad_norm) == ("cosine", 0.1, 1.0)
    assert (args.metric_for_best_model, args.greater_is_better, args.load_best_model_at_end) == ("mae", False, True)
    assert args.remove_unused_columns is False
    assert args.label_names == ["labels"]
    assert args.get_warmup_steps(1000) == 100


def test_command_line_is_read() -> None:
    words = ["--variant", "control", "--seeds", "3", "4", "--learning-rate", "1e-3", "--no_load_best_model_at_end"]
    model_args, _, args = parse_arguments(words)
    assert model_args.variant == "control"
    assert args.seeds == [3, 4]
    assert args.learning_rate == 1e-3
    assert args.load_best_model_at_end is False


def test_command_line_wins_over_yaml_and_yaml_over_recipe(tmp_path: Path) -> None:
    path = write_yaml(tmp_path, "learning_rate: 1e-3\nweight_decay: 0.5\nseeds: [1, 2]\n")
    defaults = {"hfr_ame": {"learning_rate": 9.0, "weight_decay": 9.0, "text_learning_rate": 0.25}}
    _, _, args = parse_arguments([path, "--weight_decay", "0.25"], recipe_defaults=defaults)
    assert (args.learning_rate, args.weight_decay, args.text_learning_rate) == (1e-3, 0.25, 0.25)
    assert args.seeds == [1, 2]


def test_yaml_overrides_may_be_a_mapping(tmp_path: Path) -> None:
    path = write_yaml(tmp_path, "config_overrides:\n  band_loss: off\n  unet_channels: [8, 16]\n  dropout: 0\n")
    model_args, _, _ = parse_arguments([path])
    assert parse_overrides(model_args.config_overrides) == {
        "band_loss": "off",
        "unet_channels": [8, 16],
        "dropout": 0,
    }


def test_yaml_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="but found learning_rat;"):
        parse_arguments([write_yaml(tmp_path, "learning_rat: 1")])


def test_yaml_that_is_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds list"):
        parse_arguments([write_yaml(tmp_path, "- 1")])


def test_yaml_with_bad_syntax_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.yaml must be YAML"):
        parse_arguments([write_yaml(tmp_path, "a: [")])


def test_yaml_missing_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml is none"):
        parse_arguments(["nowhere.yaml"])


def test_command_line_unknown_argument_is_refused() -> None:
    with pytest.raises(ConfigError, match="but found --learning_rat 1"):
        parse_arguments(["--learning_rat", "1"])


def test_overrides_values_are_typed() -> None:
    words = ["a=1e-3", "b=off", "c=true", "d=[0.1, 2]", "e=null", "f=3", "g=low_to_high", "h=-.5"]
    assert parse_overrides(words) == {
        "a": 0.001,
        "b": "off",
        "c": True,
        "d": [0.1, 2],
        "e": None,
        "f": 3,
        "g": "low_to_high",
        "h": -0.5,
    }


def test_overrides_without_value_are_refused() -> None:
    with pytest.raises(ConfigError, match="found 'num_bands'"):
        parse_overrides(["num_bands"])


def test_overrides_with_bad_yaml_are_refused() -> None:
    with pytest.raises(ConfigError, match="override 'a' must be YAML"):
        parse_overrides(["a=[1"])


def test_batch_is_divided_over_accumulation_steps() -> None:
    _, _, args = parse_arguments(["--global_batch_size", "12", "--gradient_accumulation_steps", "3"])
    assert args.per_device_train_batch_size == 4


def test_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\(1 x 3\), but is 64"):
        parse_arguments(["--gradient_accumulation_steps", "3"])


def test_batch_per_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="would be 64, but 8 was given"):
        parse_arguments(["--per_device_train_batch_size", "8"])


@pytest.mark.parametrize("words", [["--max_grad_value", "0"], ["--max_grad_value", "1", "--fp16"]])
def test_gradient_value_limit_that_cannot_hold_is_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="max_grad_value must be positive and can't be used with fp16"):
        parse_arguments(words)


def test_world_size_other_than_expected_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must have 2 processes .* but has 1"):
        parse_arguments(["--expect_world_size", "2"])
