"""The demonstration end to end, on a handful of utterances."""

import io
import json
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console
from transformers import AutoModel

from modeling_hfr_ame.data import prepare_synthetic_talkers
from modeling_hfr_ame.errors import HfrAmeError
from modeling_hfr_ame.training import demo

TINY = {"num_train": 64, "num_validation": 40, "num_test": 40}


@pytest.mark.slow
def test_demo_leaves_models_results_and_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "prepare_synthetic_talkers", partial(prepare_synthetic_talkers, **TINY))
    monkeypatch.setattr(demo, "NUM_EPOCHS", 1)
    console = Console(file=io.StringIO(), width=80)
    document = demo.run_demo(tmp_path / "demo", console=console)
    assert json.loads((tmp_path / "demo" / "results.json").read_text()) == document
    assert list(document["models"]) == ["full", "control"]
    assert (tmp_path / "demo" / "robustness.png").read_bytes().startswith(b"\x89PNG")
    assert AutoModel.from_pretrained(tmp_path / "demo" / "full" / "seed-1111").config.use_hfr
    assert "Paired differences" in console.file.getvalue()


def test_demo_whose_training_fails_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "prepare_synthetic_talkers", partial(prepare_synthetic_talkers, **TINY))
    monkeypatch.setattr(demo, "_LAUNCH", "raise SystemExit(3)")
    with pytest.raises(HfrAmeError, match=r"that of full, control failed; see the end of .*training\.log"):
        demo.run_demo(tmp_path / "demo", console=Console(file=io.StringIO()))
