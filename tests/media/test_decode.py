import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal

from modeling_hfr_ame.errors import ConfigError, MediaError
from modeling_hfr_ame.frame_sampling import FrameSampler
from modeling_hfr_ame.media import MediaLimits, decode_audio, decode_media, decode_video_frames
from tests.media.clip_writing import AUDIO_RATE, HEIGHT, WIDTH, even_times, grey_of_frame, tone, write_clip

soundfile = pytest.importorskip("soundfile", reason="WAV files are written and read by soundfile")
pytest.importorskip("av", reason="decoding needs PyAV")


@pytest.fixture(scope="module")
def talking_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "talking.mp4", even_times(2.0), tone(2.0))


def shown_frames(pictures: np.ndarray) -> list[int]:
    """Which source frame each decoded grey picture is."""
    return [round((float(picture.mean()) - grey_of_frame(0)) / 4) for picture in pictures]


def test_video_at_constant_rate_gives_the_frames_on_screen(talking_clip: Path) -> None:
    video = decode_video_frames(talking_clip, frame_rate_hz=5.0)
    assert video is not None
    assert video.frames.shape == (10, HEIGHT, WIDTH, 3)
    assert video.frames.dtype == np.uint8
    assert shown_frames(video.frames) == list(range(0, 50, 5))
    np.testing.assert_allclose(video.times_s, np.arange(10) / 5)


def test_video_at_variable_rate_is_sampled_by_time_not_by_count(tmp_path: Path) -> None:
    times_s = np.array([0.0, 0.04, 0.08, 0.9, 0.95, 1.0, 1.61, 1.7])
    path = write_clip(tmp_path / "variable.mp4", times_s.tolist())
    video = decode_video_frames(path, frame_rate_hz=10.0)
    assert video is not None
    instants = np.arange(len(video.frames)) / 10
    expected = np.searchsorted(times_s, instants + 1e-3, side="right") - 1
    assert shown_frames(video.frames) == expected.tolist()
    np.testing.assert_allclose(video.times_s, times_s[expected], atol=1e-3)
    assert instants[-1] >= 1.7


def test_video_sampled_faster_than_its_rate_repeats_frames(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "slow.mp4", even_times(1.0, 5), rate_hz=5)
    video = decode_video_frames(path, frame_rate_hz=10.0)
    assert video is not None
    assert shown_frames(video.frames) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_video_with_one_frame_gives_one_frame(tmp_path: Path) -> None:
    video = decode_video_frames(write_clip(tmp_path / "one.mp4", [0.0]))
    assert video is not None
    assert len(video.frames) == 1


def test_video_wider_than_the_bound_is_scaled_keeping_its_shape(tmp_path: Path) -> None:
    left_dark = np.full((60, 160, 3), 220, np.uint8)
    left_dark[:, :80] = 30
    path = write_clip(tmp_path / "wide.mp4", [0.0, 0.04], pictures=[left_dark, left_dark])
    video = decode_video_frames(path, max_width=80)
    assert video is not None
    assert video.frames.shape[1:] == (30, 80, 3)
    assert video.frames[0, :, :35].mean() < 40
    assert video.frames[0, :, 45:].mean() > 210


