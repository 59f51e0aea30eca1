from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame.data.stored import write_stored_dataset
from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.prompts.feature_descriptions import (
    column_mean,
    find_deviations,
    find_named_columns,
    fit_scales,
)
from modeling_hfr_ame.prompts.generation import generate_prompts
from modeling_hfr_ame.prompts.store import PromptStore
from modeling_hfr_ame.prompts.template_generator import _SENTENCES, TemplateGenerator
from tests.prompts.prompt_rows import write_dataset

NAMES = {"audio": ["mfcc_00", "log_f0_mean", "log_energy_mean"], "vision": ["AU12_r", "AU04_r", "pose_Rx"]}


def write_named_dataset(folder: Path, feature_names: dict[str, list[str]] | None) -> Path:
    """Writes 20 training rows of usual voice and face, and three test rows that differ."""
    rng = np.random.default_rng(0)

    def row(index: int, audio: np.ndarray | None, vision: np.ndarray | None) -> dict[str, Any]:
        name = {"id": f"v$_${index}", "video_id": "v", "clip_id": str(index)}
        return {**name, "text": "it was good", "audio": audio, "vision": vision, "label": 0.0}

    def frames(*offset: float) -> np.ndarray:
        return (rng.normal(5, 1, (6, 3)) + np.array(offset)).astype(np.float32)

    train = [row(index, frames(0, 0, 0), frames(0, 0, 0)) for index in range(20)]
    test = [
        row(100, frames(9, 9, 0), frames(0, 0, 9)),
        row(101, frames(0, 0, -4), None),
        row(102, frames(0, 0, 0) * 0 + 5, frames(4, -4, 0)),
    ]
    manifest = {"builder": "named", "builder_version": "1", "label_range": [-3, 3]}
    if feature_names is not None:
        manifest["feature_names"] = feature_names
    splits = {"train": train, "test": test}
    return write_stored_dataset(folder, splits, manifest, feature_sizes={"audio": 3, "vision": 3})


def hints(dataset: Path, store: Path, **options: Any) -> dict[str, str]:
    generate_prompts(dataset, store, TemplateGenerator(), **options)
    return {row.sample_id: row.text for row in PromptStore.open(store).rows()}


def test_named_columns_are_described_where_a_sample_differs(tmp_path: Path) -> None:
    found = hints(write_named_dataset(tmp_path / "data", NAMES), tmp_path / "store", splits=["test"])
    assert found["v$_$100"].splitlines()[2].startswith("Audio: pitch clearly higher than usual")
    assert found["v$_$101"].splitlines()[1:] != []
    assert "loudness clearly lower than usual" in found["v$_$101"]
    assert "Vision" not in found["v$_$101"]
    vision = found["v$_$102"].splitlines()[1]
    assert vision.startswith("Vision: ")
    assert "smiling clearly higher than usual" in vision
    assert "lowering of the brows clearly lower than usual" in vision


def test_features_without_names_are_not_described(tmp_path: Path) -> None:
    numbered = {"audio": ["audio_0", "audio_1", "audio_2"], "vision": ["x", "y", "z"]}
    for place, names in enumerate((None, numbered)):
        found = hints(write_named_dataset(tmp_path / f"data{place}", names), tmp_path / f"store{place}")
        assert set(found.values()) == {"Language: the wording is positive. Words that carry it: good."}


def test_hints_are_the_same_every_time_and_hold_no_label(tmp_path: Path) -> None:
    dataset = write_named_dataset(tmp_path / "data", NAMES)
    assert hints(dataset, tmp_path / "1") == hints(dataset, tmp_path / "2")
    first, second = (PromptStore.open(tmp_path / name) for name in "12")
    assert first.content_sha256 == second.content_sha256
    assert not any(row.label_shown for row in first.rows())


def test_paper_protocol_states_the_label_of_training_rows_only(tmp_path: Path) -> None:
    found = hints(write_dataset(tmp_path / "data"), tmp_path / "store", paper_protocol=True)
    store = PromptStore.open(tmp_path / "store")
    for row in store.rows():
        assert row.label_shown == (row.split == "train") == ("annotated rating" in row.text)
    assert "The annotated rating is -3.00." in found["v0$_$0000"]


def test_chinese_hints_are_chinese(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", {"train": ["我非常喜欢这部电影", "无聊", None]})
    found = list(hints(dataset, tmp_path / "store", language="zh").values())
    assert found == [
        "语言：措辞强烈积极。体现这一点的词语：很喜欢。",
        "语言：措辞强烈消极。体现这一点的词语：无聊。",
        "语言：说话内容未知。",
    ]
    with pytest.raises(ConfigError, match="writes en and zh, asked for 'de'"):
        hints(dataset, tmp_path / "store", language="de")


def test_sentences_of_both_languages_are_complete() -> None:
    english, chinese = _SENTENCES["en"], _SENTENCES["zh"]
    assert english.keys() == chinese.keys()
    columns = find_named_columns(
        {
            "audio": [
                "f0",
                "f0_std",
                "energy",
                "energy_std",
                "vuv",
                "spectral_centroid_khz",
                "spectral_flux",
                "jitterLocal",
                "shimmerLocaldB_sma3nz",
            ],
            "vision": [
                *(f"AU{unit:02d}_r" for unit in (1, 2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)),
                "face_motion",
                "head_size",
            ],
        }
    )
    assert len(columns) == 27
    assert {column.meaning for column in columns} <= english.keys()


def test_column_mean_leaves_out_what_was_not_observed() -> None:
    [pitch, loudness] = find_named_columns({"audio": ["pitch", "loudness"]})
    frames = np.array([[0, 0], [0, 4], [6, 2], [np.nan, 3]], dtype=np.float32)
    assert column_mean(frames, pitch) == 6.0
    assert column_mean(frames, loudness) == 3.0
    assert column_mean(frames[:2], pitch) is None


def test_at_most_four_deviations_are_told_and_constant_columns_never() -> None:
    names = ["au01_r", "au02_r", "au04_r", "au06_r", "au07_r", "au09_r"]
    columns = find_named_columns({"vision": names})
    rng = np.random.default_rng(1)
    samples = [{"vision": rng.normal(3, 1, (4, 6)).astype(np.float32)} for _ in range(30)]
    for sample in samples:
        sample["vision"][:, 5] = 3.0
    scales = fit_scales(samples, columns)
    assert "nose_wrinkle" not in scales
    found = find_deviations({"vision": np.full((4, 6), 9, np.float32)}, columns, scales)
    assert [each.level for each in found] == [2, 2, 2, 2]
    assert find_deviations({}, columns, scales) == []
