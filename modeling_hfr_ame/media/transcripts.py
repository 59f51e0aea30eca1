"""Transcripts: SubRip, WebVTT, JSON of speech recognisers, and plain text → words with times.

- Subtitles time whole cues, not words. A cue's span is shared among its words by their number of letters; that is an
  estimate, good to about a second. Word stamps inside a WebVTT cue are taken as they are.
- Markup, speaker names in tags, and descriptions of sounds in square brackets are left out; they are not said.
- JSON is read in the forms that recognisers write: a list of words, `words`, `segments` (Whisper) or `chunks`
  (transformers), with the usual names of their fields.
"""

import html
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modeling_hfr_ame.errors import MediaError

TRANSCRIPT_SUFFIXES = (".srt", ".vtt", ".json", ".txt")
MAX_TRANSCRIPT_BYTES = 16 * 2**20
_STAMP = r"(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_CUE = re.compile(rf"^\s*{_STAMP}\s*-->\s*{_STAMP}")
_INNER_STAMP = re.compile(rf"<{_STAMP}>")
_TAG = re.compile(r"<[^>\n]*>|\{\\[^}\n]*\}")
_NOT_SAID = re.compile(r"\[[^\]\n]*\]|[♪♫]")
_CONFIDENCE_NAMES = ("confidence", "probability", "score", "conf")


@dataclass(frozen=True)
class TimedWord:
    """A word of a transcript.

    Attributes:
        text: The word, without white space.
        start_s: When it starts, in seconds; None where unknown.
        end_s: When it ends, in seconds, not before the start; None where unknown.
        confidence: Of a speech recogniser, in [0, 1]; None where unknown.
    """

    text: str
    start_s: float | None = None
    end_s: float | None = None
    confidence: float | None = None

    @property
    def middle_s(self) -> float | None:
        """Middle of the word in seconds; None where a time is unknown."""
        return None if self.start_s is None or self.end_s is None else (self.start_s + self.end_s) / 2

    def as_dict(self) -> dict[str, Any]:
        """Gives the word as plain JSON."""
        return {"text": self.text, "start_s": self.start_s, "end_s": self.end_s, "confidence": self.confidence}


def read_transcript(path: str | Path) -> tuple[TimedWord, ...]:
    """Reads the words of a transcript.

    Args:
        path: A `.srt`, `.vtt`, `.json` or `.txt` file in UTF-8.

    Returns:
        The words in the order of the file; those of `.txt` have no times.

    Raises:
        MediaError: The file can't be read, is too large, is no such file, holds no word, or a time makes no sense.
    """
    file = Path(path)
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise MediaError(
            f"a transcript is one of {', '.join(TRANSCRIPT_SUFFIXES)}, found {file.name}; convert it, or pass the text"
        )
    words = tuple(reader(_read_text(file), file.name))
    if not words:
        raise MediaError(f"a transcript must hold a word, {file.name} holds none; leave it out if nothing is said")
    return words


def _read_text(file: Path) -> str:
    try:
        if not file.is_file():
            raise MediaError(f"a transcript must be a file, {file.name} is none; check the path")
        if file.stat().st_size > MAX_TRANSCRIPT_BYTES:
            raise MediaError(f"a transcript may have {MAX_TRANSCRIPT_BYTES} bytes, {file.name} has more; cut it")
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise MediaError(f"{file.name} can't be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise MediaError(
            f"a transcript must be UTF-8, {file.name} is not ({error.reason}); save it as UTF-8"
        ) from error


def _read_plain(text: str, name: str) -> list[TimedWord]:
    return [TimedWord(word) for word in text.split()]


