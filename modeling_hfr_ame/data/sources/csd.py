"""A folder of computational sequences (.csd) of the CMU-MultimodalSDK, as CMU-MOSI and CMU-MOSEI come.

- The label sequence gives the segments. Published clip ids count them from 1, so segment i becomes clip i + 1.
- Words whose midpoint lies in a segment are its text; audio and vision frames likewise, as many as there are. On
  request frames are averaged per word instead.
- Sequences that were aligned to the labels beforehand have the keys `video_id[i]`; their rows are taken as they are.
- A segment whose interval has no length holds neither words nor frames and is left out (CMU-MOSI has one, which is why
  loaders that align on intervals count 1,283 training segments instead of 1,284).
- The files hold no folds. Without a table of splits everything goes to one split, `unsplit`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np

from modeling_hfr_ame.data.sources.csd_alignment import SegmentWords, average_per_word, select_rows, select_words
from modeling_hfr_ame.data.sources.csd_file import Csd, CsdVideo, read_csd, split_segment_key
from modeling_hfr_ame.data.sources.fold_table import FoldTable, read_fold_table
from modeling_hfr_ame.data.sources.hdf5 import is_hdf5
from modeling_hfr_ame.data.sources.source import (
    WITHOUT_FOLDS,
    Row,
    RuleCounts,
    SourceDataset,
    SourceOptions,
    split_row_id,
    without_padding,
)
from modeling_hfr_ame.errors import DataError

LAYOUT = "csd"
EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
_SUFFIX = ".csd"
# The first name found in the root name, else in the file name, tells what a sequence is. Word vectors come before
# words, because their names hold both.
_ROLES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("labels", ("label",)),
    ("text_features", ("wordvector", "glove", "bert")),
    ("words", ("words",)),
    ("audio", ("covarep", "opensmile", "acoustic", "audio")),
    ("vision", ("facet", "openface", "visual", "vision")),
)
_FRAME_ROLES = ("audio", "vision", "text_features")
_WORD_COLUMNS = {
    "words": datasets.List(datasets.Value("string")),
    "word_starts_s": datasets.List(datasets.Value("float64")),
    "word_ends_s": datasets.List(datasets.Value("float64")),
}


@dataclass(frozen=True)
class _Segment:
    """One labelled interval. `key` is its name in aligned sequences, and the video's name in others."""

    video_id: str
    clip_id: str
    key: str
    start_s: float
    end_s: float
    labels: tuple[float, ...]


def recognise(path: Path) -> str | None:
    """`csd` for a folder that holds .csd files, or one such file."""
    if path.is_dir():
        return LAYOUT if _files_in(path) else None
    return LAYOUT if path.suffix.lower() == _SUFFIX and is_hdf5(path) else None


def open_source(path: Path, options: SourceOptions) -> SourceDataset:
    """Opens a folder of sequences, or the folder around a label sequence.

    Args:
        path: Folder with one label sequence and at most one sequence of words, word vectors, audio and vision each; or
            the label sequence itself.
        options: `labels` names the label sequence where the folder holds several; `splits` is a table as
            `read_fold_table` takes it; with `align="words"` there is one frame for each word, exactly zero where none
            lies in it.

    Returns:
        Rows with `start_s` and `end_s` in seconds, and with `words`, `word_starts_s`, `word_ends_s` where there is a
        sequence of words; six emotions in [0, 3] where labels have seven columns.

    Raises:
        DataError: The label sequence is missing, two sequences claim one place, sequences aligned and not aligned are
            mixed, or a file is damaged.
    """
    folder, label_file = (path, options.labels) if path.is_dir() else (path.parent, path)
    by_role, unused = _assign(folder, label_file)
    labels = by_role["labels"]
    _check_kinds(by_role, options.align)
    if "words" in by_role and not options.keep_text_features and "text_features" in by_role:
        unused.append(by_role.pop("text_features").path.name)
    segments = _read_segments(labels)
    folds = None if options.splits is None else read_fold_table(options.splits)
    by_split = _split(segments, folds, options.splits)
    reader = _SegmentReader(by_role, options.align)
    return SourceDataset(
        layout=LAYOUT,
        dataset_name=options.dataset_name or _dataset_name(labels),
        label_range=options.label_range or (-3.0, 3.0),
        # The layout needs widths even where there is no sequence and every row lacks the modality.
        feature_sizes={"audio": 1, "vision": 1}
        | {role: by_role[role].width for role in _FRAME_ROLES if role in by_role},
        splits={split: reader.bind(members) for split, members in by_split.items()},
        files=sorted(sequence.path for sequence in by_role.values()),
        extra_features={
            "start_s": datasets.Value("float64"),
            "end_s": datasets.Value("float64"),
            **({name: datasets.Value("float64") for name in EMOTIONS} if labels.width == 7 else {}),
            **(_WORD_COLUMNS if "words" in by_role else {}),
        },
        counts={split: len(members) for split, members in by_split.items()},
        details={
            "sequences": {role: sequence.root_name for role, sequence in by_role.items()},
            "files_not_used": sorted(unused),
            "aligned_files": labels.is_aligned,
            "frames_per_word": options.align == "words",
            "folds": "from a table of splits" if folds is not None else "none: a .csd file has no folds",
            "segments_without_split": len(segments) - sum(len(members) for members in by_split.values()),
        },
    )


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"*{_SUFFIX}") if is_hdf5(path))


