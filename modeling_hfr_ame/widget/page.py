"""The page itself: controls, panels, what happens on which event, and the endpoint for programs.

Design choices:

- A recording is read once; each move of a slider only scores it again. What was read lives in the session's memory.
- The score comes first; the figure of the open tab follows, and no other figure is drawn.
- An error of the package is shown as its sentence. Anything else is our bug: it goes to the server's log, and the
  visitor is told that much.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio_client import utils as client_utils

from modeling_hfr_ame.errors import HfrAmeError
from modeling_hfr_ame.prediction import Clip, Prediction, draw_restoration, draw_timeline
from modeling_hfr_ame.widget.clip_scorer import CLEAN, WHOLE_MODALITIES, ClipScorer
from modeling_hfr_ame.widget.example_clips import EXAMPLE_TEXT, ExampleClip
from modeling_hfr_ame.widget.panels import (
    modality_title,
    render_clip,
    render_figure,
    render_gains,
    render_notice,
    render_score,
    render_severity,
)
from modeling_hfr_ame.widget.wording import HEADER, LIMITS, TITLE

_LOGGER = logging.getLogger(__name__)
_OWN_FAULT = "the page met an error of its own, nothing you did is wrong; the server's log has the details"
_TRANSCRIPTS = [".srt", ".vtt", ".json", ".txt"]
_START = "Choose an example, upload or record a clip, or type some words."
_SESSION_S = 3600
_KEPT_FILES_S = (300, 1800)  # every five minutes, files older than half an hour are removed
_MAX_WAITING = 16
_TIMELINE, _RESTORATION, _DETAILS = "timeline", "restoration", "details"
_FIRST_KIND, _FIRST_RATE, _FIRST_STEP = "drop", 0.5, 3


@dataclass(frozen=True)
class ReadClip:
    """What a session remembers: a clip, its clean score, and the score shown last."""

    clip: Clip
    clean: Prediction

    def __deepcopy__(self, memo: dict[int, Any]) -> "ReadClip":
        # A session copies what it is given; this is frozen, and nothing writes to the frames.
        return self


def build_page(scorer: ClipScorer, examples: Sequence[ExampleClip] = ()) -> Any:
    """Builds the page.

    Args:
        scorer: What scores.
        examples: Clips to offer.

    Returns:
        The `gradio.Blocks`, with the endpoint `/predict`. `server` starts it with what keeps it private.
    """
    return _Page(scorer, examples).build()


class _Page:
    """The components, and what their events do."""

    def __init__(self, scorer: ClipScorer, examples: Sequence[ExampleClip]) -> None:
        self.scorer, self.examples = scorer, examples
        self.kinds = dict(scorer.choices)

    def build(self) -> Any:
        with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=_KEPT_FILES_S, fill_width=False) as page:
            self.read_clip = gr.State(None, time_to_live=_SESSION_S)
            self.shown_score = gr.State(None, time_to_live=_SESSION_S)
            self.open_view = gr.State(_TIMELINE)
            gr.HTML(HEADER, elem_id="hfr-header")
            with gr.Row(equal_height=False):
                with gr.Column(scale=5, min_width=320):
                    self._add_inputs()
                with gr.Column(scale=7, min_width=320):
                    self._add_corruption()
                    self.score_panel = gr.HTML(render_notice(_START), elem_id="hfr-score-panel")
                    self.severity_panel = gr.HTML("", elem_id="hfr-severity-panel")
                    self.clip_panel = gr.HTML("", elem_id="hfr-clip-panel")
            self._add_views()
            gr.HTML(LIMITS, elem_id="hfr-limits")
            self._connect()
            self._add_endpoint()
        # One at a time: a model on a CPU gains nothing from two visitors at once.
        page.queue(default_concurrency_limit=1, max_size=_MAX_WAITING)
        return page

    def _add_inputs(self) -> None:
        with gr.Tabs():
            with gr.Tab("Video"):
                self.video = _uploads_only(
                    gr.Video(
                        label="Clip with sound",
                        sources=["upload", "webcam"],
                        include_audio=True,
                        webcam_options=gr.WebcamOptions(mirror=False),
                        elem_id="hfr-video",
                    )
                )
            with gr.Tab("Voice or text alone"):
                self.audio = _uploads_only(
                    gr.Audio(
                        label="Voice (optional)",
                        sources=["upload", "microphone"],
                        type="filepath",
                        editable=False,
                        elem_id="hfr-audio",
                    )
                )
        self.text = gr.Textbox(
            label="What is said", placeholder=f"optional, for example: {EXAMPLE_TEXT}", lines=2, max_length=5000
        )
        with gr.Accordion("Words with times instead", open=False):
            self.transcript = _uploads_only(
                gr.File(label="Transcript (.srt, .vtt, .json, .txt)", file_types=_TRANSCRIPTS, height=110)
            )
        self.score_button = gr.Button("Score", variant="primary", elem_id="hfr-score-button")
        self.example_buttons = []
        if self.examples:
            gr.HTML('<p class="hfr-caption">Examples, drawn by this program</p>')
            with gr.Row(elem_classes="hfr-examples"):
                self.example_buttons = [gr.Button(each.title, size="sm", min_width=90) for each in self.examples]

    def _add_corruption(self) -> None:
        first = _FIRST_KIND if _FIRST_KIND in self.kinds else next(iter(self.kinds))
        with gr.Group(elem_classes="hfr-controls"):
            self.kind = gr.Dropdown(
                [(_capital(each.title), kind) for kind, each in self.kinds.items()],
                value=first,
                label="Corruption",
                filterable=False,
                elem_id="hfr-kind",
            )
            self.rate = gr.Slider(
                0.0,
                0.9,
                0.0,
                step=0.05,
                label="Rate",
                info="0 = clean",
                visible=self._scale(first) == "rate",
                elem_id="hfr-rate",
                buttons=[],
            )
            self.step = gr.Slider(
                0,
                5,
                _FIRST_STEP,
                step=1,
                label="Strength",
                info="0 = clean",
                visible=self._scale(first) == "step",
                elem_id="hfr-step",
                buttons=[],
            )
            places = self._place_choices(first)
            self.places = gr.CheckboxGroup(
                places, value=[name for _, name in places], label="Where", elem_id="hfr-places"
            )

    def _add_views(self) -> None:
        with gr.Tabs(elem_classes="hfr-views"):
            self.tabs = {}
            with gr.Tab("Timeline") as self.tabs[_TIMELINE]:
                self.timeline_panel = gr.HTML(render_notice("The timeline of your clip appears here."))
            with gr.Tab("Restoration") as self.tabs[_RESTORATION]:
                self.restoration_panel = gr.HTML(render_notice("What the model restores of the damage appears here."))
            with gr.Tab("Details") as self.tabs[_DETAILS]:
                self.details = gr.JSON(label="Everything about the scores", elem_id="hfr-details")

    def _connect(self) -> None:
        private = {"api_visibility": "private"}
        controls = [self.kind, self.rate, self.step, self.places]
        scoring: dict[str, Any] = {
            "fn": _readable(self.show_score),
            "inputs": [self.read_clip, self.shown_score, *controls],
            "outputs": [self.score_panel, self.severity_panel, self.clip_panel, self.details, self.shown_score],
            "show_progress": "hidden",
            "trigger_mode": "always_last",
            **private,
        }
        drawing: dict[str, Any] = {
            "fn": _readable(self.show_view),
            "inputs": [self.read_clip, self.open_view, *controls],
            "outputs": [self.timeline_panel, self.restoration_panel],
            "show_progress": "minimal",
            "trigger_mode": "always_last",  # otherwise the last move is dropped while the one before is drawn
            **private,
        }
        sources = [self.video, self.audio, self.text, self.transcript]
        read = gr.on(
            [
                self.score_button.click,
                self.text.submit,
                self.video.upload,
                self.video.stop_recording,
                self.audio.upload,
                self.audio.stop_recording,
                self.transcript.upload,
            ],
            _readable(self.read),
            sources,
            [self.read_clip, self.shown_score],
            show_progress_on=[self.score_panel],
            trigger_mode="multiple",
            **private,
        )
        read.success(**scoring).success(**drawing)
        for button, example in zip(self.example_buttons, self.examples, strict=True):
            shown = button.click(functools.partial(_example_values, example), None, sources, **private)
            loaded = shown.success(
                _readable(self.read),
                sources,
                [self.read_clip, self.shown_score],
                show_progress_on=[self.score_panel],
                **private,
            )
            loaded.success(**scoring).success(**drawing)
        moved = gr.on([self.rate.input, self.step.input, self.places.input], **scoring)
        moved.success(**drawing)
        chosen = self.kind.input(
            _readable(self.fit_controls),
            [self.kind],
            [self.rate, self.step, self.places],
            show_progress="hidden",
            **private,
        )
        chosen.success(**scoring).success(**drawing)
        for name, tab in self.tabs.items():
            opened = tab.select(functools.partial(lambda value: value, name), None, self.open_view, **private)
            opened.success(**drawing)

    def _add_endpoint(self) -> None:
        # Components of its own: the page's sliders check their bounds, and those depend on what was chosen before.
        with gr.Row(visible=False):
            inputs = [
                _uploads_only(gr.File(label="Video or audio file", type="filepath")),
                gr.Textbox(label="What is said"),
                _uploads_only(gr.File(label="Transcript with times", type="filepath", file_types=_TRANSCRIPTS)),
                gr.Textbox(CLEAN, label="Recipe, such as drop-0.5 or noise-3-audio"),
                gr.Number(0, label="Seed of the corruption", precision=0),
            ]
            result = gr.JSON(label="Scores")
            gr.Button().click(_readable(self.predict), inputs, result, api_name="predict")

    def predict(
        self,
        recording: str | None = None,
        text: str | None = None,
        transcript: str | None = None,
        corruption: str = CLEAN,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Scores a recording, a text, or both, with and without a corruption.

        Args:
            recording: A video or audio file.
            text: What is said.
            transcript: A file with the words and their times.
            corruption: A recipe, such as `drop-0.5` or `noise-3-audio`; `clean` for none.
            seed: Seed of its draws.

        Returns:
            `clip`, `clean`, `corrupted` and `change`.
        """
        clip = self.scorer.read(recording, text=text, transcript=transcript)
        comparison = self.scorer.compare(clip, corruption or CLEAN, seed=int(seed or 0))
        return self.scorer.describe(clip, comparison)

    def read(
        self, video: str | None, audio: str | None, text: str | None, transcript: str | None
    ) -> tuple[ReadClip, None]:
        """Reads what the visitor gave."""
        if video is not None and audio is not None:
            raise _shown("a clip has one recording, found a video and a voice recording; remove one of them")
        clip = self.scorer.read(video or audio, text=text, transcript=transcript)
        return ReadClip(clip, self.scorer.predictor.predict(clip)), None

    def show_score(
        self,
        read: ReadClip | None,
        previous: float | None,
        kind: str,
        rate: float,
        step: float,
        places: list[str],
    ) -> tuple[Any, ...]:
        """Scores under the present corruption."""
        if read is None:
            return (gr.skip(),) * 5
        comparison = self.scorer.compare(read.clip, self._recipe(kind, rate, step, places), clean=read.clean)
        return (
            render_score(comparison, previous),
            render_severity(comparison, self.scorer.predictor.modalities),
            render_clip(read.clip, comparison.corrupted),
            self.scorer.describe(read.clip, comparison),
            comparison.corrupted.score,
        )

    def show_view(
        self, read: ReadClip | None, view: str, kind: str, rate: float, step: float, places: list[str]
    ) -> tuple[Any, Any]:
        """Draws the figure of the open tab."""
        if read is None or view == _DETAILS:
            return gr.skip(), gr.skip()
        recipe = self._recipe(kind, rate, step, places)
        if view == _TIMELINE:
            return self._draw_timeline(read.clip, recipe), gr.skip()
        return gr.skip(), self._draw_restoration(read.clip, recipe)

    def _draw_timeline(self, clip: Clip, recipe: str) -> str:
        if clip.duration_s is None:
            return render_notice("A timeline needs a recording; this is a text alone.")
        timeline = self.scorer.timeline(clip, recipe)
        description = (
            f"Timeline of {clip.name}, {recipe}: {len(timeline.windows)} windows of {timeline.window_s:g} s, "
            f"mean score {timeline.score:+.2f}, {timeline.label}"
        )
        return render_figure(draw_timeline(timeline), description, [n for n in timeline.notes if n not in clip.notes])

    def _draw_restoration(self, clip: Clip, recipe: str) -> str:
        if not self.scorer.predictor.restores:
            return render_notice("This model restores nothing; it has no frequency restoration.")
        if recipe == CLEAN:
            return render_notice("Nothing is damaged. Raise the corruption to see what the model restores.")
        view = self.scorer.restore(clip, recipe)
        gains = {name: each.gain_db for name, each in view.modalities.items()}
        figure = render_figure(draw_restoration(view), f"Restoration of {clip.name} under {recipe}")
        return render_gains(gains) + figure

    def fit_controls(self, kind: str) -> tuple[Any, Any, Any]:
        """Shows the slider of a kind of corruption, and the modalities where it exists."""
        scale, places = self._scale(kind), self._place_choices(kind)
        # Removing everything leaves nothing to score, so the last modality is removed first.
        chosen = [places[-1][1]] if scale == "whole" else [name for _, name in places]
        return (
            gr.update(visible=scale == "rate", value=_FIRST_RATE),
            gr.update(visible=scale == "step", value=_FIRST_STEP),
            gr.update(choices=places, value=chosen),
        )

    def _scale(self, kind: str) -> str:
        if kind == WHOLE_MODALITIES:
            return "whole"
        return "step" if self.kinds[kind].levels[-1] > 1 else "rate"

    def _place_choices(self, kind: str) -> list[tuple[str, str]]:
        return [(modality_title(name), name) for name in self.scorer.places(kind)]

    def _recipe(self, kind: str, rate: float, step: float, places: list[str]) -> str:
        return self.scorer.recipe(kind, step if self._scale(kind) == "step" else rate, places)


def _example_values(example: ExampleClip) -> tuple[str, None, str, str]:
    return str(example.video), None, "", str(example.transcript)


def _uploads_only(component: Any) -> Any:
    """Lets a file component take uploads and no addresses: the server fetches nothing for a visitor.

    The method is replaced on the instance, since Gradio writes a stub file beside every class that extends a component.
    """
    take_file = component.async_move_resource_to_block_cache

    async def take_upload(path: str | Path | None) -> str | None:
        if path is not None and client_utils.is_http_url_like(str(path)):
            raise _shown("only uploaded files are read, found an address; download the file and upload it")
        return await take_file(path)

    component.async_move_resource_to_block_cache = take_upload
    return component


def _readable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Shows an error of the package as its sentence, and any other without its details."""

    @functools.wraps(function)
    def wrapped(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except gr.Error:
            raise
        except HfrAmeError as error:
            raise _shown(str(error)) from error
        except Exception as error:
            _LOGGER.exception("the widget failed")
            raise _shown(_OWN_FAULT) from error

    return wrapped


def _shown(message: str) -> Any:
    # The page renders a message as HTML, and it may quote what a visitor sent.
    return gr.Error(escape(message, quote=False), title="Please check", print_exception=False)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
