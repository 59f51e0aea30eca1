"""Predictions as rows: for a CSV file and for the terminal."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.table import Table

from modeling_hfr_ame.corruption import MODALITIES
from modeling_hfr_ame.prediction.results import FilePrediction, Prediction, Timeline

CSV_COLUMNS = (
    "file",
    "row",
    "start_s",
    "end_s",
    "score",
    "label",
    "bin",
    *(f"severity_{name}" for name in MODALITIES),
    *(f"present_{name}" for name in MODALITIES),
    "corruption",
    "text",
    "error_class",
    "error",
)
_STYLES = {"positive": "blue", "negative": "red", "neutral": "default"}
_MAX_WORDS = 60


def csv_rows(results: Iterable[FilePrediction]) -> list[dict[str, Any]]:
    """Lists one row per file (`row` = `file`) and one per window (`row` = `window`) with the keys `CSV_COLUMNS`.

    The row of a file with a timeline holds the mean over time as its score and leaves severities to the windows.
    """
    rows = []
    for result in results:
        answer: dict[str, Any] = {"score": result.score, "label": result.label, "bin": result.bin}
        row: dict[str, Any] = {
            "file": result.path.name,
            "row": "file",
            "start_s": 0.0,
            "end_s": result.duration_s,
            **answer,
        }
        if result.error is not None:
            row |= {"start_s": None, "error_class": result.error_class, "error": result.error}
        elif result.timeline is None and result.prediction is not None:
            row |= _details(result.prediction)
        rows.append(row)
        for window in result.timeline.windows if result.timeline is not None else ():
            span = {"row": "window", "start_s": window.start_s, "end_s": window.end_s}
            rows.append({"file": result.path.name, **span, **_details(window.prediction)})
    return [{name: _cell(row.get(name)) for name in CSV_COLUMNS} for row in rows]


def write_csv(results: Iterable[FilePrediction], target: Path | TextIO) -> None:
    """Writes `csv_rows` with a header into a file or an open stream."""
    if isinstance(target, Path):
        with target.open("w", encoding="utf-8", newline="") as file:
            write_csv(results, file)
        return
    table = csv.DictWriter(target, CSV_COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(csv_rows(results))


def file_table(results: Sequence[FilePrediction]) -> Table:
    """Makes the terminal table of several files."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("file", "length", "score", "label", *MODALITIES, "note"):
        table.add_column(name, justify="right" if name in ("length", "score") else "left", overflow="fold")
    for result in results:
        if result.error is not None:
            message = _plain(f"{result.error_class}: {result.error}")
            table.add_row(_plain(result.path.name), "", "", "failed", "", "", "", message, style="red")
            continue
        windows = "" if result.timeline is None else f"{len(result.timeline.windows)} windows"
        table.add_row(
            _plain(result.path.name),
            _length(result.duration_s),
            _score(result.score),
            _label(result.label),
            *(_state(result, name) for name in MODALITIES),
            windows,
        )
    return table


def clip_table(prediction: Prediction, states: dict[str, str]) -> Table:
    """Makes the terminal table of one prediction: a row per modality."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("modality", "state", "estimated corruption", "gates, low to high band", "cut"):
        table.add_column(name)
    for name in MODALITIES:
        is_present = prediction.present[name]
        severity = prediction.severity[name] if prediction.severity is not None and is_present else None
        gates = (prediction.gates or {}).get(name)
        found = states.get(name, "absent")
        state = found if is_present or found != "features" else "removed"
        table.add_row(
            name,
            state.replace("_", " ").replace("features", "present"),
            "" if severity is None else f"{severity:.2f}",
            "" if gates is None else "  ".join(f"{gate:.2f}" for gate in gates),
            f"{prediction.truncated[name]} steps" if prediction.truncated.get(name) else "",
        )
    return table


def window_table(timeline: Timeline) -> Table:
    """Makes the terminal table of a timeline: a row per window."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("from", "to", "score"):
        table.add_column(name, justify="right")
    table.add_column("label")
    for name in MODALITIES:
        table.add_column(f"corruption: {name}" if name == MODALITIES[0] else name, justify="right")
    table.add_column("words")
    for window in timeline.windows:
        given = window.prediction
        words = " ".join(word.text for word in window.words)
        table.add_row(
            f"{window.start_s:.1f}",
            f"{window.end_s:.1f}",
            _score(given.score),
            _label(given.label),
            *(
                "" if given.severity is None or not given.present[name] else f"{given.severity[name]:.2f}"
                for name in MODALITIES
            ),
            _plain(words if len(words) <= _MAX_WORDS else words[: _MAX_WORDS - 1] + "…"),
        )
    return table


def _details(prediction: Prediction) -> dict[str, Any]:
    severity = prediction.severity or {}
    return {
        "score": prediction.score,
        "label": prediction.label,
        "bin": prediction.bin,
        **{f"severity_{name}": severity.get(name) for name in MODALITIES},
        **{f"present_{name}": int(prediction.present[name]) for name in MODALITIES},
        "corruption": prediction.corruption,
        "text": prediction.text,
    }


def _cell(value: Any) -> Any:
    return "" if value is None else round(value, 6) if isinstance(value, float) else value


def _plain(text: str) -> str:
    """Protects a text from being read as Rich's markup."""
    from rich.markup import escape

    return escape(text)


def _length(duration_s: float | None) -> str:
    return "" if duration_s is None else f"{duration_s:.1f} s"


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:+.2f}"


def _label(label: str | None) -> str:
    return "" if label is None else f"[{_STYLES[label]}]{label}[/]"


def _state(result: FilePrediction, name: str) -> str:
    return result.states.get(name, "").replace("_", " ").replace("features", "yes").replace("absent", "–")
