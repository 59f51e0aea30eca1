"""Every recording at hand gives an answer, with what is odd about it said."""

from pathlib import Path

import numpy as np
import pytest

from modeling_hfr_ame.prediction import PredictionOptions, Predictor, predict_files
from modeling_hfr_ame.prediction.files import list_media_files

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def test_open_clips_are_scored_and_their_oddities_named(predictor: Predictor, shared_data: Path) -> None:
    results = {
        result.path.name: result
        for result in predict_files(predictor, list_media_files(shared_data / "data/open_clips"))
    }
    assert len(results) == 7
    assert all(result.error is None and np.isfinite(result.score) for result in results.values())
    silent, speech, streams = (results[name] for name in ("WolfgangLanger_Pexels.mp4", "jfk.flac", "nasa_13013.mp4"))
    assert silent.states["audio"] == "silent"
    assert any("silent and counts as absent" in note for note in silent.notes)
    assert silent.timeline is not None
    assert speech.states == {"text": "absent", "audio": "features", "vision": "no_track"}
    assert streams.states["audio"] == "features"
    assert any("No face" in note for note in streams.notes)


def test_long_video_gives_a_timeline_with_pictures(predictor: Predictor, shared_data: Path) -> None:
    (path,) = list_media_files(shared_data / "data/mosei_raw_videos")
    (result,) = predict_files(predictor, [path], PredictionOptions(), max_thumbnails=24)
    assert result.timeline is not None
    assert len(result.timeline.windows) == 20
    assert result.timeline.duration_s == pytest.approx(44.3, abs=0.2)
    times_s = [each.time_s for each in result.timeline.thumbnails]
    assert 20 <= len(times_s) <= 24
    assert times_s == sorted(times_s)
    assert all(each.pixels.shape[1] <= 160 for each in result.timeline.thumbnails)
