"""One typing error per word: a neighbouring key, two letters swapped, a letter lost, a letter too many."""

import math
from collections.abc import Callable

# the letters and digits of a US keyboard with each row's offset in key widths
_ROWS = (("1234567890", 0.0), ("qwertyuiop", 0.5), ("asdfghjkl", 0.75), ("zxcvbnm", 1.25))
# reaches the keys left and right and the closest two in the rows above and below
_REACH = 1.3


def _find_neighbours() -> dict[str, str]:
    places = {
        character: (column + offset, float(row))
        for row, (characters, offset) in enumerate(_ROWS)
        for column, character in enumerate(characters)
    }
    neighbours = {}
    for one, place in places.items():
        close = (other for other in sorted(places) if math.dist(place, places[other]) < _REACH)
        neighbours[one] = "".join(other for other in close if other != one)
    return neighbours


NEIGHBOURING_KEYS: dict[str, str] = _find_neighbours()


def make_typo(word: str, edit: float, position: float, replacement: float) -> str:
    """Makes one typing error, the same for the same numbers.

    Args:
        word: Any word. Letters and digits are hit; only a word that has none is hit anywhere.
        edit: In [0, 1); picks the edit. Where it can't change the word (a letter lost from a one-letter word, two equal
            letters swapped, no neighbouring key known), the next one is tried.
        position: In [0, 1); picks the character.
        replacement: In [0, 1); picks the neighbouring key.

    Returns:
        A word that differs from `word` and is not empty; an empty word is returned as it is.
    """
    if not word:
        return word
    candidates = [index for index, character in enumerate(word) if character.isalnum()] or list(range(len(word)))
    index = candidates[int(position * len(candidates))]
    key = _pick_neighbour(word[index], replacement)
    first = int(edit * len(_EDITS))
    edited = (_EDITS[(first + step) % len(_EDITS)](word, index, key) for step in range(len(_EDITS)))
    return next(result for result in edited if result not in (word, ""))


def _pick_neighbour(character: str, replacement: float) -> str:
    neighbours = NEIGHBOURING_KEYS.get(character.lower())
    if neighbours is None:
        return character
    key = neighbours[int(replacement * len(neighbours))]
    return key.upper() if character.isupper() else key


def _substitute(word: str, index: int, key: str) -> str:
    return word[:index] + key + word[index + 1 :]


def _swap(word: str, index: int, key: str) -> str:
    start = min(index, len(word) - 2)
    if start < 0:
        return word
    return word[:start] + word[start + 1] + word[start] + word[start + 2 :]


def _delete(word: str, index: int, key: str) -> str:
    return word[:index] + word[index + 1 :]


def _insert(word: str, index: int, key: str) -> str:
    # without a known neighbour the key is the character itself, a key that stuck; so this edit always works
    return word[: index + 1] + key + word[index + 1 :]


_EDITS: tuple[Callable[[str, int, str], str], ...] = (_substitute, _swap, _delete, _insert)
