"""The pickle instructions of protocols 0 to 5: which the machine carries out, and why it refuses the others.

Source: the tables in the standard library's `pickletools` documentation.
"""

from collections.abc import Mapping
from types import MappingProxyType

# Carried out by the machine's loop itself.
STOP = 0x2E
MEMOIZE = 0x94
BINGET = 0x68
LONG_BINGET = 0x6A
LONG_BINPUT = 0x72
BININT1 = 0x4B

# Opcode to the method that carries it out, which is called `_op_` and this name.
HANDLED: Mapping[bytes, str] = MappingProxyType(
    {
        b"\x80": "proto",
        b"\x95": "frame",
        # literals
        b"N": "none",
        b"\x88": "true",
        b"\x89": "false",
        b"I": "int_text",
        b"L": "long_text",
        b"J": "int4",
        b"M": "int2",
        b"\x8a": "long1",
        b"\x8b": "long4",
        b"F": "float_text",
        b"G": "float8",
        b"S": "string_text",
        b"T": "string4",
        b"U": "string1",
        b"V": "unicode_text",
        b"\x8c": "unicode1",
        b"X": "unicode4",
        b"\x8d": "unicode8",
        b"C": "bytes1",
        b"B": "bytes4",
        b"\x8e": "bytes8",
        b"\x96": "bytearray8",
        # containers
        b"]": "empty_list",
        b"}": "empty_dict",
        b")": "empty_tuple",
        b"\x8f": "empty_set",
        b"l": "list",
        b"d": "dict",
        b"t": "tuple",
        b"\x85": "tuple1",
        b"\x86": "tuple2",
        b"\x87": "tuple3",
        b"\x91": "frozenset",
        b"a": "append",
        b"e": "appends",
        b"s": "setitem",
        b"u": "setitems",
        b"\x90": "additems",
        # stack and memo
        b"(": "mark",
        b"0": "pop",
        b"1": "pop_mark",
        b"2": "dup",
        b"p": "put_text",
        b"q": "put1",
        b"g": "get_text",
        # names and what is done with them
        b"c": "global_text",
        b"\x93": "stack_global",
        b"R": "reduce",
        b"b": "build",
        b"Q": "persistent_id",
    }
)

REFUSED: Mapping[bytes, str] = MappingProxyType(
    {
        b"i": "INST, which makes an object of a class",
        b"o": "OBJ, which makes an object of a class",
        b"\x81": "NEWOBJ, which makes an object of a class",
        b"\x92": "NEWOBJ_EX, which makes an object of a class",
        b"P": "PERSID, which asks the program for an object of its own",
        b"\x82": "EXT1, which names an entry of a registry inside the program",
        b"\x83": "EXT2, which names an entry of a registry inside the program",
        b"\x84": "EXT4, which names an entry of a registry inside the program",
        b"\x97": "NEXT_BUFFER, which asks for a buffer outside the file",
        b"\x98": "READONLY_BUFFER, which asks for a buffer outside the file",
    }
)
