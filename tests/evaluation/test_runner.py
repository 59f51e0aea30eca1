import math

import numpy as np
import pytest
import torch

from modeling_hfr_ame.corruption import CorruptionRecipe, SampleKey, corrupt_sample
from modeling_hfr_ame.data import SentimentCollator, SentimentDataset
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.evaluation import evaluate_model, predict, sentiment_metrics
from modeling_hfr_ame.evaluation.runner import resolve_device, row_modalities, select_rows


def mean_of_first_audio_feature(row, processor, recipe="clean", seed=0):
    if row["audio"] is None:
        return 0.0
    frames = processor.encode(audio=row["audio"])["audio_values"]
    key = SampleKey("tiny", "test", row["id"], seed)
    words = row["text"].split() if row["text"] else None
    vision = np.ones((2, 1), dtype=np.float32)  # present, so that audio may be removed
    corrupted = corrupt_sample(words, frames, vision, CorruptionRecipe.from_name(recipe), key)
    return 0.0 if corrupted.audio is None else float(corrupted.audio[:, 0].mean())


def evaluate(model, processor, rows, recipes, **options):
    settings = {"dataset_name": "tiny", "split": "test", "device": "cpu"} | options
    return evaluate_model(model, processor, rows, recipes=recipes, **settings)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_predict_any_batch_size_returns_dataset_order(mean_audio, processor, test_rows, batch_size):
    dataset = SentimentDataset(test_rows, processor, dataset_name="tiny", split="test")
    model = mean_audio()
    ids, predictions, labels = predict(
        model, dataset, SentimentCollator(processor), batch_size=batch_size, device="cpu"
    )
    assert ids == [row["id"] for row in test_rows]
    np.testing.assert_allclose(labels, [row["label"] for row in test_rows], rtol=1e-6)
    expected = [mean_of_first_audio_feature(row, processor) for row in test_rows]
    np.testing.assert_allclose(predictions, expected, atol=1e-6)
    assert sum(model.batch_sizes) == len(test_rows)
    assert max(model.batch_sizes) == min(batch_size, len(test_rows))


def test_predict_more_rows_than_one_window_returns_dataset_order(mean_audio, processor, test_rows, monkeypatch):
    monkeypatch.setattr("modeling_hfr_ame.evaluation.runner._BATCHES_PER_WINDOW", 2)
    dataset = SentimentDataset(test_rows, processor, dataset_name="tiny", split="test")
    ids, predictions, _ = predict(mean_audio(), dataset, SentimentCollator(processor), batch_size=2, device="cpu")
    assert ids == [row["id"] for row in test_rows]
    expected = [mean_of_first_audio_feature(row, processor) for row in test_rows]
    np.testing.assert_allclose(predictions, expected, atol=1e-6)


def test_predict_batches_hold_samples_of_similar_length(mean_audio, processor, test_rows):
    dataset = SentimentDataset(test_rows, processor, dataset_name="tiny", split="test")
    collate, lengths = SentimentCollator(processor), []

    def measure(samples):
        lengths.append(
            [
                sum(len(v) for k, v in s.items() if k.endswith(("_values", "_ids")) and k != "sample_ids")
                for s in samples
            ]
        )
        return collate(samples)

    predict(mean_audio(), dataset, measure, batch_size=3, device="cpu")
    flat = [length for batch in lengths for length in batch]
    assert flat == sorted(flat, reverse=True)
    assert len(set(flat)) > 3


def test_predict_gives_the_model_no_training_inputs_and_restores_its_mode(mean_audio, processor, test_rows):
    dataset = SentimentDataset(
        test_rows,
        processor,
        dataset_name="tiny",
        split="test",
        corruption=CorruptionRecipe.from_name("drop-0.5"),
        with_clean=True,
    )
    model = mean_audio().train()
    predict(model, dataset, SentimentCollator(processor), device="cpu")
    assert model.training
    assert "input_ids" in model.received
    forbidden = {"labels", "severity", "sample_ids"} | {name for name in model.received if name.startswith("clean_")}
    assert not forbidden & model.received


def test_predict_batch_size_zero_raises(mean_audio, processor, test_rows):
    dataset = SentimentDataset(test_rows, processor, dataset_name="tiny", split="test")
    with pytest.raises(DataError, match="batch_size must be at least 1, found 0"):
        predict(mean_audio(), dataset, SentimentCollator(processor), batch_size=0)


def test_evaluate_model_scores_equal_metrics_of_hand_made_predictions(mean_audio, processor, test_rows):
    recipes = ["clean", "drop-0.5", "missing-audio"]
    results = evaluate(mean_audio(), processor, test_rows, recipes, seed=7, batch_size=3)
    assert list(results) == recipes
    labels = [row["label"] for row in test_rows]
    for recipe, found in results.items():
        expected = [mean_of_first_audio_feature(row, processor, recipe, seed=7) for row in test_rows]
        np.testing.assert_allclose(found["predictions"], expected, atol=1e-6)
        assert found["metrics"] == pytest.approx(sentiment_metrics(expected, labels), abs=1e-6, nan_ok=True)
        assert (found["n"], found["num_skipped"]) == (len(test_rows), 0)
    assert results["clean"]["metrics"] != results["drop-0.5"]["metrics"]
    assert math.isnan(results["missing-audio"]["metrics"]["corr"])


