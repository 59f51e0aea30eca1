"""Corruptions of text: a list of words in, a list of words and where each came from out.

Words, not word pieces: what is damaged must not depend on a model's tokenizer. The literal words `[UNK]` and `[MASK]`
stand for "something was here"; the processor turns them into the tokenizer's own tokens.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from modeling_hfr_ame.corruption.keyed_draws import KeyedDraws, SampleKey
from modeling_hfr_ame.corruption.protocol import Corruption
from modeling_hfr_ame.corruption.runs import draw_run
from modeling_hfr_ame.corruption.sound_alikes import SoundAlikes, VocabularyLike, index_vocabulary
from modeling_hfr_ame.corruption.typos import make_typo
from modeling_hfr_ame.errors import DataError, InputError

UNKNOWN_WORD = "[UNK]"
MASK_WORD = "[MASK]"

SourceIndex = npt.NDArray[np.int64]


def corrupt_words(
    words: Sequence[str],
    corruption: Corruption | None,
    key: SampleKey,
    vocabulary: VocabularyLike | None = None,
) -> tuple[list[str], SourceIndex]:
    """Damages one sample's text.

    Args:
        words: The words, in order; may be empty. Not modified.
        corruption: What to do; None for nothing.
        key: The sample, which selects the random draws.
        vocabulary: Words of the training split, in any order, for the kind "asr"; None if that kind does not occur. A
            frozenset or a `SoundAlikes` is looked up fastest.

    Returns:
        The damaged words, and for each of them the index of its word in the input, int64.

    Raises:
        InputError: `words` is not a list of strings, or the corruption is "missing", which leaves no words to return.
        ConfigError: Text does not have the kind.
        DataError: The kind is "asr" and there is no vocabulary.
    """
    if isinstance(words, str) or not all(isinstance(word, str) for word in words):
        found = "a string" if isinstance(words, str) else "an item that is not a string"
        raise InputError(f"text must be a list of words, found {found}; pass text.split()")
    everything = np.arange(len(words), dtype=np.int64)
    if corruption is None:
        return list(words), everything
    corruption.check_modality("text")
    if corruption.removes_modality:
        raise InputError(
            "'missing' makes text absent, so there are no words to return; "
            "test Corruption.removes_modality first, or use corrupt_sample"
        )
    if corruption.severity == 0.0:
        return list(words), everything
    draws = KeyedDraws(key, "text", corruption.kind)
    if corruption.kind == "delete":
        return _delete(words, corruption.parameter, draws)
    if corruption.kind == "asr":
        return _mishear(words, corruption.parameter, draws, _index(vocabulary)), everything
    return _SAME_LENGTH_KINDS[corruption.kind](words, corruption.parameter, draws), everything


def _index(vocabulary: VocabularyLike | None) -> SoundAlikes:
    if vocabulary is None:
        raise DataError(
            "corruption 'asr' replaces words by words of the training vocabulary, found vocabulary None; "
            "pass vocabulary=frozenset of all words in the training split"
        )
    return vocabulary if isinstance(vocabulary, SoundAlikes) else index_vocabulary(frozenset(vocabulary))


def _draw_hits(words: Sequence[str], rate: float, draws: KeyedDraws) -> list[bool]:
    return [bool(hit) for hit in draws.uniform(len(words)) < rate]


def _replace(words: Sequence[str], hits: Sequence[bool], replacement: str) -> list[str]:
    return [replacement if hit else word for word, hit in zip(words, hits, strict=True)]


def _drop(words: Sequence[str], rate: float, draws: KeyedDraws) -> list[str]:
    return _replace(words, _draw_hits(words, rate, draws), UNKNOWN_WORD)


def _mask(words: Sequence[str], rate: float, draws: KeyedDraws) -> list[str]:
    return _replace(words, _draw_hits(words, rate, draws), MASK_WORD)


def _block(words: Sequence[str], rate: float, draws: KeyedDraws) -> list[str]:
    run = draw_run(rate, len(words), draws)
    return [*words[: run.start], *[UNKNOWN_WORD] * (run.stop - run.start), *words[run.stop :]]


def _delete(words: Sequence[str], rate: float, draws: KeyedDraws) -> tuple[list[str], SourceIndex]:
    # a text without words would say "nothing was said"; the word with the largest number goes last, and stays
    numbers = draws.uniform(len(words))
    kept = numbers >= rate
    if len(words) and not kept.any():
        kept[numbers.argmax()] = True
    source_index = np.flatnonzero(kept).astype(np.int64)
    return [words[index] for index in source_index.tolist()], source_index


def _typo(words: Sequence[str], rate: float, draws: KeyedDraws) -> list[str]:
    hits = _draw_hits(words, rate, draws)
    # numbers are drawn for every word, hit or not: the same word gets the same typo at every rate
    choices = draws.uniform(len(words), 3)
    return [
        make_typo(word, *choice) if hit and not _is_placeholder(word) else word
        for word, hit, choice in zip(words, hits, choices.tolist(), strict=True)
    ]


def _mishear(words: Sequence[str], rate: float, draws: KeyedDraws, sound_alikes: SoundAlikes) -> list[str]:
    hits = _draw_hits(words, rate, draws)
    return [
        sound_alikes.replace(word) if hit and not _is_placeholder(word) else word
        for word, hit in zip(words, hits, strict=True)
    ]


def _is_placeholder(word: str) -> bool:
    return word in (UNKNOWN_WORD, MASK_WORD)


_SAME_LENGTH_KINDS: dict[str, Callable[[Sequence[str], float, KeyedDraws], list[str]]] = {
    "drop": _drop,
    "block": _block,
    "mask": _mask,
    "typo": _typo,
}
