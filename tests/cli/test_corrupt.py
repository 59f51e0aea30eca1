from pathlib import Path

import datasets
from typer.testing import CliRunner

from modeling_hfr_ame.cli import app
from tests.data.corrupted_rows import write_talkers


def test_corrupt_writes_configs_that_datasets_reads(tmp_path: Path) -> None:
    clean, out = write_talkers(tmp_path / "talkers"), tmp_path / "out"
    arguments = ["corrupt", str(clean), "--out", str(out), "--config", "drop-0.5", "--config", "missing-text"]
    result = CliRunner().invoke(app, [*arguments, "--seed", "2"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "clean: train 8, validation 2, test 6",
        "drop-0.5: train 8, validation 2, test 6",
        "missing-text: train 8, validation 2, test 6",
        f"corrupted splits: {out}",
    ]
    assert datasets.load_dataset(str(out), "missing-text", split="train")["text"][:] == [None] * 8


def test_corrupt_with_a_wrong_recipe_prints_one_line_and_exits_with_two(tmp_path: Path) -> None:
    clean = write_talkers(tmp_path / "talkers")
    result = CliRunner().invoke(app, ["corrupt", str(clean), "--out", str(tmp_path / "out"), "--config", "drop-3"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: 'drop' takes a rate in [0, 1] written with a decimal point, found '3'")
    assert len(result.stderr.splitlines()) == 1


def test_corrupt_without_a_config_is_a_usage_error(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["corrupt", str(tmp_path), "--out", str(tmp_path / "out")]).exit_code == 2
