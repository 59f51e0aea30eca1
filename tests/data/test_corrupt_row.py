"""One stored row through a recipe; the oracle of values is `corrupt_sample` behind the processor's own extractor."""

from typing import Any

import numpy as np
import pytest

from modeling_hfr_ame.corruption import CorruptionRecipe, SampleKey, corrupt_sample
from modeling_hfr_ame.data.corrupted_splits import corrupt_row
from modeling_hfr_ame.data.corruption_measures import CorruptionMeasures
from modeling_hfr_ame.data.frame_statistics import FrameStatistics
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
from tests.data.corrupted_rows import CONFIGS

MEAN, STD = np.array([100.0, -3.0, 0.0, 0.02]), np.array([20.0, 1.0, 1.0, 0.001])
STATISTICS = FrameStatistics({"audio": (MEAN, STD), "vision": (MEAN[:3], STD[:3])})
VOCABULARY = frozenset(["we", "were", "there", "but", "their", "film", "was", "fine", "and", "thin"])


def make_row(num_frames: int = 40, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    frames = (rng.normal(size=(num_frames, 4)) * STD + MEAN).astype(np.float32)
    row: dict[str, Any] = {
        "id": "v$_$1",
        "text": "the film  was fine , but thin",
        "audio": frames,
        "vision": frames[: num_frames // 2, :3].copy(),
        "label": 1.5,
    }
    row["audio"][3] = 0.0
    row["audio"][5, 1] = -np.inf
    return {**row, **changes}


def corrupt(row: dict[str, Any], name: str, **changes: Any) -> dict[str, Any]:
    key = SampleKey("d", "test", row["id"], seed=3)
    return corrupt_row(row, CorruptionRecipe.from_name(name), STATISTICS, key, changes.get("vocabulary", VOCABULARY))


@pytest.mark.parametrize("name", CONFIGS)
def test_row_standardised_again_is_what_the_protocol_gives(name: str) -> None:
    row = make_row()
    extractor = HfrAmeAudioFeatureExtractor(feature_size=4, clip_value=1e9)
    extractor.set_scaler(MEAN.tolist(), STD.tolist())
    clean = extractor.standardise(row["audio"])
    np.testing.assert_array_equal(STATISTICS.standardise(row["audio"], "audio"), clean)
    plan, key = CorruptionRecipe.from_name(name), SampleKey("d", "test", row["id"], seed=3)
    words = row["text"].split()
    expected = corrupt_sample(words, clean, None, plan, key, VOCABULARY)
    found = corrupt(row | {"vision": None}, name)
    if expected.words is None:
        assert found["text"] is None
    else:
        assert found["text"].split() == expected.words
    if expected.audio is None:
        assert found["audio"] is None
    else:
        np.testing.assert_allclose(extractor.standardise(found["audio"]), expected.audio, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "untouched"),
    [
        ("clean", ("text", "audio", "vision")),
        ("drop-0.0", ("text", "audio", "vision")),
        ("noise-5-vision", ("text", "audio")),
        ("missing-text", ("audio", "vision")),
        ("typo-0.5", ("audio", "vision")),
    ],
)
def test_row_modality_that_the_recipe_leaves_alone_is_the_same_object(name: str, untouched: tuple[str, ...]) -> None:
    row = make_row()
    before = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in row.items()}
    found = corrupt(row, name)
    for column in untouched:
        assert found[column] is row[column]
    for column, value in before.items():
        np.testing.assert_array_equal(row[column], value)


@pytest.mark.parametrize("name", ["drop-0.5", "block-0.5"])
def test_row_dropped_frames_are_zero_and_the_others_keep_their_bits(name: str) -> None:
    row = make_row()
    found = corrupt(row, name)["audio"]
    kept = found.any(axis=1)
    assert 10 < (~kept).sum() < 30
    assert found[kept].tobytes() == row["audio"][kept].tobytes()
    assert not found[~kept].any()


def test_row_entries_that_impulses_miss_keep_their_bits() -> None:
    row = make_row()
    found = corrupt(row, "impulse-3-audio")["audio"]
    observed = row["audio"].any(axis=1)
    hit = found != row["audio"]
    assert 0 < hit.sum() < 30
    expected = np.broadcast_to(MEAN, hit.shape)[hit] + 4 * np.broadcast_to(STD, hit.shape)[hit] * np.sign(
        (found - MEAN)[hit]
    )
    np.testing.assert_allclose(found[hit], expected, rtol=1e-6)
    assert not hit[~observed].any()
    assert np.isneginf(found[5, 1]) or hit[5, 1]


@pytest.mark.parametrize("name", ["noise-3", "blur-3", "lowpass-3", "impulse-5", "freeze-0.5"])
def test_row_unobserved_frames_stay_zero(name: str) -> None:
    assert not corrupt(make_row(), name)["audio"][3].any()