def _assign(folder: Path, label_file: Path | None) -> tuple[dict[str, Csd], list[str]]:
    """Gives each sequence its role; the names of files without one come second."""
    by_role: dict[str, Csd] = {}
    unused = []
    if label_file is not None:
        if label_file.suffix.lower() != _SUFFIX:
            raise DataError(
                f"the labels of .csd files are a .csd file, found {label_file.name}; give a table as splits instead, "
                "if it is the folds that are needed"
            )
        by_role["labels"] = read_csd(label_file)
    for file in _files_in(folder):
        if label_file is not None and file.resolve() == label_file.resolve():
            continue
        sequence = read_csd(file)
        role = _role_of(sequence)
        if role is None or (role == "labels" and label_file is not None):
            unused.append(file.name)
        elif role in by_role:
            raise DataError(
                f"one sequence gives {role}, {by_role[role].path.name} and {file.name} both do; "
                "move one of them out of the folder"
            )
        else:
            by_role[role] = sequence
    if "labels" not in by_role:
        found = ", ".join(sequence.path.name for sequence in by_role.values())
        raise DataError(
            f"a folder of .csd files needs the label sequence, which gives the segments; found {found or 'none'}; "
            "add the file with the opinion labels, or name it as labels"
        )
    return by_role, unused


def _role_of(sequence: Csd) -> str | None:
    for name in (sequence.root_name, sequence.path.stem):
        letters = re.sub(r"[^a-z]", "", name.lower())
        for role, marks in _ROLES:
            if any(mark in letters for mark in marks):
                return role
    return None


def _check_kinds(by_role: Mapping[str, Csd], align: str | None) -> None:
    labels = by_role["labels"]
    if labels.width not in (1, 7) or labels.holds_words:
        raise DataError(
            f"labels have one column (sentiment) or seven (sentiment and six emotions) of numbers, "
            f"{labels.path.name} has {labels.width}{' of words' if labels.holds_words else ''}; "
            "name the right file as labels"
        )
    for role, sequence in by_role.items():
        if sequence.holds_words != (role == "words"):
            raise DataError(
                f"{sequence.path.name} looks like {role} by its name and holds "
                f"{'words' if sequence.holds_words else 'numbers'}; rename it or move it out of the folder"
            )
        if sequence.is_aligned != labels.is_aligned:
            kinds = {True: "segments (video_id[i])", False: "videos"}
            raise DataError(
                f"all sequences of a folder have the same kind of keys, {labels.path.name} has "
                f"{kinds[labels.is_aligned]} and {sequence.path.name} has {kinds[sequence.is_aligned]}, such as "
                f"{sequence.keys[0]!r}; use files of one export"
            )
    if align == "words" and "words" not in by_role:
        raise DataError(
            f"frames are averaged per word where there is a sequence of words, found {', '.join(by_role)}; add it or "
            "keep the frames as they are"
        )


def _dataset_name(labels: Csd) -> str:
    for name in (labels.metadata.get("dataset name"), labels.path.stem):
        match = re.search(r"cmu[-_ ]?(mosei|mosi)", name.lower()) if isinstance(name, str) else None
        if match:
            return f"cmu_{match[1]}"
    return LAYOUT


def _read_segments(labels: Csd) -> list[_Segment]:
    segments = []
    with labels.reading() as read:
        for key in labels.keys:
            video = read(key)
            assert video is not None
            aligned = split_segment_key(key) if labels.is_aligned else None
            if aligned is not None and len(video.features) != 1:
                raise DataError(
                    f"an aligned label sequence has one row per segment, {labels.path.name} has "
                    f"{len(video.features)} for {key!r}; use the labels that the other files were aligned to"
                )
            for row, (start_s, end_s) in enumerate(video.intervals.tolist()):
                video_id, index = aligned or (key, row)
                values = tuple(float(value) for value in video.features[row])
                segments.append(_Segment(video_id, str(index + 1), key, start_s, end_s, values))
    if not segments:
        raise DataError(f"a label sequence needs at least one segment, {labels.path.name} has none; check the file")
    return segments


