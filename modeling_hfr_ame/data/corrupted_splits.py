"""Corrupted versions of a stored dataset: computed while reading, or written as named configs of one folder.

`corrupt_row` is the one function behind both ways, so they hold the same values bit for bit. The name of a config is
the name of its recipe (`drop-0.5`, `noise-3-audio`, `missing-text`).

Design choices:

- Corruption acts on words and on frames standardised with the manifest's statistics; the result is mapped back to raw
  units, so that a corrupted row is a stored row like any other. A modality, a frame or an entry that the recipe doesn't
  change keeps its raw bits.
- What repeats the words, word vectors and word times, goes where the words are damaged: it would give them away.
- The recipes of an evaluation act on standardised frames clipped at ±5 and aren't clipped afterwards. These raw frames
  are clipped by whatever reads them. Drops, blocks, freezes, text and absences agree; strong noise and impulses do not
  quite.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, overload

import datasets
import numpy as np
import pyarrow as pa

from modeling_hfr_ame.corruption import (
    PROTOCOL_VERSION,
    CorruptionPlan,
    CorruptionRecipe,
    Modality,
    SampleKey,
    corrupt_frames,
    corrupt_words,
)
from modeling_hfr_ame.corruption.plans import keep_one_modality
from modeling_hfr_ame.corruption.sound_alikes import VocabularyLike
from modeling_hfr_ame.data.corruption_measures import CorruptionMeasures
from modeling_hfr_ame.data.dataset_card import CardSplit, is_synthetic, write_card
from modeling_hfr_ame.data.frame_statistics import TRAINING_SPLIT, FrameStatistics
from modeling_hfr_ame.data.manifest import (
    CORRUPTED_FORMAT,
    MANIFEST_NAME,
    read_manifest,
    sha256_file,
    write_manifest,
)
from modeling_hfr_ame.data.parquet_shards import iterate_batches, make_table, write_shards
from modeling_hfr_ame.data.schema import FRAME_COLUMNS, TEXT_FEATURES
from modeling_hfr_ame.data.sentiment_dataset import training_vocabulary
from modeling_hfr_ame.data.stored import check_target, load_stored_dataset, stored_rows, writing_beside
from modeling_hfr_ame.errors import ConfigError, DataError

CLEAN: Final = "clean"
# Other columns that say what the words were, or where they lay.
WORD_COLUMNS: Final = (TEXT_FEATURES, "words", "word_starts_s", "word_ends_s")
_MODALITIES: Final[tuple[Modality, ...]] = ("text", "audio", "vision")


def corrupt_row(
    row: Mapping[str, Any],
    plan: CorruptionPlan,
    statistics: FrameStatistics,
    key: SampleKey,
    vocabulary: VocabularyLike | None = None,
) -> dict[str, Any]:
    """Corrupts one stored row; a pure function of its arguments.

    Args:
        row: A row as `stored_rows` gives it: text a string or None, audio and vision raw (n, D) float32 or None. Not
            modified.
        plan: A recipe, or a training mix.
        statistics: Scale of the raw frames.
        key: Selects the random draws; its `sample_id` is the row's id.
        vocabulary: Words of the training split; needed where `plan.needs_vocabulary`.

    Returns:
        A new row with the same columns. A removed modality is None, a dropped frame exactly zero; damaged words are
        joined by one space. Whatever the plan leaves alone is the same object as in `row`. Where text is damaged or
        removed, the `WORD_COLUMNS` are None.

    Raises:
        DataError: Frames have to be corrupted and have no statistics, or a vocabulary is needed and missing.
    """
    present: list[Modality] = [name for name in _MODALITIES if row[name] is not None]
    drawn = keep_one_modality(plan.draw(key), key, present)
    corrupted = dict(row)
    for name, corruption in drawn.items():
        if corruption is None or corruption.severity == 0.0:
            continue
        if name == "text":
            corrupted.update(dict.fromkeys(column for column in WORD_COLUMNS if column in row))
        if name not in present:
            continue
        if corruption.removes_modality:
            corrupted[name] = None
        elif name == "text":
            words = row["text"].split()
            damaged, _ = corrupt_words(words, corruption, key, vocabulary)
            # What no draw hit keeps its own white space.
            corrupted["text"] = row["text"] if damaged == words else " ".join(damaged)
        else:
            standardised = statistics.standardise(row[name], name)
            damaged_frames = corrupt_frames(standardised, corruption, key, name)
            corrupted[name] = statistics.restore(damaged_frames, standardised, row[name], name)
    return corrupted


@dataclass(frozen=True)
class RowCorruption:
    """Everything that turns the rows of one split into corrupted rows; it pickles.

    Args:
        plan: The recipe.
        statistics: Scale of the raw frames.
        dataset: Name of the dataset, part of the key of each draw.
        split: Name of the split, part of the key.
        seed: Part of the key.
        vocabulary: Words of the training split, where the recipe needs them.
    """

    plan: CorruptionRecipe
    statistics: FrameStatistics
    dataset: str
    split: str
    seed: int
    vocabulary: frozenset[str] | None = None

    def corrupt(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Corrupts one row of `stored_rows`."""
        key = SampleKey(self.dataset, self.split, row["id"], self.seed)
        return corrupt_row(row, self.plan, self.statistics, key, self.vocabulary)

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Corrupts a batch of columns, as `Dataset.with_transform` hands them over.

        Raises:
            DataError: A column that decides about the corruption was taken away.
        """
        missing = [name for name in ("id", *_MODALITIES) if name not in batch]
        if missing:
            raise DataError(
                f"a corrupted row needs its columns id, text, audio and vision, found none of {', '.join(missing)}; "
                "select columns after reading the rows, or write the dataset with write_corrupted"
            )
        rows = [
            self.corrupt({name: _as_stored(name, values[index]) for name, values in batch.items()})
            for index in range(len(batch["id"]))
        ]
        return {name: [row[name] for row in rows] for name in batch}


def _as_stored(name: str, value: Any) -> Any:
    is_frames = name in (*FRAME_COLUMNS, TEXT_FEATURES) and value is not None
    return np.asarray(value, dtype=np.float32) if is_frames else value


class CorruptionSource:
    """A stored dataset that is about to be corrupted.

    Args:
        folder: The stored dataset.

    Attributes:
        manifest: Its manifest.
        splits: Names of its splits in order.

    Raises:
        DataError: The folder is no stored dataset, or its manifest has no frame statistics.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(folder)
        self.splits = tuple(self.manifest["counts"])
        self._statistics = FrameStatistics.from_manifest(self.manifest)
        self._vocabulary: frozenset[str] | None = None

    def plan(self, recipe: CorruptionRecipe, split: str, seed: int) -> RowCorruption:
        """Prepares the corruption of one split.

        Raises:
            DataError: The recipe needs the words of a training split and the dataset has none.
        """
        vocabulary = self._read_vocabulary(recipe.name) if recipe.needs_vocabulary else None
        return RowCorruption(recipe, self._statistics, self.manifest["dataset_name"], split, seed, vocabulary)

    def _read_vocabulary(self, config_name: str) -> frozenset[str]:
        if self._vocabulary is None:
            if TRAINING_SPLIT not in self.splits:
                raise DataError(
                    f"{config_name!r} replaces words by words of the split {TRAINING_SPLIT!r}, found only "
                    f"{', '.join(self.splits)}; leave the config out"
                )
            self._vocabulary = frozenset(training_vocabulary(load_stored_dataset(self.folder, TRAINING_SPLIT)))
        return self._vocabulary


