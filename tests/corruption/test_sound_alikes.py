import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_hfr_ame.corruption import SoundAlikes
from modeling_hfr_ame.corruption.sound_alikes import _WordTable, compute_phonetic_code, index_vocabulary


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("their", "there"),
        ("know", "no"),
        ("write", "right"),
        ("night", "knight"),
        ("week", "weak"),
        ("eight", "ate"),
        ("great", "grate"),
        ("weather", "whether"),
        ("phase", "faze"),
        ("cell", "sell"),
        ("plane", "plain"),
        ("Café", "cafe"),
        ("don't", "dont"),
        ("bet", "pet"),
    ],
)
def test_phonetic_code_sound_alikes_are_equal(one: str, other: str) -> None:
    assert compute_phonetic_code(one) == compute_phonetic_code(other)


@pytest.mark.parametrize(("one", "other"), [("bad", "sad"), ("thin", "tin"), ("ship", "sip"), ("on", "no")])
def test_phonetic_code_different_sounds_differ(one: str, other: str) -> None:
    assert compute_phonetic_code(one) != compute_phonetic_code(other)


@given(st.text(min_size=1, max_size=12))
def test_phonetic_code_any_word_is_not_empty(word: str) -> None:
    assert compute_phonetic_code(word)


def test_phonetic_code_other_script_is_the_word() -> None:
    assert compute_phonetic_code("电影") == "电影"
    assert compute_phonetic_code("1960S") == "1960s"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("their", "there"),  # same sound
        ("there", "their"),  # never itself
        ("There,", "Their,"),  # capital and punctuation stay
        ("“WRITE!”", "“RIGHT!”"),
        ("I", "Eye"),
        ("moovy", "movie"),  # not in the vocabulary
        ("--", "--"),
        ("电视", "电影"),
    ],
)
def test_replace_word_gives_the_closest(word: str, expected: str) -> None:
    assert SoundAlikes(["their", "there", "Right", "movie", "eye", "电影"]).replace(word) == expected


def test_replace_equal_sounds_prefers_the_closer_spelling_then_the_alphabet() -> None:
    assert SoundAlikes(["rite", "wright"]).replace("right") == "wright"
    assert SoundAlikes(["bit", "bat", "but"]).replace("bet") == "bat"


def test_replace_only_itself_in_vocabulary_stays() -> None:
    assert SoundAlikes(["Hello"]).replace("hello") == "hello"


def test_replace_any_order_of_vocabulary_gives_one_answer() -> None:
    words = ["their", "there", "they're", "three"]
    answers = {SoundAlikes(order).replace("the") for order in itertools.permutations(words)}
    assert len(answers) == 1


def test_index_vocabulary_equal_sets_share_one_index() -> None:
    assert index_vocabulary(frozenset(["one", "two"])) is index_vocabulary(frozenset(["two", "one"]))


def measure_by_recursion(one: str, other: str) -> int:
    if not one or not other:
        return len(one) + len(other)
    return min(
        measure_by_recursion(one[1:], other) + 1,
        measure_by_recursion(one, other[1:]) + 1,
        measure_by_recursion(one[1:], other[1:]) + (one[0] != other[0]),
    )


@settings(deadline=None, max_examples=60)
@given(query=st.text("abc", min_size=1, max_size=4), words=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1))
def test_measure_distances_short_words_match_the_definition(query: str, words: list[str]) -> None:
    expected = [measure_by_recursion(query, word) for word in words]
    table = _WordTable(words)
    assert table.measure_distances(query, range(len(words))).tolist() == expected
    groups = list(table.group_by_distance(query))
    assert groups == [[column for column, value in enumerate(expected) if value == d] for d in range(len(groups))]
    assert sum(map(len, groups)) == len(words)
