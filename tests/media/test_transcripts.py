import json
from pathlib import Path
from typing import Any

import pytest

from modeling_hfr_ame.errors import MediaError
from modeling_hfr_ame.media import TimedWord, read_transcript
from modeling_hfr_ame.media.transcripts import MAX_TRANSCRIPT_BYTES

SRT = """1
00:00:01,000 --> 00:00:03,000
<i>Rather</i> good &amp; new
[music playing]

2
00:01:10,500 --> 00:01:11,250
{\\an8}yes
"""
VTT = """WEBVTT - a title

NOTE 00:00 is no cue
nor is this

STYLE
::cue { color: red }

intro
00:01.000 --> 00:03.000 align:start position:0%
<v Ann>one <00:02.500>two</v>

00:04.000 --> 00:05.000
♪ ♪
"""


def write(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def times_of(words: tuple[TimedWord, ...]) -> list[tuple[str, float | None, float | None]]:
    return [
        (word.text, *(None if time_s is None else round(time_s, 3) for time_s in (word.start_s, word.end_s)))
        for word in words
    ]


def test_cue_of_subrip_is_shared_among_its_words_by_letters(tmp_path: Path) -> None:
    # 14 letters in 2 s; markup and sounds are no words.
    assert times_of(read_transcript(write(tmp_path, "talk.srt", SRT))) == [
        ("Rather", 1.0, 1.857),
        ("good", 1.857, 2.429),
        ("&", 2.429, 2.571),
        ("new", 2.571, 3.0),
        ("yes", 70.5, 71.25),
    ]


def test_stamps_inside_a_webvtt_cue_are_kept(tmp_path: Path) -> None:
    for content in (VTT, "\ufeff" + VTT.replace("\n", "\r\n")):
        assert times_of(read_transcript(write(tmp_path, "talk.vtt", content))) == [("one", 1.0, 2.5), ("two", 2.5, 3.0)]


@pytest.mark.parametrize(
    "content",
    [
        [{"text": "so", "start": 1.0, "end": 1.5, "confidence": 0.25}, {"word": " good", "start": 2, "end": 2.5}],
        {"words": [{"text": "so", "start_s": 1, "end_s": 1.5, "score": 0.25}, {"text": "good", "timestamp": [2, 2.5]}]},
        {
            "text": "so good",
            "segments": [
                {
                    "start": 1.0,
                    "end": 2.0,
                    "text": "so",
                    "words": [{"word": " so", "start": 1, "end": 1.5, "probability": 0.25}],
                },
                {"start": 2.0, "end": 2.5, "text": " good "},
            ],
        },
        {"chunks": [{"text": " so", "timestamp": (1, 1.5), "conf": 0.25}, {"text": " good", "timestamp": (2, 2.5)}]},
    ],
)
def test_json_of_recognisers_is_read_in_every_form(tmp_path: Path, content: Any) -> None:
    words = read_transcript(write(tmp_path, "talk.json", content))
    assert times_of(words) == [("so", 1.0, 1.5), ("good", 2.0, 2.5)]
    assert [word.confidence for word in words] == [0.25, None]


def test_text_and_open_ends_have_no_times(tmp_path: Path) -> None:
    assert times_of(read_transcript(write(tmp_path, "talk.txt", "so  good\n"))) == [
        ("so", None, None),
        ("good", None, None),
    ]
    words = read_transcript(write(tmp_path, "talk.json", {"chunks": [{"text": "so good", "timestamp": [1.0, None]}]}))
    assert times_of(words) == [("so", None, None), ("good", None, None)]
    assert words[0].middle_s is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("talk.doc", "so good", r"a transcript is one of \.srt, \.vtt, \.json, \.txt, found talk\.doc"),
        ("talk.txt", " \n", "a transcript must hold a word"),
        ("talk.srt", "so good", "subtitles must hold cues"),
        ("talk.srt", "00:00:03,000 --> 00:00:01,000\nso\n", "a cue must end after its start"),
        ("talk.vtt", "00:01.000 --> 00:02.000\n[noise]\n", "a transcript must hold a word"),
        ("talk.json", "{", "a JSON transcript must hold words"),
        ("talk.json", "3", "a JSON transcript must hold words"),
        ("talk.json", "[" * 100_000, "a JSON transcript must hold words"),
        ("talk.json", {"other": 1}, "a JSON transcript must hold words"),
        ("talk.json", [{"start": 1, "end": 2}], "a JSON transcript must hold words"),
        (
            "talk.json",
            [{"text": "so", "start": 2, "end": 1}],
            "a JSON transcript must hold words.*the times 2.0 and 1.0",
        ),
        ("talk.json", '[{"text": "so", "start": 0, "end": Infinity}]', "a JSON transcript must hold words"),
        ("talk.json", [{"text": 3, "start": 0, "end": 1}], "a JSON transcript must hold words"),
    ],
)
def test_transcript_that_is_none_is_named(tmp_path: Path, name: str, content: Any, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        read_transcript(write(tmp_path, name, content))


def test_transcript_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.srt").write_bytes("00:00:01,000 --> 00:00:02,000\ncafé\n".encode("latin-1"))
    (tmp_path / "large.txt").write_bytes(b"a " * (MAX_TRANSCRIPT_BYTES // 2 + 1))
    (tmp_path / "folder.txt").mkdir()
    for name, message in (
        ("latin.srt", "a transcript must be UTF-8"),
        ("large.txt", "a transcript may have"),
        ("folder.txt", "a transcript must be a file"),
        ("missing.txt", "a transcript must be a file"),
    ):
        with pytest.raises(MediaError, match=message):
            read_transcript(tmp_path / name)
