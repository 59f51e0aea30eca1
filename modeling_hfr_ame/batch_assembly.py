"""Encoded samples → one batch: padding, masks, absent modalities, training keys.

Lengths make the masks; a zero frame is data. The clean twin of a frame sequence is padded to the same length as the
received one, so that both lie on one grid even where the received modality is absent; clean text keeps its own length,
because corruption may change the number of word pieces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import InputError
from .feature_scaling import Array, as_frames, as_numpy, stack_padded

Sample = Mapping[str, Any]

_TEXT_KEYS = ("input_ids", "text_states", "clean_input_ids", "clean_text_states", "clean_text_index")
_FRAME_KEYS = ("audio_values", "vision_values", "clean_audio_values", "clean_vision_values")
_ROW_KEYS = ("severity", "sample_ids", "domain_id")
_KNOWN_KEYS = (*_TEXT_KEYS, *_FRAME_KEYS, *_ROW_KEYS)


@dataclass(frozen=True)
class PaddedLength:
    """How long the rows of one modality become.

    Attributes:
        at_least: Least padded length, ≥ 1.
        multiple_of: Padded lengths become a multiple of this; None = 1.
        equal_rows: Refuse rows of unequal length. An absent row has no length.

    Raises:
        InputError: If `multiple_of` is below 1.
    """

    at_least: int = 1
    multiple_of: int | None = None
    equal_rows: bool = False

    def __post_init__(self) -> None:
        """Checks the multiple."""
        if self.multiple_of is not None and self.multiple_of < 1:
            raise InputError(
                f"pad_to_multiple_of must be at least 1; found {self.multiple_of}. None means no rounding."
            )

    def of(self, rows: Sequence[Array | None]) -> int:
        """Returns the padded length of rows: the longest one, rounded up.

        Raises:
            InputError: If rows have unequal lengths and may not.
        """
        lengths = {len(row) for row in rows if row is not None}
        if self.equal_rows and len(lengths) > 1:
            raise InputError(
                f"rows that are not padded must have one length; found {sorted(lengths)}. Use padding='longest'."
            )
        longest = max(self.at_least, *lengths, 1)
        return longest if self.multiple_of is None else -(-longest // self.multiple_of) * self.multiple_of


@dataclass(frozen=True)
class BatchLayout:
    """What padding has to know about the model and the call.

    Attributes:
        pad_token_id: Token id of text padding.
        audio_size: Audio feature width.
        vision_size: Vision feature width.
        text: Padded length of tokens, received and clean.
        audio: Padded length of audio frames.
        vision: Padded length of vision frames.
    """

    pad_token_id: int
    audio_size: int
    vision_size: int
    text: PaddedLength = PaddedLength()
    audio: PaddedLength = PaddedLength()
    vision: PaddedLength = PaddedLength()


def assemble_batch(samples: Sequence[Sample], layout: BatchLayout) -> dict[str, Any]:
    """Pads encoded samples to one batch.

    Args:
        samples: Encoded samples. Text as `input_ids` (Lt,) or `text_states` (Lt, Dt), `audio_values` (La, Da),
            `vision_values` (Lv, Dv); a missing key or None = absent. Optional: `clean_input_ids` or
            `clean_text_states`, `clean_audio_values`, `clean_vision_values`, `clean_text_index` (Lt,), `severity` (3,),
            `sample_ids` (a string), `domain_id` (a whole number), and any scalar whose key starts with `labels`.
        layout: Widths and padding.

    Returns:
        Numpy arrays in the batch contract; clean keys only if some row has one. `sample_ids` is a list.

    Raises:
        InputError: If there is no sample, a key is unknown, a row has no modality, an array has a wrong shape, or a key
            that every row needs is missing in some.
    """
    if not samples:
        raise InputError("a batch needs at least one sample; found none. Check the data set's length and filters.")
    unknown = sorted({k for s in samples for k in s if k not in _KNOWN_KEYS and not k.startswith("labels")})
    if unknown:
        raise InputError(
            f"samples may hold only known keys; found {unknown}. Known: {', '.join(_KNOWN_KEYS)} and labels*. "
            "Drop the others before collation."
        )
    batch = _text(samples, layout, "")
    text_length = batch["attention_mask"].shape[1]
    frames = {name: _frames(samples, layout, name) for name in ("audio", "vision")}
    for received, _ in frames.values():
        batch |= received
    present = [[_has_text(s), s.get("audio_values") is not None, s.get("vision_values") is not None] for s in samples]
    batch["modality_mask"] = np.array(present, dtype=np.bool_)
    empty = np.flatnonzero(~batch["modality_mask"].any(axis=1))
    if len(empty):
        raise InputError(
            f"every row needs text, audio or vision; found none in row(s) {empty.tolist()}. Leave such samples out."
        )
    if any(key.startswith("clean_") and value is not None for s in samples for key, value in s.items()):
        batch |= _text(samples, layout, "clean_")
        for _, clean in frames.values():
            batch |= clean
        batch["clean_text_index"] = _clean_text_index(samples, batch["attention_mask"], text_length)
    return batch | _row_values(samples)


def _has_text(sample: Sample, prefix: str = "") -> bool:
    return any(sample.get(prefix + key) is not None for key in ("input_ids", "text_states"))


def _text(samples: Sequence[Sample], layout: BatchLayout, prefix: str) -> dict[str, Array]:
    """Returns token ids with type ids, or text states, and the attention mask; keys carry the prefix."""
    ids = [_integers(s.get(f"{prefix}input_ids"), f"{prefix}input_ids") for s in samples]
    states = [None if s.get(f"{prefix}text_states") is None else as_numpy(s[f"{prefix}text_states"]) for s in samples]
    widths = {row.shape[1:] for row in states if row is not None}
    if widths:
        if any(row is not None for row in ids) or len(widths) > 1 or len(next(iter(widths))) != 1:
            raise InputError(
                "text in one batch is either all input_ids (n,) or all text_states (n, width) of one width; found "
                f"both, or trailing shapes {sorted(widths)}. Encode every sample in the same way."
            )
        (width,) = next(iter(widths))
        rows = [None if row is None else as_frames(row, width, "text") for row in states]
        values, mask = stack_padded(rows, layout.text.of(rows))
        return {f"{prefix}text_states": values, f"{prefix}attention_mask": mask.astype(np.int64)}
    length = layout.text.of(ids)
    if all(row is None for row in ids):
        values = np.full((len(samples), length), layout.pad_token_id, dtype=np.int64)
        mask = np.zeros(values.shape, dtype=np.bool_)
    else:
        values, mask = stack_padded(ids, length, layout.pad_token_id)
    batch = {f"{prefix}input_ids": values, f"{prefix}attention_mask": mask.astype(np.int64)}
    return batch if prefix else batch | {"token_type_ids": np.zeros_like(values)}


def _frames(samples: Sequence[Sample], layout: BatchLayout, name: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Returns the received and the clean values and masks of one modality, both of the same padded length."""
    is_audio = name == "audio"
    size, padded_length = (layout.audio_size, layout.audio) if is_audio else (layout.vision_size, layout.vision)
    rows = {
        prefix: [None if s.get(key) is None else as_frames(s[key], size, name) for s in samples]
        for prefix, key in (("", f"{name}_values"), ("clean_", f"clean_{name}_values"))
    }
    length = padded_length.of([*rows[""], *rows["clean_"]])
    padded = []
    for prefix, arrays in rows.items():
        if all(row is None for row in arrays):
            values = np.zeros((len(samples), length, size), dtype=np.float32)
            mask = np.zeros(values.shape[:2], dtype=np.bool_)
        else:
            values, mask = stack_padded(arrays, length)
        padded.append({f"{prefix}{name}_values": values, f"{prefix}{name}_mask": mask})
    return padded[0], padded[1]


