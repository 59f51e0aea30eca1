import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from modeling_hfr_ame.corruption import KINDS, Corruption, SampleKey, corrupt_frames
from modeling_hfr_ame.errors import ConfigError, InputError
from modeling_hfr_ame.frequency import orthonormal_bases

KEY = SampleKey("generated", "test", "video$_$7", seed=5)
FRAME_KINDS = [kind for kind, rule in KINDS.items() if "audio" in rule.modalities and rule.scale != "whole"]
MakeFrames = Callable[..., np.ndarray]


def strengthen(kind: str, severity: float = 0.6) -> Corruption:
    return Corruption.from_severity(kind, severity)


def distinct_frames(length: int) -> np.ndarray:
    return np.arange(1, length + 1, dtype=np.float32)[:, None] * np.array([1.0, -0.5], dtype=np.float32)


def find_changed(kind: str, level: float, length: int, modality: str = "audio", key: SampleKey = KEY) -> np.ndarray:
    frames = distinct_frames(length)
    return (corrupt_frames(frames, Corruption(kind, level), key, modality) != frames).any(axis=1)


@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_corrupt_frames_severity_zero_returns_same_bytes(kind: str, make_frames: MakeFrames) -> None:
    frames = make_frames(9)
    corrupted = corrupt_frames(frames, strengthen(kind, 0.0), KEY, "audio")
    assert corrupted.tobytes() == frames.tobytes()
    assert not np.shares_memory(corrupted, frames)
    assert corrupt_frames(frames, None, KEY, "audio").tobytes() == frames.tobytes()


@pytest.mark.parametrize("kind", FRAME_KINDS)
@pytest.mark.parametrize("length", [0, 1, 2, 3, 40])
@pytest.mark.parametrize("severity", [0.01, 0.6, 1.0])
def test_corrupt_frames_any_length_is_finite_and_leaves_input(
    kind: str, length: int, severity: float, make_frames: MakeFrames
) -> None:
    frames = make_frames(length)
    before = frames.tobytes()
    corrupted = corrupt_frames(frames, strengthen(kind, severity), KEY, "vision")
    assert corrupted.shape == frames.shape
    assert corrupted.dtype == np.float32
    assert np.isfinite(corrupted).all()
    assert frames.tobytes() == before


@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_corrupt_frames_strong_level_changes_something(kind: str, make_frames: MakeFrames) -> None:
    frames = make_frames(40)
    assert (corrupt_frames(frames, strengthen(kind), KEY, "audio") != frames).any()


@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_corrupt_frames_unobserved_frame_stays_exactly_zero(kind: str, make_frames: MakeFrames) -> None:
    frames = make_frames(40).copy()
    holes = [0, 7, 8, 39]
    frames[holes] = 0.0
    assert not corrupt_frames(frames, strengthen(kind, 0.9), KEY, "audio")[holes].any()


@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_corrupt_frames_all_unobserved_stays_zero(kind: str) -> None:
    assert not corrupt_frames(np.zeros((12, 3), np.float32), strengthen(kind, 0.9), KEY, "audio").any()


@pytest.mark.parametrize("kind", FRAME_KINDS)
def test_corrupt_frames_no_features_keeps_shape(kind: str) -> None:
    assert corrupt_frames(np.zeros((5, 0), np.float32), strengthen(kind), KEY, "audio").shape == (5, 0)


@pytest.mark.parametrize("kind", ["drop", "block", "noise", "impulse"])
def test_corrupt_frames_equal_audio_and_vision_are_hit_differently(kind: str, make_frames: MakeFrames) -> None:
    frames = make_frames(60)
    audio, vision = (corrupt_frames(frames, strengthen(kind), KEY, modality) for modality in ("audio", "vision"))
    assert (audio != vision).any()


def test_drop_audio_and_vision_masks_are_uncorrelated() -> None:
    audio, vision = (find_changed("drop", 0.5, 4000, modality) for modality in ("audio", "vision"))
    assert stats.binomtest(int((audio == vision).sum()), 4000, 0.5).pvalue > 1e-4


