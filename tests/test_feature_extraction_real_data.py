"""Native features of real talking-head clips: faces are found, voices have a pitch, two runs agree."""

from pathlib import Path

import numpy as np
import pytest

from modeling_hfr_ame.feature_extraction_hfr_ame_audio import (
    AUDIO_FEATURE_NAMES,
    HfrAmeAudioFeatureExtractor,
    is_silent,
)
from modeling_hfr_ame.feature_extraction_hfr_ame_vision import VISION_FEATURE_NAMES, HfrAmeVisionFeatureExtractor

pytestmark = pytest.mark.real_data


def _clips(shared: Path) -> list[Path]:
    clips = sorted(
        (shared / "data" / "mosi_raw_clips" / "segmented_video").glob("*.mp4"), key=lambda p: p.stat().st_size
    )
    if not clips:
        pytest.skip("real data not found: the shared folder holds no raw clips")
    return clips[: len(clips) // 4 : len(clips) // 12]


def test_extract_real_clips_give_faces_and_voices(shared_data: Path) -> None:
    media = pytest.importorskip("modeling_hfr_ame.media", reason="needs the media room and PyAV")
    audio, vision = HfrAmeAudioFeatureExtractor(), HfrAmeVisionFeatureExtractor()
    for clip in _clips(shared_data):
        decoded = media.decode_media(clip, sampling_rate=16000, frame_rate_hz=vision.frame_rate_hz)
        faces = vision.extract(decoded.video.frames, decoded.video.frame_rate_hz)
        assert faces[:, VISION_FEATURE_NAMES.index("face_detected")].mean() > 0.8, clip.name
        assert np.isfinite(faces).all()
        voices = audio.extract(decoded.audio.waveform, decoded.audio.sampling_rate)
        assert not is_silent(decoded.audio.waveform)
        assert np.isfinite(voices).all()
        voiced = voices[:, AUDIO_FEATURE_NAMES.index("voiced_fraction")] > 0.5
        pitch = np.exp(voices[voiced, AUDIO_FEATURE_NAMES.index("log_f0_mean")])
        assert voiced.mean() > 0.2, clip.name
        assert 80 < np.median(pitch) < 300, clip.name
        seconds = len(decoded.audio.waveform) / decoded.audio.sampling_rate
        assert len(voices) == pytest.approx(10 * seconds, abs=1)
        np.testing.assert_array_equal(audio.extract(decoded.audio.waveform, 16000), voices)
