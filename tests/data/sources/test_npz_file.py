import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from modeling_hfr_ame.data.sources import npz_file
from modeling_hfr_ame.data.sources.npz_file import NpzFile, check_unique, list_keys
from modeling_hfr_ame.errors import DataError
from tests.data.sources.npz_making import npy, npy_header, write_npz


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("never printed",))


def test_read_equals_numpy(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.ones((2, 2), "f4")), "c": np.array(["x"])}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    file = NpzFile(tmp_path / "a.npz")
    assert {key: header.shape for key, header in file.headers.items()} == {"a": (2, 3), "b": (2, 2), "c": (1,)}
    np.testing.assert_array_equal(file.numbers("a", 2, None), arrays["a"])
    np.testing.assert_array_equal(file.numbers("b", 2, 2), arrays["b"])
    assert file.strings("c", 1) == ["x"]


def test_read_version_two_header(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", {"a.npy": npy_header((2,), version=(2, 0)) + np.ones(2).tobytes()})
    assert NpzFile(path).numbers("a", 2).tolist() == [1.0, 1.0]


def test_check_wrong_key_type_or_shape_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.ones((2, 3)), s=np.array(["x"]), o=np.array([1, "x"], dtype=object))
    file = NpzFile(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"key 'b' of a\.npz is missing \(found: a, s, o\)"):
        file.numbers("b", 1)
    with pytest.raises(
        DataError, match=r"key 'a' of a\.npz must hold numbers of shape \(4, n\), found float64 \(2, 3\)"
    ):
        file.numbers("a", 4, None)
    with pytest.raises(DataError, match=r"must hold numbers of shape \(n\), found float64 \(2, 3\)"):
        file.numbers("a", None)
    with pytest.raises(DataError, match=r"key 's' of a\.npz must hold numbers .* found <U1"):
        file.numbers("s", 1)
    with pytest.raises(DataError, match=r"key 'a' of a\.npz must hold strings of shape \(2\)"):
        file.strings("a", 2)
    with pytest.raises(DataError, match=r"key 'o' of a\.npz .* found Python objects.*save strings as np\.array"):
        file.strings("o", 2)


def test_object_strings_are_read_without_numpys_unpickler(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", o=np.array(["train", "test"], dtype=object), s=np.array(["x"]), n=np.array([1, 2], "O")
    )
    file = NpzFile(tmp_path / "a.npz")
    assert file.object_strings("o", 2) == ["train", "test"]
    assert file.object_strings("s", 1) == ["x"]
    with pytest.raises(DataError, match=r"key 'n' of a\.npz must hold 2 strings, found 2 values of int"):
        file.object_strings("n", 2)
    with pytest.raises(DataError, match=r"must hold 3 strings, found 2 values of str"):
        file.object_strings("o", 3)


def test_object_strings_of_a_stranger_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = npy_header((1,), "|O")
    path = write_npz(tmp_path / "a.npz", {"o.npy": header + pickle.dumps(Exploit())})
    with pytest.raises(DataError, match="builtins"):
        NpzFile(path).object_strings("o", 1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"a.npy": npy_header((1 << 40,))},
            r"key 'a' of a\.npz states float64 \(1099511627776,\), \d+ bytes, and holds 0",
        ),
        ({"a.npy": npy_header((-1,))}, r"key 'a' of a\.npz states float64 \(-1,\)"),
        ({"a.npy": npy(np.ones(3))[:-8]}, r"key 'a' of a\.npz states float64 \(3,\), 24 bytes, and holds 16"),
        ({"a.npy": npy(np.ones(3)) + b"xx"}, r"24 bytes, and holds 26"),
        ({"a.npy": b"\x93NUMPY\x09\x00" + bytes(20)}, r"a\.npz must be readable as \.npz|version"),
        ({"a.npy": b"\x93NUMPY\x03\x00" + bytes(20)}, r"key 'a' of a\.npz has the \.npy version \(3, 0\)"),
        ({"a.npy": b"not numpy"}, r"a\.npz must be readable as \.npz, found damage"),
        ({"a.npy": npy_header((1,), "|V3")[:-4]}, r"a\.npz must be readable as \.npz, found damage"),
        ({"notes.txt": b"x"}, r"one \.npy member per key, a\.npz has the member 'notes\.txt'"),
    ],
)
def test_open_lying_member_is_refused(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    with pytest.raises(DataError, match=message):
        NpzFile(write_npz(tmp_path / "a.npz", members))


def test_open_member_twice_is_refused(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", {"a.npy": npy(np.ones(1))})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.npy", npy(np.ones(2)))
    with pytest.raises(DataError, match=r"has the member 'a\.npy' twice or of another kind"):
        NpzFile(path)


def test_open_bomb_is_refused_by_its_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(1 << 18), b=np.zeros(1 << 18))
    NpzFile(tmp_path / "bomb.npz")
    monkeypatch.setattr(npz_file, "FREE_BYTES", 1 << 20)
    with pytest.raises(DataError, match=r"may take 1048576 bytes, the headers of bomb\.npz state 4194304"):
        NpzFile(tmp_path / "bomb.npz")


def test_open_damaged_archive_raises_data_error_or_reads(tmp_path: Path) -> None:
    whole = tmp_path / "a.npz"
    np.savez_compressed(whole, a=np.arange(300.0), s=np.array(["one", "two"]))
    content, draws = whole.read_bytes(), np.random.default_rng(5)
    refused = 0
    for round_number in range(200):
        damaged = bytearray(content[: int(draws.integers(len(content)))] if round_number % 4 == 0 else content)
        for place in draws.integers(0, max(len(damaged), 1), 4 if damaged else 0):
            damaged[place] = int(draws.integers(256))
        whole.write_bytes(damaged)
        list_keys(whole)
        try:
            file = NpzFile(whole)
            file.numbers("a", None)
            file.strings("s")
        except DataError:
            refused += 1
    assert refused > 100


def test_list_keys_of_other_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("no zip")
    assert list_keys(tmp_path / "a.npz") == list_keys(tmp_path) == list_keys(tmp_path / "missing") == frozenset()


def test_check_unique_names_both_rows() -> None:
    check_unique(["a", "b"], "key 'id' of x")
    with pytest.raises(DataError, match="key 'id' of x must hold unique ids, found 'a' in rows 0 and 2; drop the copy"):
        check_unique(["a", "b", "a"], "key 'id' of x")
