"""Contiguous runs along time, shared by words and frames."""

import math

from modeling_hfr_ame.corruption.keyed_draws import KeyedDraws


def count_share(rate: float, length: int) -> int:
    """Rounds a share of a sequence to whole steps, halves upwards.

    Args:
        rate: Share in [0, 1].
        length: Number of steps.

    Returns:
        A count from 0 to `length`.
    """
    return math.floor(rate * length + 0.5)


def draw_run(rate: float, length: int, draws: KeyedDraws) -> slice:
    """Places one run of `count_share(rate, length)` steps uniformly within a sequence.

    Runs of one sample are nested: the start is the same uniform number times the count of possible starts, so a run
    that is one step longer begins at the same step or one before.

    Args:
        rate: Share in [0, 1].
        length: Number of steps.
        draws: Source of the one random number.

    Returns:
        The run.
    """
    size = count_share(rate, length)
    start = math.floor(float(draws.uniform(1)[0]) * (length - size + 1))
    return slice(start, start + size)
