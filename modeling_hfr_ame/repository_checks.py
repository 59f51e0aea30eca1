"""Named errors for a model repository that is incomplete or was tampered with.

The library draws weights at random where a checkpoint has none and says so in a log; a score from such a model looks
like any other. Here it is an error.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel

from .errors import DataError

_ALIGNMENT_BYTES = 64


class RepositoryFileError(DataError, OSError):
    """A file of the repository is missing or damaged. An `OSError` as well, which callers of the library expect."""


class RepositoryWeightsError(DataError, RuntimeError):
    """Weights don't fit the configuration, or aren't finite. A `RuntimeError` as well, as in the library."""


class CheckedPreTrainedModel(PreTrainedModel):
    """Base of every model of the package: loading refuses what the library only reports."""

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Loads weights as the library does, refuses incomplete ones, and moves CPU tensors to aligned memory.

        Loaded tensors are views into a mapped file at arbitrary offsets, and some CPU kernels sum in another order for
        unaligned data: without this the loaded model's scores differ from the saved one's in the last bit.

        Raises:
            DataError: A file is missing or damaged, or the weights don't fit the configuration or aren't finite.
        """
        source = args[0] if args else kwargs.get("pretrained_model_name_or_path")
        wants_info = kwargs.pop("output_loading_info", False)
        mismatched_allowed = kwargs.pop("ignore_mismatched_sizes", False)
        with named_file_errors(source, cls.__name__):
            # Mismatches are allowed here and refused below, with what to do about them.
            model, info = super().from_pretrained(
                *args, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs
            )
        is_own = source is not None and cls.__name__ in (model.config.architectures or ())
        # Whoever asks for the loading info gets missing and left-over names there, as with every model of the library.
        check_loaded_weights(model, info, mismatched_allowed, is_own and not wants_info)
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.device.type == "cpu" and tensor.data_ptr() % _ALIGNMENT_BYTES:
                tensor.data = tensor.data.clone()
        return (model, info) if wants_info else model


@contextmanager
def named_file_errors(source: Any, what: str) -> Iterator[None]:
    """Turns the library's errors about files of a local repository into `RepositoryFileError`.

    Args:
        source: What is loaded from: a folder, or the id of a repository. The library's own message about an id that
            can't be reached is left alone.
        what: What is loaded, for the message.

    Raises:
        RepositoryFileError: A file is missing or damaged.
    """
    try:
        yield
    except SafetensorError as error:
        raise RepositoryFileError(
            f"{what} needs a complete safetensors file, {_name(source)} has a damaged one ({error}); download or "
            "export the repository again"
        ) from error
    except OSError as error:
        if isinstance(error, DataError) or not os.path.isdir(str(source)):
            raise
        raise RepositoryFileError(
            f"{what} needs all files of the repository, {_name(source)} lacks one ({error}); download or export the "
            "repository again"
        ) from error


def check_loaded_weights(model: nn.Module, info: Mapping[str, Any], mismatched_allowed: bool, is_own: bool) -> None:
    """Refuses a model whose checkpoint didn't give it all of its weights.

    Args:
        model: The loaded model.
        info: The library's loading info: `missing_keys`, `unexpected_keys`, `mismatched_keys`.
        mismatched_allowed: Whether the caller passed `ignore_mismatched_sizes=True`.
        is_own: Whether the checkpoint was written by this class. A base model's checkpoint lacks a head, and that is
            fine.

    Raises:
        RepositoryWeightsError: A shape differs, a weight of the class's own checkpoint is missing or left over, or a
            weight is NaN or infinite.
    """
    mismatched = sorted(str(key[0] if isinstance(key, tuple) else key) for key in info["mismatched_keys"])
    if mismatched and not mismatched_allowed:
        raise RepositoryWeightsError(
            f"weights must have the shapes of config.json, {_few(mismatched)} differ(s); restore the config.json that "
            "belongs to the weights, or pass ignore_mismatched_sizes=True to draw them anew"
        )
    if is_own:
        for kind in ("missing", "unexpected"):
            keys = sorted(str(key) for key in info[f"{kind}_keys"])
            if keys:
                raise RepositoryWeightsError(
                    f"weights must be exactly those of config.json, found {kind} {_few(keys)}; restore the config.json "
                    "and the weights that belong together"
                )
    bad = [
        name
        for name, value in model.state_dict().items()
        if value.is_floating_point() and value.device.type != "meta" and not bool(torch.isfinite(value).all())
    ]
    if bad:
        raise RepositoryWeightsError(
            f"weights must be finite, found NaN or infinity in {_few(bad)}; download the repository again, or use "
            "another checkpoint of the training"
        )


def check_loaded_tokenizer(tokenizer: Any, source: Any) -> None:
    """Refuses a tokenizer without a vocabulary, which is what the library makes where the file is missing.

    Args:
        tokenizer: The loaded tokenizer.
        source: What it was loaded from, for the message.

    Raises:
        RepositoryFileError: It knows its special tokens alone: every text would read as unknown words.
    """
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise RepositoryFileError(
            f"a tokenizer needs its vocabulary, {_name(source)} has none: tokenizer.json is missing or empty; download "
            "or export the repository again"
        )


def _name(source: Any) -> str:
    return os.path.basename(os.path.normpath(str(source)))


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