def test_video_colours_keep_their_order(tmp_path: Path) -> None:
    red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    red[..., 0] = 200
    video = decode_video_frames(write_clip(tmp_path / "red.mp4", [0.0, 0.04], pictures=[red, red]))
    assert video is not None
    np.testing.assert_allclose(video.frames[0].mean(axis=(0, 1)), [200, 0, 0], atol=8)


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (0, -1, 1, 0), (-1, 0, 0, -1)])
def test_video_with_display_matrix_is_turned_upright(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    bright_corner = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    bright_corner[:16, :16] = 230  # top left
    path = write_clip(tmp_path / "turned.mp4", [0.0, 0.04], pictures=[bright_corner] * 2)
    _patch_display_matrix(path, matrix)
    video = decode_video_frames(path)
    assert video is not None
    # ISO 14496-12: (x, y) is shown at (a·x + c·y, b·x + d·y), then moved into view.
    a, b, c, d = matrix
    corners = np.array([[0, 0], [WIDTH, 0], [0, HEIGHT], [WIDTH, HEIGHT]]) @ np.array([[a, b], [c, d]])
    shown = np.array([8, 8]) @ np.array([[a, b], [c, d]]) - corners.min(axis=0)
    width, height = np.ptp(corners, axis=0)
    assert video.frames.shape[1:3] == (height, width)
    column, row = shown
    assert video.frames[0, row, column].mean() > 200
    assert (video.frames[0] > 130).mean() == pytest.approx(16 * 16 / (WIDTH * HEIGHT), abs=0.02)


def _patch_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    data = bytearray(path.read_bytes())
    # tkhd version 0: the matrix {a, b, u, c, d, v, x, y, w} begins 40 bytes after the box's type.
    start = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def test_audio_of_a_clip_keeps_pitch_level_and_length(talking_clip: Path) -> None:
    audio = decode_audio(talking_clip)
    assert audio is not None
    assert audio.sampling_rate == 16000
    assert audio.waveform.dtype == np.float32
    assert len(audio.waveform) == pytest.approx(32000, abs=1600)
    inside = audio.waveform[4000:28000]
    frequencies, power = scipy.signal.periodogram(inside, 16000)
    assert frequencies[power.argmax()] == pytest.approx(440, abs=2)
    assert np.sqrt((inside**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_audio_at_its_own_rate_equals_soundfile(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.9, 0.9, 8000)
    soundfile.write(tmp_path / "noise.wav", noise, 16000, subtype="PCM_16")
    audio = decode_audio(tmp_path / "noise.wav")
    assert audio is not None
    expected, _ = soundfile.read(tmp_path / "noise.wav", dtype="float32")
    np.testing.assert_array_equal(audio.waveform, expected)


def test_audio_resampled_is_close_to_scipy(tmp_path: Path) -> None:
    sweep = 0.5 * scipy.signal.chirp(np.arange(48000) / 48000, 100, 1.0, 3000)
    soundfile.write(tmp_path / "sweep.wav", sweep, 48000, subtype="FLOAT")
    audio = decode_audio(tmp_path / "sweep.wav")
    assert audio is not None
    expected = scipy.signal.resample_poly(sweep, 1, 3)
    assert len(audio.waveform) == pytest.approx(len(expected), abs=32)
    np.testing.assert_allclose(audio.waveform[200:15500], expected[200:15500], atol=0.01)


def test_audio_with_two_channels_is_their_mean(tmp_path: Path) -> None:
    channels = np.random.default_rng(1).uniform(-0.9, 0.9, (4000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "stereo.wav", channels, 16000, subtype="FLOAT")
    audio = decode_audio(tmp_path / "stereo.wav")
    assert audio is not None
    np.testing.assert_allclose(audio.waveform, channels.mean(axis=1), atol=1e-6)


def test_media_in_one_pass_equals_the_single_tracks(talking_clip: Path) -> None:
    media = decode_media(talking_clip)
    audio, video = decode_audio(talking_clip), decode_video_frames(talking_clip)
    assert media.audio is not None
    assert media.video is not None
    assert audio is not None
    assert video is not None
    np.testing.assert_array_equal(media.audio.waveform, audio.waveform)
    np.testing.assert_array_equal(media.video.frames, video.frames)


def test_media_without_a_track_gives_none_for_it(tmp_path: Path) -> None:
    mute = write_clip(tmp_path / "mute.mp4", even_times())
    sound = write_clip(tmp_path / "sound.mp4", None, tone())
    assert decode_audio(mute) is None
    assert decode_video_frames(sound) is None
    assert decode_media(sound).audio is not None


def test_media_with_a_silent_track_gives_zeros(tmp_path: Path) -> None:
    audio = decode_audio(write_clip(tmp_path / "silent.mp4", even_times(), np.zeros(AUDIO_RATE, np.float32)))
    assert audio is not None
    assert len(audio.waveform) > 15000
    assert not audio.waveform.any()


def test_media_with_a_cover_picture_has_no_video(tmp_path: Path) -> None:
    import av

    path = tmp_path / "cover.mp3"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("libmp3lame", rate=16000, layout="mono")
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        block = av.AudioFrame.from_ndarray(tone(0.5, rate=16000)[None], format="fltp", layout="mono")
        block.sample_rate = 16000
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        container.mux(cover.encode(None))
        container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    media = decode_media(path)
    assert media.video is None
    assert media.audio is not None


def test_media_through_a_symbolic_link_is_read(tmp_path: Path, talking_clip: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(talking_clip)
    assert decode_audio(tmp_path / "link.mp4") is not None


def test_media_from_an_address_is_refused() -> None:
    with pytest.raises(MediaError, match=r"local files only, found the address 'https://example\.org/a\.mp4'; d"):
        decode_media("https://example.org/a.mp4")


def test_media_from_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"gone\.mp4 can't be read \(No such file or directory\); check the path"):
        decode_media(tmp_path / "gone.mp4")


def test_media_from_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(MediaError, match=r"regular files only, pipe\.mp4 is none; give a media file"):
        decode_media(tmp_path / "pipe.mp4")


def test_media_from_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(MediaError, match=r"empty\.mp4 is empty \(0 bytes\); get the file again"):
        decode_media(tmp_path / "empty.mp4")


def test_media_from_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.mp4").write_text("not a video " * 100)
    with pytest.raises(MediaError, match=r"note\.mp4 can't be decoded \(Invalid data.*convert it to mp4"):
        decode_media(tmp_path / "note.mp4")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "ffconcat version 1.0\nfile {clip}\n"),
    ],
)
def test_media_from_a_playlist_is_refused(tmp_path: Path, talking_clip: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text.format(clip=talking_clip))
    with pytest.raises(MediaError, match=f"{name} is a playlist, which names other files; give the media file itself"):
        decode_media(tmp_path / name)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(("suffix", "options"), [("mp4", {}), ("mp4", {"movflags": "faststart"}), ("mkv", {})])
def test_media_from_a_truncated_file_is_refused(
    tmp_path: Path, share: float, suffix: str, options: dict[str, str]
) -> None:
    path = write_clip(tmp_path / f"cut.{suffix}", even_times(8.0), tone(8.0), options=options)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(MediaError, match=rf"cut\.{suffix} (can't be decoded|is cut off: .* of the .* s in its header)"):
        decode_media(path)


def test_media_with_only_a_data_track_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "data.mp4", even_times())
    # Handler type and sample entry of the track now say timed metadata.
    path.write_bytes(path.read_bytes().replace(b"vide", b"data").replace(b"mp4v", b"gpmd"))
    with pytest.raises(MediaError, match=r"data\.mp4 must hold an audio or a video track, found none to decode"):
        decode_media(path)


