"""The word of a vocabulary that sounds most like a given one, as a model of speech recognition errors.

Two words are compared by the edit distance of their phonetic codes first, by the edit distance of their spelling
second, and by alphabetical order last, so the answer is unique. The code is a coarse sketch of English pronunciation in
which sounds that recognisers confuse share a symbol. Words with other letters are their own code: there the comparison
is one of spelling.
"""

import collections
import functools
import re
import string
import unicodedata
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from modeling_hfr_ame.errors import DataError

# Applied in this order to lower-case letters. Capitals are sounds that no single letter spells: C as in chin, shin and
# gin, T as in thin.
_SOUNDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"^[kgp]n", "n"),  # know, gnome, pneumonia
        (r"^wr", "r"),
        (r"^ps", "s"),
        (r"^x", "z"),
        (r"mb$", "m"),
        (r"(?<=[aeiou])gh(?=t|$)", ""),  # right, though
        (r"gh", "g"),
        (r"t?ch|sh|dg(?=[eiy])|[tcs]i(?=on|an|ous|al)", "C"),
        (r"ph", "f"),
        (r"th", "T"),
        (r"wh", "w"),
        (r"qu?", "k"),
        (r"ck|x(?=s)", "k"),
        (r"x", "ks"),
        (r"c(?=[eiy])", "s"),
        (r"[cg]", "k"),
        (r"j", "C"),
        (r"b", "p"),
        (r"v", "f"),
        (r"z", "s"),
        (r"d", "t"),
        (r"(?<=[aeiou])[wy]+", ""),  # glides at the end of a vowel: low, day
        (r"(?<!^)h", ""),
        (r"(?<=[^aeiouy])e$", ""),  # silent e
        (r"(?<!^)[aeiouy]+|^[aeiou]+|^y(?![aeiou])", "a"),
        (r"(.)\1+", r"\1"),
    )
)

_PUNCTUATION = string.punctuation + "“”‘’…–—。，！？、；："


def compute_phonetic_code(word: str) -> str:
    """Sketches how an English word sounds.

    Args:
        word: One word without surrounding punctuation.

    Returns:
        The code, not empty unless the word is; words with other letters than a to z (after removal of accents, hyphens
        and apostrophes) give themselves in lower case.
    """
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    letters = "".join(character for character in decomposed if not unicodedata.combining(character))
    letters = re.sub(r"['’-]", "", letters)
    if not re.fullmatch(r"[a-z]+", letters):
        return word.casefold()
    code = letters
    for pattern, sound in _SOUNDS:
        code = pattern.sub(sound, code)
    return code or letters


class SoundAlikes:
    """Finds sound-alikes within one vocabulary; answers are remembered.

    Args:
        vocabulary: Words in any order, with or without punctuation around them; case is ignored.

    Raises:
        DataError: The vocabulary holds no word.
    """

    def __init__(self, vocabulary: Iterable[str]) -> None:
        spellings = sorted({_split_punctuation(word)[1].casefold() for word in vocabulary} - {""})
        if not spellings:
            raise DataError(
                "corruption 'asr' needs a vocabulary with at least one word, found none; "
                "pass all words of the training split"
            )
        self._spellings = _WordTable(spellings)
        rows_by_code: dict[str, list[int]] = {}
        for row, spelling in enumerate(spellings):
            rows_by_code.setdefault(compute_phonetic_code(spelling), []).append(row)
        self._codes = _WordTable(list(rows_by_code))
        self._rows = list(rows_by_code.values())
        self._remembered: dict[str, str] = {}

    def replace(self, word: str) -> str:
        """Replaces a word by the one that sounds most like it.

        Args:
            word: Any word, in the vocabulary or not. Punctuation around it stays, and so does its pattern of capitals.

        Returns:
            The sound-alike; the word itself where it is only punctuation or the vocabulary holds no other.
        """
        before, core, after = _split_punctuation(word)
        if not core:
            return word
        spelling = core.casefold()
        if spelling not in self._remembered:
            self._remembered[spelling] = self._find_closest(spelling)
        closest = self._remembered[spelling]
        if closest == spelling:
            return word
        return before + _copy_capitals(core, closest) + after

    def _find_closest(self, spelling: str) -> str:
        for codes in self._codes.group_by_distance(compute_phonetic_code(spelling)):
            rows = sorted(row for code in codes for row in self._rows[code])
            rows = [row for row in rows if self._spellings.words[row] != spelling]
            if rows:
                # rows are in alphabetical order, and argmin takes the first of equals
                return self._spellings.words[rows[int(self._spellings.measure_distances(spelling, rows).argmin())]]
        return spelling


