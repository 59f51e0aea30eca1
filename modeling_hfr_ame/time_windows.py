"""Sliding windows over a recording: where they lie, and which frames fall into one."""

from collections.abc import Sequence
from itertools import pairwise

from .errors import ConfigError
from .feature_scaling import Array

MAX_WINDOWS = 10_000
# Spans are sums of steps in floating point; a window that ends this little after the recording is still whole.
_TOLERANCE_S = 1e-6


def window_spans(duration_s: float, window_s: float, hop_s: float) -> list[tuple[float, float]]:
    """Places windows over a recording so that every instant lies in one.

    Args:
        duration_s: Length of the recording in seconds, > 0.
        window_s: Length of a window in seconds, > 0. A shorter recording has one window, as long as itself.
        hop_s: Distance of two starts in seconds, > 0 and at most `window_s`, so that nothing is skipped.

    Returns:
        Start and end of each window in seconds, ascending. The last one ends with the recording, so its distance to the
        one before may be shorter.

    Raises:
        ConfigError: A length isn't positive, the hop is longer than the window, or there would be more than 10,000
            windows.
    """
    if not (window_s > 0 and 0 < hop_s <= window_s and 0 < duration_s < float("inf")):
        raise ConfigError(
            f"windows need a duration, a length and a hop above 0 and no hop longer than the window, found duration "
            f"{duration_s:g} s, window {window_s:g} s, hop {hop_s:g} s; use for example 8 and 2"
        )
    if (duration_s - window_s) / hop_s > MAX_WINDOWS - 2:
        raise ConfigError(
            f"a recording may have {MAX_WINDOWS} windows, {duration_s:g} s with a hop of {hop_s:g} s have more; "
            "choose a longer hop"
        )
    spans: list[tuple[float, float]] = []
    while (start := len(spans) * hop_s) + window_s <= duration_s + _TOLERANCE_S:
        spans.append((start, min(start + window_s, duration_s)))
    if not spans:
        return [(0.0, duration_s)]
    if spans[-1][1] < duration_s - _TOLERANCE_S:
        spans.append((duration_s - window_s, duration_s))
    return spans


def cut_frames(frames: Array, rate_hz: float, start_s: float, end_s: float) -> Array | None:
    """Gives the frames whose centre lies in a window.

    Args:
        frames: (n, D); frame i covers i / rate … (i + 1) / rate seconds.
        rate_hz: Frames per second.
        start_s: Start of the window in seconds, inclusive.
        end_s: End in seconds, exclusive.

    Returns:
        (m, D), a view; None where no frame lies in the window.
    """
    # Frame i is inside where start ≤ (i + 0.5) / rate < end.
    first, last = (_first_centre_from(time_s, rate_hz) for time_s in (start_s, end_s))
    inside = frames[max(first, 0) : max(last, 0)]
    return inside if len(inside) else None


def mean_over_time(spans: Sequence[tuple[float, float]], values: Sequence[float]) -> float:
    """Averages the values of windows that may overlap.

    Args:
        spans: Start and end of each window in seconds; at least one.
        values: One value per window.

    Returns:
        The mean over all instants that lie in a window, each with the mean of the windows that hold it.
    """
    edges = sorted({edge for span in spans for edge in span})
    total = covered_s = 0.0
    for start_s, end_s in pairwise(edges):
        held = [value for span, value in zip(spans, values, strict=True) if span[0] <= start_s and end_s <= span[1]]
        if held:
            total += (end_s - start_s) * sum(held) / len(held)
            covered_s += end_s - start_s
    return total / covered_s


def _first_centre_from(time_s: float, rate_hz: float) -> int:
    """Index of the first frame whose centre isn't before a time."""
    position = time_s * rate_hz - 0.5
    nearest = round(position)
    return nearest if abs(position - nearest) < 1e-6 else int(-(-position // 1))
