"""The error that every refused file ends in, and the bounds that a file may not exceed."""

import os
import struct
from dataclasses import dataclass

from modeling_hfr_ame.errors import DataError

DAMAGED = "the file is damaged or isn't a pickle; compare its checksum with the publisher's and download it again"
UNTRUSTED = (
    "don't open it with another pickle loader unless you trust whoever made the file; ask for an export as plain "
    "lists, dicts and numpy arrays"
)


# What operations on malformed bytes raise: an empty stack or the end of the data (IndexError), an unknown memo index
# (KeyError), operands of the wrong type or value. The reader relies on it where a check of its own would cost time.
MALFORMED_RAISES = (
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


class PickleError(DataError):
    """A pickle that the safe reader refuses.

    Attributes:
        reason: The rule and what was found.
        advice: What to do.
        path: The file; None for bytes in memory.
        offset: Position in the file, in bytes, at or near which the rule was broken; None where no place is to blame.
    """

    def __init__(
        self,
        reason: str,
        advice: str = UNTRUSTED,
        *,
        path: str | os.PathLike[str] | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice
        self.path = path
        self.offset = offset

    def __str__(self) -> str:
        place = "" if self.offset is None else f" (at byte {self.offset})"
        return f"{'pickle' if self.path is None else self.path}: {self.reason}{place}; {self.advice}"


def malformed(found: str) -> PickleError:
    """The error for bytes that no pickler writes."""
    return PickleError(f"a pickle has to be well formed, and this one {found}", DAMAGED)


def malformed_by(error: Exception, *, is_at_end: bool = False) -> PickleError:
    """The error for bytes that made an operation of the reader fail with one of `MALFORMED_RAISES`."""
    if is_at_end:
        return malformed("ends before it is complete")
    return malformed(f"can't be followed further ({type(error).__name__}: {ascii(str(error))[:100]})")


@dataclass(frozen=True)
class PickleLimits:
    """Bounds on what one file may ask for.

    What a file spells out is bounded by its size. These bounds are for what it can make grow by repetition.

    Attributes:
        max_depth: Levels of nested containers in the result.
        max_opcodes: Instructions, which bounds the number of small objects.
        max_int_bytes: Size of one integer.
        built_bytes_per_file_byte: Memory, per byte of the file, for what is converted or copied while reading.
        built_bytes_extra: The same, on top for any file.
    """

    max_depth: int = 100
    max_opcodes: int = 100_000_000
    max_int_bytes: int = 1024
    built_bytes_per_file_byte: int = 4
    built_bytes_extra: int = 64 * 2**20


class Budget:
    """Counts the bytes that a file has made the reader convert or copy."""

    def __init__(self, limits: PickleLimits, file_size: int) -> None:
        self.total = limits.built_bytes_per_file_byte * file_size + limits.built_bytes_extra
        self.left = self.total

    def charge(self, num_bytes: int) -> None:
        """Takes `num_bytes` from the budget, before the memory is taken.

        Raises:
            PickleError: Less is left.
        """
        self.left -= num_bytes
        if self.left < 0:
            raise PickleError(
                f"a pickle may not make much more than it holds, and this one asks for over {self.total} bytes",
                "if the file is sound, raise PickleLimits.built_bytes_per_file_byte",
            )
