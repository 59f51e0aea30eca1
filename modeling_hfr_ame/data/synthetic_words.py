"""The language of the synthetic talkers: 300 pronounceable pseudo-words and what each does to the sentiment.

Design choices: the vocabulary is the same for every dataset seed, so a second seed is more data of the same world;
every word is new (no English), so a pretrained text encoder has no advantage that the other modalities lack; polarity
is not readable from a word's letters.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeling_hfr_ame.data.synthetic_draws import KeyedDraws

WORLD = "synthetic_talkers-1"
"""Key of everything that all seeds share: words, mixing matrices, sensor gains. A change of design changes it."""

STRENGTHS = (1.0, 2.0, 3.0)
INTENSIFIER_GAIN = 1.5
_NUM_PER_POLARITY = 8  # per sign and strength; 2400 utterances show each of these 48 words some 250 times
_NUM_NEGATORS = 4
_NUM_INTENSIFIERS = 6
_NUM_WORDS = 300
_POLAR_PROB, _NEGATOR_PROB, _INTENSIFIER_PROB = 0.36, 0.06, 0.08
_ONSETS = (
    "b",
    "d",
    "f",
    "g",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "z",
    "br",
    "dr",
    "fl",
    "gr",
    "kl",
    "st",
    "tr",
)
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ou")
_CODAS = ("", "", "l", "m", "n", "r", "s")


@dataclass(frozen=True)
class Lexicon:
    """The vocabulary by function.

    Attributes:
        polarity: Signed strength in {±1, ±2, ±3} of each polar word.
        neutral: Words without effect, most frequent first.
        negators: Words that flip the sign of the next polar word.
        intensifiers: Words that multiply the next polar word by `INTENSIFIER_GAIN`.
    """

    polarity: dict[str, float]
    neutral: tuple[str, ...]
    negators: tuple[str, ...]
    intensifiers: tuple[str, ...]


@functools.cache
def build_lexicon() -> Lexicon:
    """Builds the vocabulary; always the same one.

    Returns:
        The lexicon of 300 distinct words.
    """
    draws = KeyedDraws(WORLD, "lexicon")
    words: dict[str, None] = {}
    while len(words) < _NUM_WORDS:
        syllables = [_syllable(draws, last=False), _syllable(draws, last=True)]
        if draws.uniform() < 0.3:
            syllables.insert(0, _syllable(draws, last=False))
        words["".join(syllables)] = None
    ordered = list(words)
    values = [sign * strength for strength in STRENGTHS for sign in (1.0, -1.0) for _ in range(_NUM_PER_POLARITY)]
    polarity = dict(zip(ordered, values, strict=False))
    rest = ordered[len(values) :]
    negators, rest = rest[:_NUM_NEGATORS], rest[_NUM_NEGATORS:]
    return Lexicon(polarity, tuple(rest[_NUM_INTENSIFIERS:]), tuple(negators), tuple(rest[:_NUM_INTENSIFIERS]))


def draw_words(draws: KeyedDraws, num_words: int) -> list[str]:
    """Draws one utterance.

    Args:
        draws: Random stream.
        num_words: Length of the utterance.

    Returns:
        The words. Neutral words follow a Zipf-like law; words of one other class are equally frequent.
    """
    lexicon = build_lexicon()
    polar = tuple(lexicon.polarity)
    words = []
    for kind, position in zip(draws.uniform(num_words), draws.uniform(num_words), strict=True):
        if kind < _POLAR_PROB:
            words.append(_pick(polar, position))
        elif kind < _POLAR_PROB + _NEGATOR_PROB:
            words.append(_pick(lexicon.negators, position))
        elif kind < _POLAR_PROB + _NEGATOR_PROB + _INTENSIFIER_PROB:
            words.append(_pick(lexicon.intensifiers, position))
        else:
            # A uniform position on the logarithm of the rank gives frequencies ∝ 1 / rank.
            words.append(lexicon.neutral[int((len(lexicon.neutral) + 1) ** position) - 1])
    return words


def effective_polarities(words: list[str]) -> NDArray[np.float64]:
    """Reads the polarity of each word in its context.

    Args:
        words: Words of one utterance. Unknown words count as neutral.

    Returns:
        (number of words,) array: zero for a word that isn't polar, else its strength after the negators (each one
        flips the sign) and intensifiers (at most one counts) since the last polar word.
    """
    lexicon = build_lexicon()
    values = np.zeros(len(words))
    sign, gain = 1.0, 1.0
    for index, word in enumerate(words):
        if word in lexicon.negators:
            sign = -sign
        elif word in lexicon.intensifiers:
            gain = INTENSIFIER_GAIN
        elif word in lexicon.polarity:
            values[index] = sign * gain * lexicon.polarity[word]
            sign, gain = 1.0, 1.0
    return values


def polarity_scale() -> float:
    """Gives the standard deviation of one word's effective polarity, zeros of other words included.

    Returns:
        √(P(polar) · E[strength²] · E[gain²]). The chance that an intensifier precedes a polar word is taken from an
        endless text; the few words before an utterance's first polar word make it slightly smaller.
    """
    intensified = _INTENSIFIER_PROB / (_INTENSIFIER_PROB + _POLAR_PROB)
    mean_square_gain = 1.0 + intensified * (INTENSIFIER_GAIN**2 - 1.0)
    mean_square_strength = sum(strength**2 for strength in STRENGTHS) / len(STRENGTHS)
    return math.sqrt(_POLAR_PROB * mean_square_strength * mean_square_gain)


def _pick(options: tuple[str, ...], position: float) -> str:
    return options[int(position * len(options))]


def _syllable(draws: KeyedDraws, *, last: bool) -> str:
    onset, vowel, coda = draws.uniform(3)
    return _pick(_ONSETS, onset) + _pick(_VOWELS, vowel) + (_pick(_CODAS, coda) if last else "")
