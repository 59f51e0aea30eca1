"""Run folders in, results, predictions, table and figure out."""

import copy
import hashlib
import io
import json

import matplotlib.image
import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from modeling_hfr_ame.corruption import PROTOCOL_VERSION
from modeling_hfr_ame.data import load_stored_dataset
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.evaluation import (
    auilc,
    compare_runs,
    evaluate_runs,
    paired_comparison,
    protocol_recipes,
    sentiment_metrics,
)
from modeling_hfr_ame.evaluation.figures import draw_robustness
from modeling_hfr_ame.evaluation.metrics import MOSI_METRICS
from modeling_hfr_ame.evaluation.tables import comparison_table, conditions, results_table


def quiet() -> Console:
    return Console(file=io.StringIO(), width=80)  # what rich assumes where there is no terminal


@pytest.fixture(scope="module")
def compared(tmp_path_factory, make_run):
    tmp_path = tmp_path_factory.mktemp("compared")
    for seed in (1, 2):
        make_run(tmp_path / "full", seed)
        make_run(tmp_path / "control", seed, use_hfr=False)
    console = quiet()
    document = compare_runs(
        {"full": tmp_path / "full", "control": tmp_path / "control"},
        out=tmp_path / "out",
        device="cpu",
        batch_size=5,
        console=console,
    )
    return document, tmp_path / "out", console.file.getvalue()


def test_compare_runs_document_states_every_condition(compared, stored_folder):
    document, out, _ = compared
    assert json.loads((out / "results.json").read_text()) == document
    assert document["schema_version"] == 1
    manifest = hashlib.sha256((stored_folder / "manifest.json").read_bytes()).hexdigest()
    assert document["dataset"] == {"name": "tiny", "manifest_sha256": manifest, "label_range": [-3.0, 3.0]}
    assert (document["split"], document["subset"], document["num_rows"]) == ("test", "all", 11)
    assert (document["scheme"], document["metrics"]) == ("mosi", list(MOSI_METRICS))
    assert document["protocols"] == {name: protocol_recipes(name) for name in ("P0", "P1", "P2")}
    assert document["corruption_protocol_version"] == PROTOCOL_VERSION
    assert document["corruption_seed"] == 0
    assert {"python", "torch", "transformers", "hfr-ame"} <= set(document["versions"])
    assert document["models"]["full"]["seeds"] == [1, 2]
    assert document["models"]["full"]["selection_rule"] == "lowest validation MAE"


