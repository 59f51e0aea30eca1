import numpy as np
import pytest

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.evaluation import SentimentMetric, sentiment_metrics

PREDICTIONS = np.linspace(-2, 2, 12).astype(np.float32)
REFERENCES = np.array([-3, -2, 1, 0, -1, 0, 0, 2, 1, 3, 2, -1], dtype=np.float32)


@pytest.mark.parametrize("scheme", ["mosi", "sims"])
def test_sentiment_metric_compute_equals_the_function(scheme):
    metric = SentimentMetric(scheme, keep_in_memory=True)
    found = metric.compute(predictions=PREDICTIONS, references=REFERENCES)
    assert found == sentiment_metrics(PREDICTIONS, REFERENCES, scheme)


def test_sentiment_metric_batches_on_disk_equal_the_function(tmp_path):
    metric = SentimentMetric(cache_dir=str(tmp_path))
    for start in range(0, 12, 5):
        metric.add_batch(predictions=PREDICTIONS[start : start + 5], references=REFERENCES[start : start + 5])
    assert metric.compute() == sentiment_metrics(PREDICTIONS, REFERENCES, "mosi")


def test_sentiment_metric_unknown_scheme_raises():
    with pytest.raises(ConfigError, match="label scheme must be one of"):
        SentimentMetric("mosei")
