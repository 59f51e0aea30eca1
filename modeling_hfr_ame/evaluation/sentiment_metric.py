"""The same metrics as an `evaluate.Metric`, for code that collects predictions batch by batch."""

from typing import Any

import datasets
import evaluate

from modeling_hfr_ame.evaluation.metrics import require_scheme, sentiment_metrics

_DESCRIPTION = (
    "Multimodal sentiment regression: mean absolute error, Pearson correlation, and accuracies and F1 of binned scores."
)
_INPUTS = (
    "predictions: predicted scores, one float per row. references: true scores in the range of the scheme "
    "('mosi': [-3, 3]; 'sims': [-1, 1])."
)


class SentimentMetric(evaluate.Metric):
    """`sentiment_metrics` with the `evaluate` interface: `compute`, `add`, `add_batch`.

    It is made directly, `SentimentMetric("mosi", keep_in_memory=True)`, and asks nothing of the Hub. In a distributed
    run gather first and score on the gathered arrays.

    Args:
        config_name: The label scheme, `"mosi"` or `"sims"`. None means `"mosi"`.
        **kwargs: What `evaluate.Metric` takes; `keep_in_memory=True` writes no cache file.

    Raises:
        ConfigError: If the scheme is unknown.
    """

    def __init__(self, config_name: str | None = None, **kwargs: Any) -> None:
        config_name = config_name or "mosi"
        require_scheme(config_name)
        super().__init__(config_name=config_name, **kwargs)

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("float32"), "references": datasets.Value("float32")}
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return sentiment_metrics(predictions, references, self.config_name)
