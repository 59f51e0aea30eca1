"""The whole of MMSLF on real transcripts: labels, hints, teacher, student, scores; offline."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from modeling_hfr_ame.cli import app
from modeling_hfr_ame.evaluation import evaluate_runs
from modeling_hfr_ame.training import train_teacher_and_student
from tests.training.test_distillation import TINY_MMSLF
from tests.training.tiny_run import tiny_run_words


@pytest.mark.slow
@pytest.mark.real_data
def test_chain_on_mosi_text_goes_from_labels_to_scores(shared_data: Path, tmp_path: Path) -> None:
    labels = shared_data / "data" / "mosi_labels_text" / "label.csv"
    if not labels.is_file():
        pytest.skip("no MOSI labels")
    data, hints, out = tmp_path / "mosi_text", tmp_path / "hints", tmp_path / "runs"
    for command in (
        ["prepare", "--labels", str(labels), "--out", str(data)],
        ["prompts", str(data), "--store", str(hints)],
    ):
        assert CliRunner().invoke(app, command).exit_code == 0
    words = tiny_run_words(data, out, "--prompts", str(hints), "--num_train_epochs", "1", "--global_batch_size", "64")
    words = [*words[: words.index("--config_overrides") + 1], *TINY_MMSLF, "absent_source=text"]
    train_teacher_and_student(words)
    for role in ("teacher", "student"):
        document = evaluate_runs(out / role, protocols=("P0",), out=tmp_path / role)
        found = document["models"][role]["protocols"]["P0"]["recipes"]["clean"]
        assert found["n"] == 686
        # A predictor of the mean has 1.46.
        assert found["metrics"]["mae"]["mean"] < 1.6
