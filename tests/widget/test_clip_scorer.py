"""Reading once, comparing often, and what the controls mean."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from modeling_hfr_ame import ConfigError, InputError
from modeling_hfr_ame.data.synthetic_clips import SyntheticClip
from modeling_hfr_ame.prediction import Predictor
from modeling_hfr_ame.widget import ClipScorer
from modeling_hfr_ame.widget.clip_scorer import choose_window_s
from tests.hub.run_making import make_run


def test_read_leaves_no_features_on_the_disk(
    scorer: ClipScorer, talker: SyntheticClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, cache = tmp_path / "temporary", tmp_path / "cache"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    clip = scorer.read(talker.path, text=" rather good ")
    assert clip.audio is not None
    assert clip.text == "rather good"
    assert list(temporary.iterdir()) == []
    assert not cache.exists()
    assert scorer.predictor.cache_dir is None


def test_read_without_anything_says_what_to_do(scorer: ClipScorer) -> None:
    with pytest.raises(InputError, match="there must be something to score, found neither"):
        scorer.read(None, text="  ")


def test_read_of_a_transcript_alone_asks_for_a_recording(scorer: ClipScorer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a transcript belongs to a recording"):
        scorer.read(None, transcript=tmp_path / "words.srt")


@pytest.mark.parametrize(
    ("controls", "expected"),
    [
        (("drop", 0.5, ["text", "audio", "vision"]), "drop-0.5-text-audio-vision"),
        (("drop", 0.0, ["text"]), "clean"),
        (("noise", 3.0, ["audio"]), "noise-3-audio"),
        (("noise", 3.0, []), "clean"),
        (("missing", 0.0, ["vision"]), "missing-vision"),
        (("typo", 0.3, ["text", "audio"]), "typo-0.3-text"),
    ],
)
def test_recipe_is_what_the_controls_say(
    scorer: ClipScorer, controls: tuple[str, float, list[str]], expected: str
) -> None:
    from modeling_hfr_ame.corruption import CorruptionRecipe

    assert scorer.recipe(*controls) == CorruptionRecipe.from_name(expected).name


def test_recipe_of_an_unknown_kind_lists_the_kinds(scorer: ClipScorer) -> None:
    with pytest.raises(ConfigError, match="unknown corruption kind 'rot'; choose one of drop"):
        scorer.recipe("rot", 1, ["audio"])


def test_choices_are_those_of_the_models_modalities(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", native=True, modalities="t")
    scorer = ClipScorer(Predictor.from_pretrained(run))
    assert "noise" not in scorer.choices
    assert scorer.places("drop") == ["text"]


def test_comparison_moves_under_corruption_and_repeats(scorer: ClipScorer, talker: SyntheticClip) -> None:
    clip = scorer.read(talker.path, text="the end is wonderful")
    first = scorer.compare(clip, "drop-0.7")
    again = scorer.compare(clip, "drop-0.7", clean=first.clean)
    assert first.clean == scorer.predictor.predict(clip)
    assert first.corrupted == again.corrupted == scorer.predictor.predict(clip, corruption="drop-0.7")
    assert first.change == first.corrupted.score - first.clean.score != 0


def test_comparison_without_corruption_changes_nothing(scorer: ClipScorer) -> None:
    comparison = scorer.compare(scorer.read(text="the end is wonderful"), "clean")
    assert comparison.change == 0
    assert comparison.corrupted.corruption == "clean"


def test_timeline_covers_the_clip_and_restoration_has_its_recipe(scorer: ClipScorer, talker: SyntheticClip) -> None:
    clip = scorer.read(talker.path)
    timeline = scorer.timeline(clip, "noise-3")
    assert timeline.corruption == "noise-3"
    assert timeline.windows[0].start_s == 0
    np.testing.assert_allclose(timeline.windows[-1].end_s, clip.duration_s, atol=1e-6)
    assert scorer.restore(clip, "noise-3").corruption == "noise-3"


def test_description_is_plain_json_with_both_scores(scorer: ClipScorer) -> None:
    import json

    clip = scorer.read(text="the end is wonderful")
    described = scorer.describe(clip, scorer.compare(clip, "mask-0.5"))
    assert json.loads(json.dumps(described)) == described
    assert described["corrupted"]["corruption"] == "mask-0.5"
    assert described["clip"]["states"]["audio"] == "absent"


@pytest.mark.parametrize(("duration_s", "window_s"), [(0.5, 1.0), (3.9, 1.0), (16.9, 4.2), (600.0, 8.0)])
def test_window_is_a_quarter_of_the_clip_within_limits(duration_s: float, window_s: float) -> None:
    assert choose_window_s(duration_s) == window_s
