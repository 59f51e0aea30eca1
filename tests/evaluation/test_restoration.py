"""Restoration quality against numbers computed by hand."""

import io
import math

import pytest
import torch
from rich.console import Console

from modeling_hfr_ame.evaluation.restoration import evaluate_restoration, measures_restoration, summarize_restoration
from modeling_hfr_ame.evaluation.tables import restoration_tables

CONDITIONS = {"dataset_name": "tiny", "split": "test", "device": "cpu"}


@pytest.fixture
def shaken_model(make_model):
    model = make_model(0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def test_restoration_that_is_the_identity_changes_no_error(make_model, processor, stored_rows):
    untrained = make_model(0, fill_gaps=False)  # filled gaps differ from the zeros that were received
    reports = evaluate_restoration(untrained, processor, stored_rows, recipes=["drop-0.5", "clean"], **CONDITIONS)
    for name, found in reports["drop-0.5"].items():
        assert found["nmse_before"] == pytest.approx(found["nmse_after"], rel=1e-6), name
        assert found["total_before"] > 0.05
        assert found["gates"] == pytest.approx([1.0, 1.0, 1.0])
    assert all(found["total_before"] < 1e-9 for found in reports["clean"].values())


def test_restoration_error_of_dropped_frames_follows_from_the_bands(shaken_model, processor, stored_rows):
    report = evaluate_restoration(shaken_model, processor, stored_rows, recipes=["drop-0.7"], **CONDITIONS)["drop-0.7"]
    small_batches = evaluate_restoration(
        shaken_model, processor, stored_rows, recipes=["drop-0.7"], batch_size=2, **CONDITIONS
    )["drop-0.7"]
    for name, found in report.items():
        assert found["nmse_after"] != pytest.approx(found["nmse_before"], rel=1e-3)
        expected = 10 * math.log10(found["total_before"] / found["total_after"])
        assert found["gain_db"] == pytest.approx(expected)
        assert small_batches[name]["nmse_after"] == pytest.approx(found["nmse_after"], rel=1e-4)


def test_measured_sums_equal_those_of_a_hand_made_twin(shaken_model, processor, test_rows):
    encoded = [processor.encode(text=row["text"], audio=row["audio"], vision=row["vision"]) for row in test_rows[:3]]
    clean = processor.pad(encoded)
    batch = dict(clean) | {f"clean_{name}": clean[name] for name in ("input_ids", "attention_mask")}
    for name in ("audio", "vision"):
        batch |= {f"clean_{name}_{part}": clean[f"{name}_{part}"] for part in ("values", "mask")}
    batch["audio_values"] = torch.zeros_like(clean["audio_values"])
    sums = shaken_model.measure_restoration(**batch)["audio"]
    model = shaken_model.model
    with torch.no_grad():
        received = model(shaken_model.reader.read(batch))
        wanted = model(shaken_model.reader.read(clean)).features["audio"].bands
    torch.testing.assert_close(sums["energy"], wanted.square().sum((1, 2, 3)))
    torch.testing.assert_close(sums["error_after"], (received.restored["audio"] - wanted).square().sum((1, 2, 3)))


def test_models_without_restoration_are_not_measured(make_model, mean_audio):
    assert measures_restoration(make_model(0))
    assert not measures_restoration(make_model(0, use_hfr=False))
    assert not measures_restoration(mean_audio())


def test_summary_over_seeds_keeps_recipes_modalities_and_bands():
    report = {"drop-0.5": {"audio": {"nmse_before": [1.0, 2.0], "nmse_after": [0.5, 1.0], "gain_db": 3.0}}}
    other = {"drop-0.5": {"audio": {"nmse_before": [3.0, 2.0], "nmse_after": [0.7, 1.0], "gain_db": 5.0}}}
    found = summarize_restoration({1: report, 2: other})
    assert found["drop-0.5"]["audio"]["nmse_before"][0]["values"] == (1.0, 3.0)
    assert found["drop-0.5"]["audio"]["gain_db"]["mean"] == 4.0
    assert summarize_restoration({}) == {}
    console = Console(file=io.StringIO(), width=80)
    for table in restoration_tables({"models": {"full": {"restoration": found}, "control": {"restoration": {}}}}):
        console.print(table)
    assert "2.000 → 0.600" in console.file.getvalue()
    assert "control" not in console.file.getvalue()
