import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modeling_hfr_ame.corruption import (
    KINDS,
    MASK_WORD,
    UNKNOWN_WORD,
    Corruption,
    SampleKey,
    SoundAlikes,
    corrupt_words,
)
from modeling_hfr_ame.errors import ConfigError, DataError, InputError

KEY = SampleKey("generated", "test", "video$_$7", seed=5)
TEXT_KINDS = [kind for kind, rule in KINDS.items() if "text" in rule.modalities and rule.scale == "rate"]
SAME_LENGTH_KINDS = [kind for kind in TEXT_KINDS if kind != "delete"]
VOCABULARY = frozenset({"alpha", "bravo", "charlie", "delta"})


def number_words(length: int) -> list[str]:
    return [f"word{index}x" for index in range(length)]


def corrupt(kind: str, rate: float, words: list[str], key: SampleKey = KEY) -> tuple[list[str], np.ndarray]:
    return corrupt_words(words, Corruption(kind, rate), key, VOCABULARY)


def find_survivors(kind: str, rate: float, length: int, key: SampleKey = KEY) -> set[int]:
    words = number_words(length)
    output, source_index = corrupt(kind, rate, words, key)
    return {source for word, source in zip(output, source_index.tolist(), strict=True) if word == words[source]}


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_corrupt_words_rate_zero_returns_same_words(kind: str) -> None:
    words = number_words(9)
    output, source_index = corrupt(kind, 0.0, words)
    assert output == words
    assert output is not words
    assert source_index.tolist() == list(range(9))
    assert corrupt_words(words, None, KEY)[0] == words


@pytest.mark.parametrize("kind", TEXT_KINDS)
@pytest.mark.parametrize("length", [0, 1, 2, 3, 30])
@pytest.mark.parametrize("rate", [0.01, 0.5, 1.0])
def test_corrupt_words_any_length_leaves_input_and_indexes_it(kind: str, length: int, rate: float) -> None:
    words = number_words(length)
    output, source_index = corrupt(kind, rate, words)
    assert words == number_words(length)
    assert source_index.dtype == np.int64
    assert source_index.shape == (len(output),)
    assert all(isinstance(word, str) and word for word in output)
    assert (np.diff(source_index) > 0).all()
    assert set(source_index.tolist()) <= set(range(length))
    assert bool(output) == bool(words)


@pytest.mark.parametrize("kind", SAME_LENGTH_KINDS)
def test_corrupt_words_full_rate_hits_every_word(kind: str) -> None:
    output, source_index = corrupt(kind, 1.0, number_words(30))
    assert source_index.tolist() == list(range(30))
    assert find_survivors(kind, 1.0, 30) == set()
    if kind in ("drop", "block"):
        assert set(output) == {UNKNOWN_WORD}
    if kind == "mask":
        assert set(output) == {MASK_WORD}


@settings(deadline=None, max_examples=80)
@given(
    kind=st.sampled_from(TEXT_KINDS),
    rates=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
    length=st.integers(0, 30),
    sample_id=st.text(max_size=5),
)
def test_rate_kinds_higher_rate_contains_lower(kind: str, rates: list[float], length: int, sample_id: str) -> None:
    key = dataclasses.replace(KEY, sample_id=sample_id)
    low, high = (find_survivors(kind, rate, length, key) for rate in rates)
    assert high <= low


@pytest.mark.parametrize("kind", ["typo", "asr"])
def test_edits_word_hit_at_two_rates_is_edited_alike(kind: str) -> None:
    words = number_words(40)
    low, high = (corrupt(kind, rate, words)[0] for rate in (0.3, 0.8))
    hit = [index for index in range(40) if low[index] != words[index]]
    assert hit
    assert [low[index] for index in hit] == [high[index] for index in hit]


@pytest.mark.parametrize("kind", [kind for kind in TEXT_KINDS if kind != "block"])
def test_independent_kinds_many_words_match_the_rate(kind: str) -> None:
    num_survivors = len(find_survivors(kind, 0.3, 1500))
    assert stats.binomtest(num_survivors, 1500, 0.7).pvalue > 1e-4


@settings(deadline=None, max_examples=40)
@given(rate=st.floats(0, 1), length=st.integers(1, 40), seed=st.integers(0, 1000))
def test_block_any_rate_is_one_run_of_rounded_length(rate: float, length: int, seed: int) -> None:
    output, _ = corrupt("block", rate, number_words(length), dataclasses.replace(KEY, seed=seed))
    hit = np.flatnonzero([word == UNKNOWN_WORD for word in output])
    assert abs(len(hit) - rate * length) <= 0.5 + 1e-9
    assert (np.diff(hit) == 1).all()


def test_delete_keeps_order_and_the_rest() -> None:
    words = number_words(20)
    output, source_index = corrupt("delete", 0.5, words)
    assert output == [words[index] for index in source_index]
    assert 0 < len(output) < 20


def test_delete_full_rate_keeps_one_word_any_position() -> None:
    kept = [corrupt("delete", 1.0, number_words(4), dataclasses.replace(KEY, seed=seed)) for seed in range(60)]
    assert {len(output) for output, _ in kept} == {1}
    assert {int(source_index[0]) for _, source_index in kept} == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", [kind for kind in TEXT_KINDS if kind != "asr"])
def test_corrupt_words_next_epoch_draws_afresh(kind: str) -> None:
    keys = [dataclasses.replace(KEY, epoch=epoch) for epoch in (None, *range(11))]
    # two blocks may begin at the same word by chance
    assert len({tuple(corrupt(kind, 0.5, number_words(40), key)[0]) for key in keys}) > (6 if kind == "block" else 11)


@pytest.mark.parametrize("kind", ["typo", "asr"])
def test_edits_placeholder_words_stay(kind: str) -> None:
    words = [UNKNOWN_WORD, MASK_WORD]
    assert corrupt(kind, 1.0, words)[0] == words


def test_asr_words_come_from_the_vocabulary_in_any_form() -> None:
    words = ["Alfa", "BRAVE", "charley,", "..."]
    for vocabulary in (VOCABULARY, sorted(VOCABULARY), list(VOCABULARY) * 2, SoundAlikes(VOCABULARY)):
        output, _ = corrupt_words(words, Corruption("asr", 1.0), KEY, vocabulary)
        assert output == ["Alpha", "BRAVO", "charlie,", "..."]


def test_asr_without_vocabulary_raises() -> None:
    with pytest.raises(DataError, match=r"words of the training vocabulary, found vocabulary None; pass vocabulary="):
        corrupt_words(["hello"], Corruption("asr", 0.5), KEY)
    with pytest.raises(DataError, match=r"at least one word, found none; pass all words of the training split"):
        corrupt_words(["hello"], Corruption("asr", 0.5), KEY, ["", "..."])


def test_corrupt_words_wrong_argument_raises() -> None:
    with pytest.raises(InputError, match=r"text must be a list of words, found a string; pass text.split\(\)"):
        corrupt_words("hello there", Corruption("drop", 0.5), KEY)
    with pytest.raises(InputError, match="must be a list of words, found an item that is not a string"):
        corrupt_words(["hello", 3], Corruption("drop", 0.5), KEY)  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="'noise' is defined for audio, vision, not for text"):
        corrupt_words(["hello"], Corruption("noise", 3), KEY)
    with pytest.raises(InputError, match=r"'missing' makes text absent, so there are no words.*use corrupt_sample"):
        corrupt_words(["hello"], Corruption("missing", 1), KEY)
