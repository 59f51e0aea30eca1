from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame.data.manifest import read_manifest
from modeling_hfr_ame.data.schema import validate_row
from modeling_hfr_ame.data.stored import load_stored_dataset, stored_rows
from modeling_hfr_ame.errors import DataError
from tests.data.stored_row_making import SIZES, make_row, write


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 3.2}, r"finite number in \[-3, 3\], found 3\.2 in row 'v0\$_\$0000'; correct the label"),
        ({"label": float("nan")}, "finite number in .* found nan in row"),
        ({"label": None}, "finite number in .* found None in row"),
        ({"label": "1.0"}, "finite number in .* found '1.0' in row"),
        ({"id": ""}, "id must be a non-empty string, found ''"),
        ({"clip_id": 7}, "clip_id must be a non-empty string, found 7 in row .* leading zeros"),
        (
            {"text": "  "},
            "text must be a string with at least one word, found '  ' in row .* set an absent text to None",
        ),
        ({"audio": np.zeros((4, 6))}, r"audio must be .* \(n >= 1, 5\), found float64 \(4, 6\) in row"),
        ({"audio": np.zeros((0, 5))}, r"audio must be .* found float64 \(0, 5\) in row .* absent modality to None"),
        ({"vision": np.zeros(20)}, r"vision must be .* found float64 \(20,\) in row"),
        ({"vision": np.full((2, 20), "x")}, r"vision must be an array of numbers .* found <U1 \(2, 20\) in row"),
        ({"text": None, "audio": None, "vision": None}, "at least one of text, audio and vision; row .* has none"),
    ],
)
def test_row_with_a_wrong_value_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        validate_row(make_row(0, **changes), label_range=(-3, 3), feature_sizes=SIZES)


@pytest.mark.parametrize(
    ("changes", "sizes", "message"),
    [
        ({"text_features": np.zeros((2, 3))}, {"text_features": 4}, r"text_features must be .* \(n >= 1, 4\), found"),
        ({"text_features": np.zeros((2, 3))}, {}, "found frames in 'text_features' of row .* no width; add it"),
        (
            {"text_features": np.zeros((2, 3)), "text": None, "audio": None, "vision": None},
            {"text_features": 3},
            "at least one of text, audio and vision; row .* has none",
        ),
        (
            {"audio": [[1.0] * 5, [1.0] * 4]},
            {},
            "audio must be .* rows of unequal length in row .* same features",
        ),
    ],
)
def test_row_with_wrong_frames_is_refused(changes: dict[str, Any], sizes: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        validate_row(make_row(0, **changes), label_range=(-3, 3), feature_sizes={**SIZES, **sizes})


def test_row_with_a_wrong_value_names_the_split() -> None:
    with pytest.raises(DataError, match=r"found 4 in row 'v0\$_\$0000' of 'test'; correct the label"):
        validate_row(make_row(0, label=4), label_range=(-3, 3), feature_sizes=SIZES, split="test")


def test_row_without_a_column_is_refused() -> None:
    row = make_row(0)
    del row["vision"]
    with pytest.raises(DataError, match="lacks vision; set an absent modality to None"):
        validate_row(row, label_range=(-3, 3), feature_sizes=SIZES)


@pytest.mark.parametrize("label", [-3, 3.0, np.float32(0.5), np.int64(1)])
def test_row_with_a_label_in_the_range_is_kept(label: Any) -> None:
    checked = validate_row(make_row(0, label=label), label_range=(-3, 3), feature_sizes=SIZES)
    assert checked["label"] == float(label)
    assert type(checked["label"]) is float


def test_row_with_float64_frames_is_cast_and_overflow_counts_as_non_finite(tmp_path: Path) -> None:
    row = make_row(0, audio=np.full((2, 5), 1e300), vision=np.ones((1, 20), np.int16))
    folder = write(tmp_path / "set", {"train": [row]})
    assert read_manifest(folder)["counts"]["train"]["non_finite_values"]["audio"] == 10
    found = stored_rows(load_stored_dataset(folder, "train"))[0]
    assert np.isposinf(found["audio"]).all()
    np.testing.assert_array_equal(found["vision"], np.ones((1, 20), np.float32))
