"""Reads the arguments that stand in the pickle itself: numbers, text and bytes.

Every length is compared with the bytes that remain before anything is taken.
"""

import re
from collections.abc import Callable
from struct import Struct
from typing import Any

from modeling_hfr_ame.data.safe_pickle.arrays import DtypeSpec
from modeling_hfr_ame.data.safe_pickle.names import Name
from modeling_hfr_ame.data.safe_pickle.refusal import PickleError, PickleLimits, malformed
from modeling_hfr_ame.data.safe_pickle.spans import LARGE, Buffer, LatinText, Span

_INT4 = Struct("<i").unpack_from
_UINT4 = Struct("<I").unpack_from
_UINT8 = Struct("<Q").unpack_from
_FLOAT8 = Struct(">d").unpack_from
_DECIMAL = re.compile(rb"[+-]?[0-9]+")
_FLOAT = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:inf|nan|infinity)", re.IGNORECASE)
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_SIMPLE_ESCAPES = {
    b"\\": b"\\",
    b"'": b"'",
    b'"': b'"',
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
}
_MAX_FLOAT_TEXT = 400  # repr() of a double has 25 characters, but "%f" writes up to 317


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    if escape in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[escape]
    if escape[:1] == b"x" and len(escape) == 3:
        return bytes([int(escape[1:], 16)])
    if escape.isdigit():
        return bytes([int(escape, 8)])
    raise malformed(f"has an unknown escape {escape!r} in a string")


