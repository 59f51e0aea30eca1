"""Stored rows as encoded samples, corrupted on the fly.

Design choices:

* The order is fixed: words and *standardised* frames are corrupted, then the corrupted words are tokenised. So a
  corruption means the same for every tokenizer and every feature set. Published protocols are the exception: theirs
  drop word pieces, at places that depend on the whole split, so their masks are drawn when the dataset is made.
* The epoch travels with the index, so a draw depends on no state: not on workers, ranks, batch order or resume.
* Rows are checked when the dataset is made, not in the middle of an epoch.
* What doesn't change between epochs (standardised frames, clean tokens) is kept in memory up to a limit. A worker
  process fills its own copy, so use persistent workers, or none: the sizes at hand don't need them.

Not covered: shuffling and epochs (the sampler's), padding (the collator's).
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from modeling_hfr_ame.corruption import CorruptionPlan, LiteratureRecipe, SampleKey, SplitMasks, corrupt_sample
from modeling_hfr_ame.data.stored import stored_rows
from modeling_hfr_ame.errors import ConfigError, DataError

if TYPE_CHECKING:
    from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor

DatasetPlan = CorruptionPlan | LiteratureRecipe

_MODALITY_OF_LETTER: Final = {"t": "text", "a": "audio", "v": "vision"}


@dataclass(frozen=True)
class _CleanSample:
    """One row, standardised and tokenised; None = absent. The arrays are read-only."""

    sample_id: str
    words: list[str] | None
    input_ids: NDArray[np.int64] | None  # (Lt,)
    word_ids: Any  # of each token, as the processor gives them
    audio: NDArray[np.float32] | None  # (La, Da)
    vision: NDArray[np.float32] | None  # (Lv, Dv)

    @property
    def num_bytes(self) -> int:
        arrays = [array for array in (self.input_ids, self.audio, self.vision) if array is not None]
        # A short Python string or a word id takes some 60 bytes; the frames outweigh them.
        return sum(array.nbytes for array in arrays) + 120 * len(self.words or ())


class _CleanCache:
    """Clean samples by row, up to a size. Copies of a dataset share it; a pickled dataset starts with an empty one."""

    def __init__(self, max_bytes: float) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._samples: dict[int, _CleanSample] = {}

    def __getstate__(self) -> float:
        return self._max_bytes

    def __setstate__(self, max_bytes: float) -> None:
        self.__init__(max_bytes)  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self._samples)

    def get(self, index: int) -> _CleanSample | None:
        return self._samples.get(index)

    def add(self, index: int, sample: _CleanSample) -> None:
        if self._num_bytes + sample.num_bytes <= self._max_bytes:
            self._samples[index] = sample
            self._num_bytes += sample.num_bytes


class SentimentDataset(Dataset[dict[str, Any]]):
    """The rows of one split as un-padded samples for `SentimentCollator`.

    Args:
        rows: A `datasets.Dataset` in the stored layout, or a sequence of such rows with frames as arrays. A blank text
            counts as absent.
        processor: Standardises frames and tokenises words. Its scalers must be fitted.
        dataset_name: Name of the dataset; part of the key of every corruption draw.
        split: Name of the split; part of the key as well.
        corruption: A recipe (the same for every sample), a training mix (drawn per sample and epoch) or a published
            protocol (masks over all rows, the same in every epoch, for which every row is encoded once); None leaves
            everything as it is.
        seed: Seed of the corruption draws.
        with_clean: Add the uncorrupted twin to each sample.
        vocabulary: Words of the training split for the `asr` corruption, from `training_vocabulary`; None where the
            plan needs none.
        modalities: Letters of the modalities to use, out of "tav". The others count as absent.
        label_range: Lowest and highest label that is right.
        cache_mb: Memory for standardised frames and clean tokens, in units of 10⁶ bytes; 0 keeps nothing.
        with_domains: Add `domain_id`, the source that a row comes from, where the rows have that column.

    Raises:
        ConfigError: `modalities` is empty or holds another letter.
        DataError: There are no rows; a label is missing, not finite or out of range; a row has none of the wanted
            modalities; the plan needs a vocabulary and none is given; or a published protocol doesn't fit the rows.
    """

    def __init__(
        self,
        rows: Any,
        processor: "HfrAmeProcessor",
        *,
        dataset_name: str,
        split: str,
        corruption: DatasetPlan | None = None,
        seed: int = 0,
        with_clean: bool = False,
        vocabulary: Sequence[str] | None = None,
        modalities: str = "tav",
        label_range: tuple[float, float] = (-3.0, 3.0),
        cache_mb: float = 512.0,
        with_domains: bool = False,
    ) -> None:
        self.processor = processor
        self.dataset_name = dataset_name
        self.split = split
        self.seed = seed
        self.with_clean = with_clean
        self.modalities = _read_modalities(modalities)
        # The corruption indexes a vocabulary once per process, and finds a frozenset's index again without rehashing.
        self.vocabulary = None if vocabulary is None else frozenset(vocabulary)
        self.corruption = self._check_plan(corruption)
        self.labels = _check_labels(rows, label_range)
        _check_presence(rows, self.modalities)
        self._rows: Sequence[Mapping[str, Any]] = stored_rows(rows) if _is_arrow(rows) else rows
        domains = _column(rows, "domain_id") if with_domains else []
        self._domains = domains if domains and domains[0] is not None else None
        self._cache = _CleanCache(cache_mb * 1e6)
        self._roster: tuple[list[str], NDArray[np.int64]] | None = None
        self._masks = self._draw_masks(corruption)

    def __len__(self) -> int:
        return len(self.labels)

    def with_corruption(self, corruption: DatasetPlan | None) -> "SentimentDataset":
        """Gives the same rows under another plan.

        Args:
            corruption: As in the constructor.

        Returns:
            A dataset that shares rows and cache with this one, so that a second recipe needs no decoding.

        Raises:
            DataError: The plan needs a vocabulary and this dataset has none, or a published protocol doesn't fit the
                rows.
        """
        checked, masks = self._check_plan(corruption), self._draw_masks(corruption)
        other = copy.copy(self)
        other.corruption, other._masks = checked, masks
        return other

    @property
    def padded_lengths(self) -> tuple[int, int, int] | None:
        """Lengths of text, audio and vision that the masks of a published protocol were drawn on; None without such."""
        return None if self._masks is None else self._masks.padded_lengths

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """Encodes one row.

        Args:
            index: The row; or (epoch, row), which gives a training mix fresh draws in each epoch.

        Returns:
            `input_ids` (Lt,), `audio_values` (La, Da), `vision_values` (Lv, Dv), each only where the modality is left;
            `labels`, `sample_ids`, `severity` (3,). With `with_clean` also `clean_input_ids`, `clean_audio_values` and
            `clean_vision_values` of every modality that the row has, one that the plan removed included, and
            `clean_text_index` (Lt,) where text is left. Arrays may be read-only.

        Raises:
            IndexError: The row does not exist.
        """
        epoch, position = (None, index) if not isinstance(index, (tuple, list)) else index
        row = range(len(self))[position]
        clean = self._clean(row)
        sample: dict[str, Any] = {
            "labels": float(self.labels[row]),
            "sample_ids": clean.sample_id,
            "severity": np.zeros(3, dtype=np.float32),
        }
        if self._domains is not None:
            sample["domain_id"] = self._domains[row]
        if self._masks is not None:
            self._add_masked(sample, clean, self._masks, row)
        else:
            self._add_corrupted(sample, clean, epoch)
        if self.with_clean:
            twin = {"input_ids": clean.input_ids, "audio_values": clean.audio, "vision_values": clean.vision}
            sample |= {f"clean_{name}": values for name, values in twin.items() if values is not None}
        return sample

    def _add_masked(self, sample: dict[str, Any], clean: _CleanSample, masks: SplitMasks, row: int) -> None:
        """Adds the row under the masks of a published protocol, which change no length."""
        unknown_id = self.processor.tokenizer.unk_token_id
        masked = masks.apply(row, clean.input_ids, clean.audio, clean.vision, unknown_id)
        sample["severity"] = masks.severity[row]
        values = {"input_ids": masked.input_ids, "audio_values": masked.audio, "vision_values": masked.vision}
        sample.update({name: array for name, array in values.items() if array is not None})
        if self.with_clean and masked.input_ids is not None:
            sample["clean_text_index"] = np.arange(len(masked.input_ids))

    def _add_corrupted(self, sample: dict[str, Any], clean: _CleanSample, epoch: int | None) -> None:
        """Adds the row under a plan that decides sample by sample, or as it is."""
        words, source_index, audio, vision = clean.words, None, clean.audio, clean.vision
        if self.corruption is not None and not isinstance(self.corruption, LiteratureRecipe):
            key = SampleKey(self.dataset_name, self.split, clean.sample_id, self.seed, epoch)
            corrupted = corrupt_sample(words, audio, vision, self.corruption, key, vocabulary=self.vocabulary)
            words, source_index = corrupted.words, corrupted.source_index
            audio, vision, sample["severity"] = corrupted.audio, corrupted.vision, corrupted.severity
        if words is not None:
            self._add_text(sample, clean, words, source_index)
        if audio is not None:
            sample["audio_values"] = audio
        if vision is not None:
            sample["vision_values"] = vision

    def _add_text(
        self, sample: dict[str, Any], clean: _CleanSample, words: list[str], source_index: NDArray[np.int64] | None
    ) -> None:
        input_ids, alignment = clean.input_ids, None
        if source_index is not None and words != clean.words:
            input_ids, word_ids = self.processor.encode_words(words)
            if self.with_clean:
                alignment = self.processor.text_alignment(clean.word_ids, word_ids, source_index)
        sample["input_ids"] = input_ids
        if self.with_clean:
            sample["clean_text_index"] = np.arange(len(clean.word_ids)) if alignment is None else alignment

    def _clean(self, index: int) -> _CleanSample:
        found = self._cache.get(index)
        if found is not None:
            return found
        row = self._rows[index]
        audio, vision = (row.get(name) if name in self.modalities else None for name in ("audio", "vision"))
        has_frames = audio is not None or vision is not None
        values = self.processor.encode(audio=audio, vision=vision) if has_frames else {}
        words = (row.get("text") or "").split() if "text" in self.modalities else []
        input_ids, word_ids = self.processor.encode_words(words) if words else (None, None)
        sample = _CleanSample(
            sample_id=row["id"],
            words=words or None,
            input_ids=_read_only(input_ids),
            word_ids=word_ids,
            audio=_read_only(values.get("audio_values")),
            vision=_read_only(values.get("vision_values")),
        )
        self._cache.add(index, sample)
        return sample

    def _draw_masks(self, plan: DatasetPlan | None) -> SplitMasks | None:
        if not isinstance(plan, LiteratureRecipe):
            return None
        if self._roster is None:
            ids, lengths = [], []
            for clean in map(self._clean, range(len(self))):
                ids.append(clean.sample_id)
                parts = (clean.input_ids, clean.audio, clean.vision)
                lengths.append([0 if part is None else len(part) for part in parts])
            self._roster = ids, np.array(lengths, dtype=np.int64)
        ids, steps = self._roster
        return plan.bind(ids, steps, dataset=self.dataset_name, split=self.split, seed=self.seed)

    def _check_plan(self, plan: DatasetPlan | None) -> DatasetPlan | None:
        if plan is not None and plan.needs_vocabulary and "text" in self.modalities and self.vocabulary is None:
            raise DataError(
                f"the plan {plan.name!r} replaces words by words of the training split, but vocabulary is None; "
                "pass vocabulary=training_vocabulary(training_rows)"
            )
        return plan


def training_vocabulary(rows: Any) -> list[str]:
    """Collects the words of a split, for the `asr` corruption.

    Args:
        rows: A `datasets.Dataset` or a sequence of rows; normally the training split.

    Returns:
        The distinct words, sorted. Words are what white space separates, as written.
    """
    return sorted({word for text in _column(rows, "text") for word in (text or "").split()})


def _read_modalities(letters: str) -> tuple[str, ...]:
    unknown = set(letters) - set(_MODALITY_OF_LETTER)
    if not letters or unknown:
        raise ConfigError(
            f"modalities must be one or more of the letters t, a and v, found {letters!r}; for example 'tav' or 't'"
        )
    return tuple(name for letter, name in _MODALITY_OF_LETTER.items() if letter in letters)


def _check_labels(rows: Any, label_range: tuple[float, float]) -> NDArray[np.float64]:
    """Reads all labels, (N,), and refuses what is not a number in the range."""
    if len(rows) == 0:
        raise DataError("a dataset needs at least one row, found none; check the split and any filter on it")
    low, high = label_range
    raw = _column(rows, "label")
    labels = np.array([math.nan if value is None else float(value) for value in raw])
    wrong = np.flatnonzero(~((labels >= low) & (labels <= high)))
    if len(wrong):
        first = int(wrong[0])
        raise DataError(
            f"a label must be a number in [{low:g}, {high:g}], found {raw[first]!r} in row "
            f"{_column(rows, 'id')[first]!r} ({len(wrong)} such rows of {len(labels)}); "
            "correct or remove them, or pass the dataset's own label_range"
        )
    return labels


def _check_presence(rows: Any, modalities: tuple[str, ...]) -> None:
    present = np.zeros(len(rows), dtype=bool)
    for name in modalities:
        present |= _is_present(rows, name)
    absent = np.flatnonzero(~present)
    if len(absent):
        raise DataError(
            f"every row needs at least one of {', '.join(modalities)}, but {len(absent)} of {len(rows)} rows have "
            f"none, the first of them {_column(rows, 'id')[int(absent[0])]!r}; "
            "use more modalities or leave these rows out"
        )


def _is_present(rows: Any, name: str) -> NDArray[np.bool_]:
    if name == "text":
        return np.array([bool((text or "").strip()) for text in _column(rows, name)])
    if not _is_arrow(rows):
        return np.array([row.get(name) is not None for row in rows])
    if name not in rows.column_names:
        return np.zeros(len(rows), dtype=bool)
    # Asked of Arrow's null flags: decoding every frame only to see that it is there would take minutes on a large set.
    column = rows.select_columns([name]).with_format("arrow")[:].column(0)
    return column.is_valid().to_numpy(zero_copy_only=False)


def _column(rows: Any, name: str) -> list[Any]:
    if not _is_arrow(rows):
        return [row.get(name) for row in rows]
    return (
        list(rows.select_columns([name]).with_format(None)[:][name])
        if name in rows.column_names
        else [None] * len(rows)
    )


def _is_arrow(rows: Any) -> bool:
    return hasattr(rows, "select_columns")


def _read_only(array: Any) -> Any:
    if array is not None:
        array = np.asarray(array)
        array.flags.writeable = False
    return array
