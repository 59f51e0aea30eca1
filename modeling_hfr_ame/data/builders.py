"""`datasets` builders over stored datasets: a config is a corruption, a split is a split.

    CmuMosi(folder, "drop-0.5").download_and_prepare() … .as_dataset("test")

They are used in-process; a published dataset is Parquet and needs no builder (`write_corrupted`).

- The cache of `datasets` knows a prepared config by name, version and hash, not by code or content. Here the hash
  covers the source's manifest, the protocol, the seed and this builder's version, so stale data can't come back.
- Any recipe name is a config. A list of ready configs would refuse every other rate.
- Ids are unique in a stored dataset, which `datasets` wouldn't check.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pyarrow as pa
from datasets.builder import Key

from modeling_hfr_ame.corruption import PROTOCOL_VERSION, CorruptionRecipe
from modeling_hfr_ame.data.corrupted_splits import CLEAN, CorruptionSource, corrupt_tables
from modeling_hfr_ame.data.manifest import MANIFEST_NAME, sha256_file
from modeling_hfr_ame.data.stored import load_stored_dataset
from modeling_hfr_ame.errors import DataError

BUILDER_VERSION = "1"
_ROWS_PER_SHARD = 256


@dataclass
class CorruptionConfig(datasets.BuilderConfig):
    """One corruption of one stored dataset.

    Args:
        folder: The clean stored dataset.
        seed: Seed of the draws.
    """

    folder: str = ""
    seed: int = 0


class CorruptedSplits(datasets.ArrowBasedBuilder):
    """Builds any stored dataset under any recipe.

    Args:
        folder: The clean stored dataset.
        config_name: Name of a recipe.
        seed: Seed of the draws.
        cache_dir: Where prepared configs are kept; None = the cache of `datasets`.

    Raises:
        ConfigError: There is no such recipe.
        DataError: The folder is no stored dataset, has no frame statistics, or is another dataset than the class's.
    """

    BUILDER_CONFIG_CLASS = CorruptionConfig
    # Name and label range that the stored dataset must have; None = any.
    stored_name: ClassVar[str | None] = None
    label_range: ClassVar[tuple[float, float] | None] = None

    def __init__(
        self,
        folder: str | Path,
        config_name: str = CLEAN,
        *,
        seed: int = 0,
        cache_dir: str | Path | None = None,
    ) -> None:
        recipe = CorruptionRecipe.from_name(config_name)
        root = Path(folder).resolve()
        source = CorruptionSource(root)
        _check_dataset(source.manifest, self.stored_name, self.label_range)
        identity = [sha256_file(root / MANIFEST_NAME), PROTOCOL_VERSION, seed, BUILDER_VERSION]
        super().__init__(
            cache_dir=None if cache_dir is None else str(cache_dir),
            config_name=recipe.name,
            hash=hashlib.sha256(json.dumps(identity).encode("ascii")).hexdigest()[:32],
            version=f"{PROTOCOL_VERSION}.0.0",
            folder=str(root),
            seed=seed,
        )

    def _info(self) -> datasets.DatasetInfo:
        split = CorruptionSource(self.config.folder).splits[0]
        return datasets.DatasetInfo(features=load_stored_dataset(self.config.folder, split).features)

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        return [
            datasets.SplitGenerator(
                name=split,
                # A list is what `num_proc` divides among processes and `as_streaming_dataset` among shards.
                gen_kwargs={"split": split, "starts": list(range(0, counts["rows"], _ROWS_PER_SHARD))},
            )
            for split, counts in CorruptionSource(self.config.folder).manifest["counts"].items()
        ]

    def _generate_tables(self, split: str, starts: Sequence[int]) -> Iterator[tuple[Key, pa.Table]]:
        recipe = CorruptionRecipe.from_name(self.config.name)
        corruption = CorruptionSource(self.config.folder).plan(recipe, split, self.config.seed)
        rows = load_stored_dataset(self.config.folder, split)
        for shard, start in enumerate(starts):
            chosen = rows.select(range(start, min(start + _ROWS_PER_SHARD, len(rows))))
            for index, table in enumerate(corrupt_tables(chosen, corruption)):
                yield Key(shard, index), table


class CmuMosi(CorruptedSplits):
    """CMU-MOSI from a user's own copy, clean or corrupted."""

    stored_name = "cmu_mosi"
    label_range = (-3.0, 3.0)


class CmuMosei(CorruptedSplits):
    """CMU-MOSEI from a user's own copy, clean or corrupted."""

    stored_name = "cmu_mosei"
    label_range = (-3.0, 3.0)


class ChSims(CorruptedSplits):
    """CH-SIMS from a user's own copy, clean or corrupted."""

    stored_name = "ch_sims"
    label_range = (-1.0, 1.0)


class IctMmmo(CorruptedSplits):
    """ICT-MMMO from a user's own copy, clean or corrupted."""

    stored_name = "ict_mmmo"


def _check_dataset(manifest: dict[str, Any], name: str | None, label_range: tuple[float, float] | None) -> None:
    if name is not None and manifest["dataset_name"] != name:
        raise DataError(
            f"this builder reads the stored dataset {name!r}, found {manifest['dataset_name']!r}; "
            "use CorruptedSplits, or prepare the dataset under that name"
        )
    if label_range is not None and tuple(manifest["label_range"]) != label_range:
        raise DataError(
            f"the labels of {name} lie in {list(label_range)}, found {manifest['label_range']} in its manifest; "
            "prepare the dataset again with its own label_range"
        )
