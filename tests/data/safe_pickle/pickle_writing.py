"""Writes pickles by hand and by the standard pickler, and loads plainly what these tests have written themselves."""

import pickle
import pickletools
import struct
from typing import Any

import numpy as np

PROTOCOLS = range(6)


def load_plainly(content: bytes, **options: Any) -> Any:
    """The oracle."""
    return pickle.loads(content, **options)  # noqa: S301


def name(module: str, attribute: str) -> bytes:
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def text(content: str) -> bytes:
    encoded = content.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def stack_name(module: str, attribute: str) -> bytes:
    return text(module) + text(attribute) + b"\x93"


def data(content: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(content)) + content


def python2_string(content: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(content)) + content


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def many(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def call(target: bytes, *arguments: bytes) -> bytes:
    return target + many(*arguments) + b"R"


def dtype(code: str, order: str = "<", size: int = -1, flags: int = 0) -> bytes:
    made = call(name("numpy", "dtype"), text(code), b"\x89", b"\x88")
    return made + many(number(3), text(order), b"NNN", number(size), number(-1), number(flags)) + b"b"


def empty_array() -> bytes:
    return call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), many(number(0)), data(b"b"))


def array(shape: tuple[int, ...], kind: bytes, payload: bytes) -> bytes:
    """An array whose dtype and payload are pickles."""
    sizes = many(*(number(size) for size in shape))
    return empty_array() + many(number(1), sizes, kind, b"\x89", payload) + b"b"


def whole(body: bytes, protocol: int = 2) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def dumps_with_numpy1_names(value: Any, protocol: int) -> bytes:
    """Pickles with the module names of numpy 1, which isn't installed where these tests run.

    Frames, whose stated lengths would no longer be right, are left out: they are optional.
    """
    content = pickle.dumps(value, protocol)
    places = list(pickletools.genops(content))
    ends = [position for _, _, position in places[1:]] + [len(content)]
    pieces = []
    for (opcode, argument, position), end in zip(places, ends, strict=True):
        piece = content[position:end]
        if opcode.name == "GLOBAL":
            piece = piece.replace(b"numpy._core.", b"numpy.core.")
        elif opcode.name == "SHORT_BINUNICODE" and argument.startswith("numpy._core."):
            piece = bytes([piece[0], piece[1] - 1]) + argument.replace("numpy._core.", "numpy.core.").encode()
        pieces.append(b"" if opcode.name == "FRAME" else piece)
    return b"".join(pieces)


def assert_same(ours: Any, plain: Any) -> None:
    """Same types, same values bit for bit; dict subclasses count as dicts and bytearrays as bytes."""
    if isinstance(plain, np.ndarray):
        assert type(ours) is np.ndarray
        assert (ours.dtype, ours.shape) == (plain.dtype, plain.shape)
        if plain.dtype.hasobject:
            for one, other in zip(ours.ravel(), plain.ravel(), strict=True):
                assert_same(one, other)
        else:
            assert ours.flags.f_contiguous == plain.flags.f_contiguous
            assert ours.tobytes() == plain.tobytes()
        return
    if isinstance(plain, dict):
        assert type(ours) is dict
        assert_same(list(ours.items()), list(plain.items()))
    elif isinstance(plain, bytearray):
        assert type(ours) is bytes
        assert ours == plain
    elif isinstance(plain, list | tuple):
        assert type(ours) is type(plain)
        assert len(ours) == len(plain)
        for one, other in zip(ours, plain, strict=True):
            assert_same(one, other)
    else:
        assert type(ours) is type(plain)
        # repr tells -0.0 from 0.0, and NaN is equal to itself in it.
        assert repr(ours) == repr(plain) if not isinstance(plain, set | frozenset) else ours == plain
