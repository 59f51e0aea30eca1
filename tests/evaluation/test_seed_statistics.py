import math

import numpy as np
import pytest
from scipy import stats
from sklearn.dummy import DummyRegressor

from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.evaluation import constant_baseline, paired_comparison, sentiment_metrics, summarize_seeds

A = [0.70, 0.72, 0.69, 0.74, 0.71]
B = [0.73, 0.73, 0.74, 0.75, 0.73]


def test_paired_comparison_five_seeds_equals_scipy_paired_t_test():
    found = paired_comparison(A, B)
    expected = stats.ttest_rel(A, B).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean_difference == pytest.approx(np.mean(A) - np.mean(B))
    assert found.sd == pytest.approx(stats.tstd(np.subtract(A, B)))
    assert found.n == 5


@pytest.mark.parametrize(("shift", "excludes"), [(0.0, False), (0.2, True), (-0.2, True)])
def test_paired_comparison_excludes_zero_exactly_when_the_test_is_significant(shift, excludes):
    a = [value + shift for value in A]
    b = [0.69, 0.73, 0.70, 0.73, 0.72]
    assert bool(stats.ttest_rel(a, b).pvalue < 0.05) == excludes
    assert paired_comparison(a, b).excludes_zero is excludes


def test_paired_comparison_is_antisymmetric():
    forward, backward = paired_comparison(A, B), paired_comparison(B, A)
    assert (forward.low, forward.high) == pytest.approx((-backward.high, -backward.low))


def test_paired_comparison_one_seed_has_no_interval():
    found = paired_comparison([0.5], [0.75])
    assert found.mean_difference == -0.25
    assert math.isnan(found.sd)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.excludes_zero is False


def test_paired_comparison_equal_models_do_not_exclude_zero():
    found = paired_comparison(A, A)
    assert (found.low, found.high, found.excludes_zero) == (0.0, 0.0, False)


@pytest.mark.parametrize(("a", "b"), [([1.0, 2.0], [1.0]), ([], [])])
def test_paired_comparison_unpaired_values_raise(a, b):
    with pytest.raises(DataError, match="paired models need the same seeds, found"):
        paired_comparison(a, b)


def test_summarize_seeds_uses_the_sample_standard_deviation():
    found = summarize_seeds(A)
    assert (found.mean, found.sd) == pytest.approx((np.mean(A), stats.tstd(A)))
    assert found.values == tuple(A)


def test_summarize_seeds_one_seed_has_no_standard_deviation():
    assert math.isnan(summarize_seeds([0.5]).sd)


def test_summarize_seeds_without_seeds_raises():
    with pytest.raises(DataError, match="at least one value, found none"):
        summarize_seeds([])


@pytest.mark.parametrize(("name", "strategy"), [("train_mean", "mean"), ("train_median", "median")])
def test_constant_baseline_equals_sklearn_dummy_regressor(name, strategy):
    generator = np.random.default_rng(4)
    train, labels = generator.uniform(-3, 3, 51), generator.uniform(-3, 3, 40)
    dummy = DummyRegressor(strategy=strategy).fit(np.zeros((51, 1)), train)
    expected = sentiment_metrics(dummy.predict(np.zeros((40, 1))), labels)
    assert constant_baseline(train, labels)[name] == pytest.approx(expected, nan_ok=True)
    assert math.isnan(expected["corr"])


@pytest.mark.parametrize("train", [[], [1.0, math.nan], [[1.0]]])
def test_constant_baseline_bad_training_labels_raise(train):
    with pytest.raises(DataError, match="training labels must be a non-empty vector of finite numbers"):
        constant_baseline(train, [1.0])
