"""Bytes that stay where they are until an array is made of them."""

import codecs
import mmap
from dataclasses import dataclass

import numpy as np

# What is at least this long isn't copied where it will become an array or a tensor.
LARGE = 64 * 1024
_CHUNK = 1 << 20
_END_OF_CONTINUATIONS = -64  # bytes 0x80 to 0xBF, read as signed

Buffer = bytes | bytearray | mmap.mmap


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """The bytes `source[start:stop]`. Never part of a result."""

    source: Buffer
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def copy(self) -> bytes:
        """The bytes as an object of their own."""
        return bytes(self.source[self.start : self.stop])


@dataclass(frozen=True, slots=True, eq=False)
class LatinText:
    """UTF-8 text that spells bytes, each as the character of the same number. Never part of a result.

    Up to protocol 2 a pickle has no bytes, so Python 3 writes the bytes of an array as such text.
    """

    source: Buffer
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def encode(self) -> Span:
        """Gives the bytes that the text spells.

        The text is decoded piece by piece, so that it never exists as a whole beside its bytes.

        Raises:
            UnicodeError: It isn't UTF-8 or has a character above 255.
        """
        # Every character that isn't ASCII has one byte that only continues it.
        num_continuing = 0
        for begin in range(self.start, self.stop, _CHUNK):
            piece = np.frombuffer(self.source[begin : min(begin + _CHUNK, self.stop)], np.int8)
            num_continuing += int(np.count_nonzero(piece < _END_OF_CONTINUATIONS))
        target = bytearray(len(self) - num_continuing)
        position, filled = self.start, 0
        while position < self.stop:
            end = min(position + _CHUNK, self.stop)
            text, num_read = codecs.utf_8_decode(self.source[position:end], "strict", end == self.stop)
            encoded = text.encode("latin-1")
            target[filled : filled + len(encoded)] = encoded
            filled += len(encoded)
            position += num_read
        return Span(target, 0, filled)
