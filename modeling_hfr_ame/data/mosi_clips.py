"""Builder of a stored dataset from a folder of raw clips and a label table, as CMU-MOSI comes.

- Every row of the table becomes a row: without a clip, or with one that can't be decoded, audio and vision are absent.
- The result depends on the clips, the table and the options, not on the number of workers or on a crash in between.
- Videos can be held out of training and of model selection as a whole, which measures new speakers.

Not covered: word times, and a transcript made from the audio.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from rich.console import Console
from rich.progress import track

from modeling_hfr_ame.data.clip_features import ClipFeatureSpec, ClipResult, extract_clips
from modeling_hfr_ame.data.label_table import SPLIT_OF_MODE, UNIMODAL_LABELS, LabelRow, read_label_table
from modeling_hfr_ame.data.manifest import sha256_file
from modeling_hfr_ame.data.stored import check_target, write_stored_dataset
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.hub_backbones import NATIVE_BACKEND
from modeling_hfr_ame.media import MediaLimits

BUILDER_VERSION = "1"
LABEL_RANGE = (-3.0, 3.0)
HELD_OUT_SPLIT = "held_out"
_CLIP_SUFFIX = ".mp4"

logger = logging.getLogger(__name__)


def prepare_mosi_clips(
    clips: str | Path | None,
    labels: str | Path,
    out: str | Path,
    *,
    workers: int = 2,
    audio_frame_rate_hz: float = 10.0,
    video_frame_rate_hz: float = 5.0,
    audio_backend: str = NATIVE_BACKEND,
    vision_backend: str = NATIVE_BACKEND,
    exclude_videos: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = True,
    limits: MediaLimits | None = None,
    dataset_name: str = "mosi_clips",
    cache: str | Path | None = None,
) -> Path:
    """Builds a stored dataset from raw clips and a label table.

    Args:
        clips: Folder with `<video_id>_<clip_id>.mp4` or `<video_id>/<clip_id>.mp4`, in itself or in its
            `segmented_video` folder; None = text only.
        labels: CSV as `read_label_table` takes it, labels in [-3, 3].
        out: Folder of the stored dataset.
        workers: Processes that decode; 1 = this process.
        audio_frame_rate_hz: Audio feature frames per second.
        video_frame_rate_hz: Vision feature frames per second.
        audio_backend: `native`, or `hf:<id or path>` of a Hub audio model whose states are the features.
        vision_backend: Likewise for vision; the model sees the face of each picture.
        exclude_videos: Videos whose training and validation rows go to the split `held_out`; their test rows stay in
            test. The column `fold` keeps the table's own mode of every row.
        overwrite: Replace an existing stored dataset.
        progress: Show a progress bar on standard error.
        limits: What is refused while decoding; None = the defaults of `MediaLimits`.
        dataset_name: Name in reports and in the keys of corruption draws.
        cache: Folder of the feature cache; None = `.<out>-features` beside `out`. It stays, so that building again with
            other options is quick; it may be deleted at any time.

    Returns:
        The folder.

    Raises:
        DataError: The table, a label or the target folder can't be used, no clip belongs to any row, or an excluded
            video is not in the table.
        InputError: OpenCV is missing.
        ConfigError: A backend can't be used.
    """
    target = Path(out)
    check_target(target, overwrite)
    table = read_label_table(labels)
    _check_excluded(table, exclude_videos)
    spec = ClipFeatureSpec(
        audio_frame_rate_hz, video_frame_rate_hz, limits or MediaLimits(), audio_backend, vision_backend
    )
    files, unlabelled = ({}, []) if clips is None else find_clips(clips, table)
    cache_folder = Path(cache) if cache is not None else target.parent / f".{target.name}-features"
    results = _extract(files, spec, cache_folder, workers, progress) if files else {}
    _report(files, results, unlabelled)

    rows = [row for row in table if row.text is not None or (row.id in results and results[row.id].entry)]
    splits: dict[str, list[LabelRow]] = {split: [] for split in (*SPLIT_OF_MODE.values(), HELD_OUT_SPLIT)}
    for row in rows:
        splits[_split_of(row, exclude_videos)].append(row)
    manifest = {
        "dataset_name": dataset_name,
        "builder": "mosi_clips",
        "builder_version": BUILDER_VERSION,
        "label_range": list(LABEL_RANGE),
        "sources": {
            "labels": {"file": Path(labels).name, "rows": len(table), "sha256": sha256_file(labels)},
            "clips": {"files": len(files), "sha256": _hash_of_clips(files, results)},
        },
        "feature_spec": spec.describe(),
        "feature_names": spec.feature_names,
        "exclude_videos": sorted(set(exclude_videos)),
        "folds": dict(sorted(Counter(row.mode for row in rows).items())),
        "clips": _summarise(results),
        "rows_without_clip": sum(row.id not in files for row in table),
        "rows_left_out": sorted({row.id for row in table} - {row.id for row in rows}),
        "clips_without_row": unlabelled,
        "failed": _failures(files, results),
    }
    return write_stored_dataset(
        target,
        {split: _stored(members, results) for split, members in splits.items() if members},
        manifest,
        feature_sizes={modality: len(names) for modality, names in spec.feature_names.items()},
        extra_features=_extra_features(table),
        overwrite=overwrite,
    )


@dataclass(frozen=True)
class ClipName:
    """What a clip's file is named after.

    Attributes:
        id: Id of the stored row.
        video_id: The video.
        clip_id: The clip within the video.
    """

    id: str
    video_id: str
    clip_id: str


def find_clips(folder: str | Path, table: Sequence[LabelRow] | Sequence[ClipName]) -> tuple[dict[str, Path], list[str]]:
    """Finds the clip of each row.

    Args:
        folder: As `prepare_mosi_clips` takes it.
        table: The rows, or the names of their clips.

    Returns:
        Clips by row id, for the rows that have one, and the names of the clips that no row names.

    Raises:
        DataError: The folder is missing, holds two clips of one row, or holds no clip of any row.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"clips must be a folder, found none at {str(folder)!r}; pass None for a text-only dataset")
    row_id_of = {f"{row.video_id}_{row.clip_id}": row.id for row in table}
    found: dict[str, Path] = {}
    unlabelled = []
    for path, name in _clips_in(root):
        row_id = row_id_of.get(name)
        if row_id is None:
            unlabelled.append(path.relative_to(root).as_posix())
        elif row_id in found:
            names = [clip.relative_to(root).as_posix() for clip in (found[row_id], path)]
            raise DataError(f"a row has one clip, found {names[0]} and {names[1]} for {row_id!r}; remove one of them")
        else:
            found[row_id] = path
    if not found:
        raise DataError(
            f"clips are named <video_id>_<clip_id>{_CLIP_SUFFIX} or <video_id>/<clip_id>{_CLIP_SUFFIX}, found none of "
            f"the {len(table)} rows' clips in {str(folder)!r} ({len(unlabelled)} other clips); check the folder, or "
            "pass None for a text-only dataset"
        )
    return found, sorted(unlabelled)