def test_row_non_finite_entry_under_noise_becomes_the_mean_plus_noise() -> None:
    found = corrupt(make_row(), "noise-1")["audio"]
    assert np.isfinite(found).all()
    assert abs(found[5, 1] - MEAN[1]) < 1.0


def test_row_frame_of_exactly_the_mean_is_not_taken_for_a_dropped_one() -> None:
    frames = make_row()["audio"]
    frames[7] = MEAN
    frames[7, 3] = np.nan
    found = corrupt(make_row(audio=frames), "drop-0.0001")["audio"]
    assert found.tobytes() == frames.tobytes()


def test_row_value_too_large_to_standardise_counts_as_the_mean() -> None:
    frames = make_row()["audio"]
    frames[7, 3] = 3e38
    found = corrupt(make_row(audio=frames), "noise-1")["audio"]
    assert np.isfinite(found).all()


def test_row_removed_modality_is_null_and_damaged_words_are_joined() -> None:
    row = make_row()
    found = corrupt(row, "missing-audio")
    assert found["audio"] is None
    assert found["vision"] is row["vision"]
    text = corrupt(row, "drop-0.5")["text"]
    assert "[UNK]" in text.split()
    assert "  " not in text
    assert corrupt(row, "drop-1.0")["text"] == " ".join(["[UNK]"] * 7)


@pytest.mark.parametrize(("name", "kept"), [("drop-0.5", False), ("missing-text", False), ("drop-0.5-audio", True)])
def test_row_columns_that_repeat_the_words_go_where_text_is_damaged(name: str, kept: bool) -> None:
    extra = {"text_features": np.ones((7, 2), np.float32), "words": ["the"], "word_starts_s": [0.1]}
    found = corrupt(make_row(**extra), name)
    without_text = corrupt(make_row(text=None, **extra), name)
    for column, value in extra.items():
        assert found[column] is (value if kept else None)
        assert without_text[column] is (value if kept else None)
    assert "word_ends_s" not in found


def test_row_that_would_lose_everything_keeps_one_modality_clean() -> None:
    row = make_row(audio=None, vision=None, words=["the"])
    found = corrupt(row, "missing-text")
    assert found["text"] is row["text"]
    assert found["words"] is row["words"]


def test_row_frames_without_statistics_are_refused_only_where_they_are_corrupted() -> None:
    row, key = make_row(), SampleKey("d", "test", "v$_$1", seed=0)
    nothing = FrameStatistics({"audio": None, "vision": None})
    for name in ("missing-audio", "typo-0.5"):
        corrupt_row(row, CorruptionRecipe.from_name(name), nothing, key)
    with pytest.raises(DataError, match=r"corrupting audio needs its mean and .* found none .* leave audio out"):
        corrupt_row(row, CorruptionRecipe.from_name("noise-1-audio"), nothing, key)


@pytest.mark.parametrize(("name", "snr_db"), [("noise-1", 20.0), ("noise-3", 5.0), ("noise-5", -5.0)])
def test_row_under_noise_has_the_stated_ratio(name: str, snr_db: float) -> None:
    row = make_row(num_frames=2000)
    before = STATISTICS.standardise(row["audio"], "audio").astype(np.float64)
    after = STATISTICS.standardise(corrupt(row, name)["audio"], "audio")
    found = 10 * np.log10(np.square(before).sum() / np.square(after - before).sum())
    assert abs(found - snr_db) < 0.1


def test_rows_as_many_as_mosei_lose_the_stated_share_of_frames() -> None:
    recipe = CorruptionRecipe.from_name("drop-0.3")
    statistics = FrameStatistics({name: (np.zeros(1), np.ones(1)) for name in ("audio", "vision")})
    frames = np.ones((500, 1), np.float32)
    row = {"text": "a b", "audio": frames, "vision": frames, "label": 0.0}
    measures = CorruptionMeasures(recipe, {"audio": 1, "vision": 1}, statistics)
    for index in range(4659):
        clean = {**row, "id": f"v$_${index}"}
        measures.add(clean, corrupt_row(clean, recipe, statistics, SampleKey("mosei", "test", clean["id"], seed=0)))
    result = measures.result()
    for share in result["realised"]["frames_dropped"].values():
        # 2.3 million draws: the standard deviation of the share is 0.0003.
        assert abs(share - 0.3) < 0.001
    assert abs(result["realised"]["words_changed"] - 0.3) < 0.02


def test_row_drop_sets_are_nested_in_the_rate() -> None:
    row = make_row(num_frames=200, text=" ".join(f"w{index}" for index in range(50)))
    lost_frames, lost_words = np.zeros(200, bool), np.zeros(50, bool)
    for rate in range(11):
        found = corrupt(row, f"drop-{rate / 10}")
        frames = ~found["audio"].any(axis=1)
        words = np.array([word == "[UNK]" for word in found["text"].split()])
        assert not (lost_frames & ~frames).any()
        assert not (lost_words & ~words).any()
        lost_frames, lost_words = frames, words
    assert lost_frames.all()
    assert lost_words.all()
