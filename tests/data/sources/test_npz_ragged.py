from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame.data.schema import validate_row
from modeling_hfr_ame.data.sources.npz_ragged import open_source, recognise
from modeling_hfr_ame.data.sources.source import RuleCounts, SourceOptions
from modeling_hfr_ame.errors import DataError
from tests.data.sources.hdf5_making import collect, ids

ARRAYS: dict[str, Any] = {
    "offsets": np.array([0, 2, 3]),
    "words": np.array(["so", "good", "bad"]),
    "audio": np.array([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]]),
    "vision": np.array([[1.0], [np.nan], [3.0]]),
    "label": np.array([1.5, -2.0]),
    "segment": np.array(["va[0]", "vb[4]"]),
}


def write(tmp_path: Path, name: str = "dev_ragged.npz", **changes: Any) -> Path:
    np.savez(tmp_path / name, **{**ARRAYS, **changes})
    return tmp_path / name


def read(path: Path, **options: Any) -> tuple[dict[str, list[dict[str, Any]]], RuleCounts, Any]:
    source = open_source(path, SourceOptions(**options))
    rules = RuleCounts()
    rows = collect(source, rules)
    for row in (row for members in rows.values() for row in members):
        validate_row(row, label_range=source.label_range, feature_sizes=source.feature_sizes)
    return rows, rules, source


def test_recognise_by_keys(tmp_path: Path) -> None:
    assert recognise(write(tmp_path)) == "npz-ragged"
    np.savez(tmp_path / "other.npz", words=np.ones(1))
    assert recognise(tmp_path / "other.npz") is None


def test_rows_are_cut_at_the_offsets(tmp_path: Path) -> None:
    rows, rules, source = read(write(tmp_path))
    assert list(rows) == ["validation"]
    first, second = rows["validation"]
    assert (first["id"], first["text"], first["label"]) == ("va$_$1", "so good", 1.5)
    assert (second["id"], second["text"], second["label"]) == ("vb$_$5", "bad", -2.0)
    np.testing.assert_array_equal(first["audio"], ARRAYS["audio"][:2])
    assert second["audio"] is None
    assert dict(rules) == {"absent_modality": 1, "non_finite_kept": 1, "segment_ids_shifted": 2}
    assert source.feature_sizes == {"audio": 2, "vision": 1}


def test_split_is_in_the_name_or_in_a_table(tmp_path: Path) -> None:
    assert list(read(write(tmp_path, "train.npz"))[0]) == ["train"]
    path = write(tmp_path, "mine.npz")
    assert list(read(path)[0]) == ["unsplit"]
    table = tmp_path / "folds.csv"
    table.write_text("video_id,mode\nvb,test\n")
    rows, _, source = read(path, splits=table)
    assert ids(rows["test"]) == ["vb$_$5"]
    assert source.details == {"rows_without_split": 1}
    table.write_text("video_id,mode\nvz,test\n")
    with pytest.raises(DataError, match=r"folds\.csv names none of mine\.npz, such as video 'va' clip '1'"):
        read(path, splits=table)


def test_rows_without_label_or_content_are_left_out(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        offsets=np.array([0, 2, 2, 3]),
        label=np.array([1.0, 2.0, np.nan]),
        segment=np.array(["va[0]", "va[1]", "va[2]"]),
    )
    rows, rules, _ = read(path)
    assert ids(rows["validation"]) == ["va$_$1"]
    assert (rules["missing_label_dropped"], rules["no_modality_dropped"], rules["missing_text"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"offsets": np.array([0, 2])},
            r"key 'offsets' .* 3 rising integers from 0 to the 3 words for 2 .* found 2 int64",
        ),
        ({"offsets": np.array([0, 2, 4])}, r"found 3 int64 from 0 to 4"),
        ({"offsets": np.array([1, 2, 3])}, r"found 3 int64 from 1 to 3"),
        ({"offsets": np.array([0, 4, 3])}, r"key 'offsets' of dev_ragged\.npz must"),
        ({"offsets": np.array([0.0, 2.0, 3.0])}, r"found 3 float64"),
        ({"offsets": np.array([], int), "label": np.ones(0), "segment": np.array([], "U1")}, r"0 >= 1 rows, found 0"),
        (
            {"audio": np.ones((2, 2))},
            r"key 'audio' of dev_ragged\.npz must hold numbers of shape \(3, n\), found .* \(2, 2\)",
        ),
        ({"vision": np.ones((3, 0))}, r"at least one feature, dev_ragged\.npz has the widths .*'vision': 0"),
        ({"segment": np.array(["va[0]", "va[0]"])}, r"key 'segment' .* unique ids, found 'va\$_\$1' in rows 0 and 1"),
        ({"segment": np.array(["va[0]", "vb_4"])}, r"must name segments as video_id\[i\], found 'vb_4'"),
        ({"segment": np.array(["va[0]"])}, r"key 'segment' .* strings of shape \(2\), found <U5 \(1,\)"),
        ({"words": np.array(["a", "b", 1], dtype=object)}, r"key 'words' of dev_ragged\.npz .* found Python objects"),
    ],
)
def test_malformed_file_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, **changes))


@pytest.mark.real_data
def test_misa_validation_fold_equals_numpy(shared_data: Path) -> None:
    path = shared_data / "data" / "mosi_misa_dev" / "dev_ragged.npz"
    rows, rules, source = read(path)
    with np.load(path) as arrays:
        stored = {key: arrays[key] for key in arrays.files}
    assert (len(rows["validation"]), source.dataset_name) == (229, "cmu_mosi")
    assert dict(rules) == {"segment_ids_shifted": 229}
    for column in ("audio", "vision"):
        np.testing.assert_array_equal(np.concatenate([row[column] for row in rows["validation"]]), stored[column])
    assert [len(row["audio"]) for row in rows["validation"]] == np.diff(stored["offsets"]).tolist()
    assert " ".join(row["text"] for row in rows["validation"]) == " ".join(stored["words"].tolist())
    assert [row["label"] for row in rows["validation"]] == stored["label"].tolist()