def _split(segments: Sequence[_Segment], folds: FoldTable | None, table: Path | None) -> dict[str, list[_Segment]]:
    by_split: dict[str, list[_Segment]] = {}
    for segment in segments:
        split = WITHOUT_FOLDS if folds is None else folds.find(segment.video_id, segment.clip_id)
        if split is not None:
            by_split.setdefault(split, []).append(segment)
    if not by_split:
        raise DataError(
            f"a table of splits must name segments of the source, {table.name if table else 'it'} names none of "
            f"{len(segments)}, such as video {segments[0].video_id!r} clip {segments[0].clip_id!r}; check its ids"
        )
    order = ("train", "validation", "test", WITHOUT_FOLDS)
    return {split: by_split[split] for split in order if split in by_split}


class _SegmentReader:
    """Makes the rows of segments; holds each sequence's current video, because segments come video by video."""

    def __init__(self, by_role: Mapping[str, Csd], align: str | None) -> None:
        self._sequences = {role: sequence for role, sequence in by_role.items() if role != "labels"}
        self._frame_roles = [role for role in _FRAME_ROLES if role in by_role]
        self._has_emotions = by_role["labels"].width == 7
        self._aligned = by_role["labels"].is_aligned
        self._per_word = align == "words"

    def bind(self, segments: Sequence[_Segment]) -> Callable[[RuleCounts], Iterator[Row]]:
        """Gives the function that makes the rows of some segments."""

        def rows(rules: RuleCounts) -> Iterator[Row]:
            with ExitStack() as stack:
                read = {role: stack.enter_context(sequence.reading()) for role, sequence in self._sequences.items()}
                key, videos = None, {}
                for segment in segments:
                    if segment.key != key:
                        key, videos = segment.key, {role: reader(segment.key) for role, reader in read.items()}
                    row = self._make_row(segment, videos, rules)
                    if row is not None:
                        yield row

        return rows

    def _make_row(self, segment: _Segment, videos: Mapping[str, CsdVideo | None], rules: RuleCounts) -> Row | None:
        if np.isnan(segment.labels[0]):
            rules.add("missing_label_dropped")
            return None
        rules.add("segment_ids_shifted")
        rules.add("empty_interval", int(segment.end_s <= segment.start_s))
        words = self._words(segment, videos.get("words"), rules)
        text = " ".join(words.words) or None
        frames = {role: self._frames(role, segment, videos[role], words, rules) for role in self._frame_roles}
        if text is None and frames.get("audio") is None and frames.get("vision") is None:
            rules.add("no_modality_dropped")
            return None
        rules.add("missing_text", int("words" in videos and text is None))
        row: Row = {
            "id": split_row_id(segment.video_id, segment.clip_id),
            "video_id": segment.video_id,
            "clip_id": segment.clip_id,
            "text": text,
            "audio": None,
            "vision": None,
            "label": segment.labels[0],
            **frames,
            "start_s": segment.start_s,
            "end_s": segment.end_s,
        }
        if self._has_emotions:
            row |= dict(zip(EMOTIONS, segment.labels[1:], strict=True))
        if "words" in videos:
            starts, ends = words.intervals.T.tolist()
            row |= {"words": words.words, "word_starts_s": starts, "word_ends_s": ends}
        return row

    def _words(self, segment: _Segment, video: CsdVideo | None, rules: RuleCounts) -> SegmentWords:
        if video is None:
            rules.add("missing_sequence", int("words" in self._sequences))
            return SegmentWords([], np.zeros((0, 2)), 0)
        words = select_words(video, self._rows(segment, video))
        rules.add("pause_words_dropped", words.num_pauses)
        return words

    def _frames(
        self, role: str, segment: _Segment, video: CsdVideo | None, words: SegmentWords, rules: RuleCounts
    ) -> np.ndarray | None:
        if video is None:
            rules.add("missing_sequence")
            return None
        if self._per_word and role != "text_features":
            frames, num_empty = average_per_word(video, words.intervals)
            found = len(frames) > num_empty
            rules.add("word_without_frames", num_empty if found else 0)
        else:
            frames = video.features[self._rows(segment, video)]
            found = len(frames) > 0
        if not found:
            rules.add("interval_without_frames")
            return None
        return without_padding(frames, rules, length=len(frames))

    def _rows(self, segment: _Segment, video: CsdVideo) -> np.ndarray:
        if self._aligned:
            return np.arange(len(video.features))
        return select_rows(video.intervals, segment.start_s, segment.end_s)
