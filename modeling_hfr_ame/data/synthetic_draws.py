"""Keyed random numbers for the generated datasets.

NumPy promises a stable stream for a bit generator's raw words, not for `Generator.standard_normal`, whose algorithm may
change with a release. So the words come from Philox and everything else is built here: 53-bit uniforms and Box–Muller
normals. What remains platform-dependent is the last bit of `log`, `cos` and `sin`.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


class KeyedDraws:
    """A stream of random numbers that depends on nothing but its key.

    Args:
        *key: Names and numbers that identify the stream; two different keys give independent streams.
    """

    def __init__(self, *key: str | int) -> None:
        digest = hashlib.sha256("\x1f".join(str(part) for part in key).encode()).digest()
        self._words = np.random.Philox(key=int.from_bytes(digest[:16], "little"))

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """Draws from [0, 1) with 53 random bits.

        Args:
            *shape: Shape of the result; empty for a single number.

        Returns:
            Array of the given shape.
        """
        size = int(np.prod(shape, dtype=np.int64))
        words = np.asarray(self._words.random_raw(size), dtype=np.uint64)
        return ((words >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)

    def normal(self, *shape: int) -> NDArray[np.float64]:
        """Draws from the standard normal distribution.

        Args:
            *shape: Shape of the result; empty for a single number.

        Returns:
            Array of the given shape.
        """
        radius_draw, angle_draw = self.uniform(2, *shape)
        # 1 − u lies in (0, 1], so the logarithm is finite.
        return np.sqrt(-2.0 * np.log1p(-radius_draw)) * np.cos(2.0 * np.pi * angle_draw)

    def integer(self, low: int, high: int) -> int:
        """Draws an integer from low to high, both included.

        Args:
            low: Smallest value.
            high: Largest value.

        Returns:
            The integer.
        """
        return low + int(float(self.uniform()) * (high - low + 1))
