from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.prediction import (
    Clip,
    Prediction,
    Predictor,
    Thumbnail,
    TimedWord,
    Timeline,
    Window,
    draw_restoration,
    draw_severity,
    draw_timeline,
    save_figure,
)

PNG, SVG, PDF = b"\x89PNG", b"<?xml", b"%PDF"


def make_prediction(score: float = 0.5, absent: str = "", **changes: Any) -> Prediction:
    present = {name: name != absent for name in ("text", "audio", "vision")}
    values: dict[str, Any] = {
        "score": score,
        "label": "positive" if score > 0 else "negative",
        "bin": round(score),
        "severity": {"text": 0.1, "audio": 0.95, "vision": 0.5},
        "gates": {name: [0.9, 1.0, 1.2] for name in present if present[name]},
        "present": present,
        "truncated": {},
        "label_range": (-3.0, 3.0),
        "corruption": "clean",
        "text": "some words",
    }
    return Prediction(**values | changes)


def make_timeline(duration_s: float, hop_s: float = 2.0, **changes: Any) -> Timeline:
    window_s = min(8.0, duration_s)
    starts = np.arange(0, duration_s - window_s + 1e-9, hop_s)
    windows = tuple(
        Window(
            float(start), float(start + window_s), make_prediction(2.5 * np.sin(start), "audio" if i % 5 == 2 else "")
        )
        for i, start in enumerate(starts)
    )
    rng = np.random.default_rng(0)
    words = [
        TimedWord("w" * int(rng.integers(1, 14)), 0.4 * i, 0.4 * i + 0.3, float(rng.uniform()))
        for i in range(int(duration_s / 0.4))
    ]
    values: dict[str, Any] = {
        "name": "a$b$ <c>.mp4",
        "duration_s": duration_s,
        "window_s": window_s,
        "hop_s": hop_s,
        "corruption": "drop-0.5",
        "windows": windows,
        "skipped": (),
        "words": tuple(words),
        "thumbnails": tuple(
            Thumbnail(float(time_s), np.full((90, 160, 3), 99, np.uint8)) for time_s in np.linspace(0, duration_s, 24)
        ),
        "notes": ("A note that is rather long. " * 12,),
        "label_range": (-3.0, 3.0),
        "metric_scheme": "mosi",
        "modalities": ("text", "audio", "vision"),
    }
    return Timeline(**values | changes)


def overlapping_texts(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes overlap, and texts that leave the figure."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    figure.draw(renderer)
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    # A tick label outside its axis' limits is kept but not drawn.
    shown = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            hidden = [tick.label1 for tick in axis.get_major_ticks() if not low - 1e-9 <= tick.get_loc() <= high + 1e-9]
            texts = [text for text in texts if text not in hidden]
    for text in texts:
        box = text.get_window_extent(renderer)
        shown.append((text.get_text(), box))
    outside = [
        (text, "outside")
        for text, box in shown
        if box.x0 < -0.5 or box.y0 < -0.5 or box.x1 > figure.bbox.width + 0.5 or box.y1 > figure.bbox.height + 0.5
    ]
    pairs = []
    for (first, a), (second, b) in combinations(shown, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        high = min(a.y1, b.y1) - max(a.y0, b.y0)
        # Line boxes carry leading; letters touch only where boxes overlap by more than that.
        if wide > 0.5 and high > 0.25 * min(a.height, b.height):
            pairs.append((first, second))
    return pairs + outside


def test_overlap_is_found() -> None:
    figure = Figure()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.text(0.5, 0.5, "one")
    figure.text(0.51, 0.5, "two")
    figure.text(0.99, 0.1, "three")
    assert overlapping_texts(figure) == [("one", "two"), ("three", "outside")]


@pytest.mark.parametrize("duration_s", [8.0, 44.0, 130.0, 600.0])
def test_texts_of_a_timeline_never_overlap(duration_s: float) -> None:
    assert overlapping_texts(draw_timeline(make_timeline(duration_s))) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"words": (), "thumbnails": (), "notes": ()},
        {"modalities": ("audio",)},
        {"label_range": (-1.0, 1.0)},
        {"windows": make_timeline(60.0).windows[::3], "skipped": ((2.0, 10.0),)},
        {"windows": tuple(Window(t, t + 8, make_prediction(severity=None, gates=None)) for t in (0.0, 2.0))},
        {"windows": tuple(Window(t, t + 8, make_prediction(s)) for t, s in ((0.0, 3.0), (2.0, 2.9)))},
        {"name": "a very long file name " * 20},
    ],
)
def test_timeline_with_less_in_it_is_drawn_without_overlap(changes: dict[str, Any]) -> None:
    assert overlapping_texts(draw_timeline(make_timeline(60.0, **changes))) == []


def test_timeline_shows_every_window_at_its_middle() -> None:
    timeline = make_timeline(44.0)
    axes = next(axes for axes in draw_timeline(timeline).axes if axes.get_lines() and axes.get_ylim()[1] > 3)
    x, y = axes.get_lines()[0].get_data()
    np.testing.assert_allclose(x, [window.start_s + 4 for window in timeline.windows])
    np.testing.assert_allclose(y, [window.prediction.score for window in timeline.windows])
    assert axes.get_xlim() == (0, 44)


def test_figures_are_written_in_the_format_of_their_suffix(tmp_path: Path) -> None:
    figure = draw_severity(make_prediction(absent="vision"), title="a$b$.mp4")
    assert overlapping_texts(figure) == []
    for suffix, magic in ((".png", PNG), (".svg", SVG), (".PDF", PDF)):
        assert save_figure(figure, tmp_path / f"figure{suffix}").read_bytes().startswith(magic)
    with pytest.raises(ConfigError, match=r"a figure is written as \.png, \.svg, \.pdf into an existing folder"):
        save_figure(figure, tmp_path / "figure.jpg")
    with pytest.raises(ConfigError, match="into an existing folder"):
        save_figure(figure, tmp_path / "no" / "figure.png")


def test_severity_of_models_without_estimate_and_gates_is_drawn() -> None:
    figure = draw_severity(make_prediction(-2.0, severity=None, gates=None))
    assert overlapping_texts(figure) == []
    texts = {text.get_text() for text in figure.findobj(Text)}
    assert {"this model estimates none", "this model has none", "score -2.00, negative"} <= texts


@pytest.mark.parametrize("recipe", ["typo-0.5", "noise-3-audio", "missing-text-vision"])
def test_texts_of_a_restoration_view_never_overlap(predictor: Predictor, talkers: Path, recipe: str) -> None:
    words = ["the", "end", "is", "wonderful", "slow", "but", "the", "end", "is", "slow"]
    clip: Clip = predictor.read(talkers / "drawn00_1.mp4", text=" ".join(words))
    view = predictor.restore(clip, recipe)
    figure = draw_restoration(view)
    assert overlapping_texts(figure) == []
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == 3 * len(view.modalities)
    first = next(iter(view.modalities.values()))
    order = np.argsort(-first.clean.mean(0), kind="stable")
    np.testing.assert_array_equal(images[1].get_array(), first.corrupted[:, order].T)
    assert images[0].get_clim() == images[1].get_clim() == images[2].get_clim()


def test_restoration_view_of_nothing_says_so(predictor: Predictor) -> None:
    # Text is all there is, and the protocol keeps the last modality.
    view = predictor.restore(predictor.read(text="the end"), "missing-text")
    figure = draw_restoration(type(view)(**{**view.__dict__, "modalities": {}}))
    assert "no modality is left to compare" in {text.get_text() for text in figure.findobj(Text)}
