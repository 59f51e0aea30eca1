from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame.data import load_stored_dataset, prepare_records, prepare_source, read_manifest, stored_rows
from modeling_hfr_ame.errors import DataError


def prepare(records: list[dict[str, Any]], folder: Path, **options: Any) -> Path:
    return prepare_records(records, folder / "out", dataset_name="mine", label_range=(-3, 3), **options)


def test_records_of_all_splits_are_stored_as_given(tmp_path: Path) -> None:
    frames = np.arange(6.0).reshape(3, 2)
    records = [
        {"text": "what a film", "audio": frames, "label": 1.0, "speaker": "x"},
        {"vision": [[0.5], [1.5]], "label": -2, "split": "dev", "speaker": "y", "video_id": "v", "clip_id": 7},
        {"text": "never again", "label": 0, "split": "test", "speaker": "x"},
    ]
    out = prepare(records, tmp_path, feature_names={"audio": ["low", "high"]})
    splits = {name: list(stored_rows(rows)) for name, rows in load_stored_dataset(out).items()}
    (first,), (second,), (third,) = splits["train"], splits["validation"], splits["test"]
    np.testing.assert_array_equal(first["audio"], frames.astype(np.float32))
    assert (first["id"], first["text"], first["speaker"], first["vision"]) == ("0$_$0", "what a film", "x", None)
    assert (second["id"], second["text"], second["vision"].tolist()) == ("v$_$7", None, [[0.5], [1.5]])
    assert (third["id"], third["label"]) == ("2$_$0", 0.0)
    assert read_manifest(out)["feature_names"] == {"audio": ["low", "high"]}


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "at least one record, found none"),
        ([{"text": "a"}], "record 0 has the keys text; add it"),
        ([{"label": 1}], r"needs at least one of text, audio and vision; row '0\$_\$0' of 'train' has none"),
        (
            [{"text": "a", "label": 1, "split": "fold1"}],
            "a split must be one of train, .* record 0 has 'fold1'; rename",
        ),
        ([{"audio": np.ones(3), "label": 1}], r"audio must be frames x features, record 0 has shape \(3,\)"),
        (
            [{"audio": np.ones((2, 3)), "label": 1}, {"audio": np.ones((2, 4)), "label": 1}],
            r"shape \(n >= 1, 3\), found",
        ),
        ([{"text": "a", "label": 1, "video_id": "x"}] * 2, r"an id must be unique over the dataset, found 'x\$_\$0'"),
        ([{"text": "a", "label": 7}], r"finite number in \[-3, 3\], found 7 in row '0\$_\$0' of 'train'"),
    ],
)
def test_records_that_are_wrong_are_named(tmp_path: Path, records: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(records, tmp_path)
    assert not (tmp_path / "out").exists()


def test_folder_of_several_sources_names_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", a=np.ones(2))
    (tmp_path / "two.pkl").write_bytes(b"")
    with pytest.raises(DataError, match=r"a source is one dataset, found .* with two\.pkl in it; name one of them"):
        prepare_source(tmp_path, tmp_path / "out")
