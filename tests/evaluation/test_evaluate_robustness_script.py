import json
import sys

import pytest

from examples.evaluate_robustness import main, read_named_runs
from modeling_hfr_ame.errors import ConfigError


def test_read_named_runs_keeps_order_and_later_equal_signs():
    assert list(read_named_runs(["full=runs/a", "control=runs/lr=1"]).items()) == [
        ("full", "runs/a"),
        ("control", "runs/lr=1"),
    ]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (["full=a", "b"], "several runs are given as name=folder, found full=a b; name every one"),
        (["a=x", "a=y"], "models need different names, found a=x a=y; rename one"),
    ],
)
def test_read_named_runs_ambiguous_names_raise(runs, message):
    with pytest.raises(ConfigError, match=message):
        read_named_runs(runs)


def test_script_named_runs_are_compared(tmp_path, make_run, monkeypatch, capsys):
    runs = [f"{name}={make_run(tmp_path / name, 1)}" for name in ("a", "b")]
    out = tmp_path / "out"
    arguments = ["--runs", *runs, "--protocols", "P0", "--device", "cpu", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["evaluate_robustness.py", *arguments])
    main()
    assert list(json.loads((out / "results.json").read_text())["models"]) == ["a", "b"]
    assert "a − b" in capsys.readouterr().out


def test_script_published_protocol_uses_the_padded_lengths(tmp_path, make_run, monkeypatch):
    run, out = make_run(tmp_path / "run", 1), tmp_path / "out"
    arguments = ["--protocols", "lnln", "--padded_lengths", "50/375/500", "--device", "cpu", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["evaluate_robustness.py", "--runs", str(run), *arguments])
    main()
    [model] = json.loads((out / "results.json").read_text())["models"].values()
    assert model["protocols"]["lnln"]["recipes"]["lnln-0.3"]["padded_lengths"] == [50, 375, 500]


def test_script_malformed_padded_lengths_exit_with_the_message(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evaluate_robustness.py", "--runs", "run", "--padded_lengths", "50/375"])
    with pytest.raises(SystemExit, match=r"error: padded lengths are three whole numbers from 1 .* found '50/375'"):
        main()


def test_script_user_error_exits_with_its_message(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evaluate_robustness.py", "--runs", str(tmp_path)])
    with pytest.raises(SystemExit, match="error: a run is a folder with run"):
        main()
