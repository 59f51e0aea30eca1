"""What limits say, that they can be raised, and what an error carries."""

import gc
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame.data.safe_pickle import PickleError, PickleLimits, read_pickle
from modeling_hfr_ame.data.safe_pickle.reader import _read_bytes
from modeling_hfr_ame.errors import DataError
from tests.data.safe_pickle.pickle_writing import call, name, text, whole


def nested_list(depth: int) -> list[Any]:
    tree: list[Any] = []
    for _ in range(depth - 1):
        tree = [tree]
    return tree


@pytest.mark.parametrize(("depth", "limits"), [(100, None), (101, PickleLimits(max_depth=101))])
def test_read_nesting_within_limit_is_read(depth: int, limits: PickleLimits | None) -> None:
    assert _read_bytes(pickle.dumps(nested_list(depth)), limits) == nested_list(depth)


def test_read_nesting_beyond_limit_is_refused() -> None:
    with pytest.raises(PickleError, match=r"at most 100 levels deep.*raise PickleLimits\.max_depth"):
        _read_bytes(pickle.dumps(nested_list(101)))


def test_read_shared_value_on_a_longer_path_counts_the_longer_path() -> None:
    shared = nested_list(60)
    assert _read_bytes(pickle.dumps([shared, [shared]]), PickleLimits(max_depth=62))
    with pytest.raises(PickleError, match="at most 61 levels deep"):
        _read_bytes(pickle.dumps([shared, [shared]]), PickleLimits(max_depth=61))


def test_read_tree_of_shared_lists_takes_no_exponential_time() -> None:
    tree: list[Any] = []
    for _ in range(80):
        tree = [tree, tree]
    assert len(_read_bytes(pickle.dumps(tree))) == 2


def test_read_more_instructions_than_allowed_is_refused() -> None:
    with pytest.raises(PickleError, match=r"at most 5 instructions.*raise PickleLimits\.max_opcodes"):
        _read_bytes(pickle.dumps([1, 2, 3]), PickleLimits(max_opcodes=5))


@pytest.mark.parametrize("protocol", [0, 2])
def test_read_large_integer_is_refused_until_the_limit_is_raised(protocol: int) -> None:
    value = 3 ** (8 * 700)
    content = pickle.dumps(value, protocol)
    with pytest.raises(PickleError, match=r"at most 1024 bytes.*raise PickleLimits\.max_int_bytes"):
        _read_bytes(content)
    assert _read_bytes(content, PickleLimits(max_int_bytes=1500)) == value


def test_read_beyond_budget_is_refused_until_the_limit_is_raised() -> None:
    content = pickle.dumps({"a": np.array(["word"] * 1000)}, 4)
    with pytest.raises(PickleError, match=r"asks for over 10 bytes.*raise PickleLimits\.built_bytes_per_file_byte"):
        _read_bytes(content, PickleLimits(built_bytes_per_file_byte=0, built_bytes_extra=10))
    assert len(_read_bytes(content, PickleLimits(built_bytes_extra=0))["a"]) == 1000


def test_read_refused_file_error_names_path_place_and_advice(tmp_path: Path) -> None:
    path = tmp_path / "features.pkl"
    path.write_bytes(whole(b"]" + call(name("os", "system"), text("ls"))))
    with pytest.raises(
        PickleError, match=r"features\.pkl: .* refers to os\.system \(at byte 3\); don't open it"
    ) as caught:
        read_pickle(path)
    error = caught.value
    assert isinstance(error, DataError)
    assert (error.path, error.offset) == (path, 3)
    assert error.reason.endswith("this one refers to os.system")


def test_read_refusal_inside_a_storage_gives_the_place_of_the_storage() -> None:
    inner = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03." + whole(
        call(name("os", "system"), text("ls"))
    )
    latin = name("_codecs", "encode") + text(inner.decode("latin-1")) + text("latin1") + b"\x86R"
    content = whole(name("torch.storage", "_load_from_bytes") + latin + b"\x85R")
    with pytest.raises(PickleError, match=r"pickle: inside a torch storage, .* refers to os\.system") as caught:
        _read_bytes(content)
    assert caught.value.offset == len(content) - 2


def test_read_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(PickleError, match=r"nowhere\.pkl: the file has to be readable.*No such file.*check the path"):
        read_pickle(tmp_path / "nowhere.pkl")


def test_read_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(PickleError, match="is a regular file, and this isn't one; name the file itself"):
        read_pickle(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_read_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pkl")
    with pytest.raises(PickleError, match="is a regular file, and this isn't one"):
        read_pickle(tmp_path / "pipe.pkl")


def test_read_empty_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.pkl").touch()
    with pytest.raises(PickleError, match="this one is empty; the file is damaged"):
        read_pickle(tmp_path / "empty.pkl")


def test_read_every_truncation_is_refused() -> None:
    content = pickle.dumps({"a": [np.arange(3), "text", 2.5]}, 4)
    for length in range(1, len(content)):
        with pytest.raises(PickleError):
            _read_bytes(content[:length])


def test_read_leaves_the_garbage_collector_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "good.pkl").write_bytes(pickle.dumps([1]))
    (tmp_path / "bad.pkl").write_bytes(b"x")
    for collecting in (True, False):
        (gc.enable if collecting else gc.disable)()
        try:
            read_pickle(tmp_path / "good.pkl")
            assert gc.isenabled() is collecting
            with pytest.raises(PickleError):
                read_pickle(tmp_path / "bad.pkl")
            assert gc.isenabled() is collecting
        finally:
            gc.enable()
