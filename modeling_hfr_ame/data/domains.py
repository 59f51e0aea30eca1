"""Several datasets as sources, another one as the unseen target: one stored dataset per domain-generalisation setting.

Its `train` and `validation` splits come from the sources, its `test` split is the target's. So every model trains and
is evaluated on it like on any other dataset, and neither training nor selection can see the target.

- Labels of every dataset are mapped to [-3, 3] by their stated range; the scale is part of the manifest's notes.
- Frames must have one width (`strict`); or each feature space gets columns of its own (`project`): the first linear
  layer of a model is then a learned projection per feature space. The columns of other spaces are not finite, which the
  scaler turns into zeros. A target's space that no source has could not be learned, so its frames are left out.
- `oracle` selection takes the target's labelled validation split for selection. It is cheating, says so in the
  dataset's name and in its notes, and exists to show what selection is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import datasets
import numpy as np

from modeling_hfr_ame.data.manifest import MANIFEST_NAME, read_manifest, sha256_file
from modeling_hfr_ame.data.schema import FRAME_COLUMNS
from modeling_hfr_ame.data.stored import load_stored_dataset, stored_rows, write_stored_dataset
from modeling_hfr_ame.errors import ConfigError, DataError

FeatureHarmonisation = Literal["strict", "project"]
Selection = Literal["source_valid", "oracle"]

BUILDER = "domains"
BUILDER_VERSION = "1"
LABEL_RANGE = (-3.0, 3.0)
ORACLE_MARK = "_ORACLE_CHEATING"

# The MOSI/MOSEI/SIMS settings of the benchmark that was released with CASP (zrguo/CASP) and taken over by MMDG-Bench:
# five with one source, two with two. Datasets by the name of their folder.
BENCHMARK_SETTINGS: Mapping[str, tuple[tuple[str, ...], str]] = MappingProxyType(
    {
        "mosei_to_sims": (("mosei",), "sims"),
        "mosi_to_sims": (("mosi",), "sims"),
        "mosi_to_mosei": (("mosi",), "mosei"),
        "sims_to_mosi": (("sims",), "mosi"),
        "sims_to_mosei": (("sims",), "mosei"),
        "mosi_mosei_to_sims": (("mosi", "mosei"), "sims"),
        "mosi_sims_to_mosei": (("mosi", "sims"), "mosei"),
    }
)

Row = dict[str, Any]
_Space = tuple[int, tuple[str, ...]]


@dataclass(frozen=True)
class Domain:
    """A stored dataset in one of the roles.

    Attributes:
        folder: Its folder.
        splits: Role (`train`, `validation`, `test`) to the split that plays it; a role that is left out is played by
            the split of its name.
    """

    folder: Path
    splits: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Domain:
        """Reads `FOLDER` or `FOLDER:train=SPLIT,validation=SPLIT`.

        Raises:
            ConfigError: A role is unknown or has no split.
        """
        folder, separator, roles = text.rpartition(":")
        if not separator or "=" not in roles:
            return cls(Path(text))
        splits = {}
        for part in roles.split(","):
            role, _, split = part.partition("=")
            if role not in ("train", "validation", "test") or not split:
                raise ConfigError(
                    f"a domain is FOLDER or FOLDER:train=SPLIT,validation=SPLIT, found {text!r}; roles are train, "
                    "validation and test"
                )
            splits[role] = split
        return cls(Path(folder), splits)

    @property
    def manifest(self) -> dict[str, Any]:
        """The dataset's manifest."""
        return read_manifest(self.folder)

    @property
    def name(self) -> str:
        """The dataset's name."""
        return str(self.manifest["dataset_name"])

    def split_of(self, role: str) -> str:
        """The split that plays a role.

        Raises:
            DataError: The dataset has no such split.
        """
        split, known = self.splits.get(role, role), self.manifest["counts"]
        if split not in known:
            raise DataError(
                f"{self.name!r} has no split {split!r} for the role {role}, only {', '.join(known)}; name another one, "
                f"for example {self.folder.name}:{role}={next(iter(known))}"
            )
        return split

    def describe(self, roles: Sequence[str]) -> dict[str, Any]:
        """Says what a manifest records of a domain."""
        factor, shift = label_scale(self.manifest["label_range"])
        return {
            "name": self.name,
            "manifest_sha256": sha256_file(self.folder / MANIFEST_NAME),
            "splits": {role: self.split_of(role) for role in roles},
            "label_range": list(self.manifest["label_range"]),
            "label_factor": factor,
            "label_shift": shift,
        }


