"""How many tokens a run would read and write, and what they would cost, before anything is asked.

Counting exactly needs the model's own tokenizer, which an endpoint doesn't hand out, so this is an estimate: four
characters per token (one per Chinese character), a fixed number per picture, and the longest answer each time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from modeling_hfr_ame.prompts.generator import PromptRequest

TOKENS_PER_PICTURE: Final = 255
"""OpenAI's published count for one 512-pixel tile: 85 + 170. Models count differently; see your provider's page."""
_CHARACTERS_PER_TOKEN: Final = 4
_TOKENS_PER_MESSAGE: Final = 8


@dataclass(frozen=True)
class CostEstimate:
    """What a run would take.

    Attributes:
        samples: Samples to ask about.
        kept: Samples that have an answer already.
        pictures: Pictures to show.
        n_in: Tokens to read.
        n_out: Tokens to write at most.
        cost: In the currency of the prices; None without prices.
    """

    samples: int
    kept: int
    pictures: int
    n_in: int
    n_out: int
    cost: float | None


def estimate_tokens(text: str) -> int:
    """Estimates the number of tokens of a text."""
    wide = sum(ord(character) > 0x2E7F for character in text)
    return wide + -(-(len(text) - wide) // _CHARACTERS_PER_TOKEN)


def estimate_cost(
    requests: Iterable[PromptRequest],
    answered_keys: Collection[str],
    *,
    max_tokens: int,
    tokens_per_picture: int = TOKENS_PER_PICTURE,
    prices: tuple[float, float] | None = None,
    limit: int | None = None,
) -> CostEstimate:
    """Adds up what a run would take. No clip is decoded and nothing is sent.

    Args:
        requests: Of a plan.
        answered_keys: Keys that have an answer.
        max_tokens: Longest answer.
        tokens_per_picture: Tokens that a picture counts for.
        prices: Per million tokens read and written; None = no cost.
        limit: Largest number of samples to ask about; None = all.

    Returns:
        The sums.
    """
    samples = kept = pictures = n_in = 0
    for request in requests:
        if request.key in answered_keys:
            kept += 1
        elif limit is None or samples < limit:
            samples += 1
            pictures += request.num_pictures
            n_in += estimate_tokens(request.instruction) + _TOKENS_PER_MESSAGE
    n_in += pictures * tokens_per_picture
    n_out = samples * max_tokens
    cost = None if prices is None else (n_in * prices[0] + n_out * prices[1]) / 1e6
    return CostEstimate(samples, kept, pictures, n_in, n_out, cost)
