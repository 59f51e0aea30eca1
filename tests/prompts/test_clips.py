import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modeling_hfr_ame import media
from modeling_hfr_ame.errors import ConfigError, DataError, MediaError
from modeling_hfr_ame.prompts.clips import Clip, ClipView, clips_by_sample, evenly_spaced
from modeling_hfr_ame.prompts.generation import generate_prompts, plan_generation
from modeling_hfr_ame.prompts.store import PromptStore
from tests.media.clip_writing import even_times, grey_of_frame, tone, write_clip
from tests.prompts.prompt_rows import EchoGenerator, write_dataset


class ShownGenerator(EchoGenerator):
    shows_pictures = True


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "v_1.mp4", even_times(1.0), tone(1.0))


@pytest.mark.parametrize(
    ("total", "count", "expected"),
    [(9, 3, [0, 4, 8]), (9, 1, [4]), (2, 3, [0, 0, 1]), (1, 3, [0, 0, 0]), (5, 0, []), (1, 1, [0])],
)
def test_places_are_evenly_spaced(total: int, count: int, expected: list[int]) -> None:
    assert evenly_spaced(total, count) == expected


def test_three_pictures_are_first_middle_and_last(clip_path: Path) -> None:
    frames = Clip(clip_path, ClipView(max_width=32)).frames()
    assert frames.shape == (3, 24, 32, 3)
    # Sampled at 5 Hz: pictures 0, 5, 10, 15, 20 of the 25.
    expected = [grey_of_frame(index) for index in (0, 10, 20)]
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), expected, atol=6)


def test_jpegs_hold_the_pictures(clip_path: Path) -> None:
    clip = Clip(clip_path, ClipView(num_frames=2))
    opened = [np.asarray(Image.open(io.BytesIO(packed))) for packed in clip.jpegs()]
    np.testing.assert_allclose(np.stack(opened), clip.frames(), atol=8)


def test_sound_has_the_asked_rate(clip_path: Path) -> None:
    waveform = Clip(clip_path, ClipView(sound_hz=8000)).waveform()
    assert waveform.dtype == np.float32
    assert len(waveform) == pytest.approx(8000, abs=400)


def test_hashes_name_file_place_width_and_rate(clip_path: Path, tmp_path: Path) -> None:
    clip = Clip(clip_path, ClipView(sound_hz=16000))
    copied = tmp_path / "copy.mp4"
    copied.write_bytes(clip_path.read_bytes())
    assert Clip(copied, clip.view).frame_hashes == clip.frame_hashes
    assert Clip(copied, clip.view).audio_hash == clip.audio_hash
    assert len(set(clip.frame_hashes)) == 3
    copied.write_bytes(clip_path.read_bytes() + b"\0")
    others = [
        Clip(copied, clip.view),
        Clip(clip_path, ClipView(max_width=100)),
        Clip(clip_path, ClipView(num_frames=2)),
    ]
    for other in others:
        assert not set(other.frame_hashes) & set(clip.frame_hashes)
    assert Clip(clip_path, ClipView()).audio_hash is None


def test_nothing_is_decoded_before_it_is_asked_for(clip_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "decode_video_frames", lambda *_, **__: pytest.fail("decoded"))
    clip = Clip(clip_path, ClipView(sound_hz=16000))
    assert clip.frame_hashes
    assert clip.audio_hash


def test_tracks_that_are_missing_are_media_errors(tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "silent.mp4", even_times(0.4))
    sound = write_clip(tmp_path / "sound.mp4", None, tone(0.4))
    with pytest.raises(MediaError, match=r"silent.mp4 must hold sound, found none"):
        Clip(silent, ClipView(sound_hz=16000)).waveform()
    with pytest.raises(MediaError, match=r"sound.mp4 must hold pictures, found none"):
        Clip(sound, ClipView()).frames()
    with pytest.raises(MediaError, match=r"absent.mp4 can't be read"):
        _ = Clip(tmp_path / "absent.mp4", ClipView()).sha256


def test_view_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_frames must be 0 or more and max_width positive, found -1 and 320"):
        ClipView(num_frames=-1)


def test_clips_are_found_by_sample(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    for name in ("v_1.mp4", "v/2.mp4", "other.mp4"):
        (tmp_path / name).write_bytes(b"x")
    rows = [{"id": f"v$_${index}", "video_id": "v", "clip_id": str(index)} for index in (1, 2, 3)]
    found = clips_by_sample(tmp_path, rows)
    assert {key: path.name for key, path in found.items()} == {"v$_$1": "v_1.mp4", "v$_$2": "2.mp4"}
    with pytest.raises(DataError, match="clips must be a folder"):
        clips_by_sample(tmp_path / "absent", rows)


def test_run_with_clips_names_pictures_in_rows_and_counts_samples_without(tmp_path: Path, clip_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", {"train": ["fine", "good", None]})
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "v0_0000.mp4").write_bytes(clip_path.read_bytes())
    (clips / "v2_0002.mp4").write_bytes(clip_path.read_bytes())
    generator = ShownGenerator()
    summary = generate_prompts(dataset, tmp_path / "store", generator, clips=clips)
    assert (summary.answered, summary.without_clip) == (3, 1)
    shown = {row.sample_id: row for row in PromptStore.open(tmp_path / "store").rows()}
    assert [len(row.inputs.frames) for row in shown.values()] == [3, 0, 3]
    assert shown["v0$_$0000"].description.media == {"frames": 3, "max_width": 320}
    assert "The 3 pictures" in shown["v0$_$0000"].text
    assert "pictures" not in shown["v1$_$0001"].text
    assert "Words:" not in shown["v2$_$0002"].text
    with_words = generate_prompts(dataset, tmp_path / "store", EchoGenerator(), clips=clips)
    assert with_words.store != summary.store
    assert with_words.without_clip == 0
    assert (
        plan_generation(dataset, generator, clips=clips, view=ClipView(num_frames=2)).description.media["frames"] == 2
    )
