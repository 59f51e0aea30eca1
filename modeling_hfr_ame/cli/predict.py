"""`hfr-ame predict`."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import ConfigError, DataError

if TYPE_CHECKING:
    from ..prediction import Clip, FilePrediction, Prediction, PredictionOptions, Predictor

EXIT_CODE_SOME_FAILED = 3
DOCUMENT_FORMAT = "hfr-ame-prediction-report/1"
_STANDARD_OUTPUT = Path("-")


def predict(
    sources: list[Path] = typer.Argument(
        None, metavar="[FILE|FOLDER]...", help="Video or audio files, or a folder of them; none: --text alone."
    ),
    model: str = typer.Option(..., "--model", help="Run folder, exported folder, or OWNER/NAME on the Hub."),
    text: str | None = typer.Option(None, "--text", help="What is said, without times."),
    transcript: Path | None = typer.Option(
        None, "--transcript", help="What is said: .srt, .vtt, .json or .txt; of a folder: a folder of such files."
    ),
    asr: str | None = typer.Option(
        None, "--asr", help="Speech recognition model (folder or Hub id) that hears the words."
    ),
    window: float = typer.Option(8.0, "--window", help="Length of a timeline's windows in seconds."),
    hop: float = typer.Option(2.0, "--hop", help="Distance of two windows in seconds."),
    timeline_from: float = typer.Option(15.0, "--timeline-from", help="Files at least this long get a timeline."),
    corruption: str | None = typer.Option(
        None, "--corruption", help="Damage the input first by a recipe, such as drop-0.5 or noise-3-audio."
    ),
    seed: int = typer.Option(0, "--seed", help="Seed of the corruption."),
    json_path: Path | None = typer.Option(None, "--json", help="Write everything as JSON; - is standard output."),
    csv_path: Path | None = typer.Option(None, "--csv", help="Write files and windows as CSV; - is standard output."),
    plot: Path | None = typer.Option(
        None, "--plot", help="Write a figure, .png, .svg or .pdf; of several files: a folder of PNG."
    ),
    restoration: Path | None = typer.Option(
        None, "--restoration", help="Write a figure of what the model restores of the damage; needs --corruption."
    ),
    journal: Path | None = typer.Option(
        None, "--journal", help="JSON lines of finished files to resume from. [default: a FOLDER's predictions.jsonl]"
    ),
    max_duration: float | None = typer.Option(
        None, "--max-duration", help="Refuse files longer than this, in seconds."
    ),
    device: str | None = typer.Option(None, "--device", help="Where to run, for example cuda. [default: cpu]"),
) -> None:
    """Score the sentiment of recordings: a table, and on request JSON, CSV and figures.

    Exit status: 0 if every file went well, 3 if some of several failed, 2 if nothing could be done.
    """
    from ..prediction import PredictionOptions

    options = PredictionOptions(
        window_s=window,
        hop_s=hop,
        timeline_from_s=timeline_from,
        corruption=corruption,
        seed=seed,
        text=text,
        transcript=transcript,
        asr=asr,
    )
    if restoration is not None and corruption is None:
        raise ConfigError(
            "a restoration view shows what is restored of a damage, found no --corruption; add for example "
            "--corruption drop-0.5"
        )
    if json_path == csv_path == _STANDARD_OUTPUT:
        raise ConfigError("standard output takes one of JSON and CSV, found both as -; write one into a file")
    paths, is_batch, folder = _list_paths(sources or [])
    if journal is not None and not is_batch:
        raise ConfigError(
            f"a journal serves several files or a folder, found {len(paths)} file(s); leave --journal out"
        )
    predictor = _load(model, device, max_duration)
    outputs = _Outputs(json_path, csv_path, plot, restoration)
    if is_batch:
        results = _predict_batch(predictor, paths, options, outputs, journal or _default_journal(folder))
    else:
        results = [_predict_one(predictor, paths[0] if paths else None, options, outputs)]
    outputs.write_tables(results, model, options)
    if any(result.error is not None for result in results):
        raise typer.Exit(EXIT_CODE_SOME_FAILED)


class _Outputs:
    """Where results go."""

    def __init__(
        self, json_path: Path | None, csv_path: Path | None, plot: Path | None, restoration: Path | None
    ) -> None:
        self.json_path, self.csv_path, self.plot, self.restoration = json_path, csv_path, plot, restoration
        # A reader of standard output gets JSON or CSV and nothing else.
        self.is_quiet = _STANDARD_OUTPUT in (json_path, csv_path)

    def write_tables(self, results: Sequence["FilePrediction"], model: str, options: "PredictionOptions") -> None:
        from dataclasses import asdict

        from ..prediction import write_csv

        if self.json_path is not None:
            document = {
                "format": DOCUMENT_FORMAT,
                "model": Path(model).name if Path(model).exists() else model,
                "options": {name: _plain(value) for name, value in asdict(options).items()},
                "files": [result.as_dict() for result in results],
            }
            content = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            if self.json_path == _STANDARD_OUTPUT:
                sys.stdout.write(content)
            else:
                self.json_path.write_text(content, encoding="utf-8")
        if self.csv_path is not None:
            write_csv(results, sys.stdout if self.csv_path == _STANDARD_OUTPUT else self.csv_path)


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, Path) else value


def _list_paths(sources: Sequence[Path]) -> tuple[list[Path], bool, Path | None]:
    """Gives the files, whether they are a batch, and the folder if it is one."""
    from ..prediction import list_media_files

    folders = [source for source in sources if source.is_dir()]
    if folders and len(sources) > 1:
        raise ConfigError(
            f"predict takes files or one folder, found {len(sources)} sources with a folder; pass it alone"
        )
    if folders:
        return list_media_files(folders[0]), True, folders[0]
    return list(sources), len(sources) > 1, None


def _default_journal(folder: Path | None) -> Path | None:
    return None if folder is None else folder / "predictions.jsonl"


def _load(model: str, device: str | None, max_duration: float | None) -> "Predictor":
    from dataclasses import replace

    from ..media import MediaLimits
    from ..prediction import Predictor

    limits = MediaLimits()
    if max_duration is not None:
        limits = replace(limits, max_duration_s=max_duration)
    return Predictor.from_pretrained(model, device=device, limits=limits)


def _predict_one(
    predictor: "Predictor", path: Path | None, options: "PredictionOptions", outputs: _Outputs
) -> "FilePrediction":
    """Predicts a file, or a text alone."""
    from ..prediction.files import predict_clip, read_file

    clip = predictor.read(text=options.text) if path is None else read_file(predictor, path, options)
    result = predict_clip(predictor, clip, path or clip.name, options)
    _show(result, outputs)
    _draw(predictor, clip, result, options, outputs)
    return result


def _show(result: "FilePrediction", outputs: _Outputs) -> None:
    if outputs.is_quiet:
        return
    from rich.console import Console

    from ..prediction.tables import clip_table, window_table

    console = Console(highlight=False)
    length = "" if result.duration_s is None else f" ({result.duration_s:.1f} s)"
    console.print(f"{result.path.name}{length}: {_sentence(result)}", markup=False)
    if result.timeline is not None:
        console.print(window_table(result.timeline))
    elif result.prediction is not None:
        console.print(clip_table(result.prediction, result.states))
    for note in result.notes:
        console.print(f"note: {note}", markup=False)


def _sentence(result: "FilePrediction") -> str:
    from math import nan

    answer: Prediction | Any = result.timeline or result.prediction
    low, high = answer.label_range
    mean = "mean " if result.timeline is not None else ""
    damage = "" if answer.corruption == "clean" else f", corrupted by {answer.corruption}"
    score = nan if result.score is None else result.score
    return f"{mean}score {score:+.2f} in [{low:g}, {high:g}], {result.label}{damage}"


def _draw(
    predictor: "Predictor", clip: "Clip", result: "FilePrediction", options: "PredictionOptions", outputs: _Outputs
) -> None:
    from ..prediction import draw_restoration, save_figure

    if outputs.plot is not None:
        save_figure(_figure(result), outputs.plot)
    if outputs.restoration is not None:
        assert options.corruption is not None
        view = predictor.restore(clip, options.corruption, seed=options.seed)
        save_figure(draw_restoration(view), outputs.restoration)


def _figure(result: "FilePrediction") -> Any:
    from ..prediction import draw_severity, draw_timeline

    if result.timeline is not None:
        return draw_timeline(result.timeline)
    assert result.prediction is not None
    return draw_severity(result.prediction, title=result.path.name)


def _predict_batch(
    predictor: "Predictor",
    paths: Sequence[Path],
    options: "PredictionOptions",
    outputs: _Outputs,
    journal: Path | None,
) -> list["FilePrediction"]:
    from ..prediction import predict_files, save_figure
    from ..prediction.predictor import DEFAULT_NUM_THUMBNAILS

    if outputs.restoration is not None:
        raise ConfigError(f"a restoration view shows one clip, found {len(paths)} files; pass one of them")
    figures = _figure_paths(paths, outputs.plot)
    results = predict_files(
        predictor,
        paths,
        options,
        journal=journal,
        again=[path for path, figure in figures.items() if not figure.exists()],
        max_thumbnails=DEFAULT_NUM_THUMBNAILS if figures else 0,
    )
    done = []
    with _progress(len(paths)) as advance:
        for result in results:
            if result.path in figures and not result.resumed and result.error is None:
                save_figure(_figure(result), figures[result.path])
            done.append(result)
            advance(result)
    if not outputs.is_quiet:
        _show_batch(done)
    return done


def _figure_paths(paths: Sequence[Path], plot: Path | None) -> dict[Path, Path]:
    if plot is None:
        return {}
    if plot.suffix or plot.is_file():
        raise ConfigError(f"the figures of {len(paths)} files go into a folder, found {plot}; pass a folder's name")
    plot.mkdir(parents=True, exist_ok=True)
    # The whole name: a folder may hold a.mp4 and a.wav.
    figures = {path: plot / f"{path.name}.png" for path in paths}
    if len(set(figures.values())) < len(paths):
        raise DataError(
            "figures are named as their files, found two files of one name; predict their folders one by one"
        )
    return figures


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """A progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("predicting"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total)

        def advance(result: "FilePrediction") -> None:
            from rich.markup import escape

            progress.update(task, advance=1, description=escape(result.path.name))

        yield advance


def _show_batch(results: Sequence["FilePrediction"]) -> None:
    from rich.console import Console

    from ..prediction.tables import file_table

    console = Console(highlight=False)
    console.print(file_table(results))
    failed = sum(result.error is not None for result in results)
    resumed = sum(result.resumed for result in results)
    console.print(f"{len(results)} files, {failed} failed, {resumed} known from an earlier run")
