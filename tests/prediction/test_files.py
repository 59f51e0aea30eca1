import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.prediction import FilePrediction, PredictionOptions, Predictor, predict_file, predict_files
from modeling_hfr_ame.prediction.files import Journal, list_media_files

TIMELINE = PredictionOptions(window_s=1.0, hop_s=0.5, timeline_from_s=0.5)


@pytest.fixture
def folder(talkers: Path, tmp_path: Path) -> Path:
    """Two good files around a damaged one."""
    target = tmp_path / "files"
    target.mkdir()
    shutil.copy(talkers / "drawn00_1.mp4", target / "a.mp4")
    (target / "b.mp4").write_bytes(b"not a recording at all")
    shutil.copy(talkers / "drawn00_2.mp4", target / "c.mp4")
    (target / "notes.md").write_text("no media\n", encoding="utf-8")
    return target


def forbid_reading(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a finished file was read again")

    monkeypatch.setattr(type(predictor), "read", read)


def test_damaged_file_is_a_row_and_the_others_are_done(predictor: Predictor, folder: Path) -> None:
    results = list(predict_files(predictor, list_media_files(folder)))
    assert [result.path.name for result in results] == ["a.mp4", "b.mp4", "c.mp4"]
    assert [result.error_class for result in results] == [None, "MediaError", None]
    assert "b.mp4" in str(results[1].error)
    assert results[0].score == predict_file(predictor, folder / "a.mp4").score
    assert results[1].score is results[1].label is None


def test_unexpected_error_of_one_file_is_a_row_too(
    predictor: Predictor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Predictor.read

    def fail_on_a(self: Predictor, source: Path, **kwargs: Any) -> Any:
        if source.name == "a.mp4":
            raise ZeroDivisionError("a bug")
        return read(self, source, **kwargs)

    monkeypatch.setattr(Predictor, "read", fail_on_a)
    first, _, last = predict_files(predictor, list_media_files(folder))
    assert first.error_class == "ZeroDivisionError"
    assert "please report it" in str(first.error)
    assert last.error is None


def test_second_run_knows_finished_files_and_tries_failed_ones_again(
    predictor: Predictor, folder: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.jsonl"
    first = list(predict_files(predictor, list_media_files(folder), TIMELINE, journal=journal))
    shutil.copy(folder / "c.mp4", folder / "b.mp4")
    shutil.move(folder / "a.mp4", folder / "renamed.mp4")
    second = list(predict_files(predictor, list_media_files(folder), TIMELINE, journal=journal))
    # b is now a copy of c, whose content is known; and a file is known under another name.
    assert [(result.path.name, result.resumed) for result in second] == [
        ("b.mp4", True),
        ("c.mp4", True),
        ("renamed.mp4", True),
    ]
    assert second[2].as_dict() | {"file": "a.mp4"} == first[0].as_dict()
    assert second[2].timeline is not None


def test_kill_in_the_middle_loses_nothing(
    predictor: Predictor, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "journal.jsonl"
    expected = [result.as_dict() for result in predict_files(predictor, list_media_files(folder))]
    running = predict_files(predictor, list_media_files(folder), journal=journal)
    next(running)
    running.close()
    with journal.open("ab") as file:
        file.write(journal.read_bytes()[:200])  # a line that the kill cut off
    results = predict_files(predictor, list_media_files(folder), journal=journal)
    assert [result.as_dict() for result in results] == expected
    lines = journal.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["result"]["file"] for line in lines] == ["a.mp4", "b.mp4", "c.mp4"]
    forbid_reading(predictor, monkeypatch)
    good = [folder / "a.mp4", folder / "c.mp4"]
    assert all(result.resumed for result in predict_files(predictor, good, journal=journal))


@pytest.mark.parametrize(
    "changed",
    [
        PredictionOptions(window_s=2.0, hop_s=0.5, timeline_from_s=0.5),
        PredictionOptions(window_s=1.0, hop_s=0.5, timeline_from_s=0.5, corruption="drop-0.5"),
        PredictionOptions(window_s=1.0, hop_s=0.5, timeline_from_s=0.5, text="the end"),
    ],
)
def test_other_options_are_computed_again(
    predictor: Predictor, talkers: Path, tmp_path: Path, changed: PredictionOptions
) -> None:
    journal, paths = tmp_path / "journal.jsonl", [talkers / "drawn00_1.mp4"]
    list(predict_files(predictor, paths, TIMELINE, journal=journal))
    assert not next(predict_files(predictor, paths, changed, journal=journal)).resumed
    assert next(predict_files(predictor, paths, TIMELINE, journal=journal)).resumed
    assert not next(predict_files(predictor, paths, TIMELINE, journal=journal, again=paths)).resumed


def test_other_feature_code_is_computed_again(
    predictor: Predictor, talkers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, paths = tmp_path / "journal.jsonl", [talkers / "drawn00_1.mp4"]
    list(predict_files(predictor, paths, journal=journal))
    assert next(predict_files(predictor, paths, journal=journal)).resumed
    monkeypatch.setitem(predictor.feature_spec.__dict__, "digest", "of a later release")
    assert not next(predict_files(predictor, paths, journal=journal)).resumed


def test_results_survive_the_way_through_json(predictor: Predictor, talkers: Path) -> None:
    path = talkers / "drawn00_1.mp4"
    for options in (TIMELINE, PredictionOptions(text="slow but")):
        result = predict_file(predictor, path, options)
        content = json.loads(json.dumps(result.as_dict(), allow_nan=False))
        again = FilePrediction.from_dict(content, path)
        assert again.as_dict() == result.as_dict()
        assert again.prediction == result.prediction
        assert (again.timeline is None) == (options is not TIMELINE)


@pytest.mark.parametrize("content", ['{"format": "other/1"}\n', "a,b\n1,2\n", "no line end", '{"a": 1}\n{"b": 2}\n'])
def test_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "something.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"a journal of predictions holds lines of hfr-ame-predictions/1"):
        Journal(path)
    assert path.read_text(encoding="utf-8") == content


def test_journal_that_can_not_be_written_is_named(predictor: Predictor, folder: Path, tmp_path: Path) -> None:
    results = predict_files(predictor, [folder / "a.mp4"], journal=tmp_path / "no" / "such" / "folder.jsonl")
    with pytest.raises(DataError, match=r"the journal .* can't be written"):
        next(results)


def test_one_text_for_several_files_and_two_sources_of_words_are_refused(predictor: Predictor, folder: Path) -> None:
    with pytest.raises(ConfigError, match="one text can't be said in 3 files"):
        next(predict_files(predictor, list_media_files(folder), PredictionOptions(text="the end")))
    with pytest.raises(ConfigError, match="words come from one source, found text and transcript"):
        PredictionOptions(text="the end", transcript=Path("talk.srt"))
    with pytest.raises(ConfigError, match="no hop longer than the window"):
        PredictionOptions(window_s=1.0, hop_s=2.0)
    with pytest.raises(ConfigError, match="a clip is corrupted by a recipe"):
        PredictionOptions(corruption="fog-1")


def test_transcripts_of_a_folder_are_found_by_name(predictor: Predictor, folder: Path, tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.mkdir()
    (words / "a.srt").write_text("00:00:00,000 --> 00:00:01,000\nthe end\n", encoding="utf-8")
    (words / "c.txt").write_text("slow", encoding="utf-8")
    options = PredictionOptions(window_s=1.0, hop_s=1.0, timeline_from_s=0.5, transcript=words)
    journal = tmp_path / "journal.jsonl"
    first, _, last = predict_files(predictor, list_media_files(folder), options, journal=journal)
    assert first.timeline is not None
    assert [word.text for word in first.timeline.windows[0].words] == ["the", "end"]
    assert last.prediction is not None
    assert last.prediction.text == "slow"
    (words / "c.txt").write_text("wonderful", encoding="utf-8")
    again = list(predict_files(predictor, list_media_files(folder), options, journal=journal))
    assert [result.resumed for result in again] == [True, False, False]
    (words / "a.txt").write_text("the end", encoding="utf-8")
    result = next(predict_files(predictor, [folder / "a.mp4"], options))
    assert result.error == "a file may have one transcript, a.mp4 has a.srt, a.txt; keep one"


def test_folder_without_media_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no media", encoding="utf-8")
    with pytest.raises(DataError, match=r"a folder must hold media files such as \.mp4"):
        list_media_files(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_command_is_resumed(run_folder: Path, talkers: Path, tmp_path: Path) -> None:
    for index in range(12):
        shutil.copy(talkers / f"drawn00_{1 + index % 2}.mp4", tmp_path / f"{index:02d}.mp4")
        with (tmp_path / f"{index:02d}.mp4").open("ab") as file:
            file.write(bytes([index]) * 8)  # after the last box, where no reader looks: another content
    command = [
        *(sys.executable, "-c", "from modeling_hfr_ame.cli import main; main()"),
        *("predict", str(tmp_path), "--model", str(run_folder)),
    ]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    journal = tmp_path / "predictions.jsonl"
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = journal.read_bytes().count(b"\n")
    assert 2 <= before < 12
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert f"12 files, 0 failed, {before} known from an earlier run" in done.stdout
