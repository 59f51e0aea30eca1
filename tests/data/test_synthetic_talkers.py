import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.stats

from dataset_scripts.synthetic_talkers import main
from modeling_hfr_ame.data import (
    generate_synthetic_talkers,
    load_stored_dataset,
    prepare_synthetic_talkers,
    read_manifest,
    stored_rows,
)
from modeling_hfr_ame.data.synthetic_report import (
    contrast_feature,
    explain_frames,
    explain_labels,
    report_synthetic_talkers,
)
from modeling_hfr_ame.data.synthetic_talkers import (
    LABEL_RANGE,
    MODALITY_SIZES,
    Utterance,
    draw_utterance,
    event_curve,
    sentiment_label,
)
from modeling_hfr_ame.errors import ConfigError, DataError

DIGEST = """
import hashlib
from modeling_hfr_ame.data.synthetic_talkers import generate_synthetic_talkers
digest = hashlib.sha256()
for rows in generate_synthetic_talkers(4, 3, 2, seed=5).values():
    for row in rows:
        digest.update(repr((row["id"], row["text"], row["label"])).encode())
        digest.update(row["audio"].tobytes() + row["vision"].tobytes())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def utterances() -> list[Utterance]:
    return [draw_utterance("train", index) for index in range(600)]


def same_rows(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> bool:
    return len(first) == len(second) and all(
        a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
        for a, b in zip(first, second, strict=True)
    )


def test_first_utterance_of_the_default_seed_is_pinned() -> None:
    # A change here is a change of the dataset: raise the version in the world's key and measure the tables again.
    first = draw_utterance("train", 0)
    assert first.as_row()["id"] == "talker100$_$00000"
    assert first.words[:4] == ["trumarem", "gabiri", "foustous", "flousa"]
    assert first.label == 1.9
    assert first.audio.shape == (31, 12)
    np.testing.assert_allclose(first.audio[0, :3], [0.0038537816, 0.3037891387, 18.671430588], rtol=1e-5)


def test_generation_in_another_process_gives_the_same_bytes() -> None:
    here: dict[str, Any] = {}
    exec(DIGEST, here)
    there = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here["digest"].hexdigest()


def test_generation_with_more_utterances_keeps_the_first_ones() -> None:
    few, many = generate_synthetic_talkers(3, 2, 2, seed=1), generate_synthetic_talkers(6, 2, 5, seed=1)
    assert same_rows(few["train"], many["train"][:3])
    assert same_rows(few["validation"], many["validation"])
    assert same_rows(few["test"], many["test"][:2])


def test_generation_with_another_seed_gives_other_utterances() -> None:
    first, second = (generate_synthetic_talkers(2, 1, 1, seed=seed)["train"] for seed in (0, 1))
    assert first[0]["text"] != second[0]["text"]
    assert not np.array_equal(first[0]["audio"][:8], second[0]["audio"][:8])


@pytest.mark.parametrize("function", [generate_synthetic_talkers, prepare_synthetic_talkers, report_synthetic_talkers])
def test_number_of_utterances_by_default_is_the_documented_one(function: Callable[..., object]) -> None:
    documented = {"num_train": 2400, "num_validation": 200, "num_test": 400}
    parameters = inspect.signature(function).parameters
    assert "num_train" in parameters
    for name in documented.keys() & parameters.keys():
        assert parameters[name].default == documented[name]


def test_script_without_sizes_builds_the_documented_number(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {}
    monkeypatch.setattr("dataset_scripts.synthetic_talkers.prepare_synthetic_talkers", lambda out, **k: found.update(k))
    main(["--out", "unused"])
    assert [found[name] for name in ("num_train", "num_validation", "num_test")] == [2400, 200, 400]


def test_splits_of_one_seed_share_no_id_text_or_talker() -> None:
    splits = generate_synthetic_talkers(90, 45, 45)
    for column in ("id", "text", "video_id"):
        values = [{row[column] for row in rows} for rows in splits.values()]
        assert len(set.union(*values)) == sum(len(part) for part in values)
    assert len({row["video_id"] for row in splits["train"]}) == 3


def test_rows_follow_the_stored_layout() -> None:
    row = generate_synthetic_talkers(1, 1, 1)["train"][0]
    assert list(row) == ["id", "video_id", "clip_id", "text", "audio", "vision", "label"]
    assert row["id"] == f"{row['video_id']}$_${row['clip_id']}"
    for modality, size in MODALITY_SIZES.items():
        assert row[modality].dtype == np.float32
        assert row[modality].shape[1] == size


def test_lengths_jitter_independently_around_two_frames_per_word(utterances: list[Utterance]) -> None:
    jitter = np.array([[len(u.audio) - 2 * len(u.words), len(u.vision) - 2 * len(u.words)] for u in utterances])
    assert {int(value) for value in np.unique(jitter)} == {-2, -1, 0, 1, 2}
    assert 0.7 < np.mean(jitter[:, 0] != jitter[:, 1]) < 0.9  # 4 of 5 pairs differ
    assert {len(u.words) for u in utterances} == set(range(8, 21))


def test_latents_are_standardised_and_independent(utterances: list[Utterance]) -> None:
    latents = np.array([(u.polarity, u.mood, u.contrast) for u in utterances])
    np.testing.assert_allclose(latents.mean(axis=0), 0.0, atol=0.12)
    np.testing.assert_allclose(latents.std(axis=0), 1.0, atol=0.1)
    assert np.abs(np.corrcoef(latents.T) - np.eye(3)).max() < 0.12


def test_labels_are_symmetric_multiples_of_a_tenth_in_the_range(utterances: list[Utterance]) -> None:
    labels = np.array([u.label for u in utterances])
    assert labels.min() >= LABEL_RANGE[0]
    assert labels.max() <= LABEL_RANGE[1]
    np.testing.assert_allclose(labels * 10, np.rint(labels * 10), atol=1e-9)
    assert abs(labels.mean()) < 0.15
    assert abs(scipy.stats.skew(labels)) < 0.2
    assert 1.4 < labels.std() < 1.7


def test_label_shares_are_near_forty_thirty_thirty() -> None:
    latents = np.random.default_rng(0).standard_normal((20_000, 3))
    labels = np.array([sentiment_label(*row, noise=0.0) for row in latents])
    shares = [scipy.stats.pearsonr(column, labels).statistic ** 2 for column in latents.T]
    np.testing.assert_allclose(shares, [0.38, 0.285, 0.285], atol=0.015)


def test_label_at_the_ends_is_clipped_to_the_range() -> None:
    assert sentiment_label(9.0, 9.0, 9.0, noise=9.0) == 3.0
    assert sentiment_label(-9.0, -9.0, -9.0, noise=-9.0) == -3.0
    assert str(sentiment_label(-1e-6, 0.0, 0.0, noise=0.0)) == "0.0"


def test_event_curve_of_one_word_is_a_gaussian_on_its_time() -> None:
    events = np.zeros(9)
    events[3] = -1.5
    times = (np.arange(40) + 0.5) * 9 / 40
    expected = -1.5 * scipy.stats.norm.pdf(times, 3.5, 0.5) / scipy.stats.norm.pdf(0.0, 0.0, 0.5)
    np.testing.assert_allclose(event_curve(events, 40), expected, atol=1e-12)


def test_contrast_of_the_high_band_follows_h_and_dies_in_a_low_pass(utterances: list[Utterance]) -> None:
    contrasts = np.array([u.contrast for u in utterances])
    for modality in MODALITY_SIZES:
        frames = [getattr(u, modality) for u in utterances]
        scale = np.concatenate(frames).std(axis=0)
        full = [contrast_feature(item / scale) for item in frames]
        cut = [contrast_feature(item / scale, lowpass=True) for item in frames]
        assert scipy.stats.pearsonr(full, contrasts).statistic > 0.7
        assert abs(scipy.stats.pearsonr(cut, contrasts).statistic) < 0.15


def test_carrier_energy_stands_out_above_its_lowest_frequency(utterances: list[Utterance]) -> None:
    energy: dict[str, list[float]] = {"between": [], "carrier": []}
    for utterance in utterances[:200]:
        frames = (utterance.audio - utterance.audio.mean(axis=0)) / utterance.audio.std(axis=0)
        power = np.square(scipy.fft.dct(frames, norm="ortho", axis=0)).mean(axis=1)
        frequency = np.arange(len(frames)) / len(frames)
        energy["between"].append(power[(frequency > 0.38) & (frequency < 0.44)].mean())
        energy["carrier"].append(power[frequency > 0.5].mean())
    assert np.median(energy["carrier"]) > 2.0 * np.median(energy["between"])


def test_raw_channels_differ_in_scale_by_more_than_ten(utterances: list[Utterance]) -> None:
    for modality in MODALITY_SIZES:
        scale = np.concatenate([getattr(u, modality) for u in utterances[:100]]).std(axis=0)
        assert scale.max() / scale.min() > 10


def test_simple_regressors_show_the_designed_structure() -> None:
    train = [draw_utterance("train", index) for index in range(400)]
    test = [draw_utterance("test", index) for index in range(250)]
    rows = {row.features: row for row in explain_labels(train, test)}
    everything = rows["text + audio + vision"].label_r2
    assert rows["true P, M, H through the true link"].label_r2 > 0.97
    assert all(0.2 < rows[f"true {name}"].label_r2 < 0.5 for name in "PMH")
    assert everything > rows["audio + vision"].label_r2 + 0.05
    assert rows["audio + vision"].label_r2 > max(rows["audio"].label_r2, rows["vision"].label_r2)
    assert everything > rows["text + audio + vision, both low-passed"].label_r2 + 0.1
    # Text says nothing about mood and contrast; either signal says much about both.
    text, audio = rows["text: polarity sum"].latent_r2, rows["audio"].latent_r2
    assert text is not None
    assert audio is not None
    assert max(text[1:]) < 0.05
    assert min(audio[1:]) > 0.4

    recovery = {(row.target, row.sources): row for row in explain_frames(train, test)}
    low, mid, high = recovery["audio", "vision"].band_r2
    assert min(low, high) > 0.2
    assert recovery["audio", "text"].band_r2[1] > max(mid, recovery["audio", "text"].band_r2[2])
    assert recovery["audio", "text + vision"].total_r2 > recovery["audio", "vision"].total_r2


@pytest.mark.parametrize("counts", [(0, 1, 1), (1, -2, 1), (1, 1, 0)])
def test_generation_with_an_empty_split_is_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match=r"every split needs at least one utterance, but num_\w+ is (0|-2)"):
        generate_synthetic_talkers(*counts)


def test_prepared_folder_gives_back_the_generated_rows(tmp_path: Path) -> None:
    folder = prepare_synthetic_talkers(tmp_path / "talkers", num_train=5, num_validation=2, num_test=3, seed=7)
    generated = generate_synthetic_talkers(5, 2, 3, seed=7)
    for split, rows in generated.items():
        assert same_rows(rows, list(stored_rows(load_stored_dataset(folder, split))))
    manifest = read_manifest(folder)
    assert manifest["dataset_name"] == "synthetic_talkers"
    assert manifest["seed"] == 7
    assert manifest["label_range"] == [-3.0, 3.0]
    assert {name: len(names) for name, names in manifest["feature_names"].items()} == MODALITY_SIZES
    with pytest.raises(DataError, match="overwrite=True"):
        prepare_synthetic_talkers(folder, num_train=1, num_validation=1, num_test=1)
    prepare_synthetic_talkers(folder, num_train=1, num_validation=1, num_test=1, overwrite=True)
    assert json.loads((folder / "manifest.json").read_text())["counts"]["train"]["rows"] == 1


def test_script_writes_the_dataset_and_prints_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--num-train", "40", "--num-test", "20"]
    main(["--out", str(tmp_path / "talkers"), *sizes, "--num-validation", "2"])
    assert read_manifest(tmp_path / "talkers")["counts"]["train"]["rows"] == 40
    main(["--report", *sizes])
    printed = capsys.readouterr().out
    assert "| features | label R² |" in printed
    assert "| audio | text + vision |" in printed