def test_evaluate_model_stored_rows_give_the_same_as_a_list(mean_audio, processor, test_rows, stored_rows):
    recipes = ["clean", "block-0.3"]
    a, b = (evaluate(mean_audio(), processor, rows, recipes) for rows in (test_rows, stored_rows))
    for recipe in recipes:
        np.testing.assert_array_equal(a[recipe]["predictions"], b[recipe]["predictions"])
        assert a[recipe]["ids"] == b[recipe]["ids"]


def test_evaluate_model_recipes_of_equal_effect_run_once(mean_audio, processor, test_rows):
    model = mean_audio()
    results = evaluate(model, processor, test_rows, ["clean", "drop-0.0", "block-0.0"], batch_size=64)
    assert len(model.batch_sizes) == 1
    assert results["drop-0.0"] is results["clean"] is results["block-0.0"]


def test_evaluate_model_row_without_a_modality_left_is_skipped_and_counted(mean_audio, processor, test_rows):
    found = evaluate(mean_audio(), processor, test_rows, ["missing-text-vision", "missing-audio-vision"])
    # Row 3 has no audio and row 4 no text.
    assert (found["missing-text-vision"]["n"], found["missing-text-vision"]["num_skipped"]) == (10, 1)
    assert test_rows[3]["id"] not in found["missing-text-vision"]["ids"]
    assert test_rows[4]["id"] not in found["missing-audio-vision"]["ids"]


def test_evaluate_model_recipe_that_leaves_no_row_has_undefined_metrics(make_model, processor, test_rows):
    complete = [row for row in test_rows if row["text"]]
    found = evaluate(make_model(0, modalities="t"), processor, complete, ["clean", "missing-text"])
    assert found["clean"]["n"] == 10
    assert found["missing-text"]["n"] == 0
    assert found["missing-text"]["num_skipped"] == 10
    assert all(math.isnan(value) for value in found["missing-text"]["metrics"].values())


def test_evaluate_model_severity_is_averaged_over_rows_that_have_the_modality(mean_audio, processor, test_rows):
    found = evaluate(mean_audio(with_severity=True), processor, test_rows, ["clean", "missing-text-vision"])
    assert found["clean"]["predicted_severity"] == pytest.approx({"text": 0.1, "audio": 0.2, "vision": 0.3})
    assert found["missing-text-vision"]["predicted_severity"] == pytest.approx({"audio": 0.2})
    assert evaluate(mean_audio(), processor, test_rows, ["clean"])["clean"]["predicted_severity"] == {}


def test_evaluate_model_hfr_ame_predicts_severity_and_ignores_batch_mates(make_model, processor, test_rows):
    model = make_model(0)
    one, many = (evaluate(model, processor, test_rows, ["drop-0.5"], batch_size=size)["drop-0.5"] for size in (1, 16))
    np.testing.assert_allclose(one["predictions"], many["predictions"], atol=1e-5)
    assert set(one["predicted_severity"]) == {"text", "audio", "vision"}
    assert all(0 <= value <= 1 for value in one["predicted_severity"].values())


def test_evaluate_model_oracle_severity_reaches_the_model_that_asks_for_it(make_model, processor, test_rows):
    model = make_model(0, severity="oracle")
    found = evaluate(model, processor, test_rows, ["drop-0.5"])["drop-0.5"]
    assert found["predicted_severity"]["vision"] == pytest.approx(0.5)


def test_evaluate_model_diverged_model_raises_with_the_recipe(mean_audio, processor, test_rows):
    model = mean_audio()
    torch.nn.init.constant_(model.scale, math.nan)
    with pytest.raises(DataError, match=r"recipe 'drop-0\.3' can't be scored: predictions must be finite"):
        evaluate(model, processor, test_rows, ["drop-0.3"])


def test_evaluate_model_without_rows_raises(mean_audio, processor):
    with pytest.raises(DataError, match="needs at least one row, found none"):
        evaluate(mean_audio(), processor, [], ["clean"])


def test_row_modalities_list_and_stored_rows_agree(test_rows, stored_rows):
    expected = np.ones((11, 3), dtype=bool)
    expected[3, 1] = expected[4, 0] = False
    np.testing.assert_array_equal(row_modalities(test_rows), expected)
    np.testing.assert_array_equal(row_modalities(stored_rows), expected)


def test_row_modalities_after_selection_follow_the_selection(test_rows, stored_rows):
    indices = np.array([4, 0, 3])
    for rows in (test_rows, stored_rows):
        np.testing.assert_array_equal(row_modalities(select_rows(rows, indices))[:, :2], [[0, 1], [1, 1], [1, 0]])


def test_resolve_device_unknown_or_absent_device_raises():
    with pytest.raises(ConfigError, match="device must be a torch device such as 'cpu' or 'cuda:0', found 'gpu'"):
        resolve_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="device 'cuda' needs a CUDA device, found none"):
            resolve_device("cuda")
