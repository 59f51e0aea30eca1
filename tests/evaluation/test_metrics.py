"""Metrics against scikit-learn, scipy and the published code's own numbers."""

import json
import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error

from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.evaluation import compute_metrics_for_trainer, sentiment_metrics
from modeling_hfr_ame.evaluation.metrics import METRICS_OF_SCHEME, scheme_of_label_range

GOLDEN_NAMES = {
    "mosei": {
        "Has0_acc_2": "acc2_has0",
        "Has0_F1_score": "f1_has0",
        "Non0_acc_2": "acc2_non0",
        "Non0_F1_score": "f1_non0",
        "Mult_acc_5": "acc5",
        "Mult_acc_7": "acc7",
        "MAE": "mae",
        "Corr": "corr",
    },
    "sims": {
        "Mult_acc_2": "acc2",
        "Mult_acc_3": "acc3",
        "Mult_acc_5": "acc5",
        "F1_score": "f1",
        "MAE": "mae",
        "Corr": "corr",
    },
}
# Half a unit of the reference's fourth decimal, and float32 resolution where it does not round.
ROUNDED, UNROUNDED = 5.1e-5, 1e-6


def random_scores(seed: int, num_rows: int, limit: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.round(generator.uniform(-limit, limit, num_rows) * 5) / 5  # many exact zeros and many ties
    return (labels + generator.normal(0, limit / 2, num_rows)).astype(np.float32), labels.astype(np.float32)


@pytest.mark.real_data
def test_sentiment_metrics_on_golden_cases_equal_published_code(shared_data):
    path = shared_data / "golden" / "metrics" / "metrics.json"
    if not path.is_file():
        pytest.skip(f"golden metrics not found: {path}")
    cases = json.loads(path.read_text())["cases"]
    num_compared = num_undefined = 0
    for case in cases:
        predictions, labels = np.float32(case["pred"]), np.float32(case["truth"])
        for name, expected in case["results"].items():
            source, scheme = name.split(".")
            found = sentiment_metrics(
                predictions,
                labels,
                "mosi" if scheme == "mosei" else "sims",
                f1_order="published_lnln" if source == "lnln_before_f1_fix" else "label_shares",
            )
            if "error" in expected:  # the reference stops where every label is zero
                assert math.isnan(found["acc2_non0"])
                assert math.isnan(found["f1_non0"])
                assert math.isfinite(found["mae"])
                num_undefined += 1
                continue
            tolerance = UNROUNDED if scheme == "sims" and source != "mmsa" else ROUNDED
            for key, value in expected.items():
                where = f"case {case['id']} ({case['kind']}), {name}, {key}"
                score = found[GOLDEN_NAMES[scheme][key]]
                if value is None:
                    assert math.isnan(score), where
                else:
                    assert score == pytest.approx(value, abs=tolerance, rel=1e-6 if key == "MAE" else 0), where
                num_compared += 1
    assert len(cases) == 200
    assert num_undefined > 0
    assert num_compared > 8000


@pytest.mark.parametrize("seed", range(5))
def test_mosi_metrics_on_random_scores_equal_sklearn_and_scipy(seed):
    p, y = random_scores(seed, 301, 3.0)
    found = sentiment_metrics(p, y, "mosi")
    rated = y != 0
    assert 0 < rated.sum() < len(y)
    expected = {
        "mae": mean_absolute_error(y, p),
        "corr": stats.pearsonr(p, y).statistic,
        "acc2_has0": accuracy_score(y >= 0, p >= 0),
        "f1_has0": f1_score(y >= 0, p >= 0, average="weighted"),
        "acc2_non0": accuracy_score(y[rated] > 0, p[rated] > 0),
        "f1_non0": f1_score(y[rated] > 0, p[rated] > 0, average="weighted"),
        "acc5": accuracy_score(np.rint(y.clip(-2, 2)).astype(int), np.rint(p.clip(-2, 2)).astype(int)),
        "acc7": accuracy_score(np.rint(y.clip(-3, 3)).astype(int), np.rint(p.clip(-3, 3)).astype(int)),
    }
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_sims_metrics_on_random_scores_equal_sklearn_and_scipy(seed):
    p, y = random_scores(seed, 301, 1.0)
    found = sentiment_metrics(p, y, "sims")
    clipped = p.clip(-1, 1)
    assert (p != clipped).any()
    three = np.array([-0.1, 0.1], dtype=np.float32)
    five = np.array([-0.7, -0.1, 0.1, 0.7], dtype=np.float32)
    expected = {
        "mae": mean_absolute_error(y, clipped),
        "corr": stats.pearsonr(clipped, y).statistic,
        "acc2": accuracy_score(y > 0, clipped > 0),
        "f1": f1_score(y > 0, clipped > 0, average="weighted"),
        "acc3": accuracy_score(np.digitize(y, three, right=True), np.digitize(clipped, three, right=True)),
        "acc5": accuracy_score(np.digitize(y, five, right=True), np.digitize(clipped, five, right=True)),
    }
    assert found == pytest.approx(expected, abs=1e-6)


def test_sentiment_metrics_published_lnln_order_weighs_by_predicted_shares():
    p, y = random_scores(0, 101, 3.0)
    p = p + 1  # more positive predictions than labels, so that the order matters
    fixed, published = (sentiment_metrics(p, y, f1_order=order) for order in ("label_shares", "published_lnln"))
    assert published["f1_has0"] == pytest.approx(f1_score(p >= 0, y >= 0, average="weighted"), abs=1e-9)
    assert abs(published["f1_has0"] - fixed["f1_has0"]) > 1e-3
    same = [name for name in fixed if not name.startswith("f1")]
    assert [fixed[name] for name in same] == [published[name] for name in same]


def test_sentiment_metrics_halves_round_to_even_on_both_sides():
    # 0.5 -> 0, 1.5 -> 2, 2.5 -> 2, and -0.5 -> 0: away from zero would give 1, 2, 3 and -1.
    assert sentiment_metrics([0.0, 2.0, 2.0, 0.0], [0.5, 1.5, 2.5, -0.5])["acc7"] == 1.0
    assert sentiment_metrics([1.0, 2.0, 3.0, -1.0], [0.5, 1.5, 2.5, -0.5])["acc7"] == 0.25


def test_sentiment_metrics_zero_prediction_is_positive_in_has0_and_negative_in_non0():
    found = sentiment_metrics([0.0, -0.0], [1.0, 1.0])
    assert (found["acc2_has0"], found["acc2_non0"]) == (1.0, 0.0)


def test_sims_metrics_border_value_belongs_to_lower_bin():
    borders = np.array([-0.7, -0.1, 0.0, 0.1, 0.7], dtype=np.float32)
    below = borders - np.float32(0.01)
    above = borders + np.float32(0.01)
    at_lower, at_upper = sentiment_metrics(borders, below, "sims"), sentiment_metrics(borders, above, "sims")
    assert (at_lower["acc5"], at_lower["acc3"], at_lower["acc2"]) == (1.0, 1.0, 1.0)
    assert (at_upper["acc5"], at_upper["acc3"], at_upper["acc2"]) == (0.2, 0.6, 0.8)


def test_sentiment_metrics_all_labels_zero_leaves_only_non0_and_corr_undefined():
    found = sentiment_metrics([0.2, -0.4], [0.0, 0.0])
    undefined = {name for name, value in found.items() if math.isnan(value)}
    assert undefined == {"acc2_non0", "f1_non0", "corr"}
    assert found["mae"] == pytest.approx(0.3, abs=1e-7)


@pytest.mark.parametrize("constant", [0.3, 1e-30, 3e38])
def test_sentiment_metrics_constant_prediction_has_no_correlation(constant):
    found = sentiment_metrics(np.full(7, constant), np.arange(7) / 2 - 1)
    assert [name for name, value in found.items() if math.isnan(value)] == ["corr"]


def test_sentiment_metrics_takes_column_of_logits_as_vector():
    p, y = random_scores(3, 20, 3.0)
    assert sentiment_metrics(p[:, None], y) == sentiment_metrics(p, y)


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        ([1.0, 2.0], [1.0], "must have the same length, found 2 and 1"),
        ([], [], "predictions must hold at least one value, found none"),
        ([[1.0, 2.0]], [1.0], r"predictions must have the shape \(N,\) or \(N, 1\), found \(1, 2\)"),
        (1.0, [1.0], r"predictions must have the shape .* found \(\)"),
        (
            [1.0, math.nan],
            [1.0, 0.0],
            "predictions must be finite, found 1 of 2 NaN or infinite; check the learning rate",
        ),
        ([1.0, 0.0], [math.inf, -math.inf], "labels must be finite, found 2 of 2"),
        ([1e300], [1.0], "predictions must be finite, found 1 of 1"),
    ],
)
def test_sentiment_metrics_bad_input_raises_data_error(predictions, labels, message):
    with pytest.raises(DataError, match=message):
        sentiment_metrics(predictions, labels)