def _read_cues(text: str, name: str) -> list[TimedWord]:
    """Reads SubRip and WebVTT: a cue is a line with two stamps and the lines up to the next blank one."""
    words: list[TimedWord] = []
    num_cues = 0
    lines = iter(text.splitlines())
    for line in lines:
        found = _CUE.match(line)
        if found is None:
            continue
        num_cues += 1
        start_s, end_s = _seconds(found.groups()[:4]), _seconds(found.groups()[4:])
        if end_s < start_s:
            raise MediaError(f"a cue must end after its start, {name} has {line.strip()!r}; correct the file")
        said = []
        for inner in lines:
            if not inner.strip():
                break
            said.append(inner)
        words.extend(_cue_words(" ".join(said), start_s, end_s))
    if not num_cues:
        raise MediaError(f"subtitles must hold cues such as 00:00:01,000 --> 00:00:02,000, {name} holds none; check it")
    return words


def share_span(text: str, start_s: float, end_s: float) -> list[TimedWord]:
    """Shares a span among the words of a text by their number of letters.

    Args:
        text: The text.
        start_s: Start of the span in seconds.
        end_s: Its end.

    Returns:
        The words, without what isn't said.
    """
    words = _NOT_SAID.sub(" ", text).split()
    total, at_s, timed = sum(map(len, words)), start_s, []
    for word in words:
        length_s = max(end_s - start_s, 0.0) * len(word) / total
        timed.append(TimedWord(word, at_s, at_s + length_s))
        at_s += length_s
    return timed


def _cue_words(text: str, start_s: float, end_s: float) -> Iterable[TimedWord]:
    """Shares the span of a cue, or of each stretch between its inner stamps, among the words in it."""
    stamps = list(_INNER_STAMP.finditer(text))
    starts = [start_s, *(min(max(_seconds(stamp.groups()), start_s), end_s) for stamp in stamps)]
    bounds = [0, *(stamp.end() for stamp in stamps)]
    stops = [*(stamp.start() for stamp in stamps), len(text)]
    for index, (first, last) in enumerate(zip(bounds, stops, strict=True)):
        until_s = starts[index + 1] if index + 1 < len(starts) else end_s
        yield from share_span(html.unescape(_TAG.sub("", text[first:last])), starts[index], until_s)


def _seconds(groups: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = groups
    whole = 3600 * int(hours or 0) + 60 * int(minutes or 0) + int(seconds or 0)
    return whole + float(f"0.{fraction or 0}")


def _read_json(text: str, name: str) -> list[TimedWord]:
    try:
        return [word for entry in _entries(json.loads(text)) for word in _json_words(entry)]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(
            f"a JSON transcript must hold words with text, start and end, {name} does not ({error!r:.120}); write "
            '[{"text": "good", "start": 1.2, "end": 1.5}, …]'
        ) from error


def _entries(content: Any) -> list[Mapping[str, Any]]:
    if isinstance(content, Mapping):
        for key in ("words", "segments", "chunks"):
            if content.get(key):
                return _entries(content[key])
        raise KeyError("words")
    entries: list[Mapping[str, Any]] = []
    for entry in content:
        if not isinstance(entry, Mapping):
            raise TypeError(f"an entry is {type(entry).__name__}")
        entries.extend(entry["words"] if entry.get("words") else [entry])
    return entries


def _json_words(entry: Mapping[str, Any]) -> Iterable[TimedWord]:
    text = entry["text"] if "text" in entry else entry["word"]
    if not isinstance(text, str):
        raise TypeError(f"a text is {type(text).__name__}")
    span = entry.get("timestamp") or [entry.get("start", entry.get("start_s")), entry.get("end", entry.get("end_s"))]
    start_s, end_s = (None if value is None else float(value) for value in span)
    named = (entry[key] for key in _CONFIDENCE_NAMES if entry.get(key) is not None)
    confidence = next((min(max(float(value), 0.0), 1.0) for value in named), None)
    if start_s is None or end_s is None:  # a recogniser may leave the last end open
        return [TimedWord(word, confidence=confidence) for word in text.split()]
    if not (math.isfinite(start_s) and math.isfinite(end_s) and 0 <= start_s <= end_s):
        raise ValueError(f"the times {start_s} and {end_s}")
    return [replace(word, confidence=confidence) for word in share_span(text, start_s, end_s)]


_READERS = {".srt": _read_cues, ".vtt": _read_cues, ".json": _read_json, ".txt": _read_plain}
