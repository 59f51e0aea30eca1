import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_hfr_ame.corruption.typos import NEIGHBOURING_KEYS, make_typo

SHARES = st.floats(0, 1, exclude_max=True)


def count_equal(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


@settings(deadline=None, max_examples=100)
@given(word=st.text(min_size=1, max_size=12), edit=SHARES, position=SHARES, replacement=SHARES)
def test_make_typo_any_word_changes_by_one_edit(word: str, edit: float, position: float, replacement: float) -> None:
    result = make_typo(word, edit, position, replacement)
    assert result
    assert result != word
    assert abs(len(result) - len(word)) <= 1
    prefix = count_equal(word, result)
    suffix = count_equal(word[prefix:][::-1], result[prefix:][::-1])
    assert prefix + suffix >= len(word) - 2


@pytest.mark.parametrize(
    ("word", "edit", "position", "expected"),
    [
        ("great", 0.0, 0.0, "breat"),
        ("great", 0.3, 0.0, "rgeat"),
        ("great", 0.3, 0.9, "greta"),
        ("great", 0.6, 0.5, "grat"),
        ("great", 0.9, 0.0, "gbreat"),
        ("I", 0.3, 0.0, "I8"),  # no swap and no loss in a one-letter word: the next edit that works
        ("aa", 0.3, 0.0, "a"),  # a swap of equal letters shows nothing
        ("G!", 0.0, 0.9, "B!"),  # punctuation is not hit, capitals stay
        ("...", 0.9, 0.0, "...."),  # nothing else to hit: the key stuck
        ("不", 0.0, 0.0, "不不"),
        ("", 0.0, 0.0, ""),
    ],
)
def test_make_typo_known_numbers_give_the_edit(word: str, edit: float, position: float, expected: str) -> None:
    assert make_typo(word, edit, position, replacement=0.0) == expected


def test_neighbouring_keys_are_mutual_and_close() -> None:
    assert all(one in NEIGHBOURING_KEYS[other] for one, others in NEIGHBOURING_KEYS.items() for other in others)
    assert set(NEIGHBOURING_KEYS["g"]) == set("tyfhvb")
    assert set(NEIGHBOURING_KEYS["q"]) == set("12wa")
    assert all(2 <= len(others) <= 6 for others in NEIGHBOURING_KEYS.values())