@pytest.mark.parametrize("kind", ["drop", "block", "noise", "freeze", "impulse"])
def test_corrupt_frames_next_epoch_draws_afresh(kind: str, make_frames: MakeFrames) -> None:
    frames = make_frames(60)
    keys = [dataclasses.replace(KEY, epoch=epoch) for epoch in (None, 0, 1, 2)]
    assert len({corrupt_frames(frames, strengthen(kind, 0.5), key, "audio").tobytes() for key in keys}) == 4


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_drop_many_frames_match_the_rate(rate: float) -> None:
    changed = find_changed("drop", rate, 5000)
    assert stats.binomtest(int(changed.sum()), 5000, rate).pvalue > 1e-4


def test_drop_full_rate_zeroes_every_frame() -> None:
    assert find_changed("drop", 1.0, 300).all()


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(["drop", "block", "freeze"]),
    rates=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
    length=st.integers(1, 60),
    sample_id=st.text(max_size=5),
)
def test_rate_kinds_higher_rate_contains_lower(kind: str, rates: list[float], length: int, sample_id: str) -> None:
    key = dataclasses.replace(KEY, sample_id=sample_id)
    low, high = (find_changed(kind, rate, length, key=key) for rate in rates)
    assert not (low & ~high).any()


@settings(deadline=None, max_examples=40)
@given(rate=st.floats(0, 1), length=st.integers(1, 50), seed=st.integers(0, 1000))
def test_block_any_rate_is_one_run_of_rounded_length(rate: float, length: int, seed: int) -> None:
    changed = np.flatnonzero(find_changed("block", rate, length, key=dataclasses.replace(KEY, seed=seed)))
    assert abs(len(changed) - rate * length) <= 0.5 + 1e-9
    assert (np.diff(changed) == 1).all()


def test_block_many_samples_start_anywhere() -> None:
    starts = [
        int(np.argmax(find_changed("block", 0.3, 10, key=dataclasses.replace(KEY, seed=seed)))) for seed in range(800)
    ]
    assert stats.chisquare(np.bincount(starts, minlength=8)).pvalue > 1e-4


@settings(deadline=None, max_examples=40)
@given(rate=st.floats(0.001, 1), length=st.integers(1, 80), seed=st.integers(0, 1000))
def test_freeze_any_rate_holds_the_latest_live_frame(rate: float, length: int, seed: int) -> None:
    frames = distinct_frames(length)
    key = dataclasses.replace(KEY, seed=seed)
    corrupted = corrupt_frames(frames, Corruption("freeze", rate), key, "audio")
    held = (corrupted != frames).any(axis=1)
    assert held.sum() == min(np.floor(rate * length + 0.5), length - 1)
    for index in np.flatnonzero(held):
        assert (corrupted[index] == corrupted[index - 1]).all()


def test_freeze_half_rate_holds_in_runs() -> None:
    held = find_changed("freeze", 0.5, 1000)
    num_runs = int((np.diff(held.astype(int)) == 1).sum())
    # independent holds at this rate would make about 250 runs of mean length 2
    assert 4.0 < held.sum() / num_runs < 6.5


@pytest.mark.parametrize("level", [0.3, 1, 2, 2.6, 3, 4, 5])
@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (37, 5), (300, 33)])
def test_noise_any_level_realises_the_ratio(level: float, shape: tuple[int, int], make_frames: MakeFrames) -> None:
    frames = make_frames(*shape).copy()
    frames[5:9] = 0.0
    corruption = Corruption("noise", level)
    noise = corrupt_frames(frames, corruption, KEY, "audio").astype(np.float64) - frames
    realised = 10 * np.log10(np.square(frames.astype(np.float64)).sum() / np.square(noise).sum())
    assert realised == pytest.approx(corruption.parameter, abs=0.1)


def test_noise_many_values_are_gaussian(make_frames: MakeFrames) -> None:
    frames = make_frames(300, 20)
    noise = corrupt_frames(frames, Corruption("noise", 4), KEY, "audio") - frames
    assert stats.kstest(noise.ravel() / noise.std(), "norm").pvalue > 1e-4


