"""Two processes against one. The launch command is the documented one, so this also tests its configuration file."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.models.model_fixtures import MODEL_BUILDERS
from tests.training.step_models import NUM_STEPS, build_without_chance, take_steps
from tests.training.tiny_run import NO_DROPOUT, tiny_run_words
from tests.training.train_tiny import train_and_summarize

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch"),
    *("--config_file", str(REPOSITORY / "examples" / "configs" / "accelerate_cpu2.yaml")),
]
TWELVE_STEPS = [
    *("--global_batch_size", "8", "--num_train_epochs", "4", "--logging_strategy", "steps", "--logging_steps", "1"),
    *("--disable_tqdm", "true", "--no_load_best_model_at_end", "--save_strategy", "steps", "--save_steps", "5"),
    *("--save_total_limit", "9"),
]


def run_script(command: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    environment.pop("ACCELERATE_USE_CPU", None)  # --use_cpu says it
    return subprocess.run(
        [*command, *words], cwd=REPOSITORY, env=environment, text=True, capture_output=True, timeout=300, check=False
    )


def train_tiny_twice(out: Path, resume: str = "-") -> dict[str, Any]:
    """Trains the tiny model on two processes and gives what the main one wrote."""
    script = str(REPOSITORY / "tests" / "training" / "train_tiny.py")
    done = run_script(LAUNCH, script, str(out), "2", resume, *TWELVE_STEPS)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((out / "summary.json").read_text(encoding="utf-8"))


def logged(path: Path, *names: str) -> list[list[float]]:
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [[entry[name] for name in names] for entry in entries if names[0] in entry]


def flat(weights: Any) -> list[float]:
    return [number for item in weights for number in flat(item)] if isinstance(weights, list) else [weights]


def assert_close(first: list[list[float]], second: list[list[float]], tolerance: float = 1e-5) -> None:
    assert len(first) == len(second) > 0
    for one, two in zip(first, second, strict=True):
        assert one == pytest.approx(two, abs=tolerance)


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    alone = train_and_summarize(tmp_path / "one", 1, None, TWELVE_STEPS)
    both = train_tiny_twice(tmp_path / "two")
    assert both["world_size"] == 2
    (first, second), (whole,) = both["seen"], alone["seen"]
    assert [one + two for one, two in zip(first, second, strict=True)] == whole
    names = ("loss", "grad_norm", "loss_task", "loss_size")
    logs = [logged(tmp_path / name / "trainer_log.jsonl", *names) for name in ("one", "two")]
    assert len(logs[0]) == 12
    assert_close(*logs)
    assert_close(*[logged(tmp_path / name / "trainer_log.jsonl", "eval_mae") for name in ("one", "two")])


def test_process_leaves_its_group_before_it_ends(tmp_path: Path) -> None:
    code = (
        "import atexit, sys, torch\n"
        "atexit.register(lambda: print('in a group:', torch.distributed.is_initialized()))\n"
        "from modeling_hfr_ame.training.processes import leave_group_at_exit\n"
        "leave_group_at_exit(); leave_group_at_exit()\n"
        "torch.distributed.init_process_group('gloo', init_method=sys.argv[1], rank=0, world_size=1)\n"
        "print('in a group:', torch.distributed.is_initialized())\n"
    )
    done = run_script([sys.executable, "-c", code], f"file://{tmp_path / 'store'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["in a group: True", "in a group: False"]


@pytest.mark.slow
def test_two_processes_resume_inside_an_epoch_to_the_same_weights(tmp_path: Path) -> None:
    whole = train_tiny_twice(tmp_path)
    again = train_tiny_twice(tmp_path, resume=str(tmp_path / "checkpoint-5"))
    for name, value in whole["weights"].items():
        assert flat(again["weights"][name]) == flat(value), name


@pytest.mark.slow
def test_two_processes_train_the_real_model_as_one(talkers: Path, tmp_path: Path) -> None:
    script = str(REPOSITORY / "examples" / "train.py")
    for name, command, world_size in (("one", [sys.executable], 1), ("two", LAUNCH, 2)):
        steps = ["--logging_strategy", "steps", "--logging_steps", "1", "--num_train_epochs", "4", "--seeds", "1"]
        words = tiny_run_words(
            talkers, tmp_path / name, *steps, "--expect_world_size", str(world_size), overrides=tuple(NO_DROPOUT)
        )
        done = run_script(command, script, *words)
        assert done.returncode == 0, done.stderr[-3000:]
    names = ("loss", "loss_task", "loss_band", "loss_anchor", "loss_severity")
    logs = [logged(tmp_path / name / "seed-1" / "trainer_log.jsonl", *names) for name in ("one", "two")]
    assert len(logs[0]) == 12
    assert_close(*logs)
    record = json.loads((tmp_path / "two" / "seed-1" / "run.json").read_text(encoding="utf-8"))
    assert record["world_size"] == 2


# HME retrieves, and DashFusion compares, among the rows of one process: their losses depend on how rows are dealt out.
ROW_WISE = ("cyin", "hfr_ame", "lnln")


@pytest.mark.slow
def test_two_processes_step_every_model_to_the_same_weights(tmp_path: Path) -> None:
    # The wrapper is strict: a parameter that takes no part in a step is an error.
    done = run_script(LAUNCH, str(REPOSITORY / "tests" / "training" / "step_models.py"), str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert found.keys() == MODEL_BUILDERS.keys()
    for name, both in found.items():
        first, second = both["losses"]
        assert len(first) == NUM_STEPS
        assert all(math.isfinite(loss) for loss in first + second), name
        assert first != second, name
        assert both["sums"][0] == both["sums"][1], name
    for name in ROW_WISE:
        together = [(one + two) / 2 for one, two in zip(*found[name]["losses"], strict=True)]
        assert together == pytest.approx(take_steps(build_without_chance(name)), rel=1e-5), name


@pytest.mark.slow
def test_launch_that_starts_one_process_instead_of_two_is_refused(tmp_path: Path) -> None:
    script = str(REPOSITORY / "tests" / "training" / "train_tiny.py")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    done = run_script(launch, script, str(tmp_path), "2", "-", *TWELVE_STEPS)
    assert done.returncode != 0
    assert "must have 2 processes (expect_world_size), but has 1" in done.stderr
