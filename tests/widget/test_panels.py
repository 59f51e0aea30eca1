"""What the panels say, and that they say it without taking markup from a visitor."""

import re
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from modeling_hfr_ame.prediction import Clip, Prediction
from modeling_hfr_ame.widget.clip_scorer import Comparison
from modeling_hfr_ame.widget.panels import (
    render_clip,
    render_figure,
    render_gains,
    render_notice,
    render_score,
    render_severity,
)

ATTACK = "<img src=x onerror=alert(1)>"


@pytest.fixture
def clean() -> Prediction:
    return Prediction(
        score=1.5,
        label="positive",
        bin=2,
        severity={"text": 0.1, "audio": 0.2, "vision": 0.3},
        gates=None,
        present={"text": True, "audio": True, "vision": True},
        truncated={},
        label_range=(-3.0, 3.0),
        corruption="clean",
        text="the end [UNK] wonderful",
    )


@pytest.fixture
def comparison(clean: Prediction) -> Comparison:
    corrupted = replace(
        clean,
        score=-0.75,
        label="negative",
        severity={"text": 0.9, "audio": 0.2, "vision": 1.0},
        present={"text": True, "audio": True, "vision": False},
        corruption="drop-0.5",
    )
    return Comparison(clean, corrupted)


def _clip(name: str = "clip.mp4", **changes: object) -> Clip:
    states = {"text": "features", "audio": "silent", "vision": "no_face"}
    clip = Clip(name, "0" * 64, 3.25, None, None, None, None, 10.0, 5.0, states, (), ("No face was found.",))
    return replace(clip, **changes)


def test_score_panel_shows_both_scores_at_their_places(comparison: Comparison) -> None:
    panel = render_score(comparison)
    assert re.search(r'id="clean-score">\+1\.50<', panel)
    assert re.search(r'id="corrupted-score">−0\.75<', panel)
    assert "−2.25" in panel  # the change
    assert "--from:75.00%;--to:37.50%" in panel
    assert "clean score +1.50, positive; with drop-0.5 −0.75, negative" in panel


def test_score_panel_moves_from_the_score_shown_before(comparison: Comparison) -> None:
    assert "--from:50.00%;--to:37.50%" in render_score(comparison, previous=0.0)


def test_score_panel_of_a_clean_clip_shows_no_change(clean: Prediction) -> None:
    panel = render_score(Comparison(clean, clean))
    assert "no corruption" in panel
    assert "hfr-change" not in panel


def test_score_panel_never_shows_a_negative_zero(clean: Prediction) -> None:
    assert "−0.00" not in render_score(Comparison(replace(clean, score=-0.001), clean))


def test_severity_panel_shows_bars_and_marks_the_absent(comparison: Comparison) -> None:
    panel = render_severity(comparison, ("text", "audio", "vision"))
    assert "width:90.0%" in panel
    assert panel.count("absent</em>") == 1


def test_severity_panel_of_a_model_without_severity_says_so(clean: Prediction) -> None:
    plain = replace(clean, severity=None)
    assert "does not estimate" in render_severity(Comparison(plain, plain), ("text",))


def test_clip_panel_names_states_notes_and_lost_words(clean: Prediction) -> None:
    panel = render_clip(_clip(), clean)
    assert "silent, counts as absent" in panel
    assert "no face found" in panel
    assert "No face was found." in panel
    assert "<mark>[UNK]</mark>" in panel
    assert "3.2 s" in panel


def test_panels_escape_what_a_visitor_sends(clean: Prediction) -> None:
    hostile = replace(clean, text=ATTACK)
    for panel in (
        render_clip(_clip(ATTACK, notes=(ATTACK,)), hostile),
        render_notice(ATTACK),
        render_figure(Figure(), f'"{ATTACK}', [ATTACK]),
    ):
        assert "<img src=x" not in panel
        assert "&lt;img src=x" in panel


def test_figure_lies_in_the_page_with_its_description() -> None:
    panel = render_figure(Figure(), "a timeline", ["The text has no times."])
    assert 'src="data:image/png;base64,iVBOR' in panel
    assert 'alt="a timeline"' in panel
    assert "The text has no times." in panel


def test_gains_say_where_nothing_was_damaged() -> None:
    panel = render_gains({"text": float("nan"), "audio": -1.26})
    assert "nothing was damaged" in panel
    assert "−1.3 dB" in panel
