"""Many files in one go: a failure is a row, and a journal makes a run resumable.

The journal is JSON lines, one per finished file, each on the disk before the next file starts. A line is found again by
what its result depends on: the content of the file and of its transcript, the options, the model, the processor, and
the code that computes features. Names and times of files don't matter, so renamed files are not computed again. A line
that a kill cut off is dropped.
"""

import hashlib
import json
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from modeling_hfr_ame.data.manifest import sha256_file
from modeling_hfr_ame.errors import ConfigError, DataError, HfrAmeError, MediaError
from modeling_hfr_ame.media import TRANSCRIPT_SUFFIXES
from modeling_hfr_ame.prediction.clip import Clip
from modeling_hfr_ame.prediction.encoded_clip import read_recipe_or_clean
from modeling_hfr_ame.prediction.predictor import DEFAULT_HOP_S, DEFAULT_NUM_THUMBNAILS, DEFAULT_WINDOW_S, Predictor
from modeling_hfr_ame.prediction.results import FilePrediction
from modeling_hfr_ame.time_windows import window_spans

logger = logging.getLogger(__name__)

JOURNAL_FORMAT = "hfr-ame-predictions/1"
_VIDEO = ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .flv .wmv .asf .3gp .3g2 .ogv"
_AUDIO = ".ogg .oga .opus .wav .flac .mp3 .m4a .aac .wma"
MEDIA_SUFFIXES = frozenset(f"{_VIDEO} {_AUDIO}".split())


@dataclass(frozen=True)
class PredictionOptions:
    """What a prediction for a file depends on, beside file and model.

    Attributes:
        window_s: Length of a window in seconds.
        hop_s: Distance of two windows in seconds.
        timeline_from_s: Files at least this long get a timeline.
        corruption: Name of a recipe that damages the file first; None = none.
        seed: Seed of its draws.
        text: What is said, without times; for a single file.
        transcript: A transcript of a single file, or a folder with one per file, named as the file is.
        asr: A speech recognition model, by folder or Hub id; beside a folder of transcripts for the files without one.
        batch_size: Windows per forward pass.

    Raises:
        ConfigError: A length is out of range, the recipe is unknown, or words come from two sources.
    """

    window_s: float = DEFAULT_WINDOW_S
    hop_s: float = DEFAULT_HOP_S
    timeline_from_s: float = 15.0
    corruption: str | None = None
    seed: int = 0
    text: str | None = None
    transcript: Path | None = None
    asr: str | None = None
    batch_size: int = 16

    def __post_init__(self) -> None:
        window_spans(1.0, self.window_s, self.hop_s)
        read_recipe_or_clean(self.corruption)
        named = [name for name in ("text", "transcript", "asr") if getattr(self, name) is not None]
        is_completed = named == ["transcript", "asr"] and self.transcript is not None and Path(self.transcript).is_dir()
        if len(named) > 1 and not is_completed:
            raise ConfigError(f"words come from one source, found {' and '.join(named)}; pass one of them")


