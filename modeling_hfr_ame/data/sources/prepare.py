"""From any source to a stored dataset: find the layout out, say what was found, convert, explain the counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from modeling_hfr_ame.data.manifest import read_manifest, sha256_file
from modeling_hfr_ame.data.sources import (
    csd,
    extracted,
    mfn_hdf5,
    npz_ragged,
    npz_splits,
    pickles,
    tables,
    utterance_npz,
)
from modeling_hfr_ame.data.sources.published import KNOWN_FILES, PUBLISHED_COUNTS, compare_counts
from modeling_hfr_ame.data.sources.source import RULES, RuleCounts, SourceDataset, SourceOptions
from modeling_hfr_ame.data.stored import check_target, write_stored_dataset
from modeling_hfr_ame.errors import DataError

BUILDER_VERSION = "1"
CLIPS_LAYOUT = "mosi-clips"


class _Reader(Protocol):
    def recognise(self, path: Path) -> str | None: ...

    def open_source(self, path: Path, options: SourceOptions) -> SourceDataset: ...


# The first reader that recognises a source opens it; the more special one comes first.
READERS: tuple[_Reader, ...] = (csd, mfn_hdf5, utterance_npz, npz_ragged, npz_splits, pickles, extracted, tables)


# Which layouts an option means something to; elsewhere it would be passed over in silence.
_LAYOUTS_OF_OPTION = {
    "splits": (csd.LAYOUT, npz_ragged.LAYOUT, utterance_npz.LAYOUT),
    "labels": (csd.LAYOUT, extracted.LAYOUT),
    "align": (csd.LAYOUT,),
}


@dataclass(frozen=True)
class PreparedSource:
    """What a conversion did.

    Attributes:
        folder: The stored dataset.
        layout: The source's layout.
        known_files: File name to published name, for files recognised by their sha256.
        count_notes: How the source's counts relate to the published ones.
        rules: Rule name to number of cases.
    """

    folder: Path
    layout: str
    known_files: dict[str, str]
    count_notes: list[str]
    rules: dict[str, int]


def recognise_source(path: str | Path) -> str:
    """Names the layout of a source without reading it.

    Args:
        path: A file or folder.

    Returns:
        The layout; `mosi-clips` for a folder of video clips. A pickle's exact layout shows only once it is opened.

    Raises:
        DataError: There is nothing at the path, or nothing that is known.
    """
    source = Path(path)
    if not source.exists():
        raise DataError(f"a source must exist, found nothing at {str(path)!r}; check the path")
    # Clips come first: their label table often lies beside them.
    if source.is_dir() and any(next(iter(source.glob(pattern)), None) for pattern in ("*.mp4", "*/*.mp4")):
        return CLIPS_LAYOUT
    for reader in READERS:
        name = reader.recognise(source)
        if name is not None:
            return name
    if source.is_dir():
        inside = [p for p in sorted(source.iterdir()) if any(reader.recognise(p) for reader in READERS)]
        if inside:
            raise DataError(
                f"a source is one dataset, found {source.name!r} with {', '.join(p.name for p in inside[:8])} in it; "
                f"name one of them, such as {str(inside[0])!r}"
            )
    found = ", ".join(sorted({p.suffix or p.name for p in source.iterdir()})[:8]) if source.is_dir() else source.suffix
    raise DataError(
        "a source is a feature pickle, .csd files, MFN's .h5 files, an .npz file, a CSV or TSV table, a folder of "
        "COVAREP's .mat or OpenFace's .csv files, or a folder of .mp4 clips with a label table; "
        f" found {found or 'an empty folder'} at {source.name!r}; convert it, or call "
        "write_stored_dataset with rows of your own"
    )


def open_source(path: str | Path, options: SourceOptions | None = None) -> SourceDataset:
    """Opens a source of any layout but clips.

    Raises:
        DataError: The layout isn't known, or the source breaks its rules.
    """
    source = Path(path)
    if recognise_source(source) == CLIPS_LAYOUT:
        raise DataError(
            f"a folder of clips is converted by prepare_mosi_clips with its label table, found clips in {source.name!r}"
        )
    reader = next(reader for reader in READERS if reader.recognise(source) is not None)
    opened = reader.open_source(source, options or SourceOptions())
    for name, layouts in _LAYOUTS_OF_OPTION.items():
        if getattr(options, name, None) is not None and opened.layout not in layouts:
            raise DataError(f"{name} is for {', '.join(layouts)}, {source.name!r} is {opened.layout}; leave {name} out")
    return opened


def prepare_source(
    source: str | Path,
    out: str | Path,
    *,
    options: SourceOptions | None = None,
    overwrite: bool = False,
    say: Callable[[str], Any] | None = None,
) -> PreparedSource:
    """Converts a source of any known layout into a stored dataset.

    Args:
        source: A file or folder.
        out: Folder of the stored dataset.
        options: What the user knows better than the file.
        overwrite: Replace an existing stored dataset.
        say: Gets one line at a time: the layout first, then files, counts, rules. None = silence.

    Returns:
        What was done.

    Raises:
        DataError: The source or the folder can't be used.
    """
    say = say or (lambda line: None)
    check_target(out, overwrite)
    opened = open_source(source, options)
    say(f"layout: {opened.layout}; dataset {opened.dataset_name}, labels in {list(opened.label_range)}")
    if (options or SourceOptions()).dataset_name is None and opened.dataset_name not in PUBLISHED_COUNTS:
        say(
            f"name: {opened.dataset_name} is no published dataset's; a copy of {', '.join(PUBLISHED_COUNTS)} should "
            "have that name (--name), by which counts and corruption go"
        )
    hashes = {_relative(file, source): sha256_file(file) for file in opened.files}
    known = {name: KNOWN_FILES[digest] for name, digest in hashes.items() if digest in KNOWN_FILES}
    for name in hashes:
        say(f"file: {name}" + (f" is {known[name]}" if name in known else ""))
    notes = compare_counts(opened.dataset_name, opened.counts or {})
    for note in notes:
        say(f"count: {note}")
    rules = RuleCounts()
    rule_report: dict[str, int] = {}
    manifest = {
        "dataset_name": opened.dataset_name,
        "builder": f"source:{opened.layout}",
        "builder_version": BUILDER_VERSION,
        "label_range": list(opened.label_range),
        "sources": {name: {"sha256": digest, "known_as": known.get(name)} for name, digest in hashes.items()},
        "rows_in_source": opened.counts,
        "published_counts": notes,
        # Filled while rows are written; the manifest comes last.
        "rules": rule_report,
        "details": opened.details,
        **({"feature_names": opened.feature_names} if opened.feature_names else {}),
    }

    def rows_of(split: str) -> Any:
        yield from opened.splits[split](rules)
        rule_report.update({rule: rules[rule] for rule in RULES if rule in rules})

    folder = write_stored_dataset(
        out,
        {split: rows_of(split) for split in opened.splits},
        manifest,
        feature_sizes=opened.feature_sizes,
        extra_features=opened.extra_features,
        overwrite=overwrite,
    )
    stored = read_manifest(folder)
    for split, counts in stored["counts"].items():
        present = ", ".join(f"{name} {number}" for name, number in counts["present"].items())
        say(f"stored: {split} {counts['rows']} rows ({present})")
    for rule, number in rule_report.items():
        say(f"rule {rule}: {number} {RULES[rule]}")
    return PreparedSource(folder, opened.layout, known, notes, dict(rule_report))


def _relative(file: Path, source: str | Path) -> str:
    root = Path(source)
    inside = root.is_dir() and file.is_relative_to(root)
    return file.relative_to(root).as_posix() if inside else file.name
