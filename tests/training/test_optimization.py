import pytest
import torch
from torch import nn

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.training.optimization import (
    find_text_model,
    freeze_text_encoder,
    is_text_parameter,
    parameter_counts,
    parameter_groups,
)
from tests.training.tiny_sentiment import TinyConfig, TinyForSentiment


@pytest.fixture
def model() -> TinyForSentiment:
    return TinyForSentiment(TinyConfig())


def groups_by_name(model: nn.Module) -> dict[str, set[str]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, learning_rate=1e-3, text_learning_rate=1e-5, weight_decay=0.1)
    for group in groups:
        assert group["lr"] == (1e-5 if group["name"].startswith("text") else 1e-3)
        assert group["weight_decay"] == (0.0 if group["name"].endswith("no_decay") else 0.1)
    return {group["name"]: {names[id(parameter)] for parameter in group["params"]} for group in groups}


def test_groups_hold_every_parameter_once_by_place_and_decay(model: TinyForSentiment) -> None:
    groups = groups_by_name(model)
    assert set().union(*groups.values()) == {name for name, _ in model.named_parameters()}
    assert sum(map(len, groups.values())) == len(list(model.named_parameters()))
    assert groups["rest"] == {"audio.weight", "head.weight"}
    assert groups["rest_no_decay"] == {"audio.bias", "head.bias", "norm.weight", "norm.bias", "query_token"}
    assert all(name.startswith("text_model.") for name in groups["text"] | groups["text_no_decay"])
    assert "text_model.embeddings.word_embeddings.weight" in groups["text_no_decay"]
    assert "text_model.encoder.layer.0.attention.self.query.weight" in groups["text"]
    assert "text_model.encoder.layer.0.attention.output.LayerNorm.weight" in groups["text_no_decay"]


def test_groups_frozen_parameters_are_left_out(model: TinyForSentiment) -> None:
    freeze_text_encoder(model, num_layers=None)
    assert set(groups_by_name(model)) == {"rest", "rest_no_decay"}


def test_groups_all_frozen_is_refused(model: TinyForSentiment) -> None:
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match="at least one trainable parameter"):
        groups_by_name(model)


def test_freeze_first_layer_freezes_embeddings_and_that_layer_only(model: TinyForSentiment) -> None:
    frozen = freeze_text_encoder(model, num_layers=1)
    names = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert names == {
        name
        for name, _ in model.named_parameters()
        if name.startswith(("text_model.embeddings.", "text_model.encoder.layer.0."))
    }
    assert frozen == sum(p.numel() for n, p in model.named_parameters() if n in names) > 0


def test_freeze_zero_layers_freezes_nothing(model: TinyForSentiment) -> None:
    assert freeze_text_encoder(model, num_layers=0) == 0
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_freeze_too_many_layers_is_refused(model: TinyForSentiment) -> None:
    with pytest.raises(ConfigError, match=r"encoder's 2 layers, but is 3"):
        freeze_text_encoder(model, num_layers=3)


def test_freeze_without_text_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="the model has none"):
        freeze_text_encoder(nn.Linear(2, 2), num_layers=1)


def test_freeze_encoder_without_layer_list_is_refused() -> None:
    model = nn.ModuleDict({"text_model": nn.Linear(2, 2)})
    with pytest.raises(ConfigError, match="Linear shows none"):
        freeze_text_encoder(model, num_layers=1)


def test_text_model_is_found_and_its_parameters_are_named(model: TinyForSentiment) -> None:
    assert find_text_model(model) is model.text_model
    assert find_text_model(nn.Linear(1, 1)) is None
    assert is_text_parameter("model.text_model.encoder.weight")
    assert not is_text_parameter("context_model.weight")


def test_parameter_counts_split_text_frozen_and_rest(model: TinyForSentiment) -> None:
    model.audio.requires_grad_(False)
    counts = parameter_counts(model)
    text = sum(parameter.numel() for parameter in model.text_model.parameters())
    assert counts["total"] == sum(torch.numel(parameter) for parameter in model.parameters())
    assert counts["without_text_encoder"] == counts["total"] - text
    assert counts["trainable"] == counts["total"] - 3 * 8 - 8
