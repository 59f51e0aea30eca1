import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from torch.utils.data import DataLoader

from modeling_hfr_ame.corruption import PROTOCOL_VERSION
from modeling_hfr_ame.data.corrupted_splits import load_corrupted, write_corrupted
from modeling_hfr_ame.data.corruption_measures import ContentDigest
from modeling_hfr_ame.data.manifest import CORRUPTED_FORMAT, MANIFEST_NAME, read_manifest, sha256_file
from modeling_hfr_ame.data.sentiment_dataset import SentimentDataset
from modeling_hfr_ame.data.stored import load_stored_dataset, stored_rows, write_stored_dataset
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor
from tests.data.corrupted_content import hash_configs
from tests.data.corrupted_rows import CONFIGS, same_values, talker_splits, write_talkers
from tests.data.stored_row_making import MANIFEST, SIZES, make_row, write

PINNED = Path(__file__).with_name("corrupted_content.json")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talkers(tmp_path_factory.mktemp("clean") / "talkers")


@pytest.fixture(scope="module")
def written(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corrupted(clean, tmp_path_factory.mktemp("corrupted") / "splits", CONFIGS[1:])


def corrupted_manifest(folder: Path) -> dict[str, Any]:
    return read_manifest(folder, CORRUPTED_FORMAT)


def hash_rows(rows: Any) -> str:
    digest = ContentDigest(("audio", "vision"))
    for row in rows:
        digest.add(row)
    return digest.hexdigest()


@pytest.mark.parametrize("config", CONFIGS)
def test_written_config_holds_the_bits_of_the_one_computed_on_reading(clean: Path, written: Path, config: str) -> None:
    computed = load_corrupted(clean, config)
    assert list(computed) == ["train", "validation", "test"]
    for split, rows in computed.items():
        stored = datasets.load_dataset(str(written), config, split=split)
        assert stored.features == rows.features
        assert len(stored) == len(rows)
        assert all(same_values(first, second) for first, second in zip(rows, stored, strict=True))
        assert corrupted_manifest(written)["configs"][config][split]["content_sha256"] == hash_rows(stored_rows(rows))


def test_written_clean_config_is_the_source_and_the_default(clean: Path, written: Path) -> None:
    default = datasets.load_dataset(str(written))
    for split, rows in load_stored_dataset(clean).items():
        assert all(same_values(first, second) for first, second in zip(default[split], rows, strict=True))
    assert datasets.get_dataset_default_config_name(str(written)) == "clean"
    assert set(datasets.get_dataset_config_names(str(written))) == set(CONFIGS)


def test_written_config_in_a_process_without_the_package_is_read_by_datasets(written: Path, tmp_path: Path) -> None:
    code = """
import sys
sys.modules["modeling_hfr_ame"] = None  # any import of it fails
import json, datasets
rows = datasets.load_dataset(sys.argv[1], "drop-0.5", split="test")
print(json.dumps({"audio": rows[0]["audio"], "texts": rows["text"][:], "splits": datasets.get_dataset_split_names(
    sys.argv[1], "drop-0.5"), "loaded": [name for name in sys.modules if name.startswith("modeling_hfr_ame.")]}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(written)],
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["loaded"] == []
    assert found["splits"] == ["train", "validation", "test"]
    clean_row = talker_splits()["test"][0]
    audio = np.float32(found["audio"])
    dropped = ~audio.any(axis=1)
    assert dropped[4:7].all()
    assert 3 < dropped.sum() < len(dropped)
    np.testing.assert_array_equal(audio[~dropped], clean_row["audio"][~dropped])
    assert found["texts"][3] is None
    assert "[UNK]" in found["texts"][0].split()


def test_computed_rows_do_not_depend_on_order_batch_size_or_selection(clean: Path) -> None:
    rows = load_corrupted(clean, "noise-3", "train")
    one_by_one = {row["id"]: row for row in rows}
    for chosen in (rows.shuffle(seed=3), rows.select([5, 1, 7])):
        assert all(same_values(row, one_by_one[row["id"]]) for row in chosen)
    for size in (1, 3, 8):
        for batch in rows.iter(batch_size=size):
            for index, row_id in enumerate(batch["id"]):
                row = {name: values[index] for name, values in batch.items()}
                assert same_values(row, one_by_one[row_id])


@pytest.mark.parametrize(("num_workers", "batch_size"), [(0, 1), (0, 4), (2, 3)])
def test_computed_rows_through_a_data_loader_are_the_same(clean: Path, num_workers: int, batch_size: int) -> None:
    rows = load_corrupted(clean, "noise-3", "train")
    loader = DataLoader(rows, batch_size=batch_size, num_workers=num_workers, collate_fn=list)
    assert hash_rows(row for batch in loader for row in batch) == hash_rows(rows)


def test_computed_rows_read_by_two_processes_are_the_same(clean: Path) -> None:
    rows = load_corrupted(clean, "noise-3", "train")
    mapped = rows.map(lambda row: row, num_proc=2, load_from_cache_file=False, features=rows.features)
    assert hash_rows(stored_rows(mapped.with_format(None))) == hash_rows(rows)


def test_computed_rows_as_stored_rows_are_corrupted(clean: Path) -> None:
    rows = load_corrupted(clean, "drop-0.5", "test")
    viewed = stored_rows(rows)
    assert all(same_values(first, second) for first, second in zip(viewed, rows, strict=True))
    assert same_values(viewed[-1], rows[5])
    assert [row["id"] for row in viewed[1:3]] == [rows[1]["id"], rows[2]["id"]]
    assert not same_values(viewed[0], stored_rows(load_stored_dataset(clean, "test"))[0])
    assert viewed[0]["audio"].dtype == np.float32


def test_computed_rows_in_a_sentiment_dataset_are_those_of_the_written_config(
    clean: Path, written: Path, talker_processor: HfrAmeProcessor
) -> None:
    sources = (
        load_corrupted(clean, "impulse-4-vision", "test"),
        datasets.load_dataset(str(written), "impulse-4-vision"),
    )
    computed, stored = (
        SentimentDataset(rows, talker_processor, dataset_name="synthetic_talkers", split="test")
        for rows in (sources[0], sources[1]["test"])
    )
    plain = SentimentDataset(
        load_stored_dataset(clean, "test"), talker_processor, dataset_name="synthetic_talkers", split="test"
    )
    for index in range(6):
        assert computed[index].keys() == stored[index].keys()
        for name, value in computed[index].items():
            np.testing.assert_array_equal(value, stored[index][name])
    assert not np.array_equal(computed[0]["vision_values"], plain[0]["vision_values"])


def test_computed_rows_of_another_seed_are_others(clean: Path) -> None:
    first, second = (load_corrupted(clean, "drop-0.5", "train", seed=seed) for seed in (0, 1))
    assert hash_rows(first) != hash_rows(second)


def test_computed_rows_without_a_column_that_decides_are_refused(clean: Path) -> None:
    rows = load_corrupted(clean, "drop-0.5", "train").select_columns(["id", "text"])
    with pytest.raises(DataError, match="needs its columns id, text, audio and vision, found none of audio, vision"):
        rows[0]


def test_content_of_each_config_and_split_is_pinned(clean: Path) -> None:
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))
    assert pinned["protocol_version"] == PROTOCOL_VERSION
    assert hash_configs(clean) == pinned["sha256"]


def test_content_digest_sees_each_part_of_a_row() -> None:
    def digest(**changes: Any) -> str:
        made = ContentDigest(("audio", "vision"))
        made.add({**make_row(0), **changes})
        return made.hexdigest()

    audio = make_row(0)["audio"]
    other = audio.copy()
    other[0, 0] = np.nextafter(other[0, 0], np.float32(9))
    variants = [
        {},
        {"id": "x"},
        {"text": None},
        {"text": "[UNK]"},
        {"label": 0.5},
        {"audio": None},
        {"audio": other},
        {"audio": audio[:-1]},
        {"audio": audio.reshape(5, 3)},
        {"vision": audio},
    ]
    assert len({digest(**changes) for changes in variants}) == len(variants)
    rounded = [ContentDigest(("audio", "vision"), 3) for _ in range(2)]
    for made, frames in zip(rounded, (np.full((1, 5), 0.5), np.full((1, 5), 0.5000001)), strict=True):
        made.add({**make_row(0), "audio": frames.astype(np.float32)})
    assert rounded[0].hexdigest() == rounded[1].hexdigest()


def test_manifest_of_corrupted_splits_says_what_was_done(clean: Path, written: Path) -> None:
    manifest = corrupted_manifest(written)
    assert manifest["source_manifest_sha256"] == hashlib.sha256((clean / MANIFEST_NAME).read_bytes()).hexdigest()
    assert manifest["protocol_version"] == PROTOCOL_VERSION
    assert manifest["seed"] == 0
    assert manifest["synthetic"] is True
    assert list(manifest["configs"]) == list(CONFIGS)
    for config in CONFIGS:
        assert [found["rows"] for found in manifest["configs"][config].values()] == [8, 2, 6]
    for name, digest in manifest["files"].items():
        assert sha256_file(written / name) == digest
    assert len(manifest["files"]) == 3 * len(CONFIGS)
    assert manifest["configs"]["missing-text"]["test"]["present"] == {"text": 1, "audio": 4, "vision": 5}
    realised = {config: splits["train"]["realised"] for config, splits in manifest["configs"].items()}
    assert realised["clean"] == {}
    assert abs(realised["noise-3"]["snr_db"]["audio"] - 5.0) < 0.001
    assert abs(realised["drop-0.5"]["frames_dropped"]["vision"] - 0.5) < 0.1
    assert abs(realised["block-0.3"]["words_changed"] - 0.3) < 0.05
    assert abs(realised["delete-0.5"]["words_changed"] - 0.5) < 0.15
    assert set(realised["blur-2"]) == set()


def test_manifest_realised_shares_equal_a_count_in_the_files(clean: Path, written: Path) -> None:
    found = corrupted_manifest(written)["configs"]["drop-0.5"]["test"]["realised"]
    before, after = load_stored_dataset(clean, "test"), datasets.load_dataset(str(written), "drop-0.5", split="test")
    pairs = [(a.split(), b.split()) for a, b in zip(before["text"], after["text"], strict=True) if a is not None]
    lost = sum(word == "[UNK]" for _, words in pairs for word in words)
    assert found["words_changed"] == lost / sum(len(words) for words, _ in pairs)
    frames = [
        (np.any(old, axis=1), np.any(new, axis=1))
        for old, new in zip(before["vision"], after["vision"], strict=True)
        if old is not None
    ]
    dropped = sum(int((old & ~new).sum()) for old, new in frames)
    assert found["frames_dropped"]["vision"] == dropped / sum(int(old.sum()) for old, _ in frames)


def test_card_of_generated_data_says_so_and_that_of_people_warns(written: Path, tmp_path: Path) -> None:
    generated = (written / "README.md").read_text(encoding="utf-8")
    assert "## Synthetic data" in generated
    assert "tags:\n- synthetic" in generated
    assert "Personal material" not in generated
    people = write(tmp_path / "people", {"train": [make_row(0)]})
    card = (write_corrupted(people, tmp_path / "out", ["drop-0.5"]) / "README.md").read_text(encoding="utf-8")
    for text in (card, (people / "README.md").read_text(encoding="utf-8")):
        assert "## Personal material" in text
        assert "## Licence and consent" in text
        assert "Article 5(1)(f)" in text
        assert "synthetic" not in text.lower()


def test_write_twice_gives_the_same_bytes(clean: Path, tmp_path: Path) -> None:
    first, second = (write_corrupted(clean, tmp_path / name, ["noise-2"], seed=4) for name in "ab")
    for path in first.rglob("*.*"):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


def test_write_names_are_canonical_and_clean_is_written_once(clean: Path, tmp_path: Path) -> None:
    folder = write_corrupted(clean, tmp_path / "out", ["missing-vision-text", "clean"])
    assert list(corrupted_manifest(folder)["configs"]) == ["clean", "missing-text-vision"]
    with pytest.raises(ConfigError, match=r"each config is written once, found drop-0\.5 more than once; name it once"):
        write_corrupted(clean, tmp_path / "twice", ["drop-0.5", "drop-0.50"])
    with pytest.raises(ConfigError, match="starts with a corruption kind, found 'rain-3'"):
        write_corrupted(clean, tmp_path / "twice", ["rain-3"])
    assert not (tmp_path / "twice").exists()


def test_write_into_an_existing_folder_needs_overwrite(clean: Path, tmp_path: Path) -> None:
    folder = write_corrupted(clean, tmp_path / "out", ["drop-0.5"])
    with pytest.raises(DataError, match=r"must be new, found a stored dataset .*; pass overwrite=True"):
        write_corrupted(clean, folder, ["drop-0.1"])
    write_corrupted(clean, folder, ["drop-0.1"], overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "clean", "drop-0.1", "manifest.json"]
    # The clean dataset itself, as a target, is something else.
    with pytest.raises(DataError, match="only a stored dataset is ever replaced, found something else"):
        write_corrupted(clean, clean, ["drop-0.1"], overwrite=True)
    assert len(load_stored_dataset(clean, "train")) == 8


def test_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", {"test": [make_row(0)]})
    message = "'asr-0.5' replaces words by words of the split 'train', found only test; leave the config out"
    with pytest.raises(DataError, match=message):
        write_corrupted(folder, tmp_path / "out", ["drop-0.5", "asr-0.5"])
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_load_from_a_folder_of_corrupted_splits_is_refused(written: Path) -> None:
    with pytest.raises(DataError, match="must state the format 'hfr-ame-dataset/1', found 'hfr-ame-corrupted/1'"):
        load_corrupted(written, "drop-0.5")


def test_write_keeps_extra_columns_and_word_vectors_only_where_words_are_whole(tmp_path: Path) -> None:
    vectors = np.arange(8, dtype=np.float32).reshape(2, 4)

    def rows() -> Iterator[dict[str, Any]]:
        for index in range(3):
            yield make_row(index, text_features=vectors, fold="a", words=["word", str(index)])

    sizes = {**SIZES, "text_features": 4}
    folder = write_stored_dataset(tmp_path / "set", {"train": rows()}, MANIFEST, feature_sizes=sizes)
    out = write_corrupted(folder, tmp_path / "out", ["drop-1.0-text", "drop-1.0-audio"])
    damaged, whole = (datasets.load_dataset(str(out), f"drop-1.0-{name}", split="train") for name in ("text", "audio"))
    assert damaged["text_features"][:] == [None] * 3
    assert damaged["words"][:] == [None] * 3
    np.testing.assert_array_equal(whole["text_features"][1], vectors)
    assert damaged["fold"][:] == whole["fold"][:] == ["a"] * 3
