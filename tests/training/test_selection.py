from pathlib import Path

import numpy as np
import pytest
from transformers import EvalPrediction

from modeling_hfr_ame.data import SentimentDataset, load_stored_dataset, stored_rows
from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor
from modeling_hfr_ame.training.selection import selection_dataset, selection_metrics, selection_rule
from modeling_hfr_ame.training.text_encoders import load_text_encoder


def test_selection_metrics_mae_is_the_mean_over_rates() -> None:
    predictions = np.array([[0.0], [1.0], [2.0], [2.5]], dtype=np.float32)
    labels = np.array([0.5, 1.0, 0.5, 1.0], dtype=np.float32)
    metrics = selection_metrics("mosi", [0.0, 0.5])(EvalPrediction(predictions=predictions, label_ids=labels))
    assert metrics["mae_drop_0.0"] == pytest.approx(0.25)
    assert metrics["mae_drop_0.5"] == pytest.approx(1.5)
    assert metrics["mae"] == pytest.approx((0.25 + 1.5) / 2)
    assert "acc7" in metrics


def test_selection_dataset_masks_are_fixed_and_nested(talkers: Path) -> None:
    from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
    from modeling_hfr_ame.feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor

    rows = load_stored_dataset(talkers, "validation")
    tokenizer = load_text_encoder("small", rows["text"][:], lowercase=True).tokenizer
    audio, vision = HfrAmeAudioFeatureExtractor(feature_size=12), HfrAmeVisionFeatureExtractor(feature_size=16)
    processor = HfrAmeProcessor(audio, vision, tokenizer)
    processor.fit_scalers(stored_rows(rows))
    clean = SentimentDataset(rows, processor, dataset_name="synthetic_talkers", split="validation")
    copies = selection_dataset(clean, [0, 0.3, 0.7])
    assert len(copies) == 3 * len(clean)
    for index in range(len(clean)):
        whole, some, more = (copies[k * len(clean) + index] for k in range(3))
        assert whole["labels"] == some["labels"] == clean[index]["labels"]
        assert np.array_equal(whole["audio_values"], clean[index]["audio_values"])
        lost_some, lost_more = (~sample["audio_values"].any(1) for sample in (some, more))
        assert not (lost_some & ~lost_more).any()
        assert np.array_equal(some["audio_values"], copies[len(clean) + index]["audio_values"])


def test_selection_rule_names_metric_and_rates() -> None:
    assert selection_rule("mae", [0, 0.5]) == "lowest validation MAE averaged over drop rates 0, 0.5 (fixed masks)"
    assert selection_rule("corr", [0.3]).startswith("best validation CORR")
