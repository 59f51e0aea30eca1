"""Which parameters are trained, at which learning rate, with which weight decay."""

from typing import Any

from torch import nn

from modeling_hfr_ame.errors import ConfigError

# A pretrained text encoder wants a learning rate some ten times lower than fresh layers. Every model of this package
# keeps its text encoder under this attribute name.
TEXT_MODEL_NAME = "text_model"

# Learned vectors that act as positions, queries or place-holders; decay would pull them towards "nothing".
_EMBEDDING_LIKE = ("embedding", "token", "query", "position")


def find_text_model(model: nn.Module) -> nn.Module | None:
    """Finds the nested Hugging Face text encoder.

    Args:
        model: Any model; the text encoder is the first sub-module whose attribute name is `text_model`.

    Returns:
        The text encoder, or None if the model has none (for instance when it reads cached `text_states`).
    """
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == TEXT_MODEL_NAME:
            return module
    return None


def is_text_parameter(name: str) -> bool:
    """Says whether a qualified parameter name belongs to the text encoder.

    Args:
        name: A name as `named_parameters` gives it.

    Returns:
        True if one of its dotted parts is `text_model`.
    """
    return TEXT_MODEL_NAME in name.split(".")


def parameter_groups(
    model: nn.Module, *, learning_rate: float, text_learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Sorts the trainable parameters into optimiser groups.

    Weight decay touches matrices and convolution kernels only: no biases, no norms, no embeddings and no learned query
    or place-holder vectors.

    Args:
        model: The unwrapped model.
        learning_rate: Peak rate of everything but the text encoder, > 0.
        text_learning_rate: Peak rate of the text encoder, > 0.
        weight_decay: Decay of the decayed groups, >= 0.

    Returns:
        Up to four groups (`text` and `rest`, each with and without decay) with the keys `name`, `params`, `lr` and
        `weight_decay`; empty groups are left out.

    Raises:
        ConfigError: If no parameter is trainable.
    """
    undecayed = _undecayed_names(model)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((is_text_parameter(name), name not in undecayed), []).append(parameter)
    if not groups:
        raise ConfigError("training needs at least one trainable parameter, but all are frozen; unfreeze some layers")
    return [
        {
            "name": f"{'text' if is_text else 'rest'}{'' if decayed else '_no_decay'}",
            "params": parameters,
            "lr": text_learning_rate if is_text else learning_rate,
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for (is_text, decayed), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def _undecayed_names(model: nn.Module) -> set[str]:
    names = set()
    for module_name, module in model.named_modules():
        for own_name, parameter in module.named_parameters(recurse=False):
            embedding_like = isinstance(module, nn.Embedding) or any(part in own_name for part in _EMBEDDING_LIKE)
            if parameter.ndim < 2 or embedding_like:
                names.add(f"{module_name}.{own_name}" if module_name else own_name)
    return names


def freeze_text_encoder(model: nn.Module, *, num_layers: int | None) -> int:
    """Freezes the text encoder, wholly or from the bottom.

    Frozen layers keep their dropout in training mode, as `Trainer` puts the whole model into it.

    Args:
        model: The unwrapped model.
        num_layers: None freezes the whole encoder; N >= 1 freezes its embeddings and its first N layers; 0 freezes
            nothing.

    Returns:
        Number of parameter elements that were frozen.

    Raises:
        ConfigError: If the model has no text encoder, or fewer than `num_layers` layers.
    """
    if num_layers == 0:
        return 0
    text_model = find_text_model(model)
    if text_model is None:
        raise ConfigError(
            "freezing text layers needs a text encoder, but the model has none; drop freeze_text_layers and "
            "freeze_text_encoder"
        )
    if num_layers is None:
        frozen: list[nn.Module] = [text_model]
    else:
        layers = _encoder_layers(text_model)
        if not 0 < num_layers <= len(layers):
            raise ConfigError(
                f"freeze_text_layers must lie between 0 and the encoder's {len(layers)} layers, but is {num_layers}; "
                "use freeze_text_encoder to freeze everything"
            )
        frozen = [_input_embeddings(text_model), *layers[:num_layers]]
    parameters = {id(p): p for module in frozen for p in module.parameters()}
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    return sum(p.numel() for p in parameters.values())


def _encoder_layers(text_model: nn.Module) -> nn.ModuleList:
    depth = getattr(getattr(text_model, "config", None), "num_hidden_layers", None)
    for module in text_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise ConfigError(
        f"freeze_text_layers needs an encoder with a list of layers, but {type(text_model).__name__} shows none; "
        "use freeze_text_encoder instead"
    )


def _input_embeddings(text_model: nn.Module) -> nn.Module:
    # The whole embedding block (words, positions, norm) where there is one, as it feeds the first frozen layer.
    block = getattr(text_model, "embeddings", None)
    return block if isinstance(block, nn.Module) else text_model.get_input_embeddings()  # type: ignore[operator]


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """Counts parameters.

    Args:
        model: The unwrapped model.

    Returns:
        `total`, `trainable`, and `without_text_encoder`, the total of everything else.
    """
    named = list(model.named_parameters())
    return {
        "total": sum(parameter.numel() for _, parameter in named),
        "trainable": sum(parameter.numel() for _, parameter in named if parameter.requires_grad),
        "without_text_encoder": sum(parameter.numel() for name, parameter in named if not is_text_parameter(name)),
    }