def _clean_text_index(samples: Sequence[Sample], attention_mask: Array, length: int) -> Array:
    """Pads `clean_text_index` with −1; each present row must have one entry per received token."""
    rows = [_integers(s.get("clean_text_index"), "clean_text_index") for s in samples]
    lengths, expected = [0 if row is None else len(row) for row in rows], attention_mask.sum(axis=1).tolist()
    wrong = [i for i, row in enumerate(rows) if row is not None and lengths[i] != expected[i]]
    if wrong:
        raise InputError(
            f"clean_text_index must hold one entry per token; found {[lengths[i] for i in wrong]} entries for "
            f"{[expected[i] for i in wrong]} tokens in row(s) {wrong}. Make it with HfrAmeProcessor.text_alignment."
        )
    if all(row is None for row in rows):
        return np.full((len(samples), length), -1, dtype=np.int64)
    return stack_padded(rows, length, -1)[0]


def _integers(values: Any, key: str) -> Array | None:
    """Returns a checked (n,) int64 array, or None."""
    if values is None:
        return None
    array = as_numpy(values)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise InputError(
            f"{key} must be a non-empty 1-D integer array; found shape {array.shape}, dtype {array.dtype}. "
            "Leave the key out where text is absent."
        )
    return array.astype(np.int64)


def _row_values(samples: Sequence[Sample]) -> dict[str, Any]:
    """Stacks labels (B,) float32, severity (B, 3) float32, domain_id (B,) int64, and sample ids (a list)."""
    batch: dict[str, Any] = {}
    keys = sorted({k for s in samples for k, v in s.items() if v is not None and (k in _ROW_KEYS or k[:6] == "labels")})
    for key in keys:
        missing = [index for index, sample in enumerate(samples) if sample.get(key) is None]
        if missing:
            raise InputError(
                f"{key} must be given for every row or for none; it is missing in row(s) {missing}. "
                "Filter unlabelled samples out, or drop the key."
            )
        values = [sample[key] for sample in samples]
        if key == "sample_ids":
            batch[key] = values
            continue
        dtype = np.int64 if key == "domain_id" else np.float32
        stacked = np.asarray([as_numpy(value) for value in values], dtype=dtype)
        shape = (len(samples), 3) if key == "severity" else (len(samples),)
        if stacked.shape != shape:
            raise InputError(
                f"{key} must have shape {shape} in a batch; found {stacked.shape}. Give one value per row."
            )
        batch[key] = stacked
    return batch