def test_sentiment_metrics_unknown_option_raises_config_error():
    with pytest.raises(ConfigError, match=r"scheme must be one of \['mosi', 'sims'\], found 'mosei'"):
        sentiment_metrics([1.0], [1.0], "mosei")
    with pytest.raises(ConfigError, match="f1_order must be 'label_shares' or 'published_lnln', found 'swapped'"):
        sentiment_metrics([1.0], [1.0], f1_order="swapped")


SCORES = st.integers(1, 40).flatmap(
    lambda n: st.tuples(*[arrays(np.float32, n, elements=st.floats(-4, 4, width=32)) for _ in range(2)])
)


@settings(max_examples=60, deadline=None)
@given(SCORES, st.sampled_from(["mosi", "sims"]), st.integers(0, 2**16))
def test_sentiment_metrics_any_scores_stay_in_range_and_ignore_order(scores, scheme, seed):
    p, y = scores
    found = sentiment_metrics(p, y, scheme)
    assert tuple(found) == METRICS_OF_SCHEME[scheme]
    for name, value in found.items():
        low, high = {"mae": (0.0, 8.0), "corr": (-1.0, 1.0)}.get(name, (0.0, 1.0))
        assert math.isnan(value) or low <= value <= high, name
    order = np.random.default_rng(seed).permutation(len(p))
    assert sentiment_metrics(p[order], y[order], scheme) == pytest.approx(found, abs=1e-9, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, st.integers(1, 40), elements=st.floats(-4, 4, width=32)), st.sampled_from(["mosi", "sims"]))