@overload
def load_corrupted(
    folder: str | Path, config_name: str, split: None = None, *, seed: int = 0
) -> datasets.DatasetDict: ...


@overload
def load_corrupted(folder: str | Path, config_name: str, split: str, *, seed: int = 0) -> datasets.Dataset: ...


def load_corrupted(
    folder: str | Path, config_name: str, split: str | None = None, *, seed: int = 0
) -> datasets.Dataset | datasets.DatasetDict:
    """Loads a stored dataset whose rows are corrupted as they are read.

    Args:
        folder: The clean stored dataset.
        config_name: Name of a recipe.
        split: One split's name; None = all splits.
        seed: Seed of the draws.

    Returns:
        The split, or a dict of all splits. A row has the columns of the stored dataset, frames as float32 arrays
        (n, D). The corruption is a transform of the dataset: selecting, shuffling and sorting keep it, `with_format`
        takes it away. `stored_rows` applies it.

    Raises:
        ConfigError: There is no such recipe.
        DataError: The folder can't be read or has no frame statistics, or a training split is needed and missing.
    """
    recipe = CorruptionRecipe.from_name(config_name)
    source = CorruptionSource(folder)
    if split is not None:
        return load_stored_dataset(folder, split).with_transform(source.plan(recipe, split, seed))
    loaded = load_stored_dataset(folder)
    return datasets.DatasetDict(
        {name: rows.with_transform(source.plan(recipe, name, seed)) for name, rows in loaded.items()}
    )


