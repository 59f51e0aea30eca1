"""Attacks through the instructions of a pickle, each with a part of its refusal."""

import struct

from tests.data.safe_pickle.attack_calls import COMMAND
from tests.data.safe_pickle.pickle_writing import (
    array,
    call,
    data,
    dtype,
    empty_array,
    many,
    name,
    number,
    stack_name,
    text,
    whole,
)

FORMS: dict[str, tuple[bytes, str]] = {
    "stack_global_system": (whole(stack_name("os", "system") + text(COMMAND) + b"\x85R", 4), "refers to os.system"),
    "stack_global_from_memo": (
        whole(
            text("os") + b"q\x00" + b"0" + text("system") + b"q\x01" + b"0h\x00h\x01\x93" + text(COMMAND) + b"\x85R", 4
        ),
        "refers to os.system",
    ),
    "stack_global_of_bytes": (whole(data(b"os") + data(b"system") + b"\x93", 4), "has a name that isn't text"),
    "stack_global_of_names": (
        whole(name("numpy", "dtype") + text("system") + b"\x93", 4),
        "has a name that isn't text",
    ),
    "stack_global_dotted": (
        whole(stack_name("numpy", "ndarray.__subclasses__"), 4),
        "refers to numpy.ndarray.__subclasses__",
    ),
    "global_with_bad_utf8": (
        whole(b"c\xff\xfe\nx\n"),
        "can't be followed further (UnicodeDecodeError",
    ),
    "global_without_end": (b"\x80\x02cos\nsystem", "ends within a line"),
    "global_python2_form": (b"cos\nsystem\n(S'" + COMMAND.encode() + b"'\ntR.", "refers to os.system"),
    "global_only_named": (whole(name("os", "system")), "refers to os.system"),
    "global_named_and_dropped": (whole(name("os", "system") + b"0N"), "refers to os.system"),
    "known_name_as_result": (whole(name("numpy", "dtype")), "leaves a Name in its result"),
    "known_name_inside_result": (whole(b"]" + name("numpy", "ndarray") + b"a"), "leaves a Name in its result"),
    "known_name_as_key": (whole(b"}" + name("numpy", "ndarray") + b"Ns"), "has a dict key or set element of type Name"),
    "inst": (b"(S'" + COMMAND.encode() + b"'\nios\nsystem\n.", "uses INST, which makes an object of a class"),
    "inst_of_known_name": (b"(ibuiltins\nset\n.", "uses INST, which makes an object of a class"),
    "obj": (whole(b"(" + name("os", "system") + text(COMMAND) + b"o"), "refers to os.system"),
    "obj_of_known_name": (whole(b"(" + name("builtins", "set") + b"o"), "uses OBJ, which makes an object of a class"),
    "newobj": (whole(name("subprocess", "Popen") + b"(" + text(COMMAND) + b"t\x81"), "refers to subprocess.Popen"),
    "newobj_of_known_name": (
        whole(name("numpy", "ndarray") + b"(" + number(2**30) + b"t\x81"),
        "uses NEWOBJ, which makes an object of a class",
    ),
    "newobj_ex": (
        whole(name("subprocess", "Popen") + b"(" + text(COMMAND) + b"t}\x92", 4),
        "refers to subprocess.Popen",
    ),
    "newobj_ex_of_known_name": (
        whole(name("collections", "OrderedDict") + b")}\x92", 4),
        "uses NEWOBJ_EX, which makes an object of a class",
    ),
    "ext1": (whole(b"\x82\x01"), "uses EXT1, which names an entry of a registry inside the program"),
    "ext2": (whole(b"\x83\x01\x00"), "uses EXT2, which names an entry of a registry inside the program"),
    "ext4": (whole(b"\x84\x01\x00\x00\x00"), "uses EXT4, which names an entry of a registry inside the program"),
    "persid": (b"Pos.system\n.", "uses PERSID, which asks the program for an object of its own"),
    "binpersid": (whole(text("os.system") + b"Q"), "asks the program for an object of its own"),
    "next_buffer": (whole(b"\x97", 5), "uses NEXT_BUFFER, which asks for a buffer outside the file"),
    "readonly_buffer": (whole(b"N\x98", 5), "uses READONLY_BUFFER, which asks for a buffer outside the file"),
    "build_on_list": (whole(b"]}" + text("__class__") + b"Nsb"), "sets that of a list"),
    "build_on_dict": (whole(b"}}" + text("__setstate__") + b"Nsb"), "sets that of a dict"),
    "build_on_name": (whole(name("numpy", "ndarray") + b"}" + text("__reduce__") + b"Nsb"), "sets that of a Name"),
    "build_on_finished_array": (whole(array((1,), dtype("u1", "|"), data(b"1")) + b"}b"), "sets that of a ndarray"),
    "build_with_slots": (
        whole(call(name("collections", "OrderedDict")) + b"N}" + text("x") + b"Ns\x86b"),
        "sets that of a dict",
    ),
    "build_dtype_with_fields": (
        whole(
            call(name("numpy", "dtype"), text("f4"), b"\x89", b"\x88")
            + many(number(3), text("|"), b"N", many(text("a")), b"}", number(4), number(1), number(0))
            + b"b"
        ),
        "has fields or sub-arrays",
    ),
    "build_dtype_with_subarray": (
        whole(
            call(name("numpy", "dtype"), text("f4"), b"\x89", b"\x88")
            + many(number(3), text("<"), many(dtype("f4"), many(number(10**9))), b"NN", number(4), number(1), number(0))
            + b"b"
        ),
        "has fields or sub-arrays",
    ),
    "build_dtype_with_huge_items": (
        whole(array((1,), dtype("S999999999", "|", 999999999), data(b"1"))),
        "has 1 bytes for an array of shape (1,) and |S999999999",
    ),
    "build_dtype_with_wrong_item_size": (
        whole(array((1,), dtype("S4", "|", 8), data(b"12345678"))),
        "gives dtype S4 an item size of 8",
    ),
    "build_dtype_twice": (
        whole(dtype("f4") + many(number(3), text("<"), b"NNN", number(-1), number(-1), number(0)) + b"b"),
        "has an unknown dtype state",
    ),
    "reduce_of_text": (whole(text("os.system") + b")R"), "calls a str"),
    "reduce_of_list": (whole(b"])R"), "calls a list"),
    "reduce_with_list_arguments": (whole(name("builtins", "set") + b"]R"), "calls a Name"),
    "reduce_of_array": (whole(array((1,), dtype("u1", "|"), data(b"1")) + b")R"), "calls a ndarray"),
    "object_array_from_bytes": (
        whole(array((1,), dtype("O", "|", -1, 63), data(b"\x41" * 8))),
        "has an object array whose elements don't fit its shape",
    ),
    "object_array_too_short": (
        whole(array((2**30,), dtype("O", "|", -1, 63), b"]")),
        "has an object array whose elements don't fit its shape",
    ),
    "number_array_from_list": (whole(array((1,), dtype("f4"), b"]Na")), "has an array without bytes"),
    "array_larger_than_its_bytes": (
        whole(array((2**31 - 1, 2**31 - 1), dtype("f8"), data(b"\0" * 8))),
        "has 8 bytes for an array of shape (2147483647, 2147483647) and float64",
    ),
    "array_smaller_than_its_bytes": (
        whole(array((1,), dtype("f4"), data(b"\0" * 8))),
        "has 8 bytes for an array of shape (1,) and float32",
    ),
    "array_with_negative_sizes": (
        whole(array((-1, -2), dtype("f4"), data(b"\0" * 8))),
        "has an array with an impossible shape",
    ),
    "array_with_many_sizes": (whole(array((1,) * 40, dtype("f4"), data(b"\0" * 4))), "has an array without a shape"),
    "array_never_filled": (whole(empty_array()), "leaves a PendingArray in its result"),
    "array_within_itself": (
        whole(empty_array() + b"q\x07(" + number(1) + many(number(1)) + dtype("O", "|", -1, 63) + b"\x89]h\x07atb"),
        "refers to an array within itself",
    ),
    "array_filled_twice": (
        whole(
            empty_array()
            + b"q\x07"
            + many(number(1), many(number(1)), dtype("u1", "|"), b"\x89", data(b"1"))
            + b"b0h\x07}b"
        ),
        "sets that of a ndarray",
    ),
    "text_array_with_impossible_letter": (
        whole(array((1,), dtype("U1", "<", 4), data(b"\xff\xff\xff\xff"))),
        "has an array of <U1 with a value that isn't one",
    ),
    "bool_array_with_impossible_value": (
        whole(array((1,), dtype("b1", "|"), data(b"\x02"))),
        "has an array of bool with a value that isn't one",
    ),
    "payload_span_as_result": (
        whole(dtype("f4") + b"q\x00\x89B" + struct.pack("<I", 70000) + b"a" * 70000 + b"q\x01000h\x01"),
        "leaves a Span in its result",
    ),
    "latin_text_as_result": (
        whole(dtype("f4") + b"\x89" + name("_codecs", "encode") + text("a" * 70000) + b"q\x010000h\x01"),
        "leaves a LatinText in its result",
    ),
    "memo_negative": (b"]p-1\n.", "numbers a value -1, more than it can hold"),
    "memo_unknown": (b"\x80\x02h\x07.", "can't be followed further (KeyError: '7')"),
    "string_of_negative_length": (whole(b"T" + struct.pack("<i", -5)), "announces -5 bytes where 1 are left"),
    "integer_of_negative_length": (whole(b"\x8b" + struct.pack("<i", -1)), "announces -1 bytes where 1 are left"),
    "list_within_itself": (whole(b"]q\x00h\x00a"), "has a container that holds itself"),
    "dict_within_itself": (whole(b"}q\x00Nh\x00s"), "has a container that holds itself"),
    "lists_within_each_other": (whole(b"]q\x00]q\x01h\x00aa"), "has a container that holds itself"),
    "list_as_key": (whole(b"}]Ns"), "has a dict key or set element of type list"),
    "list_in_tuple_as_key": (whole(b"}(]tNs"), "has a dict key or set element of type list"),
    "dict_in_set": (whole(b"\x8f(}\x90", 4), "has a dict key or set element of type dict"),
    "array_as_key": (
        whole(b"}" + array((1,), dtype("u1", "|"), data(b"1")) + b"Ns"),
        "has a dict key or set element of type ndarray",
    ),
    "append_to_tuple": (whole(b")Na"), "adds to a list where it has a tuple"),
    "append_to_text": (whole(text("a") + b"Na"), "adds to a list where it has a str"),
    "setitem_on_list": (whole(b"]NNs"), "adds to a dict where it has a list"),
    "setitems_of_odd_number": (whole(b"}(Nu"), "has a key without a value"),
    "stop_missing": (b"\x80\x02]", "ends before it is complete"),
    "stop_only": (b".", "ends with 0 values and 0 open marks"),
    "stack_of_two": (whole(b"NN"), "ends with 2 values and 0 open marks"),
    "mark_left_open": (whole(b"N("), "ends with 1 values and 1 open marks"),
    "value_taken_from_below_a_mark": (whole(b"NN(\x86t"), "takes a value from below a mark"),
    "unknown_instruction": (whole(b"\xff"), "has an unknown instruction 0xff"),
    "protocol_of_the_future": (b"\x80\x06N.", "says 6"),
    "protocol_in_the_middle": (b"N\x80\x02.", "states its protocol in the middle"),
    "two_pickles": (whole(b"N") * 2, "bytes follow the end"),
}
