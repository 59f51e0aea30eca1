"""What a call of the processor may say beside its inputs, in the library's form.

Design choices:

- An option stands alone, in the dictionary of one modality, or in `common_kwargs`; alone and in a dictionary is an
  error, and both beat `common_kwargs`. The dictionary of the argument `vision` has the library's name `videos_kwargs`.
- A lone `max_length` counts tokens. The library would cut frames to the same number, which has nothing to do with them.
- The library ignores an option that it doesn't know; here it is an error.
- A tokenizer that was made with `padding="max_length"` keeps that padding where a call states none.
- Scaling is not among the options: it belongs to the model.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

from transformers.processing_utils import ProcessingKwargs

from .batch_assembly import PaddedLength
from .errors import InputError

MIN_TEXT_LENGTH = 3


class HfrAmeTextKwargs(TypedDict, total=False):
    """Options of text.

    Attributes:
        padding: `longest` or True, the default; `max_length`, at least to there; `do_not_pad` or False, for texts of
            equal length.
        truncation: Whether a longer text is cut at `max_length`; default True.
        max_length: Tokens, at least 3; default the processor's `max_text_length`.
        pad_to_multiple_of: Padded lengths are rounded up to a multiple of this; default 1.
        return_tensors: `pt`, the default; `np` or None for numpy. Holds for the whole batch.
    """

    padding: bool | str | None
    truncation: bool | str | None
    max_length: int | None
    pad_to_multiple_of: int | None
    return_tensors: str | None


class HfrAmeAudioKwargs(TypedDict, total=False):
    """Options of audio.

    Attributes:
        padding: As for text.
        truncation: As for text.
        max_length: Frames, at least 1; default the processor's `max_audio_length`.
        pad_to_multiple_of: As for text.
        sampling_rate: Samples per second of all waveforms.
    """

    padding: bool | str | None
    truncation: bool | str | None
    max_length: int | None
    pad_to_multiple_of: int | None
    sampling_rate: float | None


class HfrAmeVisionKwargs(TypedDict, total=False):
    """Options of vision.

    Attributes:
        padding: As for text.
        truncation: As for text.
        max_length: Frames, at least 1; default the processor's `max_vision_length`.
        pad_to_multiple_of: As for text.
        video_frame_rate: Pictures per second of all pictures; default the vision extractor's `frame_rate_hz`.
    """

    padding: bool | str | None
    truncation: bool | str | None
    max_length: int | None
    pad_to_multiple_of: int | None
    video_frame_rate: float | None


class HfrAmeProcessorKwargs(ProcessingKwargs, total=False):  # type: ignore[call-arg]  # the library is untyped
    """Options of `HfrAmeProcessor.__call__`, by modality."""

    text_kwargs: HfrAmeTextKwargs
    audio_kwargs: HfrAmeAudioKwargs
    videos_kwargs: HfrAmeVisionKwargs


_KNOWN = {
    "text": ("text_kwargs", HfrAmeTextKwargs.__annotations__),
    "audio": ("audio_kwargs", HfrAmeAudioKwargs.__annotations__),
    "vision": ("videos_kwargs", HfrAmeVisionKwargs.__annotations__),
}
_PADDING: dict[Any, str | None] = {None: None, True: "longest", False: "do_not_pad"}
_PADDING |= {name: name for name in ("longest", "max_length", "do_not_pad")}
_TRUNCATION: dict[Any, bool] = {
    None: True,
    True: True,
    False: False,
    "longest_first": True,
    "only_first": True,
    "do_not_truncate": False,
}


def merge_call_options(kwargs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sorts the options of a call by modality.

    Args:
        kwargs: Lone options, `text_kwargs`, `audio_kwargs`, `videos_kwargs` and `common_kwargs`.

    Returns:
        The given options of `text`, `audio` and `vision`. `padding` and `truncation` are always there: one of
        `longest`, `max_length`, `do_not_pad` or None for not stated, and a bool.

    Raises:
        InputError: If an option is unknown, given twice, or has a value that it can't have.
    """
    groups = {key: dict(kwargs.get(key) or {}) for key, _ in _KNOWN.values()}
    common = dict(kwargs.get("common_kwargs") or {})
    lone = {key: value for key, value in kwargs.items() if key not in (*groups, "common_kwargs")}
    every = {name for _, known in _KNOWN.values() for name in known}
    unknown = [*(common.keys() | lone.keys()) - every]
    unknown += [f"{key}['{name}']" for key, known in _KNOWN.values() for name in groups[key].keys() - known.keys()]
    if unknown:
        raise InputError(
            f"a call takes the options {', '.join(sorted(every))}, alone, in {', '.join(groups)} where they apply, or "
            f"in common_kwargs; found {sorted(unknown)}. Leave them out."
        )
    merged = {}
    for modality, (key, known) in _KNOWN.items():
        own = {name: lone[name] for name in lone.keys() & known.keys() if modality == "text" or name != "max_length"}
        twice = sorted(own.keys() & groups[key].keys())
        if twice:
            raise InputError(f"an option is given once; found {twice} both alone and in {key}. Drop one of them.")
        options = {name: common[name] for name in common.keys() & known.keys()} | own | groups[key]
        options["padding"] = _choose(_PADDING, options.get("padding"), "padding")
        options["truncation"] = _choose(_TRUNCATION, options.get("truncation"), "truncation")
        merged[modality] = options
    return merged


def call_lengths(
    options: Mapping[str, Mapping[str, Any]], max_lengths: Mapping[str, int], padded_text: int | None
) -> tuple[dict[str, int | None], dict[str, PaddedLength]]:
    """Finds how long sequences become.

    Args:
        options: From `merge_call_options`.
        max_lengths: Steps that the processor keeps of each modality where a call states no `max_length`.
        padded_text: Tokens that the tokenizer pads to by itself; None = none.

    Returns:
        By modality how many steps are kept, None = all, and how they are padded.

    Raises:
        InputError: If a length is out of range.
    """
    limits: dict[str, int | None] = {}
    lengths: dict[str, PaddedLength] = {}
    for modality, chosen in options.items():
        limit = chosen.get("max_length")
        limit = max_lengths[modality] if limit is None else limit
        least = MIN_TEXT_LENGTH if modality == "text" else 1
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < least:
            raise InputError(
                f"max_length of {modality} must be a whole number of at least {least}; found {limit!r}. Leave it out "
                f"to take the processor's {max_lengths[modality]}."
            )
        at_least = limit if chosen["padding"] == "max_length" else 1
        if modality == "text" and chosen["padding"] is None and padded_text is not None:
            at_least = padded_text
        limits[modality] = limit if chosen["truncation"] else None
        lengths[modality] = PaddedLength(
            at_least, chosen.get("pad_to_multiple_of"), equal_rows=chosen["padding"] == "do_not_pad"
        )
    return limits, lengths


def _choose(table: Mapping[Any, Any], value: Any, option: str) -> Any:
    value = getattr(value, "value", value)  # the library also has these words as an Enum
    if not isinstance(value, str | bool | None) or value not in table:
        raise InputError(f"{option} must be one of {', '.join(map(repr, table))}; found {value!r}. Use the default.")
    return table[value]
