import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from modeling_hfr_ame.cli import app
from modeling_hfr_ame.data.synthetic_clips import generate_synthetic_clips
from tests.hub.run_making import make_run

PNG, SVG = b"\x89PNG", b"<?xml"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_run(tmp_path_factory.mktemp("model") / "run", native=True))


@pytest.fixture(scope="module")
def talkers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_synthetic_clips(tmp_path_factory.mktemp("talkers") / "clips", num_clips=2)


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "150")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_clip_gives_a_table_and_every_file_that_is_asked_for(model: str, talkers: Path, tmp_path: Path) -> None:
    outputs = {name: tmp_path / f"out.{name}" for name in ("json", "csv", "png", "svg")}
    result = run(
        talkers / "drawn00_1.mp4",
        *("--model", model, "--text", "the end is wonderful", "--corruption", "drop-0.5", "--seed", "3"),
        *("--json", outputs["json"], "--csv", outputs["csv"]),
        *("--plot", outputs["png"], "--restoration", outputs["svg"]),
    )
    assert result.exit_code == 0, result.output
    document = json.loads(outputs["json"].read_text(encoding="utf-8"))
    (found,) = document["files"]
    assert document["options"]["corruption"] == "drop-0.5"
    assert document["format"] == "hfr-ame-prediction-report/1"
    assert result.stdout.startswith(f"drawn00_1.mp4 (2.7 s): score {found['score']:+.2f} in [-3, 3], {found['label']}")
    assert ", corrupted by drop-0.5\n" in result.stdout
    assert all(name in result.stdout for name in ("text", "audio", "vision", "estimated corruption"))
    (row,) = csv.DictReader(io.StringIO(outputs["csv"].read_text(encoding="utf-8")))
    assert (row["file"], row["row"], row["label"]) == ("drawn00_1.mp4", "file", found["label"])
    assert float(row["score"]) == pytest.approx(found["score"], abs=1e-6)
    assert row["text"] == found["prediction"]["text"]
    assert outputs["png"].read_bytes().startswith(PNG)
    assert outputs["svg"].read_bytes().startswith(SVG)


def test_long_file_gives_a_timeline(model: str, talkers: Path, tmp_path: Path) -> None:
    figure = tmp_path / "timeline.png"
    options = ("--model", model, "--timeline-from", "2", "--window", "1", "--hop", "0.5")
    result = run(talkers / "drawn00_1.mp4", *options, "--csv", "-", "--plot", figure)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["row"] for row in rows] == ["file", *["window"] * 5]
    assert (rows[1]["start_s"], rows[1]["end_s"], rows[-1]["end_s"]) == ("0.0", "1.0", rows[0]["end_s"])
    assert figure.read_bytes().startswith(PNG)
    words = tmp_path / "words.vtt"
    words.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nthe end\n", encoding="utf-8")
    said = run(talkers / "drawn00_1.mp4", *options, "--transcript", words, "--csv", "-").stdout
    assert [row["text"] for row in csv.DictReader(io.StringIO(said))][:3] == ["", "the end", "end"]
    shown = run(talkers / "drawn00_1.mp4", *options).stdout
    assert "mean score" in shown
    assert all(f"{float(row['score']):+.2f}" in shown for row in rows)


def test_text_alone_needs_no_file(model: str) -> None:
    result = run("--model", model, "--text", "slow but wonderful", "--json", "-")
    (found,) = json.loads(result.stdout)["files"]
    assert found["states"] == {"text": "features", "audio": "absent", "vision": "absent"}
    assert found["prediction"]["text"] == "slow but wonderful"


def test_folder_with_a_damaged_file_is_done_and_resumed(model: str, talkers: Path, tmp_path: Path) -> None:
    folder, figures = tmp_path / "clips", tmp_path / "figures"
    shutil.copytree(talkers, folder)
    (folder / "broken [1].mp4").write_bytes(b"not a recording")
    first = run(folder, "--model", model, "--plot", figures)
    assert first.exit_code == 3, first.output
    assert "3 files, 1 failed, 0 known from an earlier run" in first.stdout
    assert "MediaError: broken [1].mp4" in first.stdout
    assert sorted(path.name for path in figures.iterdir()) == ["drawn00_1.mp4.png", "drawn00_2.mp4.png"]
    assert (folder / "predictions.jsonl").read_bytes().count(b"\n") == 3
    (folder / "broken [1].mp4").unlink()
    (figures / "drawn00_2.mp4.png").unlink()
    second = run(folder, "--model", model, "--plot", figures, "--json", "-")
    assert second.exit_code == 0, second.output
    assert [file["file"] for file in json.loads(second.stdout)["files"]] == ["drawn00_1.mp4", "drawn00_2.mp4"]
    assert (figures / "drawn00_2.mp4.png").exists()  # computed again for the figure that was missing
    third = run(folder, "--model", model, "--plot", figures)
    assert "2 files, 0 failed, 2 known from an earlier run" in third.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such.mp4"], "error: no-such.mp4"),
        ([], "error: a prediction needs a file or a text, found neither"),
        (["{clip}", "--restoration", "r.png"], "error: a restoration view shows what is restored of a damage"),
        (["{clip}", "--json", "-", "--csv", "-"], "error: standard output takes one of JSON and CSV"),
        (["{clip}", "--corruption", "fog-1"], "error: a clip is corrupted by a recipe such as drop-0.5"),
        (["{clip}", "--window", "1", "--hop", "2"], "error: windows need"),
        (["{clip}", "--plot", "figure.jpg"], "error: a figure is written as .png, .svg, .pdf"),
        (["{clip}", "{folder}"], "error: predict takes files or one folder"),
        (["{clip}", "{clip}", "--plot", "one.png"], "error: the figures of 2 files go into a folder"),
        (["{clip}", "{clip}", "--plot", "figures"], "error: figures are named as their files"),
        (["{clip}", "{clip}", "--corruption", "drop-0.5", "--restoration", "r.png"], "error: a restoration view shows"),
        (["{clip}", "--journal", "j.jsonl"], "error: a journal serves several files or a folder, found 1 file(s)"),
        (["{clip}", "--max-duration", "1"], "error: drawn00_1.mp4 lasts 2."),
    ],
)
def test_mistake_is_one_line_and_exits_with_two(
    model: str, talkers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    named = [word.format(clip=talkers / "drawn00_1.mp4", folder=talkers) for word in arguments]
    result = run(*named, "--model", model)
    assert result.exit_code == 2, result.output
    last = result.stderr.splitlines()[-1]
    assert last.startswith(message), result.stderr