class LiteralReader:
    """The part of the machine that pushes literals. Handlers take the position after the opcode and return the next."""

    data: Buffer
    stop: int
    stack: list[Any]
    push: Callable[[Any], None]
    limits: PickleLimits

    def end_of(self, pos: int, length: int) -> int:
        """Position after `length` bytes, all of which are there."""
        end = pos + length
        if length < 0 or end > self.stop:
            raise malformed(f"announces {length} bytes where {self.stop - pos} are left")
        return end

    def line(self, pos: int) -> tuple[bytes, int]:
        """The bytes up to the next line feed, and the position after it."""
        end = self.data.find(b"\n", pos, self.stop)
        if end < 0:
            raise malformed("ends within a line")
        return bytes(self.data[pos:end]), end + 1

    def decimal(self, digits: bytes) -> int:
        """An integer in decimal text."""
        # 2.41 digits per byte; the conversion takes quadratic time.
        if len(digits) > 2.41 * self.limits.max_int_bytes:
            raise self._long_integer(f"{len(digits)} digits")
        if not _DECIMAL.fullmatch(digits):
            raise malformed(f"has an integer {digits[:40]!r}")
        return int(digits)

    def _long_integer(self, found: str) -> PickleError:
        return PickleError(
            f"an integer has at most {self.limits.max_int_bytes} bytes, and this one has {found}",
            "if the file is sound, raise PickleLimits.max_int_bytes",
        )

    def _op_none(self, pos: int) -> int:
        self.push(None)
        return pos

    def _op_true(self, pos: int) -> int:
        self.push(True)
        return pos

    def _op_false(self, pos: int) -> int:
        self.push(False)
        return pos

    def _op_int_text(self, pos: int) -> int:
        digits, pos = self.line(pos)
        # Protocols 0 and 1 have no opcode for booleans; the leading zero tells them from 0 and 1.
        self.push(digits == b"01" if digits in (b"00", b"01") else self.decimal(digits))
        return pos

    def _op_long_text(self, pos: int) -> int:
        digits, pos = self.line(pos)
        self.push(self.decimal(digits.removesuffix(b"L")))
        return pos

    def _op_int4(self, pos: int) -> int:
        self.push(_INT4(self.data, pos)[0])
        return pos + 4

    def _op_int2(self, pos: int) -> int:
        self.push(self.data[pos] + 256 * self.data[pos + 1])
        return pos + 2

    def _long(self, pos: int, length: int) -> int:
        end = self.end_of(pos, length)
        if length > self.limits.max_int_bytes:
            raise self._long_integer(f"{length}")
        self.push(int.from_bytes(self.data[pos:end], "little", signed=True))
        return end

    def _op_long1(self, pos: int) -> int:
        return self._long(pos + 1, self.data[pos])

    def _op_long4(self, pos: int) -> int:
        return self._long(pos + 4, _INT4(self.data, pos)[0])

    def _op_float_text(self, pos: int) -> int:
        digits, pos = self.line(pos)
        if len(digits) > _MAX_FLOAT_TEXT or not _FLOAT.fullmatch(digits):
            raise malformed(f"has a float {digits[:40]!r}")
        self.push(float(digits))
        return pos

    def _op_float8(self, pos: int) -> int:
        self.push(_FLOAT8(self.data, pos)[0])
        return pos + 8

    def _python2_string(self, content: bytes) -> None:
        """Pushes a `str` of Python 2: bytes where it is the content of an array or a scalar, else text."""
        stack = self.stack
        if self._feeds_array() or (stack and type(stack[-1]) is DtypeSpec):
            self.push(content)
            return
        try:
            self.push(content.decode("utf-8"))
        except UnicodeDecodeError:
            self.push(content.decode("latin-1"))

    def _op_string_text(self, pos: int) -> int:
        text, pos = self.line(pos)
        text = text.strip()
        if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
            raise malformed("has a string without quotes")
        content = text[1:-1]
        self._python2_string(_ESCAPE.sub(_unescape, content) if b"\\" in content else content)
        return pos

    def _op_string4(self, pos: int) -> int:
        end = self.end_of(pos + 4, _INT4(self.data, pos)[0])
        self._python2_string(bytes(self.data[pos + 4 : end]))
        return end

    def _op_string1(self, pos: int) -> int:
        end = self.end_of(pos + 1, self.data[pos])
        self._python2_string(bytes(self.data[pos + 1 : end]))
        return end

    def _op_unicode_text(self, pos: int) -> int:
        text, pos = self.line(pos)
        self.push(text.decode("raw-unicode-escape"))
        return pos

    def _unicode(self, pos: int, length: int) -> int:
        end = self.end_of(pos, length)
        if length >= LARGE and self._encodes_for_array():
            self.push(LatinText(self.data, pos, end))
        else:
            # Like the standard pickler, which writes lone surrogates.
            self.push(str(self.data[pos:end], "utf-8", "surrogatepass"))
        return end

    def _op_unicode1(self, pos: int) -> int:
        length = self.data[pos]
        pos += 1
        end = pos + length
        if end > self.stop:
            raise malformed(f"announces {length} bytes where {self.stop - pos} are left")
        self.push(str(self.data[pos:end], "utf-8", "surrogatepass"))
        return end

    def _op_unicode4(self, pos: int) -> int:
        return self._unicode(pos + 4, _UINT4(self.data, pos)[0])

    def _op_unicode8(self, pos: int) -> int:
        return self._unicode(pos + 8, _UINT8(self.data, pos)[0])

    def _op_bytes1(self, pos: int) -> int:
        length = self.data[pos]
        pos += 1
        end = pos + length
        if end > self.stop:
            raise malformed(f"announces {length} bytes where {self.stop - pos} are left")
        self.push(self.data[pos:end])
        return end

    def _bytes(self, pos: int, length: int) -> int:
        end = self.end_of(pos, length)
        if length >= LARGE and self._feeds_array():
            self.push(Span(self.data, pos, end))
        else:
            self.push(self.data[pos:end])
        return end

    def _op_bytes4(self, pos: int) -> int:
        return self._bytes(pos + 4, _UINT4(self.data, pos)[0])

    def _op_bytes8(self, pos: int) -> int:
        return self._bytes(pos + 8, _UINT8(self.data, pos)[0])

    def _op_bytearray8(self, pos: int) -> int:
        # Results hold no bytearray: one kind of bytes, which can't change, is enough for what this reader is for.
        return self._bytes(pos + 8, _UINT8(self.data, pos)[0])

    def _encodes_for_array(self) -> bool:
        """Whether the next value is text that spells the bytes of an array."""
        stack = self.stack
        return bool(stack) and type(stack[-1]) is Name and stack[-1].encodes_text and self._feeds_array(num_above=1)

    def _feeds_array(self, num_above: int = 0) -> bool:
        """Whether the next value, or the one that it is `num_above` places above, becomes an array or a tensor.

        Then either an array's dtype and order are the last two on the stack, or a name that takes bytes is the last.
        """
        stack = self.stack
        last = len(stack) - 1 - num_above
        if last > 0 and type(stack[last - 1]) is DtypeSpec and type(stack[last]) is bool:
            return True
        return last >= 0 and type(stack[last]) is Name and stack[last].takes_bytes
