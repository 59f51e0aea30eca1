import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from modeling_hfr_ame.data import parquet_shards
from modeling_hfr_ame.data.manifest import MANIFEST_NAME, read_manifest, sha256_file
from modeling_hfr_ame.data.stored import load_stored_dataset, stored_rows, write_stored_dataset
from modeling_hfr_ame.errors import DataError
from tests.data.stored_row_making import MANIFEST, SIZES, assert_same_rows, make_row, mixed_rows, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "set", {"train": mixed_rows(), "test": [make_row(50)], "held_out": [make_row(60)]})


def test_stored_rows_after_a_round_trip_are_equal(folder: Path) -> None:
    rows = stored_rows(load_stored_dataset(folder, "train"))
    assert_same_rows(list(rows), mixed_rows())
    assert_same_rows([rows[index] for index in range(-7, 0)], mixed_rows())
    assert_same_rows(rows[1:5:2], mixed_rows()[1:5:2])
    assert len(rows) == 7


def test_stored_rows_of_a_selection_follow_it(folder: Path) -> None:
    dataset = load_stored_dataset(folder, "train")
    expected = mixed_rows()
    chosen = dataset.select([5, 0, 2])
    assert_same_rows(list(stored_rows(chosen)), [expected[5], expected[0], expected[2]])
    shuffled = dataset.shuffle(seed=1)
    by_id = {row["id"]: row for row in expected}
    assert_same_rows(list(stored_rows(shuffled)), [by_id[row_id] for row_id in shuffled["id"]])
    with_audio = dataset.filter(lambda row: row["audio"] is not None)
    assert_same_rows(list(stored_rows(with_audio)), [row for row in expected if row["audio"] is not None])


def test_stored_rows_pickled_are_equal(folder: Path) -> None:
    rows = pickle.loads(pickle.dumps(stored_rows(load_stored_dataset(folder, "train"))))  # noqa: S301 - our own bytes
    assert_same_rows(list(rows), mixed_rows())


def test_stored_rows_outside_the_range_raise_index_error(folder: Path) -> None:
    rows = stored_rows(load_stored_dataset(folder, "train"))
    with pytest.raises(IndexError):
        rows[7]


def test_stored_rows_are_read_fast_enough(tmp_path: Path) -> None:
    frames = np.ones((50, 25), np.float32)
    rows = [make_row(index, audio=frames[:, :5], vision=frames[:, 5:]) for index in range(1000)]
    loaded = stored_rows(load_stored_dataset(write(tmp_path / "set", {"train": rows}), "train"))
    started = time.process_time()
    for index in range(1000):
        loaded[index]
    # Measured 25,000 rows/s on one idle core; process time leaves neighbours out of it.
    assert 1000 / (time.process_time() - started) > 2000


