"""Scores, severity and figures as HTML: text and pictures in the page itself, so that no file has to be served.

Everything that comes from a visitor or a file is escaped.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from modeling_hfr_ame.prediction import Clip, Prediction
from modeling_hfr_ame.widget.clip_scorer import CLEAN, Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 120
_STATES = {
    "features": "read",
    "absent": "not given",
    "no_track": "no such track in the file",
    "silent": "silent, counts as absent",
    "empty": "empty",
    "no_face": "no face found",
}
_MODALITY_TITLES = {"text": "Text", "audio": "Voice", "vision": "Face"}
_MASKED = {"[UNK]", "[MASK]"}


def modality_title(name: str) -> str:
    """Names a modality as the page does."""
    return _MODALITY_TITLES.get(name, name)


def render_notice(text: str) -> str:
    """Shows a sentence where a panel has nothing to show."""
    return f'<p class="hfr-notice">{escape(text)}</p>'


def render_score(comparison: Comparison, previous: float | None = None) -> str:
    """Draws both scores on one scale.

    Args:
        comparison: The scores.
        previous: The score that was shown before, from which the mark moves; None = the clean one.
    """
    clean, corrupted = comparison.clean, comparison.corrupted
    low, high = clean.label_range
    is_clean = corrupted.corruption == CLEAN
    start = clean.score if previous is None else previous

    def place(score: float) -> str:
        return f"{100 * (score - low) / (high - low):.2f}%"

    left, right = sorted((clean.score, corrupted.score))
    shift = "" if is_clean else f'<span class="hfr-change">{_signed(comparison.change)}</span>'
    marks = (
        f'<div class="hfr-shift" style="left:{place(left)};width:calc({place(right)} - {place(left)})"></div>'
        f'<div class="hfr-mark hfr-mark-clean" style="left:{place(clean.score)}"></div>'
        f'<div class="hfr-mark hfr-mark-now" style="--from:{place(start)};--to:{place(corrupted.score)}"></div>'
    )
    ticks = "".join(f'<span style="left:{place(value)}">{_tick(value)}</span>' for value in _tick_values(low, high))
    spoken = f"clean score {_signed(clean.score)}, {clean.label}"
    if not is_clean:
        spoken += f"; with {corrupted.corruption} {_signed(corrupted.score)}, {corrupted.label}"
    now_title = "no corruption" if is_clean else f"with {corrupted.corruption}"
    return f"""
<div class="hfr-score">
  <div class="hfr-numbers">
    <div class="hfr-number"><small>clean</small><b id="clean-score">{_signed(clean.score)}</b>{_chip(clean)}</div>
    <div class="hfr-arrow" aria-hidden="true">→{shift}</div>
    <div class="hfr-number hfr-now"><small>{escape(now_title)}</small>
      <b id="corrupted-score">{_signed(corrupted.score)}</b>{_chip(corrupted)}</div>
  </div>
  <div class="hfr-scale" role="img" aria-label="{escape(spoken)}">
    <div class="hfr-track"></div>{marks}<div class="hfr-ticks">{ticks}</div>
  </div>
  <div class="hfr-ends"><span>negative</span><span>neutral</span><span>positive</span></div>
</div>"""


def render_severity(comparison: Comparison, modalities: Sequence[str]) -> str:
    """Draws how corrupted the model takes each modality to be, clean and corrupted one above the other."""
    clean, corrupted = comparison.clean, comparison.corrupted
    if clean.severity is None or corrupted.severity is None:
        return render_notice("This model does not estimate how corrupted its input is.")
    rows = []
    for name in modalities:
        bars = "".join(
            _bar(prediction, name, style)
            for prediction, style in ((clean, "hfr-bar-clean"), (corrupted, "hfr-bar-now"))
        )
        rows.append(f'<div class="hfr-row"><span>{escape(modality_title(name))}</span><div>{bars}</div></div>')
    legend = (
        '<div class="hfr-legend"><span><i class="hfr-bar-clean"></i>clean</span>'
        '<span><i class="hfr-bar-now"></i>corrupted</span></div>'
    )
    return f'<div class="hfr-severity"><h3>Damage, as the model estimates it</h3>{"".join(rows)}{legend}</div>'


def render_clip(clip: Clip, prediction: Prediction) -> str:
    """Says what was read, and which words the model received."""
    length = "" if clip.duration_s is None else f" · {clip.duration_s:.1f} s"
    states = "".join(
        f'<li class="hfr-state-{escape(state)}"><b>{escape(modality_title(name))}</b> '
        f"{escape(_STATES.get(state, state))}</li>"
        for name, state in clip.states.items()
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in clip.notes)
    words = ""
    if prediction.text is not None:
        words = f'<p class="hfr-words"><small>words received</small> {_words(prediction.text)}</p>'
    return (
        f'<div class="hfr-clip"><p><b>{escape(clip.name)}</b>{length}</p><ul class="hfr-states">{states}</ul>'
        + (f'<ul class="hfr-notes">{notes}</ul>' if notes else "")
        + f"{words}</div>"
    )


def render_figure(figure: "Figure", description: str, notes: Sequence[str] = ()) -> str:
    """Puts a figure into the page as a PNG, with its description for those who can't see it."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI)
    content = base64.b64encode(stream.getvalue()).decode("ascii")
    remarks = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f'<div class="hfr-figure" tabindex="0" role="group" aria-label="{escape(description)}">'
        f'<img alt="{escape(description)}" src="data:image/png;base64,{content}"></div>'
        + (f'<ul class="hfr-notes">{remarks}</ul>' if remarks else "")
    )


def render_gains(gains_db: Mapping[str, float]) -> str:
    """Lists what restoration wins per modality, in decibel."""
    items = "".join(
        f"<li><b>{escape(modality_title(name))}</b> "
        + ("nothing was damaged" if gain != gain else f"{_signed(gain, 1)} dB")
        + "</li>"
        for name, gain in gains_db.items()
    )
    return f'<ul class="hfr-states hfr-gains">{items}</ul>'


def _bar(prediction: Prediction, name: str, style: str) -> str:
    assert prediction.severity is not None
    if not prediction.present[name]:
        return f'<div class="hfr-line"><div class="hfr-rail hfr-absent {style}"></div><em>absent</em></div>'
    value = min(max(prediction.severity[name], 0.0), 1.0)
    return (
        f'<div class="hfr-line"><div class="hfr-rail"><div class="{style}" style="width:{100 * value:.1f}%"></div>'
        f"</div><em>{value:.2f}</em></div>"
    )


def _chip(prediction: Prediction) -> str:
    return f'<span class="hfr-chip hfr-{escape(prediction.label)}">{escape(prediction.label)}</span>'


def _words(text: str) -> str:
    return " ".join(f"<mark>{escape(word)}</mark>" if word in _MASKED else escape(word) for word in text.split())


def _signed(value: float, digits: int = 2) -> str:
    """Writes a number with its sign, and never as a negative zero."""
    shown = round(value, digits) + 0.0
    return f"{shown:+.{digits}f}".replace("-", "−")


def _tick_values(low: float, high: float) -> list[float]:
    step = 1.0 if high - low > 2 else 0.5
    return [low + step * index for index in range(round((high - low) / step) + 1)]


def _tick(value: float) -> str:
    return f"{value:+g}".replace("-", "−") if value else "0"
