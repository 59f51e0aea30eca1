"""Every layout, protocol and naming reads as the standard unpickler would give it."""

import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from modeling_hfr_ame.data.safe_pickle import read_pickle
from modeling_hfr_ame.data.safe_pickle.reader import _read_bytes
from tests.data.safe_pickle.feature_trees import TREES
from tests.data.safe_pickle.pickle_writing import (
    PROTOCOLS,
    array,
    assert_same,
    call,
    dtype,
    dumps_with_numpy1_names,
    load_plainly,
    many,
    name,
    number,
    python2_string,
    whole,
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("layout", TREES)
def test_read_layout_is_bitwise_what_was_pickled(layout: str, protocol: int, tmp_path: Path) -> None:
    content = pickle.dumps(TREES[layout](), protocol)
    path = tmp_path / "features.pkl"
    path.write_bytes(content)
    assert_same(read_pickle(path), load_plainly(content))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("layout", TREES)
def test_read_numpy1_names_is_bitwise_what_was_pickled(layout: str, protocol: int) -> None:
    tree = TREES[layout]()
    content = dumps_with_numpy1_names(tree, protocol)
    assert b"numpy.core." in content
    assert b"numpy._core." not in content
    assert_same(_read_bytes(content), load_plainly(pickle.dumps(tree, protocol)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_read_optimized_pickle_with_fewer_memo_entries_is_the_same(protocol: int) -> None:
    content = pickletools.optimize(pickle.dumps(TREES["misa"](), protocol))
    assert_same(_read_bytes(content), load_plainly(content))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_read_shared_array_stays_one_object(protocol: int) -> None:
    shared, names = np.ones(3), np.array([None, "x"], object)
    first, second, third, fourth = _read_bytes(pickle.dumps([shared, shared, names, names], protocol))
    assert first is second
    assert third is fourth


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_read_large_array_is_read_only_view_of_the_file(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "features.pkl"
    values = np.random.default_rng(0).standard_normal((100, 200))
    path.write_bytes(pickle.dumps({"large": values, "small": values[0].copy()}, protocol))
    tree = read_pickle(path)
    path.unlink()
    np.testing.assert_array_equal(tree["large"], values)
    np.testing.assert_array_equal(tree["small"], values[0])
    assert not tree["large"].flags.writeable
    assert not tree["small"].flags.writeable


def test_read_large_bytes_and_text_outside_arrays_are_ordinary() -> None:
    tree = [b"x" * 100_000, "é" * 100_000, bytearray(100_000)]
    for protocol in PROTOCOLS:
        assert_same(_read_bytes(pickle.dumps(tree, protocol)), tree)


def test_read_python2_strings_are_utf8_or_else_latin1() -> None:
    strings = [b"plain", "é".encode(), b"\xe9", b""]
    content = whole(b"(" + b"".join(map(python2_string, strings)) + b"U\x02hi" + b"S'it\\'s \\xe9\\n\\101'\n" + b"l")
    assert _read_bytes(content) == ["plain", "é", "é", "", "hi", "it's é\nA"]


@pytest.mark.parametrize("payload", [b"\x00\xff\x80\xc3\xa9\x00\x01\x02", b"ABCDEFGH"])
def test_read_python2_array_payload_stays_bytes(payload: bytes) -> None:
    made = array((2,), dtype("f4"), python2_string(payload))
    scalar = call(name("numpy.core.multiarray", "scalar"), dtype("f8"), python2_string(payload))
    content = whole(many(made, scalar))
    assert_same(_read_bytes(content), load_plainly(content, encoding="bytes"))
    np.testing.assert_array_equal(_read_bytes(content)[0], np.frombuffer(payload, "<f4"))


@pytest.mark.parametrize("character", [b"A", b"\xe9"])
def test_read_python2_array_of_one_byte_shared_with_text_is_read(character: bytes) -> None:
    content = whole(many(python2_string(character) + b"q\x01", array((1,), dtype("u1", "|"), b"h\x01")))
    assert _read_bytes(content)[1].tobytes() == character


def test_read_python2_ordered_dict_of_pairs_is_a_dict() -> None:
    pairs = b"((" + python2_string(b"b") + number(1) + b"l(" + python2_string(b"a") + number(2) + b"ll"
    content = whole(call(name("collections", "OrderedDict"), pairs))
    assert list(_read_bytes(content).items()) == [("b", 1), ("a", 2)]


def test_read_memo_from_one_as_python2_writes_it_is_read() -> None:
    assert _read_bytes(b"(lp1\n(lp2\nag2\na.") == [[], []]
