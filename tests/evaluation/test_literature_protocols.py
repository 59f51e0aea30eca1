"""Published protocols through the runner, into results, tables and figure."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from modeling_hfr_ame.corruption import SampleKey, draw_missing_patterns
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.evaluation import evaluate_model, evaluate_runs, protocol_recipes
from modeling_hfr_ame.evaluation.protocols import PROTOCOL_NOTES, SET_PROTOCOLS

PUBLISHED = tuple(PROTOCOL_NOTES)
WHERE = {"dataset_name": "tiny", "split": "test", "device": "cpu"}


def evaluate(model, processor, rows, recipes, **options):
    return evaluate_model(model, processor, rows, recipes=recipes, **(WHERE | options))


def legacy_means(rows, processor, rate, padded, seed=1111):
    """Mean of the first audio feature under masks of the global generator, which the published loaders use."""
    frames = [None if row["audio"] is None else processor.encode(audio=row["audio"])["audio_values"] for row in rows]
    np.random.seed(seed)
    numbers = np.random.uniform(size=(len(rows), padded))
    return [
        0.0 if found is None else float((found[:, 0] * (numbers[place, : len(found)] > rate)).mean())
        for place, found in enumerate(frames)
    ]


@pytest.mark.parametrize("padded", [None, (50, 375, 500)])
def test_evaluate_model_lnln_equals_predictions_under_the_global_generator(mean_audio, processor, test_rows, padded):
    longest = max(len(row["audio"]) for row in test_rows if row["audio"] is not None)
    results = evaluate(
        mean_audio(), processor, test_rows, ["lnln-0.3", "lnln-0.8", "emt_dlfr-0.3"], padded_lengths=padded, seed=5
    )
    for recipe, rate in (("lnln-0.3", 0.3), ("lnln-0.8", 0.8), ("emt_dlfr-0.3", 0.3)):
        expected = legacy_means(test_rows, processor, rate, 375 if padded else longest)
        np.testing.assert_allclose(results[recipe]["predictions"], expected, atol=1e-6)
        assert results[recipe]["padded_lengths"][1] == (375 if padded else longest)
        assert (results[recipe]["n"], results[recipe]["num_skipped"]) == (11, 0)


@pytest.mark.parametrize("recipe", ["lnln-0.5", "tfr_net-0.2", "imder_mr-0.4", "lnln_fixed-text"])
def test_evaluate_model_published_recipe_ignores_batch_size(make_model, processor, test_rows, recipe):
    model = make_model(0)
    one, many = (evaluate(model, processor, test_rows, [recipe], batch_size=size)[recipe] for size in (1, 16))
    assert one["ids"] == many["ids"]
    np.testing.assert_allclose(one["predictions"], many["predictions"], atol=1e-5)


def test_evaluate_model_stored_rows_give_the_same_as_a_list_under_published_recipes(
    mean_audio, processor, test_rows, stored_rows
):
    recipes = ["lnln-0.5", "imder_mr-0.4"]
    a, b = (evaluate(mean_audio(), processor, rows, recipes) for rows in (test_rows, stored_rows))
    for recipe in recipes:
        assert a[recipe]["ids"] == b[recipe]["ids"]
        np.testing.assert_array_equal(a[recipe]["predictions"], b[recipe]["predictions"])


def test_evaluate_model_imder_skips_rows_that_lose_everything_and_scores_the_others(mean_audio, processor, test_rows):
    rows = [
        row | {"text": None, "vision": None} if place in (0, 1, 2, 5) else row for place, row in enumerate(test_rows)
    ]
    found = evaluate(mean_audio(), processor, rows, ["imder_mr-0.7", "imder_mr-0.0", "lnln-0.5"], seed=2)
    kept = draw_missing_patterns([SampleKey("tiny", "test", row["id"], 2) for row in rows], 0.7)
    present = np.array([[row[name] is not None for name in ("text", "audio", "vision")] for row in rows])
    left = (kept & present).any(axis=1)
    assert 0 < left.sum() < len(rows)
    result = found["imder_mr-0.7"]
    assert (result["n"], result["num_skipped"]) == (left.sum(), (~left).sum())
    assert result["ids"] == [row["id"] for row, stays in zip(rows, left, strict=True) if stays]
    clean = dict(zip(found["imder_mr-0.0"]["ids"], found["imder_mr-0.0"]["predictions"], strict=True))
    heard = dict(zip((row["id"] for row in rows), kept[:, 1], strict=True))
    expected = [clean[row] if heard[row] else 0.0 for row in result["ids"]]
    np.testing.assert_allclose(result["predictions"], expected, atol=1e-6)
    assert "padded_lengths" not in result
    # Rows that one recipe leaves out keep their place in the arrays of another.
    expected = legacy_means(rows, processor, 0.5, max(len(row["audio"]) for row in rows if row["audio"] is not None))
    np.testing.assert_allclose(found["lnln-0.5"]["predictions"], expected, atol=1e-6)


def test_evaluate_model_text_only_model_sees_the_patterns_of_all_models(make_model, processor, test_rows):
    result = evaluate(make_model(0, modalities="t"), processor, test_rows, ["imder_mr-0.5"])["imder_mr-0.5"]
    kept = draw_missing_patterns([SampleKey("tiny", "test", row["id"], 0) for row in test_rows], 0.5)
    assert result["ids"] == [
        row["id"] for row, has_text in zip(test_rows, kept[:, 0], strict=True) if has_text and row["text"]
    ]


def test_evaluate_model_rate_zero_of_every_protocol_is_clean_and_runs_once(mean_audio, processor, test_rows):
    model = mean_audio()
    names = ["clean", "lnln-0.0", "emt_dlfr-0.0", "imder_mr-0.0", "tfr_net-0.0"]
    results = evaluate(model, processor, test_rows, names, batch_size=64)
    assert len(model.batch_sizes) == 1
    assert all(results[name] is results["clean"] for name in names)


def test_evaluate_model_padded_length_too_short_raises(mean_audio, processor, test_rows):
    with pytest.raises(DataError, match="steps of vision and a padded length of 1; pass at least"):
        evaluate(mean_audio(), processor, test_rows, ["lnln-0.5"], padded_lengths=(50, 375, 1))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, make_run):
    folder = make_run(tmp_path_factory.mktemp("published"), 1)
    console = Console(file=io.StringIO(), width=80)
    document = evaluate_runs(folder, protocols=PUBLISHED, device="cpu", console=console, padded_lengths=(50, 375, 500))
    return document, folder, console.file.getvalue()


def test_evaluate_runs_published_protocols_are_in_the_document(evaluated):
    document, folder, _ = evaluated
    assert json.loads((folder / "results.json").read_text()) == document
    assert document["protocols"] == {name: protocol_recipes(name) for name in PUBLISHED}
    assert document["protocol_notes"] == dict(PROTOCOL_NOTES)
    assert set(document["averaged_recipes"]) == {"imder_mr", *SET_PROTOCOLS}
    sections = document["models"]["seed-1"]["protocols"]
    assert sections["lnln"]["recipes"]["lnln-0.3"]["padded_lengths"] == [50, 375, 500]
    assert "padded_lengths" not in sections["lnln"]["recipes"]["lnln-0.0"]
    assert [name for name in PUBLISHED if "auilc" in sections[name]] == ["lnln", "emt_dlfr", "imder_mr"]


def test_evaluate_runs_published_means_and_areas_follow_from_the_recipes(evaluated):
    document, _, _ = evaluated
    sections = document["models"]["seed-1"]["protocols"]

    def curve(protocol):
        return [found["metrics"]["mae"]["mean"] for found in sections[protocol]["recipes"].values()]

    for protocol in ("lnln", "tfr_net", "emt_dlfr"):
        assert sections[protocol]["mean"]["mae"]["mean"] == pytest.approx(np.mean(curve(protocol)))
    for protocol in ("imder_mr", *SET_PROTOCOLS):  # the complete input comes first and is not averaged
        assert sections[protocol]["mean"]["mae"]["mean"] == pytest.approx(np.mean(curve(protocol)[1:]))
    area = np.trapezoid(curve("emt_dlfr"), np.arange(11) / 10)
    assert sections["emt_dlfr"]["auilc"]["mae"]["mean"] == pytest.approx(area)
    area = np.trapezoid(curve("imder_mr"), [*np.arange(7) / 10, 2 / 3])
    assert sections["imder_mr"]["auilc"]["mae"]["mean"] == pytest.approx(area)


def test_evaluate_runs_published_protocols_are_printed_whole_with_their_notes(evaluated):
    _, folder, printed = evaluated
    report = (folder / "results.md").read_text()
    for protocol, note in PROTOCOL_NOTES.items():
        assert f"* {protocol}: {note}" in report
    assert "* lnln: masks drawn on arrays of 50/375/500 steps of text/audio/vision (seed-1)" in report
    assert "* imder_mr: mean of 7 recipes (without imder_mr-0.0)" in report
    assert "| rate | seed-1 |" in report
    assert "lnln by rate, MAE / Corr:" in report
    assert "fixed_modalities by missing set, MAE / Corr:" in report
    assert {"| none |", "| text-audio |", "| 1.0 |"} <= {
        line.partition("|")[1] + line[1:].partition("|")[0] + "|" for line in report.splitlines()
    }
    assert "…" not in printed
    table = printed[: printed.index("seeds 1;")]
    assert max(map(len, table.splitlines())) <= 80
    for word in ("modalities", "AUILC", "of 7", "of 11"):
        assert word in table
    assert (folder / "robustness.png").stat().st_size > 10_000
