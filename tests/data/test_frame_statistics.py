from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from modeling_hfr_ame.data.frame_statistics import FrameStatistics
from modeling_hfr_ame.data.manifest import read_manifest
from modeling_hfr_ame.errors import DataError
from tests.data.stored_row_making import make_row, write


def test_statistics_of_the_training_split_equal_scikit_learns(tmp_path: Path) -> None:
    rows = [make_row(index) for index in range(9)]
    rows[2]["audio"][1] = 0.0  # not observed, no part of the fit
    folder = write(tmp_path / "set", {"test": [make_row(60)], "train": rows})
    found = read_manifest(folder)["frame_statistics"]
    assert found["fitted_on"] == ["train"]
    for name in ("audio", "vision"):
        frames = np.concatenate([row[name] for row in rows]).astype(np.float64)
        scaler = StandardScaler().fit(frames[frames.any(axis=1)])
        np.testing.assert_allclose(found[name]["mean"], scaler.mean_, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(found[name]["std"], scaler.scale_, rtol=1e-12)


def test_statistics_leave_non_finite_entries_out(tmp_path: Path) -> None:
    rows = [make_row(index) for index in range(4)]
    rows[1]["audio"][0, 2] = -np.inf
    found = read_manifest(write(tmp_path / "set", {"train": rows}))["frame_statistics"]["audio"]
    values = np.concatenate([row["audio"] for row in rows])[:, 2].astype(np.float64)
    np.testing.assert_allclose(found["mean"][2], values[np.isfinite(values)].mean(), rtol=1e-12)


def test_statistics_without_a_training_split_are_fitted_on_every_split(tmp_path: Path) -> None:
    rows = [make_row(index) for index in range(6)]
    found = read_manifest(write(tmp_path / "set", {"dev": rows[:3], "test": rows[3:]}))["frame_statistics"]
    assert found["fitted_on"] == ["dev", "test"]
    expected = np.concatenate([row["audio"] for row in rows]).astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found["audio"]["mean"], expected, rtol=1e-12)


def test_statistics_of_a_modality_that_never_occurs_are_null(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path / "set", {"train": [make_row(0, ("vision",))]}))
    assert manifest["frame_statistics"]["vision"] is None
    assert FrameStatistics.from_manifest(manifest).scales["vision"] is None


def test_statistics_restored_frames_keep_bits_of_what_was_not_changed() -> None:
    statistics = FrameStatistics({"audio": (np.array([7.0, 0.1]), np.array([3.0, 0.01])), "vision": None})
    frames = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    standardised = statistics.standardise(frames, "audio")
    changed = standardised.copy()
    changed[3, 0] += 1.0
    changed[5] = 0.0
    restored = statistics.restore(changed, standardised, frames, "audio")
    expected = frames.copy()
    expected[3, 0] = restored[3, 0]
    expected[5] = 0.0
    assert restored.tobytes() == expected.tobytes()
    np.testing.assert_allclose(restored[3, 0] - frames[3, 0], 3.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        (None, "needs frame_statistics in the manifest, found none for 'd'; prepare the dataset again"),
        (
            {"audio": {"mean": [0.0], "std": [1.0, 1.0]}, "vision": None},
            "of audio must hold 2 means and 2 positive deviations, found 1 and 2; prepare",
        ),
        ({"audio": {"mean": [0.0, 0.0], "std": [1.0, 0.0]}, "vision": None}, "2 positive deviations"),
    ],
)
def test_statistics_that_a_manifest_lacks_or_has_wrong_are_refused(statistics: Any, message: str) -> None:
    manifest = {"dataset_name": "d", "feature_sizes": {"audio": 2, "vision": 3}}
    with pytest.raises(DataError, match=message):
        FrameStatistics.from_manifest(manifest if statistics is None else {**manifest, "frame_statistics": statistics})
