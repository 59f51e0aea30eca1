"""Domain-generalisation settings as stored datasets: who plays which role, harmonised labels and features."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame.data import load_stored_dataset, read_manifest, stored_rows, write_stored_dataset
from modeling_hfr_ame.data.domains import (
    BENCHMARK_SETTINGS,
    ORACLE_MARK,
    Domain,
    find_setting,
    label_scale,
    prepare_domains,
)
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor


def make_domain(
    folder: Path,
    name: str,
    *,
    audio: int = 4,
    low: float = -3.0,
    high: float = 3.0,
    splits: tuple[str, ...] = ("train", "validation", "test"),
    absent: tuple[str, ...] = (),
    texts: tuple[str, ...] = ("some words",),
) -> Domain:
    rng = np.random.default_rng(len(name))
    rows: dict[str, list[dict[str, Any]]] = {}
    for split in splits:
        rows[split] = [
            {
                "id": f"{split}{index}",
                "video_id": split,
                "clip_id": str(index),
                "text": f"{texts[index % len(texts)]} {index}",
                "audio": rng.normal(2.0, 1.0, (3, audio)).astype(np.float32),
                "vision": rng.normal(size=(2, 6)).astype(np.float32),
                "label": low + (high - low) * index / 4,
            }
            | dict.fromkeys(absent)
            for index in range(5)
        ]
    manifest = {"builder": "test", "builder_version": "1", "dataset_name": name, "label_range": [low, high]}
    write_stored_dataset(folder / name, rows, manifest, feature_sizes={"audio": audio, "vision": 6})
    return Domain(folder / name)


def rows_of(folder: Path, split: str) -> list[dict[str, Any]]:
    return list(stored_rows(load_stored_dataset(folder, split)))


def test_sources_train_and_select_and_the_target_is_tested(tmp_path: Path) -> None:
    mosi, sims = make_domain(tmp_path, "mosi"), make_domain(tmp_path, "sims", low=-1, high=1)
    target = make_domain(tmp_path, "mosei")
    said: list[str] = []
    folder = prepare_domains([mosi, sims], target, tmp_path / "out", say=said.append)
    origins = {split: [row["domain"] for row in rows_of(folder, split)] for split in ("train", "validation", "test")}
    assert origins == {
        "train": ["mosi"] * 5 + ["sims"] * 5,
        "validation": ["mosi"] * 5 + ["sims"] * 5,
        "test": ["mosei"] * 5,
    }
    assert [row["domain_id"] for row in rows_of(folder, "train")] == [0] * 5 + [1] * 5
    manifest = read_manifest(folder)
    assert manifest["dataset_name"] == manifest["domains"]["setting"] == "mosi_sims_to_mosei"
    assert manifest["domains"]["notes"] == said
    assert "source sims: labels [-1.0, 1.0] scaled to [-3, 3] by 3 · label" in said[1]


@pytest.mark.parametrize(("label_range", "scale"), [((-3, 3), (1.0, 0.0)), ((-1, 1), (3.0, 0.0)), ((1, 5), (1.5, 3.0))])
def test_label_scale_maps_the_stated_range_to_three(
    label_range: tuple[float, float], scale: tuple[float, float]
) -> None:
    assert label_scale(label_range) == scale


def test_labels_of_every_domain_span_the_common_range(tmp_path: Path) -> None:
    folder = prepare_domains(
        [make_domain(tmp_path, "sims", low=-1, high=1)], make_domain(tmp_path, "mmmo", low=1, high=5), tmp_path / "out"
    )
    for split in ("train", "test"):
        assert [row["label"] for row in rows_of(folder, split)] == [-3.0, -1.5, 0.0, 1.5, 3.0]


def test_splits_can_play_other_roles_and_missing_ones_are_named(tmp_path: Path) -> None:
    make_domain(tmp_path, "mosei", splits=("validation", "test"))
    target = make_domain(tmp_path, "mosi")
    source = Domain.parse(f"{tmp_path}/mosei:train=test,validation=validation")
    folder = prepare_domains([source], target, tmp_path / "out")
    assert [row["id"] for row in rows_of(folder, "train")] == [f"mosei/test{index}" for index in range(5)]
    with pytest.raises(DataError, match=r"'mosei' has no split 'train' for the role train, only validation, test"):
        prepare_domains([Domain(tmp_path / "mosei")], target, tmp_path / "other")
    with pytest.raises(ConfigError, match="roles are train, validation and test"):
        Domain.parse("prepared/mosei:training=test")


def test_target_among_the_sources_raises(tmp_path: Path) -> None:
    mosi = make_domain(tmp_path, "mosi")
    with pytest.raises(DataError, match="an unseen domain can't be a source"):
        prepare_domains([mosi], mosi, tmp_path / "out")
    with pytest.raises(ConfigError, match="features is strict or project and selection source_valid or oracle"):
        prepare_domains([mosi], mosi, tmp_path / "out", selection="test")  # type: ignore[arg-type]


def test_strict_features_of_two_widths_raise_and_absent_ones_have_no_width(tmp_path: Path) -> None:
    wide, narrow = make_domain(tmp_path, "wide", audio=7), make_domain(tmp_path, "narrow", audio=4)
    with pytest.raises(DataError, match="audio frames of all domains must have one width, found wide 7, narrow 4"):
        prepare_domains([wide], narrow, tmp_path / "out")
    silent = make_domain(tmp_path, "silent", audio=9, absent=("audio",))
    folder = prepare_domains([wide], silent, tmp_path / "silent_target")
    assert read_manifest(folder)["feature_sizes"] == {"audio": 7, "vision": 6}


def test_projected_features_lie_in_columns_of_their_own_that_the_scaler_zeroes(tmp_path: Path) -> None:
    wide, narrow = make_domain(tmp_path, "wide", audio=7), make_domain(tmp_path, "narrow", audio=4)
    target = make_domain(tmp_path, "target", audio=4)
    folder = prepare_domains([wide, narrow], target, tmp_path / "out", features="project")
    assert read_manifest(folder)["feature_sizes"] == {"audio": 11, "vision": 6}
    train = [row["audio"] for row in rows_of(folder, "train")]
    extractor = HfrAmeAudioFeatureExtractor(feature_size=11)
    extractor.fit_scaler(train)
    of_wide, of_narrow = (extractor.standardise(train[index]) for index in (0, 5))
    assert not of_wide[:, 7:].any()
    assert not of_narrow[:, :7].any()
    scaled = np.concatenate([extractor.standardise(frames) for frames in train])
    np.testing.assert_allclose(scaled[:15, :7].std(0), 1.0, rtol=0.02)
    np.testing.assert_allclose(scaled[15:, 7:].std(0), 1.0, rtol=0.02)
    # The target shares the narrow space, so that projection is the one it gets.
    assert np.isfinite(rows_of(folder, "test")[0]["audio"][:, 7:]).all()


def test_projection_that_no_source_could_learn_leaves_the_frames_out(tmp_path: Path) -> None:
    source, target = make_domain(tmp_path, "source", audio=7), make_domain(tmp_path, "target", audio=4)
    folder = prepare_domains([source], target, tmp_path / "out", features="project")
    assert all(row["audio"] is None and row["vision"] is not None for row in rows_of(folder, "test"))
    notes = read_manifest(folder)["domains"]["notes"]
    assert any("the audio frames of target are left out" in note for note in notes)


def test_rows_that_share_nothing_with_the_sources_are_counted_and_none_left_raises(tmp_path: Path) -> None:
    source = make_domain(tmp_path, "source", audio=7, absent=("vision",))
    target = make_domain(tmp_path, "target", audio=4, absent=("text", "vision"))
    with pytest.raises(DataError, match="the test split needs rows with a modality that the sources have, found none"):
        prepare_domains([source], target, tmp_path / "out", features="project")


def test_oracle_selects_on_the_target_and_says_that_it_is_cheating(tmp_path: Path) -> None:
    source, target = make_domain(tmp_path, "source"), make_domain(tmp_path, "target")
    folder = prepare_domains([source], target, tmp_path / "out", selection="oracle")
    assert {row["domain"] for row in rows_of(folder, "validation")} == {"target"}
    assert {row["domain"] for row in rows_of(folder, "train")} == {"source"}
    manifest = read_manifest(folder)
    assert manifest["dataset_name"] == f"source_to_target{ORACLE_MARK}"
    assert any(note.startswith("CHEATING") for note in manifest["domains"]["notes"])


def test_benchmark_has_five_settings_with_one_source_and_two_with_two() -> None:
    sizes = [len(sources) for sources, _ in BENCHMARK_SETTINGS.values()]
    assert sorted(sizes) == [1] * 5 + [2] * 2
    assert all(name == "_".join(sources) + f"_to_{target}" for name, (sources, target) in BENCHMARK_SETTINGS.items())
    sources, target = find_setting("mosi_sims_to_mosei", "prepared")
    assert [source.folder for source in sources] == [Path("prepared/mosi"), Path("prepared/sims")]
    assert target.folder == Path("prepared/mosei")
    with pytest.raises(ConfigError, match=r"a domain setting is one of mosei_to_sims.*found 'sims_to_sims'"):
        find_setting("sims_to_sims", "prepared")
