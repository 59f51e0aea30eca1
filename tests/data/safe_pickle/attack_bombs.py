"""Attacks on memory and time, each with a part of its refusal."""

import struct

from tests.data.safe_pickle.pickle_writing import array, dtype, name, number, text, whole


def _doubling_tuples(levels: int) -> bytes:
    return b")q\x00" + b"0h\x00h\x00\x86q\x00" * levels


def _doubling_frozensets(levels: int) -> bytes:
    # Two different sets of equal content at each level, so that comparing them visits every path.
    step = b"((K\x01h\x00t(K\x02h\x00t\x91q\x00((K\x01h\x01t(K\x02h\x01t\x91q\x01"
    return b"(K\x05\x91q\x00(K\x05\x91q\x01" + step * levels + b"}h\x00Nsh\x01Ns"


BOMBS: dict[str, tuple[bytes, str]] = {
    "memo_bomb": (b"\x80\x02]r\xff\xff\xff\xff.", "numbers a value 4294967295, more than it can hold"),
    "memo_bomb_in_text": (b"]p4294967295\n.", "numbers a value 4294967295, more than it can hold"),
    "bytes_bomb": (
        whole(b"\x8e" + struct.pack("<Q", 2**62), 4),
        "announces 4611686018427387904 bytes where 1 are left",
    ),
    "bytes_bomb_negative_size": (
        whole(b"\x8e" + b"\xff" * 8, 4),
        "announces 18446744073709551615 bytes where 1 are left",
    ),
    "bytearray_bomb": (whole(b"\x96" + struct.pack("<Q", 2**40), 5), "announces 1099511627776 bytes where 1 are left"),
    "text_bomb": (whole(b"\x8d" + struct.pack("<Q", 2**40), 4), "announces 1099511627776 bytes where 1 are left"),
    "frame_bomb": (
        whole(b"\x95" + struct.pack("<Q", 2**62) + b"N", 4),
        "announces 4611686018427387904 bytes where 2 are left",
    ),
    "integer_bomb": (whole(b"\x8b" + struct.pack("<i", 200_000) + b"\x7f" * 200_000), "has 200000"),
    "integer_text_bomb": (b"I" + b"9" * 200_000 + b"\n.", "has 200000 digits"),
    "long_text_bomb": (b"L" + b"9" * 200_000 + b"L\n.", "has 200000 digits"),
    "float_text_bomb": (b"F" + b"9" * 200_000 + b"\n.", "has a float b'9999999999999999999999999999999999999999'"),
    "nesting_bomb_lists": (whole(b"]" * 200_000 + b"a" * 199_999), "these are nested deeper"),
    "nesting_bomb_tuples": (whole(b")" + b"\x85" * 200_000), "these are nested deeper"),
    "nesting_bomb_tuple_as_key": (whole(b"})" + b"\x85" * 200_000 + b"Ns"), "has at most 1000 parts"),
    "nesting_bomb_object_arrays": (
        whole(b"N" + b"".join(b"q\x000" + array((1,), dtype("O", "|", -1, 63), b"]h\x00a") for _ in range(40))),
        "nests object arrays more than 16 levels deep",
    ),
    "doubling_tuple_as_key": (whole(b"}" + _doubling_tuples(60) + b"Ns"), "has at most 1000 parts"),
    "doubling_frozensets": (whole(_doubling_frozensets(60)), "has at most 1000 parts"),
    "encode_bomb": (
        whole(
            b"]"
            + text("a" * 100_000)
            + b"q\x000"
            + (name("_codecs", "encode") + b"h\x00" + text("latin1") + b"\x86Ra") * 900
        ),
        "asks for over",
    ),
    "set_bomb": (
        whole(
            b"(("
            + b"".join(number(value) for value in range(20_000))
            + b"lq\x000("
            + (name("builtins", "set") + b"h\x00\x85R") * 400
            + b"t"
        ),
        "asks for over",
    ),
    "empty_set_bomb": (whole(b"(" + b"\x8f" * 500_000 + b"t", 4), "asks for over"),
    "object_array_bomb": (
        whole(
            b"(" + b"(" + b"N" * 60_000 + b"lq\x000" + array((60_000,), dtype("O", "|", -1, 63), b"h\x00") * 200 + b"t"
        ),
        "asks for over",
    ),
}