def write_corrupted(
    folder: str | Path, out: str | Path, config_names: Sequence[str], *, seed: int = 0, overwrite: bool = False
) -> Path:
    """Writes corrupted versions of a stored dataset as the configs of one folder.

    `datasets.load_dataset(out, "drop-0.5", split="test")` reads it without this package. The config `clean` is always
    written, comes first and is the default.

    Args:
        folder: The clean stored dataset.
        out: The folder to make: `<config>/<split>-*.parquet`, `README.md`, `manifest.json`.
        config_names: Names of recipes.
        seed: Seed of the draws.
        overwrite: Replace an older folder of corrupted splits.

    Returns:
        The folder.

    Raises:
        ConfigError: There is no recipe of a name, or one is given twice.
        DataError: The folder can't be read or written, or a training split is needed and missing.
    """
    target = Path(out)
    check_target(target, overwrite, manifest_format=CORRUPTED_FORMAT)
    recipes = read_recipes(config_names)
    source = CorruptionSource(folder)
    loaded = load_stored_dataset(folder)
    features = next(iter(loaded.values())).features
    configs: dict[str, dict[str, Any]] = {}
    cards: dict[str, dict[str, CardSplit]] = {}
    with writing_beside(target) as partial:
        for recipe in recipes:
            configs[recipe.name], cards[recipe.name] = {}, {}
            for split, rows in loaded.items():
                corruption = source.plan(recipe, split, seed)
                measures = CorruptionMeasures(recipe, source.manifest["feature_sizes"], corruption.statistics)
                tables = corrupt_tables(rows, corruption, measures)
                files = write_shards(partial, recipe.name, split, tables)
                configs[recipe.name][split] = measures.result()
                cards[recipe.name][split] = CardSplit(files, len(rows))
        manifest = _describe(source, seed, configs)
        manifest["files"] = {
            file: sha256_file(partial / file)
            for splits in cards.values()
            for card in splits.values()
            for file in card.files
        }
        write_manifest(partial, manifest)
        _write_card(partial, source, seed, cards, features)
    return target


def read_recipes(config_names: Sequence[str]) -> list[CorruptionRecipe]:
    """Reads the recipes of a folder of corrupted splits: `clean` first, then the named ones in their order.

    Raises:
        ConfigError: There is no recipe of a name, or two names mean the same one.
    """
    recipes = [CorruptionRecipe.from_name(name) for name in config_names]
    names = [recipe.name for recipe in recipes]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"each config is written once, found {', '.join(repeated)} more than once; name it once")
    return [CorruptionRecipe.from_name(CLEAN), *(recipe for recipe in recipes if recipe.name != CLEAN)]


def corrupt_tables(
    rows: datasets.Dataset, corruption: RowCorruption, measures: CorruptionMeasures | None = None
) -> Iterator[pa.Table]:
    """Corrupts the rows of a loaded split in their order.

    Args:
        rows: Rows of the clean stored dataset.
        corruption: What happens to them.
        measures: Sees each row before and after; None = nobody asks.

    Yields:
        Tables of bounded size with the columns of `rows`.
    """

    def corrupt_each() -> Iterator[dict[str, Any]]:
        for row in stored_rows(rows):
            corrupted = corruption.corrupt(row)
            if measures is not None:
                measures.add(row, corrupted)
            yield corrupted

    frame_columns = [name for name in (*FRAME_COLUMNS, TEXT_FEATURES) if name in rows.features]
    for batch in iterate_batches(corrupt_each()):
        yield make_table(batch, rows.features, frame_columns)


def _describe(source: CorruptionSource, seed: int, configs: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("dataset_name", "builder", "builder_version", "label_range", "feature_sizes", "frame_statistics")
    return {
        "format": CORRUPTED_FORMAT,
        **{name: source.manifest[name] for name in kept},
        "synthetic": is_synthetic(source.manifest),
        "source_manifest_sha256": sha256_file(source.folder / MANIFEST_NAME),
        "protocol_version": PROTOCOL_VERSION,
        "seed": seed,
        "configs": configs,
    }


def _write_card(
    folder: Path,
    source: CorruptionSource,
    seed: int,
    cards: Mapping[str, Mapping[str, CardSplit]],
    features: datasets.Features,
) -> None:
    name = source.manifest["dataset_name"]
    low, high = source.manifest["label_range"]
    lines = [
        f"`{name}` under named corruptions, one config each; `clean` is the original. Protocol version "
        f"{PROTOCOL_VERSION} of HFR-AME, seed {seed}; labels in [{low:g}, {high:g}].",
        "`audio` and `vision` are raw frames x features; null means that the modality is absent, an all-zero frame",
        "that it was not observed. Lost words are `[UNK]`.",
        "`manifest.json` holds the realised shares and ratios and a sha256 of the values of each config and split.",
        "",
        "| config | " + " | ".join(source.splits) + " |",
        "| --- |" + " --- |" * len(source.splits),
        *(
            f"| `{config}` | " + " | ".join(str(splits[split].rows) for split in source.splits) + " |"
            for config, splits in cards.items()
        ),
    ]
    write_card(
        folder,
        cards,
        features,
        title=f"{name} (corrupted)",
        synthetic=is_synthetic(source.manifest),
        description="\n".join(lines),
    )