def test_noise_higher_level_scales_the_same_draw(make_frames: MakeFrames) -> None:
    frames = make_frames(30)
    low, high = (corrupt_frames(frames, Corruption("noise", level), KEY, "audio") - frames for level in (2, 4))
    np.testing.assert_allclose(high, low * 10**0.5, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("level", [0.4, 1, 2, 3, 3.3, 4, 5])
@pytest.mark.parametrize("length", [1, 2, 3, 10, 90])
def test_blur_matches_scipy_renormalised_filter(level: float, length: int, make_frames: MakeFrames) -> None:
    frames = make_frames(length).copy()
    frames[3:5] = 0.0
    corruption = Corruption("blur", level)
    observed = frames.any(axis=1, keepdims=True).astype(np.float64)
    filtered = [
        ndimage.gaussian_filter1d(array, corruption.parameter, axis=0, mode="constant")
        for array in (frames.astype(np.float64), observed)
    ]
    expected = np.where(observed > 0, filtered[0] / filtered[1], 0.0)
    np.testing.assert_allclose(corrupt_frames(frames, corruption, KEY, "vision"), expected, rtol=1e-6, atol=1e-6)


def test_blur_constant_sequence_with_hole_stays_constant() -> None:
    frames = np.full((20, 2), 1.5, np.float32)
    frames[8] = 0.0
    np.testing.assert_allclose(corrupt_frames(frames, Corruption("blur", 5), KEY, "audio"), frames, rtol=1e-6)


@pytest.mark.parametrize("level", [0.5, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("length", [1, 2, 3, 16, 41])
def test_lowpass_matches_projection_on_slow_cosines(level: float, length: int, make_frames: MakeFrames) -> None:
    frames = make_frames(length)
    corruption = Corruption("lowpass", level)
    order = np.arange(length)
    cosines = np.cos(np.pi * np.outer(order + 0.5, order) / length)[:, order / length < corruption.parameter]
    expected = cosines @ np.linalg.lstsq(cosines, frames.astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(corrupt_frames(frames, corruption, KEY, "audio"), expected, atol=1e-5)


def test_lowpass_agrees_with_the_models_band_analysis(make_frames: MakeFrames) -> None:
    frames = make_frames(41)
    basis, frequency = orthonormal_bases(torch.tensor([41]), 41, "dct")
    spectrum = (basis[0] @ torch.from_numpy(frames.copy())) * (frequency[0] < 0.25)[:, None]
    expected = (basis[0].T @ spectrum).numpy()
    np.testing.assert_allclose(corrupt_frames(frames, Corruption("lowpass", 4), KEY, "audio"), expected, atol=1e-4)


@pytest.mark.parametrize("level", [1, 3, 5])
def test_impulse_many_entries_match_the_share(level: int, make_frames: MakeFrames) -> None:
    frames = make_frames(200, 30)
    corruption = Corruption("impulse", level)
    corrupted = corrupt_frames(frames, corruption, KEY, "audio")
    hit = corrupted != frames
    assert set(corrupted[hit].tolist()) == {-4.0, 4.0}
    assert stats.binomtest(int(hit.sum()), hit.size, corruption.parameter).pvalue > 1e-4
    assert stats.binomtest(int((corrupted[hit] > 0).sum()), int(hit.sum()), 0.5).pvalue > 1e-4


def test_impulse_higher_level_contains_lower(make_frames: MakeFrames) -> None:
    frames = make_frames(50)
    low, high = (corrupt_frames(frames, Corruption("impulse", level), KEY, "audio") for level in (3, 5))
    hit = low != frames
    assert hit.any()
    assert (high[hit] == low[hit]).all()


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros(5, np.float32), r"audio frames must be a float32 array.*found float32 \(5,\); encode the sample"),
        (np.zeros((5, 2)), r"must be a float32 array of shape \(frames, features\), found float64 \(5, 2\)"),
        ([[0.0]], "must be a float32 array.*found list"),
        (
            np.array([[np.nan, np.inf]], np.float32),
            "must be finite, found 2 NaN or infinite values; encode the",
        ),
    ],
)
def test_corrupt_frames_malformed_frames_raise(frames: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        corrupt_frames(frames, Corruption("drop", 0.5), KEY, "audio")


def test_corrupt_frames_wrong_modality_or_kind_raises(make_frames: MakeFrames) -> None:
    with pytest.raises(ConfigError, match="frames belong to audio or vision, found modality 'text'; use corrupt_words"):
        corrupt_frames(make_frames(3), Corruption("drop", 0.5), KEY, "text")
    with pytest.raises(ConfigError, match="'typo' is defined for text, not for vision; vision has drop, block"):
        corrupt_frames(make_frames(3), Corruption("typo", 0.5), KEY, "vision")
    with pytest.raises(InputError, match=r"'missing' makes audio absent, so there are no frames.*use corrupt_sample"):
        corrupt_frames(make_frames(3), Corruption("missing", 1), KEY, "audio")