def find_setting(name: str, root: str | Path) -> tuple[list[Domain], Domain]:
    """Gives sources and target of a benchmark setting.

    Args:
        name: A key of `BENCHMARK_SETTINGS`.
        root: Folder that holds the stored datasets `mosi`, `mosei` and `sims`.

    Raises:
        ConfigError: The setting is unknown.
    """
    if name not in BENCHMARK_SETTINGS:
        raise ConfigError(f"a domain setting is one of {', '.join(BENCHMARK_SETTINGS)}, found {name!r}; choose one")
    sources, target = BENCHMARK_SETTINGS[name]
    return [Domain(Path(root) / source) for source in sources], Domain(Path(root) / target)


def label_scale(label_range: Sequence[float]) -> tuple[float, float]:
    """Gives factor and shift of `factor · (label − shift)`, which maps a range to [-3, 3]: 3 and 0 for [-1, 1]."""
    low, high = (float(value) for value in label_range)
    return LABEL_RANGE[1] / ((high - low) / 2), (high + low) / 2


@dataclass(frozen=True)
class _Layout:
    """Where the frames of one modality go.

    Args:
        width: Of the common frames.
        offsets: First column by feature space.
        left_out: Names of the datasets whose frames are left out.
    """

    width: int
    offsets: Mapping[_Space, int]
    left_out: tuple[str, ...]


def _space_of(domain: Domain, column: str) -> _Space:
    manifest = domain.manifest
    return int(manifest["feature_sizes"][column]), tuple(manifest.get("feature_names", {}).get(column) or ())


def _has(domain: Domain, column: str, roles: Sequence[str]) -> bool:
    counts = domain.manifest["counts"]
    return any(counts[domain.split_of(role)]["present"][column] for role in roles)


def _lay_out(column: str, sources: Sequence[Domain], target: Domain, mode: str, target_roles: Sequence[str]) -> _Layout:
    of_sources = {d.name: _space_of(d, column) for d in sources if _has(d, column, ("train", "validation"))}
    of_target = {target.name: _space_of(target, column)} if _has(target, column, target_roles) else {}
    spaces = list(dict.fromkeys(of_sources.values()))
    if mode == "project":
        starts = np.cumsum([0, *(space[0] for space in spaces)])
        offsets = {space: int(start) for space, start in zip(spaces, starts, strict=False)}
        left_out = tuple(name for name, space in of_target.items() if space not in offsets)
        return _Layout(max(1, int(starts[-1])), offsets, left_out)
    found = of_sources | of_target
    if len(set(found.values())) > 1:
        widths = ", ".join(f"{name} {space[0]}" for name, space in found.items())
        same_width = len({space[0] for space in found.values()}) == 1
        what = "the same columns" if same_width else "one width"
        raise DataError(
            f"{column} frames of all domains must have {what}, found {widths}{' with other names' * same_width}; "
            "extract them with one recipe, or take feature_harmonisation project, which is another protocol"
        )
    space = next(iter(found.values()), _space_of(target, column))
    return _Layout(space[0], {space: 0}, ())


def _placed(frames: Any, space: _Space, layout: _Layout) -> Any:
    if frames is None or space not in layout.offsets:
        return None
    if layout.width == space[0]:
        return frames
    wide = np.full((len(frames), layout.width), np.nan, dtype=np.float32)
    # A frame that could not be observed stays exactly zero as a whole.
    wide[~np.asarray(frames).any(axis=1)] = 0.0
    start = layout.offsets[space]
    wide[:, start : start + space[0]] = frames
    return wide


