"""A published feature file, written by somebody else's program."""

from pathlib import Path

import numpy as np
import pytest

from modeling_hfr_ame.data.safe_pickle import read_pickle
from tests.data.safe_pickle.pickle_writing import assert_same, load_plainly

pytestmark = pytest.mark.real_data


def _sample_file(shared: Path) -> Path:
    path = shared / "data" / "mosi_misa_dev" / "dev.pkl"
    if not path.is_file():
        pytest.skip("real data not found: the shared folder holds no MISA file")
    return path


# numpy calls the names of numpy 1, which the file uses, deprecated when its own code is asked for them.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_read_real_misa_file_is_bitwise_what_the_standard_loader_gives(shared_data: Path) -> None:
    path = _sample_file(shared_data)
    assert_same(read_pickle(path), load_plainly(path.read_bytes()))


def test_read_real_misa_file_holds_the_exported_numbers(shared_data: Path) -> None:
    path = _sample_file(shared_data)
    samples = read_pickle(path)
    exported = np.load(path.with_name("dev_ragged.npz"), allow_pickle=False)
    assert len(samples) == len(exported["segment"]) > 0
    for index, ((word_ids, vision, audio, words), label, segment) in enumerate(samples):
        rows = slice(*exported["offsets"][index : index + 2])
        np.testing.assert_array_equal(word_ids, exported["word_id"][rows])
        np.testing.assert_array_equal(vision.astype(np.float32), exported["vision"][rows])
        np.testing.assert_array_equal(audio.astype(np.float32), exported["audio"][rows])
        assert list(words) == exported["words"][rows].tolist()
        assert np.float32(np.ravel(label)[0]) == exported["label"][index]
        assert segment == exported["segment"][index]
