"""What the figures of this room share: colours, fonts, words that fit a box, and files.

Colours are Okabe and Ito's, and colour maps have one direction of lightness or a light middle, so that they can be told
apart with any kind of colour vision and in grey. Text is never read as mathematics: a file may be called `a$b$.mp4`.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font_names

from modeling_hfr_ame.errors import ConfigError

POSITIVE, NEGATIVE, INK, MUTED, FAINT = "#0072B2", "#D55E00", "#222222", "#5F5F5F", "#D9D9D9"
MODALITY_COLORS = {"text": "#0072B2", "audio": "#009E73", "vision": "#CC79A7"}
SEVERITY_MAP, GATE_MAP, FEATURE_MAP = "YlOrBr", "PuOr", "PuOr"
TITLE_SIZE, LABEL_SIZE, SMALL_SIZE = 11.0, 8.5, 7.0
_POINTS_PER_INCH = 72.0
# Letters are fitted to the pixels of the picture, which makes a text in a coarse one up to so much wider.
_MEASURE_DPI, _HINTING = 600, 1.03
# The first that is installed stands in for scripts that the default font lacks.
_OTHER_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "Microsoft YaHei",
    "PingFang SC",
    "SimHei",
)
_SUFFIXES = (".png", ".svg", ".pdf")


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """Makes a white figure without any global state."""
    figure = Figure(figsize=(width_inches, height_inches), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | Path, *, dpi: int = 150) -> Path:
    """Writes a figure; the suffix chooses the format.

    Args:
        figure: From a `draw_…` function.
        path: A `.png`, `.svg` or `.pdf` file in an existing folder.
        dpi: Dots per inch of PNG and of pictures in the other two.

    Returns:
        The path.

    Raises:
        ConfigError: The suffix is another one, or the folder doesn't exist.
    """
    target = Path(path)
    if target.suffix.lower() not in _SUFFIXES or not target.parent.is_dir():
        raise ConfigError(
            f"a figure is written as {', '.join(_SUFFIXES)} into an existing folder, found {target}; change the path"
        )
    figure.savefig(target, dpi=dpi, format=target.suffix.lower()[1:])
    return target


@cache
def installed_fonts() -> tuple[str, ...]:
    """Names of font families to try in order."""
    names = set(get_font_names())
    return ("DejaVu Sans", *(name for name in _OTHER_FONTS if name in names))


def write(target: Axes | Figure, x: float, y: float, text: str, **style: Any) -> Any:
    """Puts a text somewhere, by default small and dark, never parsed as mathematics."""
    given: dict[str, Any] = {
        "fontsize": SMALL_SIZE,
        "color": INK,
        "parse_math": False,
        "family": list(installed_fonts()),
    }
    return target.text(x, y, text, **given | style)


class TextMeasure:
    """Measures texts of one size, so that they can be placed without overlap.

    Args:
        size: Font size in points.
    """

    def __init__(self, size: float) -> None:
        figure = Figure(dpi=_MEASURE_DPI)
        self._renderer: Any = FigureCanvasAgg(figure).get_renderer()
        self._font = FontProperties(family=list(installed_fonts()), size=size)
        self._widths: dict[str, float] = {}
        self.line_inches = 1.25 * size / _POINTS_PER_INCH

    def width(self, text: str) -> float:
        """Width in inches."""
        if text not in self._widths:
            pixels = self._renderer.get_text_width_height_descent(text, self._font, False)[0]
            self._widths[text] = _HINTING * pixels / _MEASURE_DPI
        return self._widths[text]

    def shortened(self, text: str, width_inches: float, always: bool = False) -> str:
        """Cuts a text with an ellipsis to a width; `always`: adds one although the text fits."""
        if not always and self.width(text) <= width_inches:
            return text
        mark = " …" if always else "…"
        while text and self.width(text + mark) > width_inches:
            text = text[:-1]
        return text + mark if text else "…"

    def wrapped(self, words: Sequence[str], width_inches: float, max_lines: int) -> list[list[tuple[float, int]]]:
        """Breaks words into lines.

        Args:
            words: The words.
            width_inches: Width of a line; a longer word gets a line of its own.
            max_lines: Lines at most; what doesn't fit is left out.

        Returns:
            Per line the offset in inches and the index of each word.
        """
        lines: list[list[tuple[float, int]]] = [[]]
        space, at = 0.75 * self.width("n"), 0.0
        for index, word in enumerate(words):
            width = self.width(word)
            if lines[-1] and at + width > width_inches:
                if len(lines) == max_lines:
                    return lines
                lines.append([])
                at = 0.0
            lines[-1].append((at, index))
            at += width + space
        return lines


def style_axes(axes: Axes) -> None:
    """Takes away what carries no information."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=LABEL_SIZE - 1, color=MUTED, labelcolor=INK, length=3)
    for spine in axes.spines.values():
        spine.set_color(MUTED)
        spine.set_linewidth(0.8)
