"""Every hostile file is refused by name, soon, and in little memory; one fresh process reads them all and measures."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason="decoding needs PyAV")
if sys.platform == "win32":
    pytest.skip("pipes, device files and limits of a process are POSIX", allow_module_level=True)

from modeling_hfr_ame.errors import ConfigError, MediaError
from modeling_hfr_ame.media import AudioBlock, MediaLimits, Picture, decode_media, read_media, read_waveform
from modeling_hfr_ame.media.part_frames import PartReader
from tests.media import hostile_files
from tests.media.clip_writing import even_times, tone, write_clip
from tests.media.hostile_files import HOSTILE, Maker

REPOSITORY = Path(__file__).resolve().parents[2]
MAX_SECONDS, MAX_MB = 5.0, 512.0


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[Maker, dict[str, Any]]:
    paths = [str(maker(tmp_path_factory.mktemp(maker.__name__))) for maker in HOSTILE]
    done = subprocess.run(
        [sys.executable, "-m", "tests.media.read_hostile", *paths],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return dict(zip(HOSTILE, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("maker", HOSTILE, ids=lambda maker: maker.__name__)
def test_hostile_file_is_refused_by_name_soon_and_in_little_memory(
    answers: dict[Maker, dict[str, Any]], maker: Maker
) -> None:
    answer = answers[maker]
    assert answer["kind"] == "MediaError", answer
    assert re.search(HOSTILE[maker], answer["error"]), answer["error"]
    # Processor time: the wall clock of a busy machine says nothing, and a process that waits is caught by the timeout.
    assert answer["cpu_s"] < MAX_SECONDS
    assert answer["decoder_mb"] + answer["growth_mb"] < MAX_MB


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", even_times(2.0), tone(2.0))


def test_process_gives_the_parts_that_decoding_here_collects(clip: Path) -> None:
    media = decode_media(clip)
    for source in (clip, clip.read_bytes()):
        with read_media(source) as stream:
            parts = list(stream)
        blocks = [part.samples for part in parts if isinstance(part, AudioBlock)]
        pictures = [part for part in parts if isinstance(part, Picture)]
        assert media.audio is not None
        assert media.video is not None
        np.testing.assert_array_equal(np.concatenate(blocks), media.audio.waveform)
        np.testing.assert_array_equal(np.stack([each.pixels for each in pictures]), media.video.frames)
        assert [each.time_s for each in pictures] == media.video.times_s.tolist()
        assert stream.tracks.duration_s == pytest.approx(2.0, abs=0.1)
        assert stream.end is not None
        assert stream.end.audio_s == len(media.audio.waveform) / 16000


def test_waveform_alone_is_that_of_both_tracks(clip: Path, tmp_path: Path) -> None:
    audio, expected = read_waveform(clip, 8000), decode_media(clip, sampling_rate=8000).audio
    assert audio is not None
    assert expected is not None
    np.testing.assert_array_equal(audio.waveform, expected.waveform)
    assert read_waveform(write_clip(tmp_path / "mute.mp4", even_times())) is None


def test_slow_reading_is_ended_by_the_clock(clip: Path) -> None:
    with (
        pytest.raises(MediaError, match=r"clip\.mp4 takes longer to read than MediaLimits\.max_wall_s 0\.01; cut"),
        read_media(clip, limits=MediaLimits(max_wall_s=0.01)) as stream,
    ):
        list(stream)


def test_decoding_here_looks_at_the_clock(clip: Path) -> None:
    with pytest.raises(MediaError, match=r"longer to read than MediaLimits\.max_wall_s 1e-09"):
        decode_media(clip, limits=MediaLimits(max_wall_s=1e-9))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems don't hold a limit of address space")
def test_memory_beyond_the_limit_is_named(tmp_path: Path) -> None:
    bomb = hostile_files.huge_picture_in_the_stream(tmp_path)
    large = MediaLimits(max_frame_width=20_000, max_frame_height=20_000)
    with (
        pytest.raises(MediaError, match=r"bomb\.mov needs more memory than MediaLimits\.max_memory_bytes 402653184; s"),
        read_media(bomb, limits=large) as stream,
    ):
        list(stream)


def test_stream_left_early_ends_its_process(clip: Path) -> None:
    with read_media(clip) as stream:
        next(iter(stream))
        pid = stream.process_id
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_process_gets_no_secret_of_the_environment(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, str]] = []
    real = subprocess.Popen

    def watch(*arguments: Any, **options: Any) -> Any:
        started.append(options["env"])
        return real(*arguments, **options)

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(subprocess, "Popen", watch)
    with read_media(clip) as stream:
        list(stream)
    assert "hf_secret" not in started[0].values()


def test_process_that_is_killed_is_named(clip: Path) -> None:
    stream = read_media(clip)
    os.kill(stream.process_id, 9)
    with pytest.raises(MediaError, match=r"clip\.mp4 ended the process that decodes it \(code -9\): it is damaged"):
        list(stream)


@pytest.mark.parametrize(
    "answer",
    [
        b"Z" + bytes(16),
        b"P" + bytes(8) + (2**40).to_bytes(8, "little"),
        b"A" + bytes(8) + (4).to_bytes(8, "little") + b"\x00\x00\xc0\x7f",
        b"A" + bytes(8) + (3).to_bytes(8, "little") + bytes(3),
        b"P" + bytes(8) + (9).to_bytes(8, "little") + b"\x01\x00\x00\x00\x01\x00\x00\x00\x00",
        b"T" + bytes(8) + (2).to_bytes(8, "little") + b"[]",
    ],
    ids=["unknown kind", "a terabyte", "NaN samples", "half a sample", "wrong shape", "wrong facts"],
)
def test_nonsense_from_the_process_is_refused(answer: bytes, tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(answer)
    with (
        open(tmp_path / "answer", "rb") as pipe,
        pytest.raises(MediaError, match=r"clip\.mp4 made the decoding process answer nonsense; treat the file as host"),
    ):
        PartReader(pipe, "clip.mp4").read()


def test_limit_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be positive, found \{'max_duration_s': 0\}"):
        MediaLimits(max_duration_s=0)
