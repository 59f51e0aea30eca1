import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from modeling_hfr_ame.data.sources import hdf5
from modeling_hfr_ame.data.sources.hdf5 import find_array, find_group, is_hdf5, list_names, open_hdf5, read_array
from modeling_hfr_ame.errors import DataError


def read_values(path: Path) -> np.ndarray:
    with open_hdf5(path) as file:
        return read_array(find_group(file, "group", path.name), "values", f"{path.name}: /group")


def test_is_hdf5_signature_decides(tmp_path: Path) -> None:
    h5py.File(tmp_path / "a.bin", "w").close()
    (tmp_path / "b.h5").write_bytes(b"\x89PNG")
    assert is_hdf5(tmp_path / "a.bin")
    assert not is_hdf5(tmp_path / "b.h5")
    assert not is_hdf5(tmp_path / "missing.h5")


def test_open_without_h5py_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with (
        pytest.raises(DataError, match=r"a\.h5 can't be read without it; install it with pip install 'hfr-ame\[hdf5\]"),
        open_hdf5(tmp_path / "a.h5"),
    ):
        pass


def test_open_truncated_at_any_length_raises_data_error(tmp_path: Path) -> None:
    whole = tmp_path / "whole.h5"
    with h5py.File(whole, "w") as file:
        file["group/values"] = np.arange(2000.0)
        file["group/packed"] = file.create_dataset("packed", data=np.arange(2000), chunks=(100,), compression="gzip")
    content = whole.read_bytes()
    for length in range(0, len(content), 997):
        cut = tmp_path / "cut.h5"
        cut.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"cut\.h5.*download it again"):
            read_values(cut)


@pytest.mark.parametrize("seed", range(3))
def test_read_damaged_bytes_raise_data_error_or_read(tmp_path: Path, seed: int) -> None:
    whole = tmp_path / "whole.h5"
    with h5py.File(whole, "w") as file:
        file.create_dataset("packed", data=np.arange(500), chunks=(100,), compression="gzip", fletcher32=True)
    content, draws = whole.read_bytes(), np.random.default_rng(seed)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for place in draws.integers(0, len(content), 8):
            damaged[place] = int(draws.integers(256))
        whole.write_bytes(damaged)
        try:
            with open_hdf5(whole) as file:
                for name in list_names(file, "whole.h5"):
                    read_array(file, name, "whole.h5")
        except DataError:
            refused += 1
    assert refused > 0


def test_find_missing_name_says_what_there_is(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["d2"] = np.zeros(3)
        with pytest.raises(DataError, match=r"a\.h5 must hold 'd1', found d2; check"):
            read_array(file, "d1", "a.h5")


def test_find_wrong_kind_of_member_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/values"] = np.zeros(3)
        with pytest.raises(DataError, match=r"a\.h5/group must be an array, found a group"):
            read_array(file, "group", "a.h5")
        with pytest.raises(DataError, match=r"/values must be a group, found an array of shape \(3,\)"):
            find_group(file["group"], "values", "a.h5: /group")


def test_find_pointers_out_of_the_file_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(64))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["d1"] = np.zeros(8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["link"] = h5py.ExternalLink("other.h5", "/d1")
        file["soft"] = h5py.SoftLink("/raw")
        file.create_dataset("raw", (8,), dtype="f8", external=[(str(secret), 0, 64)])
        layout = h5py.VirtualLayout(shape=(8,), dtype="f8")
        layout[:] = h5py.VirtualSource("other.h5", "d1", shape=(8,))
        file.create_virtual_dataset("virtual", layout)
    with open_hdf5(tmp_path / "a.h5") as file:
        for name in ("link", "soft"):
            with pytest.raises(DataError, match=f"a.h5/{name} must lie in the file itself, found a link"):
                read_array(file, name, "a.h5")
        for name in ("raw", "virtual"):
            with pytest.raises(DataError, match=f"a.h5/{name} must lie in the file itself, found a pointer"):
                read_array(file, name, "a.h5")


def test_find_claimed_size_is_refused_before_reading(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("bomb", shape=(1 << 40,), dtype="f8", chunks=(1 << 10,))
    assert (tmp_path / "a.h5").stat().st_size < 1 << 16
    with (
        open_hdf5(tmp_path / "a.h5") as file,
        pytest.raises(DataError, match=rf"at most {hdf5.MAX_ARRAY_BYTES} bytes.*\(1099511627776,\)"),
    ):
        find_array(file, "bomb", "a.h5")


def test_find_references_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("ragged", (2,), dtype=h5py.vlen_dtype(np.float32))
        with pytest.raises(DataError, match=r"a\.h5/ragged must hold numbers or strings, found references or ragged"):
            read_array(file, "ragged", "a.h5")
