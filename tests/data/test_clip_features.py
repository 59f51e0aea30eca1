"""Features of single clips of every kind, as `prepare` and `predict` get them."""

from pathlib import Path

import numpy as np
import pytest

from modeling_hfr_ame.data.clip_features import ClipFeatureSpec, extract_clip
from modeling_hfr_ame.data.synthetic_face import FaceLook, FacePose, draw_face
from modeling_hfr_ame.media import decode_media
from tests.media.clip_writing import AUDIO_RATE, even_times, tone, write_clip

pytest.importorskip("av", reason="decoding needs PyAV")

LOOK = FaceLook(skin=(224, 180, 150), hair=(60, 40, 30), half_width=52, half_height=66, centre=(160, 120))
FACES = [draw_face(LOOK, FacePose(0.0, m / 10, 0.0, 1.0, (0.0, 0.0))) for m in range(10)]


def test_features_of_the_stream_are_those_of_the_whole_bit_for_bit(tmp_path: Path) -> None:
    pictures = [FACES[index % 10] for index in range(60)]
    clip = write_clip(tmp_path / "clip.mp4", even_times(12.0, 5), tone(12.0, 180.0), pictures=pictures, rate_hz=5)
    spec = ClipFeatureSpec()
    features = extract_clip(clip, spec, tmp_path, num_thumbnails=4).load()
    media = decode_media(clip)
    assert features is not None
    assert media.audio is not None
    assert media.video is not None
    np.testing.assert_array_equal(features.audio, spec.audio_extractor.extract(media.audio.waveform, 16000))
    np.testing.assert_array_equal(features.vision, spec.vision_extractor.extract(media.video.frames, 5.0))
    assert features.vision is not None
    assert features.vision.any(axis=1).all()
    assert features.duration_s == pytest.approx(12.0, abs=0.1)
    assert [each.pixels.shape for each in features.thumbnails] == [(120, 160, 3)] * 4
    again = extract_clip(clip, spec, tmp_path, num_thumbnails=4).load()
    assert again is not None
    np.testing.assert_array_equal(again.thumbnails[2].pixels, features.thumbnails[2].pixels)
    assert [each.time_s for each in again.thumbnails] == [each.time_s for each in features.thumbnails]


@pytest.mark.parametrize("size", [1, 160, 4001])
def test_waveform_in_pieces_of_any_size_gives_the_same_bits(size: int) -> None:
    extractor = ClipFeatureSpec().audio_extractor
    seconds = 0.05 if size == 1 else 41.3
    wave = np.random.default_rng(0).normal(0, 0.1, round(seconds * 16000)).astype(np.float32)
    stream = extractor.stream(16000)
    for start in range(0, len(wave), size):
        stream.push(wave[start : start + size])
    np.testing.assert_array_equal(stream.finish(), extractor.extract(wave, 16000))


def test_states_say_what_is_missing(tmp_path: Path) -> None:
    clips = {
        "mute": write_clip(tmp_path / "mute.mp4", even_times()),
        "sound": write_clip(tmp_path / "sound.wav", None, tone(rate=16000), audio_codec="pcm_s16le", audio_rate=16000),
        "silent": write_clip(tmp_path / "silent.mp4", even_times(), np.zeros(AUDIO_RATE, np.float32)),
    }
    found = {name: extract_clip(clip, ClipFeatureSpec(), tmp_path) for name, clip in clips.items()}
    states = {name: (each.audio_state, each.vision_state) for name, each in found.items()}
    assert states == {
        "mute": ("no_track", "features"),
        "sound": ("features", "no_track"),
        "silent": ("silent", "features"),
    }
    assert found["mute"].num_faceless == found["mute"].num_pictures == 5
    assert found["sound"].duration_s == pytest.approx(1.0, abs=0.05)


def test_folder_and_missing_file_fail_with_the_rule(tmp_path: Path) -> None:
    for path, message in ((tmp_path, "regular files only"), (tmp_path / "gone.mp4", "can't be read")):
        result = extract_clip(path, ClipFeatureSpec(), tmp_path)
        assert result.entry is None
        assert message in str(result.failure)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "audio", "vision", "has_face"),
    [
        ("WolfgangLanger_Pexels.mp4", "silent", "features", True),
        ("nasa_13013.mp4", "features", "features", None),
        ("jfk.flac", "features", "no_track", False),
        ("bbaf2n.mpg", "features", "features", True),
    ],
)
def test_real_files_have_the_state_that_they_should(
    shared_data: Path, tmp_path: Path, name: str, audio: str, vision: str, has_face: bool | None
) -> None:
    result = extract_clip(shared_data / "data" / "open_clips" / name, ClipFeatureSpec(), tmp_path)
    assert (result.failure, result.audio_state, result.vision_state) == (None, audio, vision)
    if has_face is not None:
        assert (result.num_faceless < result.num_pictures) == has_face