def _clips_in(root: Path) -> Iterator[tuple[Path, str]]:
    """Yields every clip in the known places with its `<video_id>_<clip_id>` name."""
    for base in (root, root / "segmented_video"):
        for path in sorted(base.glob(f"*{_CLIP_SUFFIX}")):
            yield path, path.stem
        for path in sorted(base.glob(f"*/*{_CLIP_SUFFIX}")):
            if path.parent != root / "segmented_video":
                yield path, f"{path.parent.name}_{path.stem}"


def _check_excluded(table: Sequence[LabelRow], exclude_videos: Sequence[str]) -> None:
    known = {row.video_id for row in table}
    if unknown := sorted(set(exclude_videos) - known):
        raise DataError(
            f"exclude_videos must name videos of the label table, found {', '.join(unknown)} in none of its "
            f"{len(table)} rows; correct the names"
        )


def _split_of(row: LabelRow, exclude_videos: Sequence[str]) -> str:
    if row.video_id in exclude_videos and row.mode != "test":
        return HELD_OUT_SPLIT
    return SPLIT_OF_MODE[row.mode]


def _extract(
    files: dict[str, Path], spec: ClipFeatureSpec, cache: Path, workers: int, progress: bool
) -> dict[str, ClipResult]:
    results = extract_clips(files, spec, cache, workers=workers)
    if not progress:
        return dict(results)
    return dict(track(results, "clips", total=len(files), console=Console(stderr=True)))


def _report(files: dict[str, Path], results: dict[str, ClipResult], unlabelled: Sequence[str]) -> None:
    """Says what the dataset lacks; the manifest says it too."""
    for failed in _failures(files, results):
        logger.warning("clip failed, its row has neither audio nor vision: %s", failed["reason"])
    if unlabelled:
        logger.warning("clips without a row in the label table (%d): %s", len(unlabelled), ", ".join(unlabelled))


def _failures(files: dict[str, Path], results: dict[str, ClipResult]) -> list[dict[str, str]]:
    return [
        {"id": row_id, "file": path.name, "reason": str(results[row_id].failure)}
        for row_id, path in sorted(files.items())
        if results[row_id].failure is not None
    ]


def _summarise(results: dict[str, ClipResult]) -> dict[str, Any]:
    pictures = sum(result.num_pictures for result in results.values())
    faceless = sum(result.num_faceless for result in results.values())
    return {
        "audio": dict(sorted(Counter(result.audio_state for result in results.values()).items())),
        "vision": dict(sorted(Counter(result.vision_state for result in results.values()).items())),
        "without_face": sum(0 < result.num_pictures == result.num_faceless for result in results.values()),
        "pictures": pictures,
        "no_face_share": round(faceless / pictures, 6) if pictures else None,
    }


def _hash_of_clips(files: dict[str, Path], results: dict[str, ClipResult]) -> str | None:
    """One hash over ids and contents of all clips; None without clips."""
    if not files:
        return None
    lines = "".join(f"{row_id} {results[row_id].sha256}\n" for row_id in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def _stored(rows: Sequence[LabelRow], results: dict[str, ClipResult]) -> Iterator[dict[str, Any]]:
    for row in rows:
        features = results[row.id].load() if row.id in results else None
        yield {
            "id": row.id,
            "video_id": row.video_id,
            "clip_id": row.clip_id,
            "text": row.text,
            "audio": None if features is None else features.audio,
            "vision": None if features is None else features.vision,
            "label": row.label,
            "fold": row.mode,
            **({"annotation": row.annotation} if row.annotation is not None else {}),
            **row.unimodal_labels,
        }


def _extra_features(table: Sequence[LabelRow]) -> dict[str, Any]:
    columns: dict[str, Any] = {"fold": datasets.Value("string")}
    if any(row.annotation is not None for row in table):
        columns["annotation"] = datasets.Value("string")
    for name in UNIMODAL_LABELS.values():
        if any(name in row.unimodal_labels for row in table):
            columns[name] = datasets.Value("float64")
    return columns
