"""Drawn talkers as video files: the raw-media twin of `synthetic_talkers`, for tests and demos of the media path.

A face whose mouth follows the mood and twitches, a harmonic voice whose pitch follows the mood and trembles, and a
label file in the MMSA layout. It has the same kinds of causes as the feature-level set (word polarity, slow mood, fast
contrast), but what a feature extractor finds of them is not guaranteed: it is an input that runs, not a benchmark.
PyAV and OpenCV are imported when they are used, so that the package works without them.
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modeling_hfr_ame.data.synthetic_draws import KeyedDraws
from modeling_hfr_ame.data.synthetic_face import FaceLook, FacePose, draw_face
from modeling_hfr_ame.data.synthetic_talkers import sentiment_label
from modeling_hfr_ame.data.synthetic_words import draw_words, effective_polarities, polarity_scale
from modeling_hfr_ame.errors import ConfigError, DataError, MediaError

CLIPS_WORLD: Final = "synthetic_clips-1"
VIDEO_RATE_HZ: Final = 25
SAMPLING_RATE: Final = 16_000
LABEL_COLUMNS: Final = ("video_id", "clip_id", "text", "label", "annotation", "mode")
_CLIPS_PER_TALKER = 4
_MODE_OF_TALKER = ("train", "valid", "test", "train", "train", "train")  # repeats; nine clips have all three
_NUM_WORDS = (5, 9)
_WORD_S = 0.42
_MOOD_SCALES = np.array([1.0, 0.5, 0.35])
_NUM_HARMONICS = 10


@dataclass(frozen=True)
class _Performance:
    """What happens in one clip."""

    words: list[str]
    events: NDArray[np.float64]  # (words,) polarity in units of its standard deviation
    mood: NDArray[np.float64]  # (3,) coefficients of the orders 0, 1, 2
    contrast: float
    tremor_rates_hz: NDArray[np.float64]  # (3,)
    tremor_phases: NDArray[np.float64]  # (3,) radians
    blink_s: float
    label: float

    @property
    def duration_s(self) -> float:
        return len(self.words) * _WORD_S

    def mood_at(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.cos(np.pi * np.outer(times_s / self.duration_s, np.arange(3))) @ self.mood

    def bumps_at(self, times_s: NDArray[np.float64], heights: NDArray[np.float64]) -> NDArray[np.float64]:
        centres = (np.arange(len(self.words)) + 0.5) * _WORD_S
        return np.exp(-0.5 * ((times_s[:, None] - centres) / (0.4 * _WORD_S)) ** 2) @ heights

    def tremor_at(self, times_s: NDArray[np.float64], speed: float = 1.0) -> NDArray[np.float64]:
        angles = 2.0 * np.pi * np.outer(times_s * speed, self.tremor_rates_hz) + self.tremor_phases
        return np.cos(angles).sum(axis=1) / math.sqrt(1.5)


def generate_synthetic_clips(out_folder: str | Path, num_clips: int = 24, seed: int = 0) -> Path:
    """Draws and encodes clips of 2 to 4 seconds with a label file.

    Args:
        out_folder: A new or empty folder. It gets `<video_id>_<clip_id>.mp4` (320 × 240 at 25 frames per second with a
            16 kHz mono voice) and `labels.csv`.
        num_clips: Number of clips, ≥ 1. Four belong to one talker and talkers don't cross modes; from nine clips on
            there are `train`, `valid` and `test`.
        seed: Seed. The drawing is a function of it; the encoded bytes also depend on the encoder's version.

    Returns:
        The folder.

    Raises:
        ConfigError: `num_clips` is below 1.
        DataError: The folder holds something.
        MediaError: PyAV or OpenCV is not installed.
    """
    if num_clips < 1:
        raise ConfigError(f"num_clips must be at least 1, found {num_clips}; pass the number of clips to draw")
    folder = Path(out_folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"clips are written into a new or empty folder, found content in {folder}; choose another one")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(LABEL_COLUMNS)
        for index in range(num_clips):
            talker, clip = index // _CLIPS_PER_TALKER, index % _CLIPS_PER_TALKER + 1
            video_id = f"drawn{talker:02d}"
            performance = _draw_performance(KeyedDraws(CLIPS_WORLD, "clip", seed, index))
            look = _draw_look(KeyedDraws(CLIPS_WORLD, "talker", seed, talker))
            breath = KeyedDraws(CLIPS_WORLD, "breath", seed, index)
            _encode_clip(folder / f"{video_id}_{clip}.mp4", performance, look, breath)
            annotation = {1: "Positive", 0: "Neutral", -1: "Negative"}[int(np.sign(performance.label))]
            mode = _MODE_OF_TALKER[talker % len(_MODE_OF_TALKER)]
            table.writerow([video_id, clip, " ".join(performance.words), performance.label, annotation, mode])
    return folder


@dataclass(frozen=True)
class SyntheticClip:
    """One drawn clip.

    Attributes:
        path: The video file.
        words: What is said.
        word_s: Length of each word in seconds; the first starts at 0, without gaps.
        label: Its sentiment, in [-3, 3].
    """

    path: Path
    words: tuple[str, ...]
    word_s: float
    label: float


def write_synthetic_clip(path: str | Path, num_words: int, *, seed: int = 0, talker: int = 0) -> SyntheticClip:
    """Draws and encodes a single clip, as long as is wanted.

    Args:
        path: File to write, `.mp4`.
        num_words: Number of words, ≥ 1, each 0.42 seconds.
        seed: Seed of what happens. The draws are not those of `generate_synthetic_clips`.
        talker: Number of the face and voice.

    Returns:
        The clip with its words.

    Raises:
        ConfigError: `num_words` is below 1.
        MediaError: PyAV or OpenCV is not installed.
    """
    if num_words < 1:
        raise ConfigError(f"num_words must be at least 1, found {num_words}; pass the number of words to say")
    performance = _draw_performance(KeyedDraws(CLIPS_WORLD, "single clip", seed, num_words), num_words)
    look = _draw_look(KeyedDraws(CLIPS_WORLD, "talker", 0, talker))
    _encode_clip(Path(path), performance, look, KeyedDraws(CLIPS_WORLD, "breath of single clip", seed, num_words))
    return SyntheticClip(Path(path), tuple(performance.words), _WORD_S, performance.label)


def _draw_performance(draws: KeyedDraws, num_words: int | None = None) -> _Performance:
    words = draw_words(draws, num_words or draws.integer(*_NUM_WORDS))
    events = effective_polarities(words) / polarity_scale()
    mood = draws.normal(3) * _MOOD_SCALES
    contrast = float(draws.normal())
    polarity = float(events.sum() / math.sqrt(len(words)))
    return _Performance(
        words=words,
        events=events,
        mood=mood,
        contrast=math.tanh(contrast),
        tremor_rates_hz=1.5 + 0.9 * draws.uniform(3),  # below the 2.5 Hz that five frames per second can hold
        tremor_phases=2.0 * np.pi * draws.uniform(3),
        blink_s=float(draws.uniform()) * len(words) * _WORD_S,
        label=sentiment_label(polarity, float(mood[0]), contrast, noise=float(draws.normal())),
    )


def _draw_look(draws: KeyedDraws) -> tuple[FaceLook, float]:
    """Draws a talker: the face, and the resting pitch in hertz."""
    tone, width, height, x, y, hair, pitch = draws.uniform(7)
    look = FaceLook(
        skin=tuple(float(value) for value in np.array([225.0, 180.0, 150.0]) * (0.75 + 0.3 * tone)),
        hair=tuple(float(value) for value in np.array([60.0, 45.0, 35.0]) * (0.5 + hair)),
        half_width=48.0 + 8.0 * width,
        half_height=64.0 + 8.0 * height,
        centre=(150.0 + 20.0 * x, 116.0 + 10.0 * y),
    )
    return look, 110.0 * 2.0 ** float(pitch)


def _video_frames(performance: _Performance, look: FaceLook) -> Iterator[NDArray[np.uint8]]:
    """Draws the frames, each (240, 320, 3) RGB."""
    times_s = np.arange(round(performance.duration_s * VIDEO_RATE_HZ)) / VIDEO_RATE_HZ
    mood, tremor = performance.mood_at(times_s), performance.tremor_at(times_s)
    smile = performance.bumps_at(times_s, performance.events)
    speech = performance.bumps_at(times_s, np.ones(len(performance.words)))
    sway = np.sin(2.0 * np.pi * times_s / 3.0)
    for i in range(len(times_s)):
        yield draw_face(
            look,
            FacePose(
                mouth_curve=math.tanh(0.5 * mood[i] + 0.3 * smile[i] + 0.15 * (1.0 + performance.contrast) * tremor[i]),
                mouth_open=0.15 + 0.6 * speech[i],
                brow_raise=math.tanh(0.3 * mood[i] + 0.25 * (1.0 - performance.contrast) * tremor[i]),
                eyes_open=0.15 if abs(times_s[i] - performance.blink_s) < 0.06 else 1.0,
                shift=(4.0 * sway[i], 2.0 * smile[i]),
            ),
        )


def _voice(performance: _Performance, resting_pitch_hz: float, breath: KeyedDraws) -> NDArray[np.float32]:
    """Sings the clip, (samples,) in [-1, 1]."""
    times_s = np.arange(round(performance.duration_s * SAMPLING_RATE)) / SAMPLING_RATE
    tremor = performance.tremor_at(times_s, speed=2.0)
    octaves = 0.25 * np.tanh(performance.mood_at(times_s)) + 0.03 * (1.0 + performance.contrast) * tremor
    phase = 2.0 * np.pi * np.cumsum(resting_pitch_hz * 2.0**octaves) / SAMPLING_RATE
    tone = sum(np.sin(order * phase) / order for order in range(1, _NUM_HARMONICS + 1))
    emphasis = np.tanh(0.5 * performance.bumps_at(times_s, performance.events))
    loudness = performance.bumps_at(times_s, np.ones(len(performance.words))) * 2.0 ** (
        emphasis + 0.35 * (1.0 - performance.contrast) * tremor
    )
    noise = 0.004 * breath.normal(len(times_s))
    return np.clip(0.12 * loudness * tone + noise, -1.0, 1.0).astype(np.float32)


def _encode_clip(path: Path, performance: _Performance, talker: tuple[FaceLook, float], breath: KeyedDraws) -> None:
    av = _import_av()
    look, pitch_hz = talker
    with av.open(str(path), "w") as container:
        # One thread and no lookahead, which this preset switches off: else x264's bytes differ from run to run.
        has_x264 = "libx264" in av.codecs_available
        video = container.add_stream(
            "libx264" if has_x264 else "mpeg4", rate=VIDEO_RATE_HZ, options={"preset": "ultrafast"} if has_x264 else {}
        )
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        video.codec_context.thread_count = 1
        audio = container.add_stream("aac", rate=SAMPLING_RATE)
        audio.codec_context.layout = "mono"
        for picture in _video_frames(performance, look):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        samples = _voice(performance, pitch_hz, breath)
        sound = av.AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
        sound.sample_rate = SAMPLING_RATE
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


def _import_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MediaError("writing clips needs PyAV, which is not installed; install hfr-ame[av]") from error
    return av
