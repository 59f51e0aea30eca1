import pickle
from pathlib import Path

import numpy as np

from modeling_hfr_ame.data.safe_pickle import read_pickle, release_pages


def _resident_kib() -> int:
    """Resident memory of this process; some systems count mapped files apart and some don't."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def test_release_gives_memory_back_and_keeps_the_values(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((4000, 1000), np.float32)  # 15 MiB
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps({"values": values}, protocol=4))
    found = read_pickle(path)["values"]
    np.testing.assert_array_equal(found, values)
    if Path("/proc/self/status").is_file():
        before = _resident_kib()
        release_pages(found)
        assert before - _resident_kib() > 12 * 1024
    np.testing.assert_array_equal(found, values)


def test_release_leaves_arrays_in_memory_alone() -> None:
    values = np.ones((1000, 1000))
    release_pages(values)
    release_pages(values[:0])
    assert values.sum() == 1e6


def test_release_of_a_part_keeps_its_neighbours(tmp_path: Path) -> None:
    values = np.arange(200_000, dtype=np.int64)
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(values, protocol=4))
    found = read_pickle(path)
    release_pages(found[1_000:150_000])
    np.testing.assert_array_equal(found, values)