def prepare_domains(
    sources: Sequence[Domain],
    target: Domain,
    out: str | Path,
    *,
    features: FeatureHarmonisation = "strict",
    selection: Selection = "source_valid",
    overwrite: bool = False,
    say: Callable[[str], Any] | None = None,
) -> Path:
    """Writes the stored dataset of one setting.

    Args:
        sources: Datasets to train on and to select with, at least one.
        target: The unseen dataset; only its test split is used, and with `oracle` its validation split.
        out: Folder of the new dataset.
        features: `strict`, or `project` where widths differ.
        selection: `source_valid`, or `oracle`, which selects on the target and is cheating.
        overwrite: Replace an existing stored dataset.
        say: Gets the notes, one line at a time. None = silence.

    Returns:
        The folder.

    Raises:
        ConfigError: A mode is unknown.
        DataError: There is no source, the target is one of them, a split is missing, widths differ, or no row is left.
    """
    if features not in ("strict", "project") or selection not in ("source_valid", "oracle"):
        raise ConfigError(
            f"features is strict or project and selection source_valid or oracle, found {features!r} and {selection!r}"
        )
    names = [source.name for source in sources]
    if not names or len({*names, target.name}) != len(names) + 1:
        raise DataError(
            f"domain generalisation needs one or more sources and another dataset as target, found sources "
            f"{names} and target {target.name!r}; an unseen domain can't be a source"
        )
    target_roles = ("validation", "test") if selection == "oracle" else ("test",)
    layouts = {column: _lay_out(column, sources, target, features, target_roles) for column in FRAME_COLUMNS}
    selecting = [target] if selection == "oracle" else list(sources)
    parts = {"train": list(sources), "validation": selecting, "test": [target]}
    name = "_".join(names) + f"_to_{target.name}" + (ORACLE_MARK if selection == "oracle" else "")
    left_out: dict[str, int] = {}
    described: dict[str, Any] = {
        "setting": name,
        "sources": [source.describe(("train", "validation")) for source in sources],
        "target": target.describe(target_roles),
        "features": features,
        "selection": selection,
        "rows_without_modality": left_out,
    }
    notes = _notes(described, layouts)
    described["notes"] = notes
    for note in notes:
        if say is not None:
            say(note)
    manifest = {
        "builder": BUILDER,
        "builder_version": BUILDER_VERSION,
        "dataset_name": name,
        "label_range": list(LABEL_RANGE),
        "domains": described,
    }
    numbers = {domain.name: number for number, domain in enumerate([*sources, target])}
    return write_stored_dataset(
        out,
        {role: _rows_of(role, domains, layouts, numbers, left_out) for role, domains in parts.items()},
        manifest,
        feature_sizes={column: layout.width for column, layout in layouts.items()},
        extra_features={"domain": datasets.Value("string"), "domain_id": datasets.Value("int64")},
        overwrite=overwrite,
    )


def _rows_of(
    role: str,
    domains: Sequence[Domain],
    layouts: Mapping[str, _Layout],
    numbers: Mapping[str, int],
    left_out: dict[str, int],
) -> Iterator[Row]:
    num_rows = 0
    for domain in domains:
        name, (factor, shift) = domain.name, label_scale(domain.manifest["label_range"])
        spaces = {column: _space_of(domain, column) for column in FRAME_COLUMNS}
        for row in stored_rows(load_stored_dataset(domain.folder, domain.split_of(role))):
            frames = {column: _placed(row.get(column), spaces[column], layouts[column]) for column in FRAME_COLUMNS}
            if row["text"] is None and all(part is None for part in frames.values()):
                left_out[role] = left_out.get(role, 0) + 1
                continue
            num_rows += 1
            label = min(max(factor * (row["label"] - shift), LABEL_RANGE[0]), LABEL_RANGE[1])
            identity = {"id": f"{name}/{row['id']}", "video_id": row["video_id"], "clip_id": row["clip_id"]}
            where = {"domain": name, "domain_id": numbers[name]}
            yield {**identity, "text": row["text"], **frames, "label": label, **where}
    if not num_rows:
        raise DataError(
            f"the {role} split needs rows with a modality that the sources have, found none in "
            f"{', '.join(domain.name for domain in domains)}; choose domains that share text, audio or vision"
        )


def _notes(described: Mapping[str, Any], layouts: Mapping[str, _Layout]) -> list[str]:
    notes = []
    for role, domains in (("source", described["sources"]), ("target", [described["target"]])):
        for domain in domains:
            splits = ", ".join(f"{part} = its {split}" for part, split in domain["splits"].items())
            shift = f" · (label − {domain['label_shift']:g})" if domain["label_shift"] else " · label"
            notes.append(
                f"{role} {domain['name']}: labels {domain['label_range']} scaled to [-3, 3] by "
                f"{domain['label_factor']:g}{shift}; {splits}"
            )
    if described["features"] == "project":
        notes.append("features: a learned input projection per feature space, not the benchmark's one recipe for all")
        notes += [
            f"features: the {column} frames of {name} are left out, since no source has their feature space"
            for column, layout in layouts.items()
            for name in layout.left_out
        ]
    if described["selection"] == "oracle":
        notes.append("CHEATING: the checkpoint is selected on labelled data of the target (oracle)")
    else:
        notes.append("selection on validation rows of the sources only")
    notes.append("constant rows are the sources' mean and median label; ERM is --model midg --variant erm")
    return notes
