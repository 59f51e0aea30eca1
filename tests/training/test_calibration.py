"""Scale and shift of the scores: the fit, the head that takes them in, and a run with them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.training import main
from modeling_hfr_ame.training.calibration import OutputCalibration, fit_calibration, fold_into_head, output_layer
from tests.models.model_fixtures import BATCH_MAKERS, MODEL_BUILDERS, build_hfr_ame, random_batch
from tests.training.tiny_run import tiny_run_words

LENGTHS = [(9, 12, 6), (4, 3, 10)]


def test_calibration_takes_out_what_was_put_in() -> None:
    labels = np.random.default_rng(0).normal(size=50)
    found = fit_calibration(((labels - 0.3) / 0.8)[:, None], labels)
    assert (found.scale, found.shift) == pytest.approx((0.8, 0.3))
    assert found.mae_after == pytest.approx(0, abs=1e-9)
    assert found.mae_before > 0.1


def test_calibration_is_the_best_one() -> None:
    generator = np.random.default_rng(1)
    labels = generator.normal(size=200)
    scores = 0.7 * labels + 0.2 + generator.standard_t(2, size=200)

    def error(line: np.ndarray) -> float:
        return float(np.abs(line[0] * scores + line[1] - labels).mean())

    found = fit_calibration(scores, labels)
    assert found.mae_after == pytest.approx(error(np.array([found.scale, found.shift])))
    searched = minimize(error, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    assert found.mae_after <= searched.fun + 1e-9
    assert found.mae_after < found.mae_before


def test_calibration_that_would_turn_the_scores_around_is_none() -> None:
    labels = np.linspace(-2, 2, 21)
    found = fit_calibration(-labels, labels)
    assert (found.scale, found.shift) == (1.0, 0.0)
    assert found.mae_after == found.mae_before


@pytest.mark.parametrize("name", sorted(MODEL_BUILDERS))
def test_folded_calibration_scales_and_shifts_the_scores(name: str) -> None:
    model = MODEL_BUILDERS[name]().eval()
    batch = BATCH_MAKERS.get(name, random_batch)(LENGTHS)
    with torch.no_grad():
        before = model(**batch).logits
        fold_into_head(model, OutputCalibration(1.5, -0.25, 1.0, 0.9))
        torch.testing.assert_close(model(**batch).logits, 1.5 * before - 0.25)


def test_head_without_a_linear_output_is_refused() -> None:
    model = build_hfr_ame()
    model.head = nn.Identity()
    with pytest.raises(ConfigError, match="calibrate_output needs a head that ends in one linear output"):
        output_layer(model)


def test_run_with_calibration_scores_its_selection_better(talkers: Path, tmp_path: Path) -> None:
    plain = main(tiny_run_words(talkers, tmp_path / "plain"))[0].record
    record = main(tiny_run_words(talkers, tmp_path / "calibrated", "--calibrate_output"))[0].record
    found = record["output_calibration"]
    assert "output_calibration" not in plain
    assert found["mae_before"] == pytest.approx(plain["selected_validation"]["eval_mae"], abs=1e-6)
    assert found["mae_after"] < found["mae_before"]
    assert record["selection_rule"] == f"{plain['selection_rule']}; scores scaled and shifted on it"
