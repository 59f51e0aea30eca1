"""Vision features on drawn faces, and their parts against scipy and hand-made tracks."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.fft
import torch

from modeling_hfr_ame import face_track
from modeling_hfr_ame import feature_extraction_hfr_ame_vision as vision_module
from modeling_hfr_ame.data.synthetic_face import FaceLook, FacePose, draw_face
from modeling_hfr_ame.errors import InputError
from modeling_hfr_ame.feature_extraction_hfr_ame_vision import VISION_FEATURE_NAMES, HfrAmeVisionFeatureExtractor

EXTRACTOR = HfrAmeVisionFeatureExtractor()
LOOK = FaceLook(skin=(224, 180, 150), hair=(60, 40, 30), half_width=52, half_height=66, centre=(160, 120))
BLANK = np.full((240, 320, 3), 90, dtype=np.uint8)


def _face(x: float = 0.0, mouth_open: float = 0.0, eyes_open: float = 1.0) -> np.ndarray:
    return draw_face(LOOK, FacePose(0.0, mouth_open, 0.0, eyes_open, (x, 0.0)))


def _feature(frames: np.ndarray, name: str) -> np.ndarray:
    return frames[:, VISION_FEATURE_NAMES.index(name)]


@pytest.fixture(scope="module")
def still() -> np.ndarray:
    return EXTRACTOR.extract(np.stack([_face()] * 6), 5.0)


def test_extract_drawn_face_is_found_in_place(still: np.ndarray) -> None:
    assert still.shape == (6, len(VISION_FEATURE_NAMES))
    assert (_feature(still, "face_detected") == 1).all()
    np.testing.assert_allclose(_feature(still, "head_x"), 0.0, atol=0.06)
    np.testing.assert_allclose(_feature(still, "head_y"), 0.0, atol=0.15)
    size = np.exp(_feature(still, "head_size")) * 240
    assert ((size > 70) & (size < 160)).all()


def test_extract_still_face_has_almost_no_motion(still: np.ndarray) -> None:
    names = [n for n in VISION_FEATURE_NAMES if "motion" in n or "velocity" in n]
    assert len(names) == 12
    for name in names:
        # The search window moves with the face, so its box may jitter by a fraction of a pixel.
        np.testing.assert_allclose(_feature(still, name), 0.0, atol=0.05, err_msg=name)


def test_extract_one_picture_works(still: np.ndarray) -> None:
    np.testing.assert_allclose(EXTRACTOR.extract(_face()[None], 5.0), still[:1], atol=0.05)


def test_extract_opening_mouth_moves_lower_cells_and_mouth_only() -> None:
    frames = EXTRACTOR.extract(np.stack([_face(mouth_open=m) for m in (0.0, 0.0, 1.0, 0.0)]), 5.0)
    lower = sum(_feature(frames, f"cell_motion_2{c}")[2] for c in range(3))
    upper = sum(_feature(frames, f"cell_motion_0{c}")[2] for c in range(3))
    assert lower > 3 * upper
    mouth = [i for i, n in enumerate(VISION_FEATURE_NAMES) if n.startswith("mouth")]
    eyes = [i for i, n in enumerate(VISION_FEATURE_NAMES) if n.startswith("eye_")]
    change = np.abs(frames[2] - frames[1])
    assert change[mouth].max() > 3 * change[eyes].max()


def test_extract_brighter_picture_changes_little(still: np.ndarray) -> None:
    bright = np.clip(np.stack([_face()] * 2).astype(float) * 0.8 + 20, 0, 255).astype(np.uint8)
    np.testing.assert_allclose(EXTRACTOR.extract(bright, 5.0), still[:2], atol=0.1)


def test_extract_moving_head_has_velocity_of_the_right_sign_and_size() -> None:
    frames = EXTRACTOR.extract(np.stack([_face(x=4.0 * i - 20) for i in range(11)]), 5.0)
    middle = _feature(frames, "head_velocity_x")[3:8]
    width = np.exp(_feature(frames, "head_size"))[3:8] * 240
    assert np.mean(middle * width) == pytest.approx(4.0 * 5.0, rel=0.3)
    assert np.abs(_feature(frames, "head_velocity_y")).max() < np.abs(middle).mean()


def test_extract_no_face_gives_exact_zero_frames() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (3, 60, 80, 3), dtype=np.uint8)
    assert not EXTRACTOR.extract(noise, 5.0).any()
    assert not EXTRACTOR.extract(BLANK[None]).any()


def test_extract_short_gap_carries_the_face_and_long_gap_does_not() -> None:
    pictures = [_face(), _face(), *[BLANK] * 8, _face()]
    frames = EXTRACTOR.extract(np.stack(pictures), 5.0)
    assert frames.any(axis=1).tolist() == [True] * 7 + [False] * 3 + [True]
    assert _feature(frames, "face_detected").tolist() == [1, 1] + [0] * 8 + [1]
    assert not _feature(frames, "face_motion")[10]


def test_extract_tiny_pictures_give_zero_frames() -> None:
    assert EXTRACTOR.extract(np.zeros((2, 1, 1, 3), dtype=np.uint8)).shape == (2, 46)


def test_extract_large_pictures_are_shrunk_before_detection(still: np.ndarray) -> None:
    large = np.repeat(np.repeat(_face()[None], 3, axis=1), 3, axis=2)
    np.testing.assert_allclose(EXTRACTOR.extract(large), still[:1], atol=0.02)


def test_extract_torch_equals_numpy(still: np.ndarray) -> None:
    np.testing.assert_array_equal(EXTRACTOR.extract(torch.from_numpy(np.stack([_face()] * 6))), still)


def test_extract_threads_give_equal_features(still: np.ndarray) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(EXTRACTOR.extract, [np.stack([_face()] * 6)] * 4))
    for result in results:
        np.testing.assert_array_equal(result, still)


def test_extract_one_core_is_faster_than_ten_times_real_time() -> None:
    pictures = np.stack([np.kron(_face(), np.ones((2, 2, 1), dtype=np.uint8))] * 10)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        EXTRACTOR.extract(pictures, 5.0)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 2.0 / 10


def test_extract_precomputed_frames_pass_through() -> None:
    frames = np.random.default_rng(0).normal(size=(7, 20)).astype(np.float32)
    np.testing.assert_array_equal(HfrAmeVisionFeatureExtractor(feature_size=20).extract(frames), frames)


def test_low_frequencies_equal_scipy_dct() -> None:
    regions = np.random.default_rng(0).normal(size=(3, 16, 28))
    oracle = scipy.fft.dctn(regions, axes=(1, 2), norm="ortho")[:, :5, :3].reshape(3, -1) / np.sqrt(16 * 28)
    np.testing.assert_allclose(vision_module._low_frequencies(regions, (5, 3)), oracle, atol=1e-12)


def test_steady_track_single_outlier_is_removed() -> None:
    boxes = np.tile([100.0, 80.0, 60.0, 60.0], (7, 1))
    boxes[3] = (10.0, 10.0, 200.0, 200.0)
    np.testing.assert_array_equal(face_track._steady_track(boxes, 5.0), np.tile(boxes[0], (7, 1)))


def test_detect_two_faces_keeps_the_one_of_the_track() -> None:
    both = np.concatenate([_face(), _face()], axis=1)
    left_only = both.copy()
    left_only[:, 320:] = 90
    frames = EXTRACTOR.extract(np.stack([left_only, both, both, left_only, both]))
    assert (_feature(frames, "head_x") < 0).all()


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (
            np.zeros((2, 3, 60, 80), dtype=np.uint8),
            r"found shape \(2, 3, 60, 80\), dtype uint8. Put the colour axis last",
        ),
        (np.zeros((2, 60, 80, 3), dtype=np.float32), "dtype float32. Put the colour axis last, scale to 0–255"),
        (np.zeros((60, 80, 3), dtype=np.uint8), r"found shape \(60, 80, 3\)"),
        (np.zeros((0, 60, 80, 3), dtype=np.uint8), "pass None for absent vision"),
        (np.zeros((2, 35)), "vision feature width 35 does not match the model's 46"),
    ],
)
def test_extract_bad_pictures_raise(pictures: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        EXTRACTOR.extract(pictures)


def test_extract_other_rate_raises() -> None:
    with pytest.raises(InputError, match=r"sampled at 5\.0 per second; found video_frame_rate 30\. Pick frames"):
        EXTRACTOR.extract(BLANK[None], 30)


def test_extract_pictures_for_precomputed_model_raises() -> None:
    with pytest.raises(InputError, match="takes 46 precomputed vision features and can't compute them from pictures"):
        HfrAmeVisionFeatureExtractor(feature_size=46).extract(BLANK[None])


@pytest.mark.parametrize("missing", [None, object()])
def test_extract_without_opencv_or_its_data_raises(monkeypatch: pytest.MonkeyPatch, missing: object) -> None:
    monkeypatch.setattr(face_track, "cv2", missing)
    monkeypatch.setattr(face_track, "_per_thread", type("Empty", (), {})())
    with pytest.raises(InputError, match=r"OpenCV 4 with its bundled cascades; it was not found\. Install"):
        EXTRACTOR.extract(BLANK[None])
