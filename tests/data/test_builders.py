from pathlib import Path
from typing import Any

import datasets
import pytest

from modeling_hfr_ame.data import builders
from modeling_hfr_ame.data.builders import ChSims, CmuMosei, CmuMosi, CorruptedSplits, IctMmmo
from modeling_hfr_ame.data.corrupted_splits import load_corrupted
from modeling_hfr_ame.errors import ConfigError, DataError
from tests.data.corrupted_rows import same_values, write_talkers


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talkers(tmp_path_factory.mktemp("clean") / "talkers", dataset_name="cmu_mosi")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "_ROWS_PER_SHARD", 3)


def assert_equal_to_reading(found: Any, clean: Path, config: str, split: str, seed: int = 0) -> None:
    expected = load_corrupted(clean, config, split, seed=seed)
    assert found.features == expected.features
    assert len(found) == len(expected)
    assert all(same_values(first, second) for first, second in zip(found, expected, strict=True))


@pytest.mark.parametrize("num_proc", [None, 2])
def test_builder_gives_the_rows_computed_on_reading(clean: Path, tmp_path: Path, num_proc: int | None) -> None:
    builder = CmuMosi(clean, "noise-3", cache_dir=tmp_path)
    builder.download_and_prepare(num_proc=num_proc)
    built = builder.as_dataset()
    assert list(built) == ["train", "validation", "test"]
    for split, rows in built.items():
        assert_equal_to_reading(rows, clean, "noise-3", split)


def test_builder_streams_the_same_rows(clean: Path, tmp_path: Path) -> None:
    stream = CorruptedSplits(clean, "asr-0.5", cache_dir=tmp_path).as_streaming_dataset("train")
    assert stream.num_shards == 3
    expected = load_corrupted(clean, "asr-0.5", "train")
    assert all(same_values(first, second) for first, second in zip(stream, expected, strict=True))


def test_builder_configs_are_cached_apart(clean: Path, tmp_path: Path) -> None:
    for config, seed in (("drop-0.5", 0), ("drop-0.5", 1), ("drop-0.35", 0)):
        builder = CmuMosi(clean, config, seed=seed, cache_dir=tmp_path)
        assert builder.config.name == config
        assert builder.config.version == datasets.Version("1.0.0")
        builder.download_and_prepare()
        assert_equal_to_reading(builder.as_dataset("train"), clean, config, "train", seed)


def test_builder_after_the_source_was_rewritten_gives_the_new_rows(tmp_path: Path) -> None:
    folder = write_talkers(tmp_path / "talkers")
    first = CorruptedSplits(folder, "drop-0.5", cache_dir=tmp_path / "cache")
    first.download_and_prepare()
    write_talkers_again(folder)
    second = CorruptedSplits(folder, "drop-0.5", cache_dir=tmp_path / "cache")
    assert second.cache_dir != first.cache_dir
    second.download_and_prepare()
    # Another dataset name is another key, so other words are lost.
    assert second.as_dataset("train")["text"][:] != first.as_dataset("train")["text"][:]


def write_talkers_again(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)
    write_talkers(folder, dataset_name="other")


@pytest.mark.parametrize("kind", [CmuMosei, ChSims, IctMmmo])
def test_builder_of_another_dataset_is_refused(clean: Path, kind: type[CorruptedSplits]) -> None:
    message = f"reads the stored dataset '{kind.stored_name}', found 'cmu_mosi'; use CorruptedSplits"
    with pytest.raises(DataError, match=message):
        kind(clean)


def test_builder_of_a_dataset_with_another_label_range_is_refused(tmp_path: Path) -> None:
    folder = write_talkers(tmp_path / "talkers", dataset_name="cmu_mosi", label_range=[-4, 4])
    with pytest.raises(DataError, match=r"labels of cmu_mosi lie in \[-3\.0, 3\.0\], found \[-4\.0, 4\.0\]"):
        CmuMosi(folder)


def test_builder_of_an_unknown_recipe_is_refused(clean: Path) -> None:
    with pytest.raises(ConfigError, match="starts with a corruption kind, found 'rain-3'"):
        CmuMosi(clean, "rain-3")
