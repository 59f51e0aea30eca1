"""The Markdown report says what the document says."""

import pytest

from modeling_hfr_ame.evaluation.markdown import markdown_report


def summary(*values: float) -> dict:
    mean = sum(values) / len(values)
    sd = None if len(values) == 1 else (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return {"mean": mean, "sd": sd, "values": list(values)}


@pytest.fixture
def document() -> dict:
    def model(*values: float) -> dict:
        found = {
            name: {"metrics": {"mae": summary(*values), "corr": summary(0.5)}} for name in ("drop-0.0", "drop-0.1")
        }
        mean = {"mae": summary(*values), "corr": summary(0.5)}
        section = {"mean": mean, "recipes": found, "auilc": {"mae": summary(0.06), "corr": summary(0.05)}}
        return {"seeds": [1, 2], "selection_rule": "lowest", "protocols": {"P1": section}}

    full = model(0.5, 0.7)
    band = {"nmse_before": [summary(1.0), summary(2.0)], "nmse_after": [summary(0.25), summary(1.5)]}
    full["restoration"] = {"drop-0.5": {"audio": band | {"gain_db": summary(3.0, 4.0)}}}
    comparison = {"a": "full", "b": "control", "protocol": "P1", "mean_difference": -0.1, "low": -0.2, "high": -0.05}
    comparison |= {"excludes_zero": True, "n": 2, "seeds": [1, 2]}
    return {
        "dataset": {"name": "tiny", "manifest_sha256": "abc"},
        "split": "test",
        "subset": "all",
        "num_rows": 11,
        "metrics": ["mae", "corr"],
        "protocols": {"P1": ["drop-0.0", "drop-0.1"]},
        "models": {"full": full, "control": model(0.8, 0.9)},
        "baselines": {"train_mean": {"mae": 1.3, "corr": None}},
        "comparisons": [comparison | {"metric": metric} for metric in ("mae", "acc7")],
        "corruption_protocol_version": "1",
        "corruption_seed": 0,
    }


@pytest.mark.parametrize(
    "line",
    [
        "`tiny`, test split, 11 rows (subset all)",
        "| P1 | full | 0.600 ± 0.141 | 0.500 |",
        "| P1 AUILC | full | 0.060 | 0.050 |",
        "| any | constant mean | 1.300 | – |",
        "| rate | full | control |",
        "| 0.1 | 0.600 ± 0.141 / 0.500 | 0.850 ± 0.071 / 0.500 |",
        "| P1 | full − control | mae | -0.1000 | [-0.2000, -0.0500] | yes | 2 |",
        "| drop-0.5 | 1.00 → 0.25 · 2.00 → 1.50 (3.5 ± 0.7 dB) |",
        "* data manifest sha256 abc",
    ],
)
def test_report_holds_the_line(document: dict, line: str) -> None:
    assert line in markdown_report(document).splitlines()


def test_report_counts_rows_that_could_not_be_scored(document: dict) -> None:
    assert "left out" not in markdown_report(document)
    document["models"]["control"]["protocols"]["P1"]["recipes"]["drop-0.1"]["num_skipped"] = 3
    assert "* P1: up to 3 of 11 rows left out that kept no modality to read" in markdown_report(document).splitlines()


def test_report_of_a_document_without_areas_has_no_such_rows(document: dict) -> None:
    for model in document["models"].values():
        del model["protocols"]["P1"]["auilc"]
    assert "AUILC" not in markdown_report(document)


def test_report_leaves_other_metrics_out_of_the_comparison(document: dict) -> None:
    assert "acc7" not in markdown_report(document)
