"""Tensors in plain pickles and in both archive forms of torch.save."""

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modeling_hfr_ame.data.safe_pickle import PickleError, read_pickle
from modeling_hfr_ame.data.safe_pickle.reader import _read_bytes
from tests.data.safe_pickle.pickle_writing import PROTOCOLS

DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool, torch.complex64, torch.complex128,
)  # fmt: skip


def make_tensors() -> dict[str, Any]:
    base = torch.arange(24).reshape(2, 3, 4)
    tensors: dict[str, Any] = {str(dtype): (base % 3).to(dtype) for dtype in DTYPES}
    values = base.double()
    tensors |= {
        "transposed": values.permute(2, 0, 1),
        "offset": values[1, 1:, ::2],
        "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 5),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "size": torch.Size([1, 2]),
        "large": torch.randn(30_000, generator=torch.Generator().manual_seed(0)),
        "list": [values[0], "text", 3, np.ones(2)],
    }
    return tensors


def assert_holds_tensors(tree: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        expected = (expected.float() if expected.dtype == torch.bfloat16 else expected).detach().numpy()
    if isinstance(expected, np.ndarray):
        assert type(tree) is np.ndarray
        assert (tree.dtype, tree.shape) == (expected.dtype, expected.shape)
        assert tree.tobytes() == expected.tobytes()
        assert not tree.flags.writeable
    elif isinstance(expected, dict):
        assert tree.keys() == expected.keys()
        for key in expected:
            assert_holds_tensors(tree[key], expected[key])
    elif isinstance(expected, list):
        for one, other in zip(tree, expected, strict=True):
            assert_holds_tensors(one, other)
    else:
        assert tree == (tuple(expected) if isinstance(expected, torch.Size) else expected)


def saved(value: Any, **options: Any) -> bytes:
    target = io.BytesIO()
    torch.save(value, target, **options)
    return target.getvalue()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_read_pickled_tensors_are_bitwise_arrays(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "features.pkl"
    path.write_bytes(pickle.dumps(make_tensors(), protocol))
    assert_holds_tensors(read_pickle(path), make_tensors())


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("protocol", PROTOCOLS[1:])  # torch.save knows no protocol 0
def test_read_saved_tensors_are_bitwise_arrays(is_zip: bool, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "features.pt"
    path.write_bytes(saved(make_tensors(), _use_new_zipfile_serialization=is_zip, pickle_protocol=protocol))
    assert_holds_tensors(read_pickle(path), make_tensors())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_read_storage_that_hides_a_zip_archive_is_read(protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def reduce_as_zip(self: Any) -> Any:
        return torch.storage._load_from_bytes, (saved(self),)

    monkeypatch.setattr(torch.storage.TypedStorage, "__reduce__", reduce_as_zip)
    tensors = [torch.arange(5.0), torch.randn(20_000)]
    content = pickle.dumps(tensors, protocol)
    assert b"PK\x03\x04" in content or protocol == 0
    assert_holds_tensors(_read_bytes(content), tensors)


def test_read_zip_with_wide_directory_is_read() -> None:
    content = saved({"a": torch.arange(4)})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for filename, member in members.items():
            with archive.open(filename, "w", force_zip64=True) as file:
                file.write(member)
    wide = target.getvalue()
    end = wide.rindex(b"PK\x05\x06")
    count, size, offset = struct.unpack_from("<HLL", wide, end + 10)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    last = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert_holds_tensors(_read_bytes(wide[:end] + record + locator + last), {"a": torch.arange(4)})


def test_read_big_endian_archive_gives_the_values() -> None:
    content = saved(torch.arange(3, dtype=torch.int32))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for filename, member in members.items():
            if filename.endswith("/byteorder"):
                member = b"big"
            elif filename.endswith("/data/0"):
                member = np.frombuffer(member, "<i4").astype(">i4").tobytes()
            archive.writestr(filename, member)
    np.testing.assert_array_equal(_read_bytes(target.getvalue()), [0, 1, 2])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.eye(2).to_sparse(), r"refers to torch\._utils\._rebuild_sparse_tensor"),
        (torch.zeros(2, dtype=torch.float8_e4m3fn), r"refers to torch\.float8_e4m3fn"),
        (torch.tensor([1j]).conj(), "has hooks or metadata"),
        (torch.nn.Linear(1, 1), r"refers to torch\.nn\.modules\.linear\.Linear"),
        (torch.device("cpu"), r"refers to torch\.device"),
    ],
)
def test_read_other_torch_objects_are_refused(value: Any, message: str) -> None:
    with pytest.raises(PickleError, match=message):
        _read_bytes(pickle.dumps(value, 4))
    with pytest.raises(PickleError, match=message):
        _read_bytes(saved(value))


def test_read_tensor_beyond_its_storage_is_refused() -> None:
    content = saved(torch.arange(6.0).reshape(2, 3), _use_new_zipfile_serialization=False)
    place = content.index(b"K\x02K\x03\x86")
    with pytest.raises(PickleError, match=r"ends at element 11 of a storage of 24 bytes"):
        _read_bytes(content[:place] + b"K\x04" + content[place + 2 :])


def test_read_zip_of_another_kind_says_what_to_do() -> None:
    target = io.BytesIO()
    np.savez(target, a=np.ones(2))
    with pytest.raises(PickleError, match=r"has one data\.pkl, and this one has 0; if this is an \.npz"):
        _read_bytes(target.getvalue())


def test_read_compressed_archive_is_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02]." * 100)
    with pytest.raises(PickleError, match=r"'archive/data\.pkl' is compressed or encrypted"):
        _read_bytes(target.getvalue())