def test_dataset_in_a_process_without_the_package_is_read_by_datasets(folder: Path, tmp_path: Path) -> None:
    code = """
import json, os, sys, datasets
whole = datasets.load_dataset(sys.argv[1])
stream = datasets.load_dataset(sys.argv[1], split="train", streaming=True)
print(json.dumps({
    "splits": {name: len(rows) for name, rows in whole.items()},
    "audio": [None if value is None else [len(value), len(value[0])] for value in whole["train"][:]["audio"]],
    "streamed": [row["audio"] is None for row in stream],
    "first": whole["train"][0]["audio"],
    "package": "modeling_hfr_ame" in sys.modules,
}), flush=True)
os._exit(0)  # the library's streaming threads can abort a regular exit
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = mixed_rows()
    assert found["splits"] == {"train": 7, "test": 1, "held_out": 1}
    assert found["audio"] == [None if row["audio"] is None else list(row["audio"].shape) for row in expected]
    assert found["streamed"] == [row["audio"] is None for row in expected]
    np.testing.assert_array_equal(np.float32(found["first"]), expected[0]["audio"])
    assert not found["package"]


def test_dataset_without_any_frames_is_read(tmp_path: Path) -> None:
    rows = [make_row(index, ("audio", "vision")) for index in range(3)]
    dataset = load_stored_dataset(write(tmp_path / "set", {"train": rows}), "train")
    assert_same_rows(list(stored_rows(dataset)), rows)
    assert dataset.features["audio"] == datasets.List(datasets.List(datasets.Value("float32"), length=5))


def test_dataset_with_extra_columns_keeps_them(tmp_path: Path) -> None:
    extra = {"words": ["a", "b"], "start_s": 1.5, "take": 3, "loud": True, "note": None}
    blank = dict.fromkeys(extra)
    rows = [make_row(0, **blank), make_row(1, **extra)]
    dataset = load_stored_dataset(write(tmp_path / "set", {"train": rows}), "train")
    assert_same_rows(list(stored_rows(dataset)), rows)
    assert dataset.features["words"] == datasets.List(datasets.Value("string"))
    assert dataset.features["take"] == datasets.Value("int64")


def test_dataset_with_several_shards_keeps_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_shards, "_ROWS_PER_BATCH", 2)
    monkeypatch.setattr(parquet_shards, "_SHARD_BYTES", 0)
    folder = write(tmp_path / "set", {"train": (row for row in mixed_rows())})
    names = sorted(path.name for path in (folder / "data").iterdir())
    assert names == [f"train-0000{index}-of-00004.parquet" for index in range(4)]
    assert_same_rows(list(stored_rows(load_stored_dataset(folder, "train"))), mixed_rows())


def test_dataset_written_twice_has_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, {"train": mixed_rows()}) for name in "ab")
    for name in (MANIFEST_NAME, "README.md", "data/train-00000-of-00001.parquet"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_manifest_counts_what_the_rows_hold(tmp_path: Path) -> None:
    odd = make_row(2)
    odd["audio"][0, 0], odd["audio"][1, 1] = -np.inf, np.nan
    odd["vision"][1] = 0.0
    manifest = read_manifest(write(tmp_path / "set", {"train": [make_row(0), make_row(1, ("audio",)), odd]}))
    counts = manifest["counts"]["train"]
    assert counts["rows"] == 3
    assert counts["present"] == {"text": 3, "audio": 2, "vision": 3}
    assert counts["all_three"] == 2
    assert counts["frames"] == {"audio": 3 + 5, "vision": 2 + 3 + 4}
    assert counts["non_finite_values"] == {"audio": 2, "vision": 0}
    assert counts["zero_frames"] == {"audio": 0, "vision": 1}
    assert manifest["dataset_name"] == "test_builder"
    assert manifest["label_range"] == [-3.0, 3.0]
    assert manifest["feature_sizes"] == SIZES


def test_manifest_names_the_files_by_hash(folder: Path) -> None:
    files = read_manifest(folder)["files"]
    assert set(files) == {f"data/{split}-00000-of-00001.parquet" for split in ("train", "test", "held_out")}
    for name, digest in files.items():
        assert sha256_file(folder / name) == digest


def test_non_finite_frames_are_stored_as_they_are(tmp_path: Path) -> None:
    row = make_row(0)
    row["audio"][0, :3] = [np.nan, np.inf, -np.inf]
    assert_same_rows(list(stored_rows(load_stored_dataset(write(tmp_path / "s", {"train": [row]}), "train"))), [row])


def test_load_all_splits_keeps_the_order_of_writing(folder: Path) -> None:
    assert list(load_stored_dataset(folder)) == ["train", "test", "held_out"]


def test_load_missing_split_names_the_splits(folder: Path) -> None:
    with pytest.raises(DataError, match="has the splits train, test, held_out, asked for 'validation'; name one"):
        load_stored_dataset(folder, "validation")


def test_load_folder_without_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a folder with a manifest\.json, found none in .*; prepare the dataset first"):
        load_stored_dataset(tmp_path)


def test_load_folder_with_a_foreign_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_text('{"name": "an app"}')
    with pytest.raises(DataError, match="must state the format 'hfr-ame-dataset/1', found None"):
        load_stored_dataset(tmp_path)
    (tmp_path / MANIFEST_NAME).write_text("{")
    with pytest.raises(DataError, match=r"is not valid JSON .*; prepare it again"):
        load_stored_dataset(tmp_path)


def test_load_folder_that_lacks_a_file_names_it(folder: Path) -> None:
    (folder / "data" / "train-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"lacks data/train-00000-of-00001\.parquet; prepare the dataset again"):
        load_stored_dataset(folder, "train")


def test_load_damaged_parquet_is_refused(folder: Path) -> None:
    (folder / "data" / "train-00000-of-00001.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(DataError, match=r"a Parquet file of .* can't be read .*; prepare the dataset again"):
        load_stored_dataset(folder, "train")


def test_load_other_rows_than_the_manifest_says_is_refused(folder: Path) -> None:
    path = folder / "data" / "train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).slice(0, 4), path)
    with pytest.raises(DataError, match="states 7 rows for 'train', found 4; prepare the dataset again"):
        load_stored_dataset(folder, "train")


def test_write_into_an_existing_dataset_needs_overwrite(folder: Path) -> None:
    before = sha256_file(folder / MANIFEST_NAME)
    with pytest.raises(DataError, match=r"must be new, found a stored dataset .*; pass overwrite=True"):
        write(folder, {"train": [make_row(1)]})
    assert sha256_file(folder / MANIFEST_NAME) == before
    write(folder, {"train": [make_row(1)]}, overwrite=True)
    assert_same_rows(list(stored_rows(load_stored_dataset(folder, "train"))), [make_row(1)])
    assert list(read_manifest(folder)["counts"]) == ["train"]


def test_load_after_overwriting_gives_the_new_rows(folder: Path) -> None:
    # datasets caches what it read; the cache must not outlive the files.
    assert len(load_stored_dataset(folder, "test")) == 1
    write(folder, {"test": [make_row(70), make_row(71)]}, overwrite=True)
    assert_same_rows(list(stored_rows(load_stored_dataset(folder, "test"))), [make_row(70), make_row(71)])


@pytest.mark.parametrize("overwrite", [False, True])
def test_write_into_a_foreign_folder_is_refused(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="only a stored dataset is ever replaced, found something else"):
        write(tmp_path, {"train": [make_row(1)]}, overwrite=overwrite)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_write_into_an_empty_folder_fills_it(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert read_manifest(write(tmp_path / "set", {"train": [make_row(1)]}))["counts"]["train"]["rows"] == 1


def test_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a label must be"):
        write(tmp_path / "set", {"train": [make_row(0), make_row(1, label=9.0)]})
    assert list(tmp_path.iterdir()) == []


def test_write_overwriting_that_fails_keeps_the_old_dataset(folder: Path) -> None:
    with pytest.raises(DataError, match="a label must be"):
        write(folder, {"train": [make_row(1, label=9.0)]}, overwrite=True)
    assert_same_rows(list(stored_rows(load_stored_dataset(folder, "train"))), mixed_rows())
    assert [path.name for path in folder.parent.iterdir()] == ["set"]


@pytest.mark.parametrize("second", ["train", "test"])
def test_write_repeated_id_names_it_and_its_splits(tmp_path: Path, second: str) -> None:
    splits: dict[str, list[dict[str, Any]]] = {"train": [make_row(4)], "test": [make_row(5)]}
    splits[second].append(make_row(4))
    with pytest.raises(DataError, match=rf"unique .* found 'v1\$_\$0004' in 'train' and again in '{second}'; drop"):
        write(tmp_path / "set", splits)


def test_write_empty_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a split needs at least one row, found none in 'test'; leave the split out"):
        write(tmp_path / "set", {"train": [make_row(0)], "test": []})
    with pytest.raises(DataError, match="needs at least one split, found none"):
        write(tmp_path / "set", {})


def test_write_split_name_with_hyphen_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="letters, digits and '_' and isn't 'all', found 'held-out'"):
        write(tmp_path / "set", {"held-out": [make_row(0)]})


def test_write_split_name_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="isn't 'all', found 'all'; `datasets` reads no other, and takes 'all' for"):
        write(tmp_path / "set", {"all": [make_row(0)]})


def test_write_wrong_row_names_its_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shape \(n >= 1, 5\), found float64 \(2, 6\) in row .* of 'test'; set an"):
        write(tmp_path / "set", {"train": [make_row(0)], "test": [make_row(1, audio=np.zeros((2, 6)))]})


def test_write_batches_bounded_in_bytes_keep_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_shards, "_BATCH_BYTES", 1000)
    folder = write(tmp_path / "set", {"train": mixed_rows()})
    groups = pq.ParquetFile(folder / "data" / "train-00000-of-00001.parquet")
    sizes = [groups.metadata.row_group(index).num_rows for index in range(groups.num_row_groups)]
    assert sizes == [4, 3]
    assert_same_rows(list(stored_rows(load_stored_dataset(folder, "train"))), mixed_rows())


def test_text_features_are_a_frame_column_of_their_own_width(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float64).reshape(3, 4)
    rows = [make_row(0, ("text",), text_features=vectors), make_row(1, text_features=None), make_row(2)]
    sizes = {**SIZES, "text_features": 4}
    folder = write_stored_dataset(tmp_path / "set", {"train": rows}, MANIFEST, feature_sizes=sizes)
    loaded = load_stored_dataset(folder, "train")
    assert loaded.features["text_features"] == datasets.List(datasets.List(datasets.Value("float32"), length=4))
    found = list(stored_rows(loaded))
    np.testing.assert_array_equal(found[0]["text_features"], vectors.astype(np.float32))
    assert found[0]["text_features"].dtype == np.float32
    assert found[1]["text_features"] is None
    assert found[2]["text_features"] is None
    manifest = read_manifest(folder)
    assert manifest["counts"]["train"]["present"]["text"] == 2
    assert manifest["feature_sizes"] == sizes
    assert "text_features" not in manifest["frame_statistics"]


def test_write_extra_column_of_another_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found int, str in 'note'; convert the values"):
        write(tmp_path / "set", {"train": [make_row(0, note="a"), make_row(1, note=1)]})
    with pytest.raises(DataError, match="column 'note' holds string values, found another type"):
        write(tmp_path / "set", {"train": [make_row(0, note="a")], "test": [make_row(1, note=1)]})
    with pytest.raises(DataError, match="must occur in the first rows or in extra_features, found note later"):
        write(tmp_path / "set", {"train": [make_row(0)], "test": [make_row(1, note="a")]})


def test_write_with_stated_extra_features_fills_in_nulls(tmp_path: Path) -> None:
    types = {"note": datasets.Value("string")}
    folder = write(tmp_path / "set", {"train": [make_row(0)], "test": [make_row(1, note="a")]}, extra_features=types)
    assert load_stored_dataset(folder, "train")[0]["note"] is None
    assert load_stored_dataset(folder, "test")[0]["note"] == "a"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_range": [3, -3]}, r"two increasing finite numbers, found \[3, -3\]"),
        ({"label_range": [-3, float("nan")]}, "two increasing finite numbers"),
        ({"label_range": "wide"}, "two increasing finite numbers, found 'wide'"),
        ({"extra": np.float32(1.0)}, "plain JSON values only .*; convert arrays to lists"),
        ({"extra": float("nan")}, "plain JSON values only"),
    ],
)
def test_write_manifest_with_a_wrong_value_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_stored_dataset(tmp_path / "set", {"train": [make_row(0)]}, {**MANIFEST, **changes}, feature_sizes=SIZES)


def test_write_manifest_without_a_builder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a manifest needs builder, builder_version, label_range; builder not found"):
        write_stored_dataset(
            tmp_path / "set",
            {"train": [make_row(0)]},
            {"builder_version": "1", "label_range": [-1, 1]},
            feature_sizes=SIZES,
        )


def test_write_feature_size_of_another_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="knows audio, vision and text_features, found gaze; give other columns"):
        write_stored_dataset(tmp_path / "s", {"train": [make_row(0)]}, MANIFEST, feature_sizes={**SIZES, "gaze": 2})


def test_write_without_a_feature_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs a width of at least 1 for 'vision', found None"):
        write_stored_dataset(
            tmp_path / "s", {"train": [make_row(0, ("vision",))]}, MANIFEST, feature_sizes={"audio": 5}
        )
