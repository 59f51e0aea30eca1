"""Scaling, repairs and configuration that both extractors share."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import StandardScaler

from modeling_hfr_ame.errors import ConfigError, InputError
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
from modeling_hfr_ame.feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor
from modeling_hfr_ame.feature_scaling import FrameFeatureExtractor, RepairCounts

EXTRACTORS = [HfrAmeAudioFeatureExtractor, HfrAmeVisionFeatureExtractor]


def _clips(seed: int = 0, width: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** np.arange(width)
    return [(rng.normal(3.0, 1.0, (n, width)) * scale).astype(np.float32) for n in (1, 7, 40)]


def _fitted(extractor_class: type[FrameFeatureExtractor] = HfrAmeAudioFeatureExtractor) -> FrameFeatureExtractor:
    extractor = extractor_class(feature_size=5)  # type: ignore[call-arg]
    extractor.fit_scaler(_clips())
    return extractor


@pytest.mark.parametrize("extractor_class", EXTRACTORS)
def test_fit_scaler_streamed_clips_equals_standard_scaler(extractor_class: type[FrameFeatureExtractor]) -> None:
    extractor = _fitted(extractor_class)
    oracle = StandardScaler().fit(np.concatenate(_clips()).astype(np.float64))
    np.testing.assert_allclose(extractor.feature_mean, oracle.mean_, rtol=1e-12)
    np.testing.assert_allclose(extractor.feature_std, oracle.scale_, rtol=1e-12)
    frames = _clips(1)[2]
    expected = np.clip(oracle.transform(frames.astype(np.float64)), -5, 5)
    np.testing.assert_allclose(extractor.standardise(frames), expected, rtol=1e-6, atol=1e-6)


def test_fit_scaler_large_offset_keeps_precision() -> None:
    values = 1e6 + np.random.default_rng(0).normal(0, 1, (5000, 1)).astype(np.float32)
    extractor = HfrAmeAudioFeatureExtractor(feature_size=1)
    extractor.fit_scaler(values[i : i + 10] for i in range(0, 5000, 10))
    assert extractor.feature_std == pytest.approx([values.astype(np.float64).std()], rel=1e-9)


def test_fit_scaler_non_finite_and_zero_frames_are_left_out() -> None:
    clip = np.array([[1.0, -np.inf], [3.0, 4.0], [0.0, 0.0], [np.nan, 8.0]])
    extractor = HfrAmeAudioFeatureExtractor(feature_size=2)
    assert extractor.fit_scaler([clip]) == 3
    oracle = StandardScaler().fit(np.array([[1.0, np.nan], [3.0, 4.0], [np.nan, 8.0]]))
    assert extractor.feature_mean == oracle.mean_.tolist()
    assert extractor.feature_std == oracle.scale_.tolist()


def test_fit_scaler_constant_or_unseen_feature_gets_deviation_one() -> None:
    clip = np.stack([np.full(50, 0.1), np.full(50, np.nan), np.full(50, -7.3), np.arange(50.0)], axis=1)
    extractor = HfrAmeAudioFeatureExtractor(feature_size=4)
    extractor.fit_scaler([clip[:7], clip[7:]])
    assert extractor.feature_std is not None
    assert extractor.feature_std[:3] == [1.0, 1.0, 1.0]
    assert extractor.feature_std[3] > 10


def test_fit_scaler_no_usable_frame_raises() -> None:
    with pytest.raises(InputError, match=r"at least one frame that is not all zero; found none\. Give the raw"):
        HfrAmeVisionFeatureExtractor(feature_size=2).fit_scaler([np.zeros((3, 2))])


def test_standardise_repairs_are_counted_by_rule() -> None:
    extractor = HfrAmeAudioFeatureExtractor(feature_size=2, feature_mean=[1.0, 2.0], feature_std=[1.0, 0.5])
    raw = np.array([[-np.inf, 2.5], [0.0, 0.0], [100.0, -100.0], [np.nan, 1e300], [1.0, 2.0]])
    values, counts = extractor.standardise_counted(raw)
    np.testing.assert_array_equal(values, np.float32([[0, 1], [0, 0], [5, -5], [0, 0], [0, 0]]))
    assert values.dtype == np.float32
    assert counts == RepairCounts(non_finite=3, clipped=2, zero_frames=1)
    assert counts + RepairCounts(clipped=1, truncated=4) == RepairCounts(3, 3, 1, 4)


def test_standardise_unfitted_passes_values_and_repairs_non_finite() -> None:
    values, counts = HfrAmeAudioFeatureExtractor(feature_size=2).standardise_counted([[100, -3], [np.inf, 0]])
    np.testing.assert_array_equal(values, np.float32([[100, -3], [0, 0]]))
    assert counts == RepairCounts(non_finite=1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int16, np.int64, np.uint8])
def test_standardise_real_dtypes_give_equal_float32(dtype: type) -> None:
    frames = np.arange(1, 16).reshape(3, 5)
    result = _fitted().standardise(frames.astype(dtype))
    np.testing.assert_array_equal(result, _fitted().standardise(frames.astype(np.float32)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_standardise_torch_tensor_equals_numpy(dtype: torch.dtype) -> None:
    tensor = torch.arange(1.0, 11.0).reshape(2, 5).to(dtype).requires_grad_()
    np.testing.assert_array_equal(_fitted().standardise(tensor), _fitted().standardise(tensor.detach().float().numpy()))


def test_standardise_float64_equals_its_stored_float32_copy() -> None:
    live = np.random.default_rng(3).normal(5, 100, (20, 5))
    np.testing.assert_array_equal(_fitted().standardise(live), _fitted().standardise(live.astype(np.float32)))


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, (4, 5), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_standardise_any_float_is_finite_bounded_and_keeps_zero_frames(raw: np.ndarray) -> None:
    raw[2] = 0.0
    values = _fitted().standardise(raw)
    assert np.isfinite(values).all()
    assert np.abs(values).max() <= 5
    assert not values[2].any()


@pytest.mark.parametrize("extractor_class", EXTRACTORS)
def test_config_json_round_trip_is_bit_exact(extractor_class: type[FrameFeatureExtractor], tmp_path: Path) -> None:
    extractor = _fitted(extractor_class)
    extractor.save_pretrained(tmp_path)
    loaded = extractor_class.from_pretrained(tmp_path)
    assert loaded.feature_mean == extractor.feature_mean
    assert loaded.feature_std == extractor.feature_std
    assert loaded.to_dict() == extractor.to_dict()
    frames = _clips(9)[2]
    assert loaded.standardise(frames).tobytes() == extractor.standardise(frames).tobytes()
    assert json.loads(extractor.to_json_string())["feature_mean"] == extractor.feature_mean


@pytest.mark.parametrize("extractor_class", EXTRACTORS)
def test_config_native_names_survive_a_round_trip(extractor_class: type[FrameFeatureExtractor], tmp_path: Path) -> None:
    native = extractor_class()  # type: ignore[call-arg]
    native.save_pretrained(tmp_path)
    loaded = extractor_class.from_pretrained(tmp_path)
    assert loaded.accepts_raw_signal
    assert loaded.feature_names == list(extractor_class.native_feature_names)
    assert loaded.feature_size == len(set(loaded.feature_names))
    same_width = extractor_class(feature_size=native.feature_size)  # type: ignore[call-arg]
    assert not same_width.accepts_raw_signal
    assert same_width.feature_names[1] == f"{native.modality}_1"


def test_call_list_of_frames_pads_with_masks() -> None:
    batch = _fitted()([_clips()[0], _clips()[1]])
    assert batch["audio_values"].shape == (2, 7, 5)
    assert batch["audio_values"].dtype == torch.float32
    assert batch["audio_mask"].dtype == torch.bool
    assert batch["audio_mask"].sum(1).tolist() == [1, 7]
    assert not batch["audio_values"][0, 1:].any()


def test_call_one_item_without_tensor_type_gives_numpy() -> None:
    batch = _fitted(HfrAmeVisionFeatureExtractor)(_clips()[1], return_tensors=None)
    np.testing.assert_array_equal(batch["vision_values"][0], _fitted().standardise(_clips()[1]))


def test_call_empty_list_raises() -> None:
    with pytest.raises(InputError, match="audio needs at least one item; found an empty list"):
        _fitted()([])


def test_call_unknown_keyword_raises() -> None:
    with pytest.raises(InputError, match=r"unknown keyword\(s\) \['padding'\]"):
        _fitted()(_clips()[0], padding=True)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (
            np.ones((3, 74)),
            r"audio feature width 74 does not match the model's 5 \(HfrAmeConfig.audio_config.feature_size\)",
        ),
        (np.ones(5), r"2-D \(frames, features\); found shape \(5,\)\. Give one clip at a time"),
        (np.ones((2, 3, 5)), r"found shape \(2, 3, 5\)"),
        (np.zeros((0, 5)), "audio needs at least one frame; found none. Pass None"),
        (np.array([["a"] * 5]), "must be real numbers; found dtype <U1. Convert"),
        (np.ones((2, 5), dtype=np.complex64), "must be real numbers; found dtype complex64"),
        ([[1.0] * 5, [1.0]], "arrays must be rectangular; numpy says"),
    ],
)
def test_standardise_wrong_frames_raise(frames: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _fitted().standardise(frames)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feature_size": 3, "feature_names": ["a"]}, "must hold feature_size names; found 1 for feature_size 3"),
        ({"feature_size": 0}, "found 0 for feature_size 0"),
        ({"clip_value": 0.0}, "clip_value and frame_rate_hz must be positive; found 0.0 and"),
        ({"frame_rate_hz": float("nan")}, "must be positive; found 5.0 and nan"),
        ({"feature_size": 2, "feature_mean": [0.0, 0.0]}, "must both hold 2 numbers; found 2 and 0"),
        ({"feature_size": 1, "feature_mean": [0.0], "feature_std": [0.0]}, "must be finite and feature_std positive"),
        ({"feature_size": 1, "feature_mean": [float("inf")], "feature_std": [1.0]}, "must be finite"),
    ],
)
@pytest.mark.parametrize("extractor_class", EXTRACTORS)
def test_config_bad_value_raises(
    extractor_class: type[FrameFeatureExtractor], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        extractor_class(**settings)  # type: ignore[arg-type]
