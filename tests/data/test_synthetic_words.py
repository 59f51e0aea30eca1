import numpy as np
import pytest

from modeling_hfr_ame.data.synthetic_draws import KeyedDraws
from modeling_hfr_ame.data.synthetic_words import (
    build_lexicon,
    draw_words,
    effective_polarities,
    polarity_scale,
)

LEXICON = build_lexicon()
GOOD = next(word for word, value in LEXICON.polarity.items() if value == 2.0)
BAD = next(word for word, value in LEXICON.polarity.items() if value == -3.0)
NOT, VERY, PLAIN = LEXICON.negators[0], LEXICON.intensifiers[0], LEXICON.neutral[0]


def test_lexicon_has_three_hundred_distinct_lowercase_words() -> None:
    words = [*LEXICON.polarity, *LEXICON.neutral, *LEXICON.negators, *LEXICON.intensifiers]
    assert len(set(words)) == len(words) == 300
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)


def test_lexicon_has_as_many_words_of_each_sign_and_strength() -> None:
    values, counts = np.unique(list(LEXICON.polarity.values()), return_counts=True)
    np.testing.assert_array_equal(values, [-3, -2, -1, 1, 2, 3])
    assert len(set(counts)) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([GOOD], [2.0]),
        ([PLAIN, BAD], [0.0, -3.0]),
        ([NOT, GOOD, GOOD], [0.0, -2.0, 2.0]),
        ([NOT, PLAIN, BAD], [0.0, 0.0, 3.0]),
        ([NOT, NOT, GOOD], [0.0, 0.0, 2.0]),
        ([VERY, GOOD, GOOD], [0.0, 3.0, 2.0]),
        ([VERY, VERY, BAD], [0.0, 0.0, -4.5]),
        ([NOT, VERY, GOOD], [0.0, 0.0, -3.0]),
        (["[UNK]", GOOD], [0.0, 2.0]),
        ([], []),
    ],
)
def test_effective_polarities_in_context_follow_the_rules(words: list[str], expected: list[float]) -> None:
    np.testing.assert_array_equal(effective_polarities(words), expected)


def test_polarity_scale_is_the_standard_deviation_over_many_words() -> None:
    values = effective_polarities(draw_words(KeyedDraws("scale"), 60_000))
    assert np.sqrt(np.mean(values**2)) == pytest.approx(polarity_scale(), rel=0.02)


def test_neutral_words_follow_a_zipf_like_law() -> None:
    words = draw_words(KeyedDraws("zipf"), 40_000)
    counts = np.array([words.count(LEXICON.neutral[rank]) for rank in (0, 3, 15)])
    # Under the log-uniform rank the rank r has the share log((r + 2) / (r + 1)) / log(N + 1) of the neutral words.
    shares = np.log([2 / 1, 5 / 4, 17 / 16]) / np.log(len(LEXICON.neutral) + 1)
    np.testing.assert_allclose(counts / 40_000, 0.5 * shares, rtol=0.15)
