"""A process that fills a store is killed with SIGKILL again and again; the store ends up as if nothing had happened."""

import random
import signal
import statistics
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from modeling_hfr_ame.data import load_stored_dataset, prepare_mosi_clips
from modeling_hfr_ame.prompts.generation import generate_prompts
from modeling_hfr_ame.prompts.rows import PromptRow
from modeling_hfr_ame.prompts.store import PromptStore, transcripts_by_split
from modeling_hfr_ame.prompts.template_generator import TemplateGenerator
from modeling_hfr_ame.prompts.writer import read_rows
from tests.conftest import REPOSITORY
from tests.prompts.loopback_endpoint import LoopbackEndpoint, seeded_troubles
from tests.prompts.prompt_rows import write_dataset

NUM_KILLS = 10
TIME_LIMIT_S = 500


def start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def rows_in(folder: Path) -> list[PromptRow]:
    return [row for path in folder.glob("*.jsonl") for row in read_rows(path)]


def kill_during(command: Sequence[str], endpoint: LoopbackEndpoint, after: int, delay_s: float) -> None:
    """Runs a command and kills it some time after so many more requests have arrived."""
    reached = threading.Event()
    goal = len(endpoint.requests) + after
    endpoint.arrived = lambda count: reached.set() if count >= goal else None
    process = start(command)
    try:
        while not reached.wait(0.05):
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
        threading.Event().wait(delay_s)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()
    assert process.returncode == -signal.SIGKILL


def check_kills(command_for: object, tmp_path: Path, count: int, seed: int) -> None:
    assert callable(command_for)
    draw = random.Random(seed)
    with LoopbackEndpoint(seeded_troubles(seed), latency_s=0.02) as endpoint:
        undisturbed = start(command_for(tmp_path / "undisturbed", endpoint.base_url))
        _, errors = undisturbed.communicate(timeout=TIME_LIMIT_S)
        assert undisturbed.returncode == 0, errors.decode()
    expected = PromptStore.open(tmp_path / "undisturbed")
    assert len(expected.rows()) == count

    with LoopbackEndpoint(seeded_troubles(seed), latency_s=0.02) as endpoint:
        command = command_for(tmp_path / "killed", endpoint.base_url)
        safe: dict[str, tuple[int, bytes]] = {}
        progress = []
        for _ in range(NUM_KILLS):
            kill_during(command, endpoint, draw.randint(1, max(2, count // 9)), draw.uniform(0, 0.02))
            for row in rows_in(tmp_path / "killed"):
                if row.answered:
                    safe.setdefault(row.key, (len(endpoint.requests), row.to_line()))
            progress.append(len(safe))
        last = start(command)
        _, errors = last.communicate(timeout=TIME_LIMIT_S)
        assert last.returncode == 0, errors.decode()

    # The kills came in the middle of the work, at different points.
    assert progress == sorted(progress)
    assert len(set(progress)) >= 4
    assert 0 < progress[-1] < count
    # Nothing lost: every row on the disk at a kill is there at the end, to the byte.
    final = {row.key: row.to_line() for row in rows_in(tmp_path / "killed") if row.answered}
    assert all(final[key] == line for key, (_, line) in safe.items())
    # Nothing asked twice that was answered and written.
    for key, (seen, _) in safe.items():
        assert key not in {asked for asked, _, _ in endpoint.requests[seen:]}
    # Nothing written twice, and the same store as an undisturbed run.
    assert len(final) == sum(row.answered for row in rows_in(tmp_path / "killed")) == count
    killed = PromptStore.open(tmp_path / "killed")
    assert killed.content_sha256 == expected.content_sha256
    comparable = [
        {row.key: (row.sample_id, row.split, row.text, row.cues, row.inputs, row.n_in) for row in store.rows()}
        for store in (killed, expected)
    ]
    assert comparable[0] == comparable[1]


def test_store_killed_at_ten_points_is_the_store_of_an_undisturbed_run(tmp_path: Path) -> None:
    def command_for(folder: Path, base_url: str) -> list[str]:
        return [sys.executable, "-m", "tests.prompts.ask_loopback", str(folder), base_url, "60"]

    check_kills(command_for, tmp_path, 60, seed=11)


def command_asking(dataset: Path, *options: str) -> object:
    def command_for(folder: Path, base_url: str) -> list[str]:
        program = "from modeling_hfr_ame.cli import main; main()"
        words = ["prompts", str(dataset), "--store", str(folder), "--generator", "openai", "--model", "m", *options]
        return [
            sys.executable,
            "-c",
            program,
            *words,
            "--base-url",
            base_url,
            "--timeout",
            "0.5",
            "--max-attempts",
            "20",
        ]

    return command_for


@pytest.mark.slow
def test_command_killed_at_ten_points_gives_the_store_of_an_undisturbed_run(tmp_path: Path) -> None:
    texts: list[str | None] = [f"number {index} was good" for index in range(60)]
    dataset = write_dataset(tmp_path / "data", {"train": texts[:40], "test": texts[40:]})
    check_kills(command_asking(dataset), tmp_path, 60, seed=12)


@pytest.mark.slow
@pytest.mark.real_data
def test_command_on_real_clips_killed_at_ten_points_gives_the_store_of_an_undisturbed_run(
    tmp_path: Path, shared_data: Path
) -> None:
    clips = shared_data / "data" / "mosi_raw_clips"
    dataset = prepare_mosi_clips(None, clips / "labels.csv", tmp_path / "data")
    # All 317 clips pass as well and take six times as long.
    check_kills(command_asking(dataset, "--clips", str(clips), "--split", "validation"), tmp_path, 53, seed=13)
    store = PromptStore.open(tmp_path / "killed")
    assert all(len(row.inputs.frames) == 3 for row in store.rows())
    assert store.coverage(transcripts_by_split(dataset))["validation"].share == 1.0


@pytest.mark.slow
@pytest.mark.real_data
def test_rules_cover_the_real_text_and_agree_with_its_labels(tmp_path: Path, shared_data: Path) -> None:
    table = shared_data / "data" / "mosi_labels_text" / "label.csv"
    dataset = prepare_mosi_clips(None, table, tmp_path / "data", dataset_name="mosi_text")
    summary = generate_prompts(dataset, tmp_path / "store", TemplateGenerator())
    assert (summary.answered, summary.failed) == (2199, 0)
    store = PromptStore.open(tmp_path / "store", dataset="mosi_text")
    store.require(transcripts_by_split(dataset))
    assert not any(row.label_shown for row in store.rows())
    rows = load_stored_dataset(dataset, "test")
    labels: dict[str, list[float]] = defaultdict(list)
    for sample_id, label in zip(rows["id"], rows["label"], strict=True):
        labels[str(store.text_of("test", sample_id)).partition(".")[0]].append(label)
    degrees = ("strongly negative", "negative", "positive", "strongly positive")
    means = [statistics.mean(labels[f"Language: the wording is {degree}"]) for degree in degrees]
    # Measured on 52, 54, 196 and 90 clips: -2.19, -1.40, 0.24, 1.50.
    assert means == sorted(means)
    assert means[0] < -1
    assert means[3] > 1