def test_sentiment_metrics_perfect_prediction_scores_best(labels, scheme):
    found = sentiment_metrics(labels, labels, scheme)
    assert found.pop("mae") == 0.0
    assert all(math.isnan(value) or value == pytest.approx(1.0) for value in found.values())


def test_trainer_metrics_take_logits_from_a_tuple_and_survive_pickling():
    p, y = random_scores(1, 30, 3.0)
    compute = pickle.loads(pickle.dumps(compute_metrics_for_trainer("mosi")))  # noqa: S301 our own bytes
    expected = sentiment_metrics(p, y, "mosi")
    plain = SimpleNamespace(predictions=p[:, None], label_ids=y)
    several = SimpleNamespace(predictions=(p[:, None], np.zeros((30, 3))), label_ids=(y,))
    assert compute(plain) == expected
    assert compute(several) == expected


def test_trainer_metrics_unknown_scheme_raises_before_training():
    with pytest.raises(ConfigError, match="label scheme must be one of"):
        compute_metrics_for_trainer("mosei")


def test_scheme_of_label_range_known_ranges_are_named():
    assert [scheme_of_label_range(r) for r in ([-3, 3], (-1.0, 1.0))] == ["mosi", "sims"]


def test_scheme_of_label_range_other_range_raises():
    with pytest.raises(ConfigError, match=r"label ranges \[-3.0, 3.0\], \[-1.0, 1.0\], found \[0.0, 5.0\]; rescale"):
        scheme_of_label_range((0, 5))
