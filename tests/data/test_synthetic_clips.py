import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from dataset_scripts.synthetic_talkers import main
from modeling_hfr_ame.data import generate_synthetic_clips, load_stored_dataset, prepare_mosi_clips, stored_rows
from modeling_hfr_ame.data.synthetic_clips import write_synthetic_clip
from modeling_hfr_ame.data.synthetic_face import FaceLook, FacePose, draw_face
from modeling_hfr_ame.errors import ConfigError, DataError, MediaError

av = pytest.importorskip("av", reason="drawn clips need PyAV")
cv2 = pytest.importorskip("cv2", reason="drawn clips need OpenCV")

LOOK = FaceLook((225.0, 180.0, 150.0), (60.0, 45.0, 35.0), 52.0, 68.0, (160.0, 120.0))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_synthetic_clips(tmp_path_factory.mktemp("drawn"), num_clips=9)


@pytest.fixture(scope="module")
def labels(clips: Path) -> list[dict[str, str]]:
    with (clips / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def pose(**values: float) -> FacePose:
    neutral = {"mouth_curve": 0.0, "mouth_open": 0.1, "brow_raise": 0.0, "eyes_open": 1.0}
    return FacePose(**{**neutral, **values}, shift=(0.0, 0.0))


def test_label_file_has_the_mmsa_columns_and_a_clip_per_row(clips: Path, labels: list[dict[str, str]]) -> None:
    assert list(labels[0]) == ["video_id", "clip_id", "text", "label", "annotation", "mode"]
    files = {path.name for path in clips.glob("*.mp4")}
    assert files == {f"{row['video_id']}_{row['clip_id']}.mp4" for row in labels}
    for row in labels:
        value = float(row["label"])
        assert -3.0 <= value <= 3.0
        assert row["annotation"] == ("Positive" if value > 0 else "Negative" if value < 0 else "Neutral")
        assert row["clip_id"] in {"1", "2", "3", "4"}


def test_modes_are_all_there_and_share_no_talker(labels: list[dict[str, str]]) -> None:
    modes = {(row["video_id"], row["mode"]) for row in labels}
    assert {mode for _, mode in modes} == {"train", "valid", "test"}
    assert len({talker for talker, _ in modes}) == len(modes)


def test_clip_streams_have_the_stated_format_and_length(clips: Path, labels: list[dict[str, str]]) -> None:
    for row in labels[:3]:
        with av.open(str(clips / f"{row['video_id']}_{row['clip_id']}.mp4")) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.width, video.height, video.average_rate) == (320, 240, 25)
            assert (audio.codec_context.name, audio.rate, audio.channels) == ("aac", 16_000, 1)
            duration_s = container.duration / 1e6
        assert duration_s == pytest.approx(0.42 * len(row["text"].split()), abs=0.1)
        assert 2.0 <= duration_s <= 4.0


def test_face_detector_finds_the_drawn_face_in_most_frames(clips: Path) -> None:
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    found = []
    for path in sorted(clips.glob("*_1.mp4")):
        for picture in pictures(path)[::5]:
            boxes = cascade.detectMultiScale(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 1.1, 5, minSize=(40, 40))
            found.append(len(boxes) == 1)
    assert np.mean(found) > 0.9


def test_voice_is_loud_harmonic_and_unclipped(clips: Path) -> None:
    with av.open(str(next(iter(sorted(clips.glob("*.mp4")))))) as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert 0.03 < samples.std() < 0.5
    assert np.mean(np.abs(samples) > 0.999) < 0.01
    piece = samples[16_000:18_048]
    lags = np.correlate(piece, piece, "full")[len(piece) :]
    # A periodic voice repeats within the lags of 60 to 400 Hz; noise would not.
    assert lags[40:267].max() > 0.5 * np.square(piece).sum()


def test_generation_twice_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        generate_synthetic_clips(tmp_path / name, num_clips=1, seed=seed)
    first, again, other = ((tmp_path / name / "drawn00_1.mp4").read_bytes() for name in "abc")
    assert first == again
    assert first != other


@pytest.mark.parametrize(("curve", "sign"), [(1.0, 1), (-1.0, -1)])
def test_mouth_corners_of_a_smile_lie_above_its_middle(curve: float, sign: int) -> None:
    picture = draw_face(LOOK, pose(mouth_curve=curve)).astype(float)
    redness = picture[140:185, :, 0] - picture[140:185, :, 1:].mean(axis=2)
    rows = {x: int(np.argmax(redness[:, x])) for x in (144, 160, 176)}
    assert np.sign(rows[160] - rows[144]) == sign
    assert np.sign(rows[160] - rows[176]) == sign


def test_open_eyes_are_brighter_than_closed_ones() -> None:
    opened, closed = (draw_face(LOOK, pose(eyes_open=value))[104:116, 126:150, 2] for value in (1.0, 0.1))
    # Only the white of the eye has that much blue.
    assert np.sum(opened > 180) > 3 * np.sum(closed > 180)


def test_small_movement_of_the_mouth_changes_the_picture() -> None:
    assert not np.array_equal(draw_face(LOOK, pose(mouth_curve=0.0)), draw_face(LOOK, pose(mouth_curve=0.08)))


def test_drawn_clips_become_a_stored_dataset(clips: Path, tmp_path: Path) -> None:
    folder = prepare_mosi_clips(clips, clips / "labels.csv", tmp_path / "prepared", workers=1, progress=False)
    rows = [row for split in ("train", "validation", "test") for row in stored_rows(load_stored_dataset(folder, split))]
    assert len(rows) == 9
    assert all(row["audio"] is not None and row["vision"] is not None and row["text"] for row in rows)
    seen = np.concatenate([row["vision"] for row in rows])
    assert np.mean(seen.any(axis=1)) > 0.9


def test_script_writes_clips(tmp_path: Path) -> None:
    main(["--clips", str(tmp_path / "clips"), "--num-clips", "1"])
    assert (tmp_path / "clips" / "labels.csv").read_text().count("\n") == 2


def test_clip_count_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="num_clips must be at least 1, found 0"):
        generate_synthetic_clips(tmp_path, num_clips=0)


def test_single_clip_has_the_words_and_the_length_that_it_says(tmp_path: Path) -> None:
    clip = write_synthetic_clip(tmp_path / "talk.mp4", num_words=3, seed=5, talker=1)
    assert len(clip.words) == 3
    assert -3 <= clip.label <= 3
    with av.open(str(clip.path)) as container:
        assert container.duration / av.time_base == pytest.approx(3 * clip.word_s, abs=0.15)
    again = write_synthetic_clip(tmp_path / "again.mp4", num_words=3, seed=5, talker=1)
    assert (again.words, again.label) == (clip.words, clip.label)


def test_single_clip_without_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="num_words must be at least 1, found 0"):
        write_synthetic_clip(tmp_path / "talk.mp4", num_words=0)


def test_folder_with_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="new or empty folder"):
        generate_synthetic_clips(tmp_path, num_clips=1)


def test_missing_pyav_is_named_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MediaError, match="needs PyAV"):
        generate_synthetic_clips(tmp_path / "clips", num_clips=1)


def test_missing_opencv_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MediaError, match="needs OpenCV"):
        draw_face(LOOK, pose())