def list_media_files(folder: str | Path) -> list[Path]:
    """Lists the media files of a folder by their suffix, not of folders in it.

    Raises:
        DataError: There is none.
    """
    found = sorted(
        path
        for path in Path(folder).iterdir()
        if path.suffix.lower() in MEDIA_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise DataError(
            f"a folder must hold media files such as .mp4 or .wav, found none in {folder}; pass another one"
        )
    return found


def transcript_of(path: Path, options: PredictionOptions) -> Path | None:
    """Finds the transcript of a file; None where there is none.

    Raises:
        DataError: A folder holds several for the file.
    """
    if options.transcript is None or not Path(options.transcript).is_dir():
        return options.transcript
    named = [Path(options.transcript) / f"{path.stem}{suffix}" for suffix in TRANSCRIPT_SUFFIXES]
    found = [candidate for candidate in named if candidate.is_file()]
    if len(found) > 1:
        raise DataError(
            f"a file may have one transcript, {path.name} has {', '.join(each.name for each in found)}; keep one"
        )
    return found[0] if found else None


def predict_file(
    predictor: Predictor,
    path: str | Path,
    options: PredictionOptions | None = None,
    *,
    max_thumbnails: int = DEFAULT_NUM_THUMBNAILS,
) -> FilePrediction:
    """Predicts one file.

    Args:
        predictor: The model.
        path: The file.
        options: See `PredictionOptions`; None = the defaults.
        max_thumbnails: Pictures for a timeline figure; 0 = none.

    Raises:
        HfrAmeError: The file, its transcript or the options can't be used.
    """
    options = options or PredictionOptions()
    return predict_clip(predictor, read_file(predictor, path, options, max_thumbnails=max_thumbnails), path, options)


def read_file(
    predictor: Predictor,
    path: str | Path,
    options: PredictionOptions,
    *,
    max_thumbnails: int = DEFAULT_NUM_THUMBNAILS,
) -> Clip:
    """Reads a file with its words, the first half of `predict_file`."""
    transcript = transcript_of(Path(path), options)
    return predictor.read(
        path,
        text=options.text,
        transcript=transcript,
        asr=options.asr if transcript is None else None,
        max_thumbnails=max_thumbnails,
    )


def predict_clip(predictor: Predictor, clip: Clip, path: str | Path, options: PredictionOptions) -> FilePrediction:
    """Predicts what `read_file` read, the second half of `predict_file`."""
    damage: dict[str, Any] = {"corruption": options.corruption, "seed": options.seed}
    timeline = None
    if clip.duration_s is not None and clip.duration_s >= options.timeline_from_s:
        lengths: dict[str, Any] = {"window_s": options.window_s, "hop_s": options.hop_s}
        timeline = predictor.timeline(clip, **lengths, **damage, batch_size=options.batch_size)
    return FilePrediction(
        path=Path(path),
        sha256=clip.sha256,
        duration_s=clip.duration_s,
        states=clip.states,
        notes=clip.notes if timeline is None else timeline.notes,
        prediction=predictor.predict(clip, **damage),
        timeline=timeline,
    )


def predict_files(
    predictor: Predictor,
    paths: Sequence[str | Path],
    options: PredictionOptions | None = None,
    *,
    journal: str | Path | None = None,
    again: Collection[Path] = (),
    max_thumbnails: int = 0,
) -> Iterator[FilePrediction]:
    """Predicts files one after the other; one that fails is a result with its error.

    Args:
        predictor: The model.
        paths: The files.
        options: See `PredictionOptions`; None = the defaults.
        journal: JSON lines of finished files, which is read first and appended to; None = none is kept. Failures are
            written down and tried again.
        again: Files that are computed although the journal knows them, for example because a figure of them is missing.
        max_thumbnails: Pictures for timeline figures; 0 = none.

    Yields:
        One result per file, in order.

    Raises:
        ConfigError: `text`, or the transcript of one file, is given for several files.
        DataError: The journal is a file of another kind, or can't be written.
    """
    options = options or PredictionOptions()
    is_one_transcript = options.transcript is not None and not Path(options.transcript).is_dir()
    if len(paths) > 1 and (options.text is not None or is_one_transcript):
        raise ConfigError(
            f"one text can't be said in {len(paths)} files; pass a folder of transcripts named as the files are"
        )
    book = None if journal is None else Journal(Path(journal))
    for path in map(Path, paths):
        key = None
        try:
            key = _key(predictor, path, options) if book is not None else None
            known = book.find(key) if book is not None and key is not None and path not in again else None
            if known is not None:
                yield FilePrediction.from_dict(known, path)
                continue
            result = predict_file(predictor, path, options, max_thumbnails=max_thumbnails)
        except HfrAmeError as error:
            result = FilePrediction(path=path, sha256="", error=str(error), error_class=type(error).__name__)
        except Exception as error:  # a bug that one file meets must not keep the others from being done
            logger.exception("%s met an unexpected error", path.name)
            message = f"unexpected error, please report it: {error!r}"
            result = FilePrediction(path=path, sha256="", error=message, error_class=type(error).__name__)
        if book is not None:
            book.add(key, result)
        yield result


class Journal:
    """Results on disk, one JSON line each.

    Args:
        path: The file; made with the first result.

    Raises:
        DataError: The file exists and is no journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._results: dict[str, dict[str, Any]] = {}
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = json.loads(line)
                if entry["format"] != JOURNAL_FORMAT:
                    raise ValueError(f"the format {entry['format']!r}")
                if entry["key"] is not None and entry["result"]["error"] is None:
                    self._results[entry["key"]] = entry["result"]
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"a journal of predictions holds lines of {JOURNAL_FORMAT}, {path.name} doesn't in line {number} "
                    f"({error}); choose another file, or delete it"
                ) from error
        if len(whole) < len(content) and content[len(whole) :].lstrip()[:1] != b"{":
            raise DataError(
                f"a journal of predictions holds lines of {JOURNAL_FORMAT}, {path.name} is another file; choose another"
            )
        if len(whole) < len(content):  # a kill came in the middle of a line
            os.truncate(path, len(whole))

    def __len__(self) -> int:
        return len(self._results)

    def find(self, key: str) -> dict[str, Any] | None:
        """Gives the result of a file that went well; None if there is none."""
        return self._results.get(key)

    def add(self, key: str | None, result: FilePrediction) -> None:
        """Puts a result on the disk.

        Raises:
            DataError: The file can't be written.
        """
        entry = {"format": JOURNAL_FORMAT, "key": key, "result": result.as_dict()}
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            with self.path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(
                f"the journal {self.path} can't be written ({error.strerror}); choose another file"
            ) from error


def _key(predictor: Predictor, path: Path, options: PredictionOptions) -> str | None:
    if not path.is_file():  # a device or a pipe may have no end; reading the file will name the error
        return None
    transcript = transcript_of(path, options)
    try:
        contents = [sha256_file(path), None if transcript is None else sha256_file(transcript)]
    except OSError as error:
        raise MediaError(f"{path.name} can't be read ({error.strerror}); check the path") from error
    # The transcript counts by its content, and the size of a batch not at all.
    settings = asdict(replace(options, transcript=None, batch_size=1))
    text = json.dumps([contents, settings, predictor.fingerprint, predictor.feature_spec.digest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