def test_compare_runs_numbers_follow_from_the_saved_predictions(compared):
    document, out, _ = compared
    table = pq.read_table(out / "predictions.parquet").to_pandas()
    assert set(table.groupby(["model", "seed", "recipe"]).size()) == {10, 11}
    for name, model in document["models"].items():
        curves = []
        for seed in model["seeds"]:
            rows = table[(table.model == name) & (table.seed == seed)]
            by_recipe = {
                recipe: sentiment_metrics(found.prediction, found.label) for recipe, found in rows.groupby("recipe")
            }
            curves.append([by_recipe[recipe]["mae"] for recipe in protocol_recipes("P1")])
        section = model["protocols"]["P1"]
        for index, recipe in enumerate(protocol_recipes("P1")):
            summary = section["recipes"][recipe]["metrics"]["mae"]
            values = [curve[index] for curve in curves]
            assert summary["values"] == pytest.approx(values)
            assert (summary["mean"], summary["sd"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
        assert section["mean"]["mae"]["values"] == pytest.approx([np.mean(curve) for curve in curves])
        assert section["auilc"]["mae"]["values"] == pytest.approx([auilc(c, np.arange(10) / 10) for c in curves])
        clean = model["protocols"]["P0"]["recipes"]["clean"]
        assert clean == section["recipes"]["drop-0.0"]
    assert "auilc" not in document["models"]["full"]["protocols"]["P2"]


def test_compare_runs_paired_differences_follow_from_the_values(compared):
    document, _, _ = compared
    a, b = (document["models"][name]["protocols"]["P1"]["mean"]["mae"]["values"] for name in ("full", "control"))
    assert a != b
    entries = [e for e in document["comparisons"] if (e["protocol"], e["metric"]) == ("P1", "mae")]
    assert len(entries) == 1
    expected = {"a": "full", "b": "control", "seeds": [1, 2], "protocol": "P1", "metric": "mae"}
    assert entries[0] == expected | paired_comparison(a, b).as_dict()


def test_compare_runs_skipped_rows_and_severity_are_reported(compared):
    document, _, _ = compared
    recipes = document["models"]["full"]["protocols"]["P2"]["recipes"]
    assert (recipes["missing-text-vision"]["n"], recipes["missing-text-vision"]["num_skipped"]) == (10, 1)
    assert set(recipes["missing-text"]["predicted_severity"]) == {"audio", "vision"}
    assert len(recipes["missing-text"]["predicted_severity"]["audio"]["values"]) == 2


def test_compare_runs_baseline_predicts_constants_of_the_training_split(compared, stored_folder):
    document, _, _ = compared
    train, test = (np.array(load_stored_dataset(stored_folder, split)["label"][:]) for split in ("train", "test"))
    assert document["baselines"]["train_mean"]["mae"] == pytest.approx(np.abs(test - train.mean()).mean(), abs=1e-6)
    assert document["baselines"]["train_median"]["mae"] == pytest.approx(
        np.abs(test - np.median(train)).mean(), abs=1e-6
    )
    assert document["baselines"]["train_mean"]["corr"] is None


def test_compare_runs_prints_models_floor_and_differences(compared):
    _, _, printed = compared
    for text in (
        "P1: mean of 10 recipes",
        "full",
        "control",
        "median",
        "full − control",
        "mask seed 0",
        "seeds 1, 2;",
    ):
        assert text in printed
    assert "…" not in printed  # nothing is cut
    assert max(map(len, printed.splitlines()[:-2])) <= 80


def test_compare_runs_figure_is_a_png_of_the_documented_size(compared):
    _, out, _ = compared
    image = matplotlib.image.imread(out / "robustness.png")
    assert image.shape[:2] == (660, 1440)
    assert image[..., :3].std() > 0.02  # something is drawn


def test_evaluate_runs_single_seed_has_no_spread_and_writes_into_the_run(tmp_path, make_run):
    folder = make_run(tmp_path, 5)
    console = quiet()
    document = evaluate_runs(folder, protocols=("P0",), device="cpu", console=console)
    assert json.loads((folder / "results.json").read_text()) == document
    summary = document["models"]["seed-5"]["protocols"]["P0"]["mean"]["mae"]
    assert summary["sd"] is None
    assert len(summary["values"]) == 1
    assert "±–" in console.file.getvalue()
    assert document["comparisons"] == []
    assert not (folder / "robustness.png").exists()  # no protocol over rates


def test_evaluate_runs_list_of_seeds_is_one_model(tmp_path, make_run):
    folders = [make_run(tmp_path, seed) for seed in (1, 2)]
    document = evaluate_runs(folders, protocols=("P0",), device="cpu", out=tmp_path / "out", console=quiet())
    assert document["models"]["model"]["seeds"] == [1, 2]


def test_evaluate_runs_complete_subset_scores_rows_with_all_modalities(tmp_path, make_run, stored_folder):
    folder = make_run(tmp_path, 1)
    document = evaluate_runs(
        folder, data=stored_folder, protocols=("P2", "P5"), subset="complete", device="cpu", console=quiet()
    )
    assert (document["subset"], document["num_rows"]) == ("complete", 9)
    section = document["models"]["seed-1"]["protocols"]
    assert {recipe["n"] for recipe in section["P2"]["recipes"].values()} == {9}
    assert section["P5"]["recipes"]["asr-0.9"]["metrics"] != section["P5"]["recipes"]["asr-0.1"]["metrics"]


def test_evaluate_runs_same_input_gives_the_same_document(tmp_path, make_run):
    folder = make_run(tmp_path, 1)
    first, second = (
        evaluate_runs(folder, protocols=("P0", "P2"), device="cpu", out=tmp_path / name, console=quiet())
        for name in "ab"
    )
    assert first == second
    assert (tmp_path / "a" / "results.json").read_bytes() == (tmp_path / "b" / "results.json").read_bytes()


def test_evaluate_runs_unrecorded_dataset_raises_asking_for_data(tmp_path, make_run):
    folder = make_run(tmp_path, 1, record={"dataset_folder": None})
    with pytest.raises(DataError, match=r"must record dataset_folder .* found none; name the dataset .*--data"):
        evaluate_runs(folder, device="cpu")


def test_evaluate_runs_moved_dataset_raises_asking_for_data(tmp_path, make_run):
    folder = make_run(tmp_path, 1, record={"dataset_folder": str(tmp_path / "gone")})
    with pytest.raises(DataError, match=r"recorded in run\.json must exist, .*gone does not; name the dataset"):
        evaluate_runs(folder, device="cpu")


def test_compare_runs_trained_on_different_data_raises_asking_for_data(tmp_path, make_run):
    a = make_run(tmp_path / "a", 1)
    b = make_run(tmp_path / "b", 1, record={"dataset_folder": "elsewhere"})
    with pytest.raises(DataError, match=r"runs must share one dataset, found .*elsewhere"):
        compare_runs({"a": a, "b": b}, out=tmp_path / "out")


def test_evaluate_runs_label_range_of_another_dataset_raises(tmp_path, make_run):
    folder = make_run(tmp_path, 1, label_range=(-1.0, 1.0), metric_scheme="sims")
    with pytest.raises(DataError, match=r"has \[-1.0, 1.0\] and the dataset 'tiny' \[-3.0, 3.0\]"):
        evaluate_runs(folder, protocols=("P0",), device="cpu")


def test_evaluate_runs_unknown_choice_raises_before_any_work(tmp_path, make_run):
    with pytest.raises(ConfigError, match="a protocol must be one of P0"):
        evaluate_runs(tmp_path, protocols=("P9",))
    with pytest.raises(ConfigError, match="at least one protocol and one model, found none"):
        evaluate_runs(tmp_path, protocols=())
    with pytest.raises(ConfigError, match="subset must be one of all, complete, found 'half'"):
        evaluate_runs(make_run(tmp_path, 1), subset="half")
    with pytest.raises(ConfigError, match="need a folder for the results, found none; pass out"):
        compare_runs({"a": tmp_path})


def test_tables_show_undefined_values_as_a_dash(compared):
    broken = copy.deepcopy(compared[0])
    for entry in broken["comparisons"]:
        entry.update(sd=None, low=None, high=None)
    broken["models"]["full"]["protocols"]["P1"]["mean"]["corr"] = {"mean": None, "sd": None, "values": [None]}
    console = quiet()
    console.print(results_table(broken), comparison_table(broken), conditions(broken))
    assert "±–" in console.file.getvalue()
    assert "nan" not in console.file.getvalue().lower()


def test_draw_robustness_undefined_values_leave_gaps(compared, tmp_path):
    document = copy.deepcopy(compared[0])
    for recipe in document["models"]["full"]["protocols"]["P1"]["recipes"].values():
        recipe["metrics"]["corr"] = {"mean": None, "sd": None, "values": [None]}
    assert draw_robustness(document, tmp_path / "gaps.png").stat().st_size > 10_000