def test_media_with_an_empty_track_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nothing.wav", np.empty(0), 16000)
    with pytest.raises(MediaError, match=r"nothing\.wav must hold audio samples or video frames, found none"):
        decode_media(tmp_path / "nothing.wav")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (MediaLimits(max_file_bytes=1000), r"talking\.mp4 has \d+ bytes, more than MediaLimits\.max_file_bytes 1000"),
        (MediaLimits(max_duration_s=1.5), r"talking\.mp4 lasts 2\.0 s, more than MediaLimits\.max_duration_s 1\.5"),
        (MediaLimits(max_frame_width=32), r"frames of 64 x 48 pixels, more than .* 32 x 4096; scale"),
        (MediaLimits(max_frame_height=32), r"frames of 64 x 48 pixels, more than .* 4096 x 32; scale"),
        (MediaLimits(max_frame_count=20), r"more frames than MediaLimits\.max_frame_count 20; cut"),
        (MediaLimits(max_sampled_bytes=20_000), r"more sampled frames than MediaLimits\.max_sampled_bytes 20000 holds"),
        (MediaLimits(max_frame_rate_hz=20), r"25 frames per second, more than MediaLimits\.max_frame_rate_hz 20"),
    ],
)
def test_media_beyond_a_limit_is_refused(talking_clip: Path, limits: MediaLimits, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        decode_media(talking_clip, limits=limits)


def test_audio_longer_than_a_header_says_is_refused_while_decoding(tmp_path: Path) -> None:
    # A raw AAC stream states no duration, so only counting finds out.
    path = write_clip(tmp_path / "long.aac", None, tone(3.0), options={})
    with pytest.raises(MediaError, match=r"long\.aac lasts \d\.\d s, more than MediaLimits\.max_duration_s 1"):
        decode_audio(path, limits=MediaLimits(max_duration_s=1.0))


@pytest.mark.parametrize("option", [{"sampling_rate": 0}, {"frame_rate_hz": -5.0}, {"max_width": 0}])
def test_media_with_a_rate_or_width_that_is_not_positive_is_refused(talking_clip: Path, option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="sampling_rate, frame_rate_hz and max_width must be positive, found"):
        decode_media(talking_clip, **option)


def test_sampler_with_a_clock_that_steps_back_keeps_times_in_order(tmp_path: Path) -> None:
    import av

    with av.open(str(write_clip(tmp_path / "four.mp4", even_times(4 / 25)))) as container:
        frames = list(container.decode(video=0))
    sampler = FrameSampler(10.0, 320)
    picked = []
    for frame, stream_time_s in zip(frames, [7.0, 7.15, 7.1, 7.3], strict=True):
        picked += sampler.add(frame, sampler.place(stream_time_s))
    picked += sampler.finish(0.1)
    pictures, times_s = np.stack([each.pixels for each in picked]), [each.time_s for each in picked]
    # At 0.2 s the third frame is on screen: it stepped back, so it took over at 0.15 s.
    assert shown_frames(pictures) == [0, 0, 2, 3]
    np.testing.assert_allclose(times_s, [0.0, 0.0, 0.15, 0.3], atol=1e-9)


@pytest.mark.real_data
def test_video_of_the_longest_mosi_clip_is_decoded_whole(shared_data: Path) -> None:
    path = shared_data / "data" / "mosi_raw_clips" / "segmented_video" / "2WGyTLYerpo_44.mp4"
    media = decode_media(path)
    assert media.video is not None
    assert media.audio is not None
    assert media.video.frames.shape == (263, 240, 320, 3)
    assert len(media.audio.waveform) / 16000 == pytest.approx(52.44, abs=0.05)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["bbaf2n.mpg", "nasa_13013.mp4", "WolfgangLanger_Pexels.mp4"])
def test_video_of_other_formats_is_decoded(shared_data: Path, name: str) -> None:
    media = decode_media(shared_data / "data" / "open_clips" / name)
    assert media.video is not None
    assert media.audio is not None
    video_s, audio_s = len(media.video.frames) / 5, len(media.audio.waveform) / 16000
    assert video_s == pytest.approx(audio_s, abs=0.3)
