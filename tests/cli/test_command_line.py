"""The command line without its work: the rooms that do it are replaced by recorders."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import modeling_hfr_ame
from modeling_hfr_ame.cli import app, main
from modeling_hfr_ame.errors import DataError, HfrAmeError, InputError

REPOSITORY = Path(__file__).resolve().parent.parent.parent
MAX_HELP_S = 0.5
HEAVY_LIBRARIES = ("torch", "transformers", "datasets", "numpy", "scipy", "matplotlib")

Call = tuple[tuple[Any, ...], dict[str, Any]]
ReplaceRoom = Callable[..., list[Call]]


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def replace_room(monkeypatch: pytest.MonkeyPatch) -> ReplaceRoom:
    """Puts a module with recording functions in the place of a room; returns the list of their calls.

    Of several functions, each call is recorded with the name of its function as first argument.
    """

    def replace(room: str, *functions: str, error: Exception | None = None) -> list[Call]:
        calls: list[Call] = []

        def record(*args: Any, **kwargs: Any) -> str:
            calls.append((args, kwargs))
            if error is not None:
                raise error
            return "recorded"

        module = ModuleType(f"modeling_hfr_ame.{room}")
        module.__path__ = []
        counts = {"test": {"rows": 3, "present": {"text": 3, "audio": 1, "vision": 1}}}
        module.read_manifest = lambda folder: {"counts": counts, "failed": [{"clip": "a_1"}]}
        for function in functions:
            setattr(module, function, partial(record, function) if len(functions) > 1 else record)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        if "." not in room:
            monkeypatch.setattr(modeling_hfr_ame, room, module, raising=False)
        return calls

    return replace


def test_help_lists_every_command() -> None:
    result = _run("--help")
    assert result.exit_code == 0
    for command in ("demo", "prepare", "train", "evaluate", "push", "doctor"):
        assert re.search(rf"\b{command}\b", result.stdout)


def test_no_arguments_shows_help_and_fails() -> None:
    result = _run()
    assert result.exit_code == 2
    assert "Usage" in result.output


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the time of a single child process is read with os.wait4")
def test_help_in_a_new_process_takes_less_than_half_a_second() -> None:
    # Processor time: on an idle machine that is the wall time, and other jobs on a busy one don't count.
    times_s = []
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", "from modeling_hfr_ame.cli import main; main(['--help'])"],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        times_s.append(usage.ru_utime + usage.ru_stime)
    assert sorted(times_s)[1] < MAX_HELP_S


def test_help_in_a_new_process_loads_no_heavy_library() -> None:
    program = (
        "import sys\nfrom modeling_hfr_ame.cli import main\n"
        "try:\n    main(['evaluate', '--help'])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', sorted(sys.modules.keys() & set({HEAVY_LIBRARIES!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "LOADED []"
    assert "--protocol" in done.stdout


def test_main_user_error_prints_one_line_and_exits_with_two(
    replace_room: ReplaceRoom, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_room("training", "main", error=DataError("data must exist,\n  found none;\n  prepare it"))
    with pytest.raises(SystemExit) as ended:
        main(["train"])
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert captured.err == "error: data must exist, found none; prepare it\n"
    assert captured.out == ""


@pytest.mark.parametrize(("no_color", "red"), [("", True), ("1", False)])
def test_user_error_on_a_terminal_is_red_unless_no_color(
    replace_room: ReplaceRoom, monkeypatch: pytest.MonkeyPatch, no_color: str, red: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    replace_room("training", "main", error=DataError("rule"))
    result = CliRunner().invoke(app, ["train"], color=True)
    assert result.stderr == ("\x1b[31merror: rule\x1b[0m\n" if red else "error: rule\n")


def test_user_error_without_message_names_its_class(replace_room: ReplaceRoom) -> None:
    replace_room("training", "main", error=DataError())
    assert _run("train").stderr == "error: DataError\n"


@pytest.mark.parametrize("by_variable", [False, True])
def test_user_error_with_debug_passes_through(
    replace_room: ReplaceRoom, monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    replace_room("training", "main", error=DataError("rule, found, do"))
    if by_variable:
        monkeypatch.setenv("HFR_AME_DEBUG", "1")
    with pytest.raises(HfrAmeError, match="rule, found, do"):
        main(["train"] if by_variable else ["--debug", "train"])


def test_bug_keeps_its_exception(replace_room: ReplaceRoom) -> None:
    replace_room("training", "main", error=RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        main(["train"])


def test_train_arguments_reach_the_trainer_unchanged(replace_room: ReplaceRoom) -> None:
    calls = replace_room("training", "main")
    words = ["--output_dir", "runs/a", "--debug", "underflow_overflow", "--help", "more.yaml", "-x"]
    assert _run("train", *words).exit_code == 0
    assert calls == [((words,), {})]


def test_demo_defaults_reach_the_demo(replace_room: ReplaceRoom) -> None:
    calls = replace_room("training.demo", "run_demo")
    replace_room("training", "main")
    assert _run("demo", "--seeds", "2").exit_code == 0
    assert calls == [((), {"out": Path("runs/demo"), "seeds": 2})]


def test_evaluate_options_reach_the_evaluation(replace_room: ReplaceRoom) -> None:
    calls = replace_room("evaluation", "evaluate_runs", "compare_runs")
    result = _run("evaluate", "run", "--data", "d", "--protocol", "P0", "--protocol", "P3", "--batch-size", "4")
    assert result.exit_code == 0
    [(args, options)] = calls
    assert args == ("evaluate_runs", Path("run"))
    assert options["data"] == Path("d")
    assert options["protocols"] == ("P0", "P3")
    assert options["batch_size"] == 4
    assert options["split"] == "test"


def test_generalize_study_and_folder_reach_the_study(replace_room: ReplaceRoom) -> None:
    replace_room("training", "main")
    calls = replace_room("training.domain_study", "run_study_file")
    result = _run("generalize", "study.yaml", "--out", "runs/dg")
    assert result.stdout == "recorded\n"
    assert calls == [((Path("study.yaml"), Path("runs/dg")), {})]


def test_evaluate_padded_lengths_reach_the_evaluation_as_numbers(replace_room: ReplaceRoom) -> None:
    calls = replace_room("evaluation", "evaluate_runs", "compare_runs")
    assert _run("evaluate", "run", "--protocol", "lnln", "--padded-lengths", "50/375/500").exit_code == 0
    assert _run("evaluate", "run").exit_code == 0
    assert [options["padded_lengths"] for _, options in calls] == [(50, 375, 500), None]


@pytest.mark.parametrize("lengths", ["50", "50/375", "50/0/500", "a/b/c", "50/375/-1"])
def test_evaluate_malformed_padded_lengths_are_refused(replace_room: ReplaceRoom, lengths: str) -> None:
    replace_room("evaluation", "evaluate_runs", "compare_runs")
    with pytest.raises(InputError, match=f"three whole numbers .* found '{lengths}'; write for example 50/375/500"):
        main(["--debug", "evaluate", "run", "--padded-lengths", lengths])


def test_evaluate_several_runs_are_compared_in_order(replace_room: ReplaceRoom) -> None:
    calls = replace_room("evaluation", "evaluate_runs", "compare_runs")
    assert _run("evaluate", "runs/full", "control=runs/b", "--split", "validation").exit_code == 0
    [(args, options)] = calls
    assert args == ("compare_runs", {"full": Path("runs/full"), "control": Path("runs/b")})
    assert list(args[1]) == ["full", "control"]
    assert options["split"] == "validation"


def test_evaluate_runs_of_one_name_are_refused(replace_room: ReplaceRoom) -> None:
    replace_room("evaluation", "evaluate_runs", "compare_runs")
    with pytest.raises(InputError, match="need different names, found 'run' for 'b/run'; pass NAME=FOLDER"):
        main(["--debug", "evaluate", "a/run", "b/run"])


@pytest.mark.parametrize(
    ("room", "function", "arguments"),
    [
        ("evaluation", "evaluate_runs", ["evaluate", "run"]),
        ("evaluation", "compare_runs", ["evaluate", "run", "other"]),
        (
            "data",
            "prepare_mosi_clips",
            ["prepare", "clips", "--layout", "mosi-clips", "--labels", "l.csv", "--out", "o"],
        ),
        ("data", "prepare_synthetic_talkers", ["prepare", "--layout", "synthetic-talkers", "--out", "o"]),
        ("training", "main", ["train"]),
        ("training.demo", "run_demo", ["demo"]),
    ],
)
def test_command_call_fits_the_signature_of_the_real_function(
    replace_room: ReplaceRoom, room: str, function: str, arguments: list[str]
) -> None:
    signature = inspect.signature(getattr(importlib.import_module(f"modeling_hfr_ame.{room}"), function))
    if "." in room:
        replace_room("training", "main")
    calls = (
        replace_room(room, "evaluate_runs", "compare_runs") if room == "evaluation" else replace_room(room, function)
    )
    assert _run(*arguments).exit_code == 0
    [(args, options)] = calls
    signature.bind(*(args[1:] if room == "evaluation" else args), **options)


def test_prepare_clips_reach_the_builder(replace_room: ReplaceRoom) -> None:
    calls = replace_room("data", "prepare_mosi_clips")
    result = _run(
        *("prepare", "clips", "--layout", "mosi-clips", "--labels", "l.csv", "--out", "o", "--workers", "3"),
        *("--audio-hz", "20", "--exclude-video", "a", "--exclude-video", "b"),
    )
    assert result.exit_code == 0
    assert result.stdout == ("layout: mosi-clips\ntest: 3 rows (text 3, audio 1, vision 1)\nstored dataset: recorded\n")
    assert result.stderr == "1 clips failed; manifest.json lists them with reasons\n"
    [(args, options)] = calls
    assert args == (Path("clips"), Path("l.csv"), Path("o"))
    assert options["workers"] == 3
    assert options["audio_frame_rate_hz"] == 20.0
    assert options["video_frame_rate_hz"] == 5.0
    assert options["exclude_videos"] == ("a", "b")


def test_prepare_synthetic_reaches_the_generator(replace_room: ReplaceRoom) -> None:
    calls = replace_room("data", "prepare_synthetic_talkers")
    assert _run("prepare", "--layout", "synthetic-talkers", "--out", "o", "--seed", "7").exit_code == 0
    assert calls == [((Path("o"),), {"seed": 7, "overwrite": False})]


def test_prepare_clips_without_labels_says_what_to_pass(replace_room: ReplaceRoom) -> None:
    replace_room("data", "prepare_mosi_clips")
    with pytest.raises(DataError, match="needs a label table, found no --labels; pass --labels"):
        main(["--debug", "prepare", "clips", "--layout", "mosi-clips", "--out", "o"])


def test_prepare_synthetic_with_a_source_is_refused(replace_room: ReplaceRoom) -> None:
    replace_room("data", "prepare_synthetic_talkers")
    with pytest.raises(DataError, match="takes no source, found clips; drop SOURCE"):
        main(["--debug", "prepare", "clips", "--layout", "synthetic-talkers", "--out", "o"])


@pytest.mark.parametrize("arguments", [["train-all"], ["prepare", "clips"], ["demo", "--seeds", "0"]])
def test_wrong_usage_exits_with_two(arguments: list[str]) -> None:
    assert _run(*arguments).exit_code == 2


def test_version_is_the_project_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name} 1.2.3")
    assert _run("--version").stdout == "hfr-ame 1.2.3\n"