VocabularyLike = Collection[str] | SoundAlikes


@functools.lru_cache(maxsize=4)
def index_vocabulary(vocabulary: frozenset[str]) -> SoundAlikes:
    """Builds the index of a vocabulary once per process.

    Args:
        vocabulary: The words.

    Returns:
        The index, shared by all callers with an equal vocabulary.

    Raises:
        DataError: The vocabulary holds no word.
    """
    return SoundAlikes(vocabulary)


class _WordTable:
    """Words as columns of character codes, so that one query is compared with all of them at once."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self._lengths = np.array([len(word) for word in words], dtype=np.int16)
        # time runs down: the recurrence then works on long contiguous rows, several times faster than on short ones
        self._characters = np.zeros((int(self._lengths.max()), len(words)), dtype=np.uint32)
        for column, word in enumerate(words):
            self._characters[: len(word), column] = [ord(character) for character in word]
        self._alphabet = frozenset("".join(words))
        self._counts: dict[str, npt.NDArray[np.int16]] = {}

    def group_by_distance(self, query: str) -> Iterator[list[int]]:
        """Finds the words at edit distance 0, 1, 2 … of a query, without measuring those that can't be as close.

        Args:
            query: Any word, not empty.

        Yields:
            The columns of the words at the next distance, possibly none.
        """
        # what two words don't share, whatever its place, costs at least one edit per character of the longer
        shared = np.zeros(len(self.words), dtype=np.int16)
        for character, count in collections.Counter(query).items():
            if character in self._alphabet:
                shared += np.minimum(self._count(character), count)
        at_least = np.maximum(self._lengths, len(query)) - shared
        distances = np.full(len(self.words), -1, dtype=np.int16)
        for distance in range(max(int(self._lengths.max()), len(query)) + 1):
            columns = np.flatnonzero(at_least == distance)
            distances[columns] = self.measure_distances(query, columns)
            yield np.flatnonzero(distances == distance).tolist()

    def _count(self, character: str) -> npt.NDArray[np.int16]:
        if character not in self._counts:
            self._counts[character] = (self._characters == ord(character)).sum(axis=0, dtype=np.int16)
        return self._counts[character]

    def measure_distances(self, query: str, columns: npt.ArrayLike) -> npt.NDArray[np.int16]:
        """Measures the edit distance (insert, delete, substitute; Wagner and Fischer) of a query to words.

        Args:
            query: Any word, not empty.
            columns: Which words.

        Returns:
            (number of words,) int16.
        """
        select = np.asarray(columns, dtype=np.int64)
        lengths = self._lengths[select]
        characters = self._characters[: lengths.max(initial=0), select]
        steps = np.arange(len(characters) + 1, dtype=np.int16)[:, None]
        previous = np.broadcast_to(steps, (len(steps), len(lengths)))
        for count, character in enumerate(query, start=1):
            current = np.empty_like(previous)
            current[0] = count
            np.minimum(previous[1:] + 1, previous[:-1] + (characters != ord(character)), out=current[1:])
            # insertions; ufunc.accumulate would do this without a loop, at a fraction of the speed
            for row in range(1, len(current)):
                np.minimum(current[row], current[row - 1] + 1, out=current[row])
            previous = current
        return np.asarray(previous[lengths, np.arange(len(lengths))])


def _split_punctuation(word: str) -> tuple[str, str, str]:
    core = word.strip(_PUNCTUATION)
    start = word.find(core) if core else 0
    return word[:start], core, word[start + len(core) :]


def _copy_capitals(model: str, word: str) -> str:
    if model.isupper() and len(model) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if model[0].isupper() else word
