"""Writes tiny media files whose every frame and sample is known."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

WIDTH, HEIGHT = 64, 48
AUDIO_RATE = 44100
_CLOCK_HZ = 1000


def grey_of_frame(index: int) -> int:
    return 20 + 4 * (index % 50)


def tone(seconds: float = 1.0, frequency_hz: float = 440.0, rate: int = AUDIO_RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_clip(
    path: Path,
    times_s: Sequence[float] | None = None,
    waveform: np.ndarray | None = None,
    *,
    pictures: Sequence[np.ndarray] | None = None,
    rate_hz: int = 25,
    audio_codec: str = "aac",
    audio_rate: int = AUDIO_RATE,
    options: dict[str, str] | None = None,
) -> Path:
    """Writes a file whose frame i is flat grey `grey_of_frame(i)` at `times_s[i]`, unless `pictures` are given.

    Args:
        path: The suffix picks the container.
        times_s: Presentation times; None = no video track.
        waveform: (n,) or (channels, n) float32; None = no audio track.
        pictures: RGB pictures instead of the grey ones.
        rate_hz: Stated frame rate.
        audio_codec: FFmpeg's name.
        audio_rate: Samples per second.
        options: Options of the container.
    """
    import av

    with av.open(str(path), "w", options=options or {}) as container:
        video = audio = None
        if times_s is not None:
            video = container.add_stream("mpeg4", rate=rate_hz, options={"qscale": "2"})
            first = pictures[0] if pictures is not None else np.empty((HEIGHT, WIDTH, 3))
            video.height, video.width = first.shape[:2]
            video.pix_fmt = "yuv420p"
            video.codec_context.time_base = Fraction(1, _CLOCK_HZ)
            video.codec_context.flags |= 1 << 1  # qscale as given
        if waveform is not None:
            layout = "mono" if waveform.ndim == 1 else "stereo"
            audio = container.add_stream(audio_codec, rate=audio_rate, layout=layout)
        if video is not None and times_s is not None:
            for index, time_s in enumerate(times_s):
                if pictures is not None:
                    pixels = pictures[index]
                else:
                    pixels = np.full((HEIGHT, WIDTH, 3), grey_of_frame(index), np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = round(time_s * _CLOCK_HZ), Fraction(1, _CLOCK_HZ)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None and waveform is not None:
            samples = np.atleast_2d(waveform).astype(np.float32)
            for start in range(0, samples.shape[1], 1024):
                block = np.ascontiguousarray(samples[:, start : start + 1024])
                sound = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
                sound.sample_rate, sound.pts, sound.time_base = audio_rate, start, Fraction(1, audio_rate)
                container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
    return path


def even_times(seconds: float = 1.0, rate_hz: int = 25) -> list[float]:
    return [index / rate_hz for index in range(round(seconds * rate_hz))]
