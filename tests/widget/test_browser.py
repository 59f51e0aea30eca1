"""The page as a visitor meets it: driven in headless Chromium at desktop and phone width.

HFR_AME_SCREENSHOTS names a folder for pictures of each step.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from modeling_hfr_ame.data.synthetic_clips import SyntheticClip
from modeling_hfr_ame.widget.wording import TITLE
from tests.widget.chromium import open_chromium
from tests.widget.page_server import PageServer

pytestmark = pytest.mark.browser

_DESKTOP, _PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
_WAIT_MS = 60_000


class Visitor:
    """One visit: a page, and what went wrong in it."""

    def __init__(self, page: Any, url: str, name: str) -> None:
        self.page, self.name = page, name
        self.errors: list[str] = []
        page.set_default_timeout(_WAIT_MS)
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(url)
        page.wait_for_selector("#hfr-score-button")

    def upload(self, clip: SyntheticClip) -> None:
        self.page.set_input_files("#hfr-video input[type=file]", str(clip.path))
        self.page.wait_for_selector("#corrupted-score")

    def press(self, slider: str, times: int, recipe: str) -> None:
        """Moves a slider by its keys and waits for the score under the recipe that it comes to."""
        self.page.locator(f"{slider} input[type=range]").focus()
        for _ in range(times):
            self.page.keyboard.press("ArrowRight")
        self.wait_for_recipe(recipe)

    def choose_kind(self, title: str, recipe: str) -> None:
        self.page.locator("#hfr-kind input").click()
        self.page.get_by_role("option", name=title).click()
        self.wait_for_recipe(recipe)

    def wait_for_recipe(self, recipe: str) -> None:
        self.page.locator(".hfr-now small").get_by_text(f"with {recipe}", exact=True).wait_for()

    def open_view(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def wait_for_figure(self, recipe: str) -> None:
        """Waits for the figure of the open tab to be that of a recipe."""
        self.page.locator(f'.hfr-figure:visible[aria-label*="{recipe}"] img').wait_for()

    def score(self) -> float:
        return float(self.page.inner_text("#corrupted-score").replace("−", "-"))

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def picture(self, step: str) -> None:
        folder = os.environ.get("HFR_AME_SCREENSHOTS")
        if folder:
            self.page.wait_for_timeout(1000)  # movements of the page come to rest
            self.page.screenshot(path=Path(folder) / f"{self.name}-{step}.png", full_page=True)


Visit = Callable[..., Visitor]


@pytest.fixture
def visit(page_server: PageServer, tmp_path: Path) -> Iterator[Visit]:
    """Opens the page; at the end, neither browser nor server may have reached beyond this machine."""
    with ExitStack() as open_browsers:

        def open_page(viewport: dict[str, int], color_scheme: str = "light") -> Visitor:
            page = open_browsers.enter_context(open_chromium(tmp_path / "browser", viewport, color_scheme))
            return Visitor(page, page_server.url, f"{viewport['width']}-{color_scheme}")

        yield open_page
    assert page_server.foreign_connections == []


def test_slider_moves_the_score_of_an_uploaded_clip(visit: Visit, talker: SyntheticClip) -> None:
    visitor = visit(_DESKTOP)
    assert visitor.page.title() == TITLE
    visitor.picture("1-start")
    visitor.upload(talker)
    clean = visitor.score()
    visitor.press("#hfr-rate", 14, "drop-0.7")
    assert visitor.score() != clean
    assert float(visitor.page.inner_text("#clean-score").replace("−", "-")) == clean
    visitor.wait_for_figure("drop-0.7")
    assert visitor.page.locator(".hfr-severity .hfr-row").count() == 3
    visitor.picture("2-timeline")
    visitor.open_view("Restoration")
    visitor.wait_for_figure("drop-0.7")
    assert visitor.page.locator(".hfr-gains li").count() == 2  # no words were given
    visitor.picture("3-restoration")
    visitor.open_view("Details")
    visitor.page.locator("#hfr-details").get_by_text("corrupted").first.wait_for()
    assert visitor.errors == []


def test_kinds_bring_their_own_slider_and_modalities(visit: Visit, talker: SyntheticClip) -> None:
    visitor = visit(_DESKTOP)
    visitor.upload(talker)
    visitor.choose_kind("Add noise", "noise-3")
    visitor.press("#hfr-step", 2, "noise-5")
    assert not visitor.page.locator("#hfr-rate").is_visible()
    visitor.page.locator("#hfr-places").get_by_text("Face").click()
    visitor.wait_for_recipe("noise-5-audio")
    visitor.choose_kind("Remove whole modalities", "missing-vision")
    assert not visitor.page.locator("#hfr-step").is_visible()
    assert "absent" in visitor.page.inner_text(".hfr-severity")
    assert visitor.errors == []


def test_typed_words_are_scored_and_mistakes_are_explained(visit: Visit) -> None:
    visitor = visit(_DESKTOP)
    visitor.page.locator("#hfr-score-button").click()
    visitor.page.get_by_text("there must be something to score").wait_for()
    visitor.picture("4-mistake")
    visitor.page.get_by_label("What is said").fill("the <b>end</b> is wonderful")
    visitor.page.locator("#hfr-score-button").click()
    visitor.page.wait_for_selector("#corrupted-score")
    visitor.page.get_by_text("A timeline needs a recording").wait_for()
    assert "<b>end</b>" in visitor.page.inner_text(".hfr-words")


def test_phone_shows_everything_without_scrolling_sideways(visit: Visit) -> None:
    visitor = visit(_PHONE)
    assert visitor.overflow() == 0
    visitor.page.get_by_role("button", name="Longer talk").click()
    visitor.page.wait_for_selector("#corrupted-score")
    visitor.press("#hfr-rate", 10, "drop-0.5")
    visitor.wait_for_figure("drop-0.5")
    assert visitor.overflow() == 0
    visitor.picture("5-example")
    visitor.open_view("Restoration")
    visitor.wait_for_figure("drop-0.5")
    assert visitor.overflow() == 0
    visitor.picture("6-restoration")
    assert visitor.errors == []


def test_dark_mode_keeps_scores_and_figures_readable(visit: Visit, talker: SyntheticClip) -> None:
    visitor = visit(_DESKTOP, color_scheme="dark")
    visitor.upload(talker)
    visitor.press("#hfr-rate", 8, "drop-0.4")
    visitor.wait_for_figure("drop-0.4")
    colours = visitor.page.evaluate(
        """() => ['#corrupted-score', '.hfr-score', '.hfr-figure'].map((name, index) =>
            getComputedStyle(document.querySelector(name))[index ? 'backgroundColor' : 'color'])"""
    )
    levels = [sum(int(part) for part in each[each.index("(") + 1 : -1].split(",")[:3]) for each in colours]
    assert levels[0] > 500 > 250 > levels[1]  # light letters on a dark card
    assert levels[2] == 3 * 255  # figures are drawn for white
    visitor.picture("7-dark")
    assert visitor.errors == []
