"""Random draws that depend on what is corrupted, and on nothing else.

Design choices:

- A draw is addressed, not consumed: the address (protocol version, dataset, split, sample id, seed, epoch, modality,
  purpose) is hashed into the key of a counter-based generator. Batch order, worker, rank and resume have no say.
- The level is not part of the address, so the set of words or frames hit at a low rate is contained in the set hit at
  a high one.
- The modality is part of the address. One seed shared by equal-shaped modalities would drop the same steps in both.
- Numbers are made from the raw bits here. numpy promises that a bit generator's stream never changes, but not that the
  distributions of `numpy.random.Generator` never do.
"""

import hashlib
import json
import operator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from modeling_hfr_ame.errors import ConfigError

PROTOCOL_VERSION = "1"


@dataclass(frozen=True)
class SampleKey:
    """Names one sample for the purpose of random draws.

    Args:
        dataset: Name of the dataset, for example "cmu-mosi".
        split: Name of the split, for example "test".
        sample_id: The sample's id, unique within the dataset.
        seed: Any integer; different seeds give independent draws.
        epoch: Epoch from 0, which gives fresh draws in each epoch; None for draws that never change.

    Raises:
        ConfigError: A name is not a string, the seed is not an integer, or the epoch is neither None nor an integer
            from 0.
    """

    dataset: str
    split: str
    sample_id: str
    seed: int
    epoch: int | None = None

    def __post_init__(self) -> None:
        for name in ("dataset", "split", "sample_id"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise ConfigError(
                    f"SampleKey.{name} must be a string, found {type(value).__name__} {value!r}; pass str(...) of it"
                )
        # numpy integers print differently from Python's, which would change the hash of the same number
        object.__setattr__(self, "seed", self._as_integer("seed", self.seed))
        if self.epoch is not None:
            epoch = self._as_integer("epoch", self.epoch)
            if epoch < 0:
                raise ConfigError(f"SampleKey.epoch must be None or at least 0, found {epoch}; count epochs from 0")
            object.__setattr__(self, "epoch", epoch)

    @staticmethod
    def _as_integer(name: str, value: object) -> int:
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            raise ConfigError(
                f"SampleKey.{name} must be an integer, found {type(value).__name__} {value!r}; pass a whole number"
            ) from None


class KeyedDraws:
    """Hands out the random numbers that belong to one (sample, modality, purpose).

    Two instances with equal arguments give equal numbers, in any process. Successive calls on one instance go on in
    the stream, so a function that needs several kinds of numbers asks for them in a fixed order.

    Args:
        key: The sample.
        modality: "text", "audio", "vision", or another word for draws that concern the whole sample.
        purpose: What the numbers are for; for a corruption its kind.
    """

    def __init__(self, key: SampleKey, modality: str, purpose: str) -> None:
        # JSON keeps the fields apart: ("a", "bc") and ("ab", "c") must not meet
        fields = [PROTOCOL_VERSION, key.dataset, key.split, key.sample_id, key.seed, key.epoch, modality, purpose]
        digest = hashlib.blake2b(json.dumps(fields).encode("ascii"), digest_size=16).digest()
        self._bits = np.random.Philox(key=int.from_bytes(digest, "little"))

    def uniform(self, *shape: int) -> npt.NDArray[np.float64]:
        """Draws numbers in [0, 1) with 53 random bits each.

        Args:
            shape: Shape of the result; zero-sized shapes are fine.

        Returns:
            float64 array of that shape.
        """
        return self._integers(shape).astype(np.float64) * 2.0**-53

    def normal(self, *shape: int) -> npt.NDArray[np.float64]:
        """Draws standard normal numbers by inverting the distribution function.

        Args:
            shape: Shape of the result; zero-sized shapes are fine.

        Returns:
            float64 array of that shape, every value finite (|x| < 8.5).
        """
        # the half step keeps 0 out of the argument; the largest integer rounds up to 1, where the result is infinite
        probability = (self._integers(shape).astype(np.float64) + 0.5) * 2.0**-53
        return np.asarray(ndtri(np.minimum(probability, 1.0 - 2.0**-53)), dtype=np.float64)

    def _integers(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint64]:
        raw = self._bits.random_raw(int(np.prod(shape, dtype=np.int64)))
        return np.asarray(raw, dtype=np.uint64).reshape(shape) >> np.uint64(11)
