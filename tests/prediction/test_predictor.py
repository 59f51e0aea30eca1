import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modeling_hfr_ame import MultimodalSentimentPipeline
from modeling_hfr_ame.corruption import CorruptionRecipe
from modeling_hfr_ame.data import SentimentDataset, load_stored_dataset, prepare_mosi_clips
from modeling_hfr_ame.errors import ConfigError, DataError, InputError, MediaError
from modeling_hfr_ame.media import SpeechRecogniser
from modeling_hfr_ame.prediction import Clip, Predictor, TimedWord, corruption_choices, recipe_name
from modeling_hfr_ame.prediction.encoded_clip import KEY_DATASET, KEY_SPLIT, EncodedClip
from tests.hub.run_making import make_model, make_processor, make_run
from tests.media.clip_writing import even_times, tone, write_clip

WORDS = tuple(TimedWord(text, 0.5 * i, 0.5 * i + 0.4) for i, text in enumerate(["the", "end", "is", "wonderful"]))


@pytest.fixture(scope="module")
def clip(predictor: Predictor, talkers: Path) -> Clip:
    return predictor.read(talkers / "drawn00_1.mp4", transcript=WORDS)


def test_model_inputs_equal_those_of_training_bit_for_bit(predictor: Predictor, talkers: Path, tmp_path: Path) -> None:
    stored = prepare_mosi_clips(talkers, talkers / "labels.csv", tmp_path / "stored", workers=1)
    rows = load_stored_dataset(stored, "train")
    for index, row in enumerate(rows):
        read = predictor.read(talkers / f"{row['video_id']}_{row['clip_id']}.mp4", text=row["text"])
        for recipe in (None, CorruptionRecipe.from_name("drop-0.5"), CorruptionRecipe.from_name("noise-3")):
            # The key names the clip by its content here, so the data set gets a row of that id.
            renamed = [{**row, "id": read.sha256, "audio": np.array(row["audio"]), "vision": np.array(row["vision"])}]
            trained = SentimentDataset(
                renamed, predictor.processor, dataset_name=KEY_DATASET, split=KEY_SPLIT, corruption=recipe
            )[0]
            encoded = EncodedClip.of(read, predictor.processor, predictor.modalities).limited(predictor.processor)
            if recipe is not None:
                encoded = encoded.corrupted(recipe, read.sha256, 0, None)
            sample, _ = encoded.sample(predictor.processor)
            assert sample.keys() == {"input_ids", "audio_values", "vision_values"}
            for name, values in sample.items():
                assert values.dtype == trained[name].dtype
                assert values.tobytes() == trained[name].tobytes(), (index, recipe, name)


def test_prediction_equals_the_pipelines(predictor: Predictor, talkers: Path) -> None:
    pipe = MultimodalSentimentPipeline(model=predictor.model, processor=predictor.processor, device="cpu")
    path = talkers / "drawn00_2.mp4"
    expected = pipe({"video": path, "text": "the end"})
    found = predictor.predict(predictor.read(path, text="the end"))
    for name in ("score", "label", "bin", "severity", "gates"):
        assert getattr(found, name) == expected[name]
    assert found.present == {"text": True, "audio": True, "vision": True}
    assert found.text == "the end"
    assert found.corruption == "clean"


def test_text_alone_is_scored_as_by_the_pipeline(predictor: Predictor) -> None:
    pipe = MultimodalSentimentPipeline(model=predictor.model, processor=predictor.processor, device="cpu")
    read = predictor.read(text="slow but wonderful")
    assert read.duration_s is None
    assert predictor.predict(read).score == pipe("slow but wonderful")["score"]


def test_steps_beyond_the_maximum_lengths_are_cut_and_counted(predictor: Predictor, clip: Clip) -> None:
    processor = make_processor(native=True)
    processor.max_audio_length, processor.max_vision_length = 12, 5
    short = Predictor(predictor.model, processor)
    found = short.predict(replace(clip, words=None))
    assert clip.audio is not None
    assert clip.vision is not None
    assert found.truncated == {"audio": len(clip.audio) - 12, "vision": len(clip.vision) - 5}
    assert found.score == short.predict(replace(clip, words=None, audio=clip.audio[:12], vision=clip.vision[:5])).score


def test_window_is_the_prediction_for_its_stretch(predictor: Predictor, clip: Clip) -> None:
    timeline = predictor.timeline(clip, window_s=1.0, hop_s=0.5, batch_size=3)
    assert clip.duration_s is not None
    assert timeline.windows[0].start_s == 0.0
    assert timeline.windows[-1].end_s == pytest.approx(clip.duration_s)
    for window in timeline.windows:
        alone = predictor.predict(clip.between(window.start_s, window.end_s))
        assert window.prediction.score == pytest.approx(alone.score, abs=1e-5)
        assert window.prediction.present == alone.present
        assert window.prediction.text == alone.text
    assert [word.text for word in timeline.windows[0].words] == ["the", "end"]
    assert timeline.words == WORDS
    low, high = min(timeline.scores), max(timeline.scores)
    assert low < timeline.score < high


def test_recording_is_damaged_once_and_then_cut(predictor: Predictor, clip: Clip) -> None:
    whole = predictor.timeline(clip, window_s=30.0, hop_s=30.0, corruption="drop-0.5", seed=3)
    assert whole.windows[0].prediction.score == pytest.approx(
        predictor.predict(clip, corruption="drop-0.5", seed=3).score, abs=1e-6
    )
    parts = predictor.timeline(clip, window_s=1.0, hop_s=1.0, corruption="drop-0.5", seed=3)
    received = whole.windows[0].prediction.text
    assert received is not None
    assert "[UNK]" in received.split()
    assert [word.text for word in parts.words] == received.split()
    assert [word.start_s for word in parts.words] == [word.start_s for word in WORDS]


def test_untimed_text_is_in_no_window_and_a_note_says_so(predictor: Predictor, talkers: Path) -> None:
    read = predictor.read(talkers / "drawn00_1.mp4", text="the end is wonderful")
    timeline = predictor.timeline(read, window_s=1.0, hop_s=1.0)
    assert not any(window.prediction.present["text"] for window in timeline.windows)
    assert any("The text has no times" in note for note in timeline.notes)
    assert predictor.predict(read).present["text"]


def test_window_without_anything_is_skipped(predictor: Predictor, clip: Clip) -> None:
    words_only = replace(clip, audio=None, vision=None)
    timeline = predictor.timeline(words_only, window_s=0.5, hop_s=0.5)
    assert len(timeline.windows) == 4
    assert timeline.skipped[0] == (2.0, 2.5)
    with pytest.raises(InputError, match=r"no window of drawn00_1\.mp4 has a modality that the model reads"):
        predictor.timeline(replace(words_only, words=None), window_s=0.5, hop_s=0.5)


@pytest.mark.parametrize(
    "recipe", ["drop-0.5", "noise-3-audio", "blur-2", "typo-0.5", "asr-0.5", "delete-0.5", "clean"]
)
def test_restoration_view_shows_what_each_recipe_touches(predictor: Predictor, clip: Clip, recipe: str) -> None:
    view = predictor.restore(clip, recipe, seed=1)
    assert view.clean.score == predictor.predict(clip).score
    assert view.corrupted.score == predictor.predict(clip, corruption=recipe, seed=1).score
    for each in view.modalities.values():
        assert each.clean.shape == each.corrupted.shape == each.restored.shape == (len(each.times_s), 16)
        assert (each.total_before > 0) == (not np.array_equal(each.clean, each.corrupted))
        assert np.isfinite(each.gain_db) == (each.total_before > 0)
        assert each.total_before == 0 or each.applied > 0
    content = json.loads(json.dumps(view.as_dict(), allow_nan=False))
    assert (content["modalities"]["audio"]["gain_db"] is None) == (
        recipe in ("typo-0.5", "asr-0.5", "delete-0.5", "clean")
    )


def test_restoration_view_equals_measure_restoration(predictor: Predictor, clip: Clip) -> None:
    view = predictor.restore(clip, "drop-0.5")
    row = {"id": clip.sha256, "text": clip.text, "audio": clip.audio, "vision": clip.vision, "label": 0.0}
    dataset = SentimentDataset(
        [row],
        predictor.processor,
        dataset_name=KEY_DATASET,
        split=KEY_SPLIT,
        corruption=CorruptionRecipe.from_name("drop-0.5"),
        with_clean=True,
    )
    sample = {name: value for name, value in dataset[0].items() if name not in ("labels", "sample_ids")}
    sums = predictor.model.measure_restoration(**predictor.processor.pad([sample]))
    assert view.modalities.keys() == {"text", "audio", "vision"}
    for name, each in view.modalities.items():
        expected = sums[name]
        np.testing.assert_allclose(each.nmse_before, expected["error_before"] / expected["energy"], rtol=1e-5)
        np.testing.assert_allclose(each.nmse_after, expected["error_after"] / expected["energy"], rtol=1e-5)
        np.testing.assert_allclose(each.gates, expected["gates"], rtol=1e-5)


def test_restoration_view_leaves_removed_modalities_out(predictor: Predictor, clip: Clip) -> None:
    view = predictor.restore(clip, "missing-text-vision", start_s=0.5, end_s=2.0)
    assert list(view.modalities) == ["audio"]
    assert view.modalities["audio"].clean.shape[0] == 15
    assert view.corrupted.present == {"text": False, "audio": True, "vision": False}


def test_model_without_restoration_is_named(clip: Clip) -> None:
    without = Predictor(make_model(native=True, use_hfr=False), make_processor(native=True))
    assert not without.restores
    with pytest.raises(InputError, match="found HfrAmeForSentiment with use_hfr=False"):
        without.restore(clip, "drop-0.5")
    peer = Predictor(make_model(native=True, name="lnln"), make_processor(native=True))
    with pytest.raises(InputError, match="found LnlnForSentiment; use an HFR-AME model"):
        peer.restore(clip, "drop-0.5")
    assert np.isfinite(peer.predict(clip).score)
    assert peer.predict(clip).gates is None


def test_every_choice_of_corruption_can_be_predicted(predictor: Predictor, clip: Clip) -> None:
    clean = predictor.predict(clip).score
    for choice in corruption_choices():
        where = ["audio"] if choice.kind == "missing" else choice.modalities
        name = recipe_name(choice.kind, float(choice.levels[-1]), where)
        damaged = predictor.predict(clip, corruption=name)
        assert damaged.corruption == name
        assert damaged.score != clean, name


def test_recipe_names_are_the_protocols(predictor: Predictor) -> None:
    assert recipe_name("noise", 3.0, ["audio"]) == "noise-3-audio"
    assert recipe_name("drop", 1) == "drop-1.0"
    assert recipe_name("missing", None, ["vision", "text"]) == "missing-text-vision"
    assert recipe_name("blur", 0) == recipe_name("clean") == "clean"
    with pytest.raises(ConfigError, match="'noise' is defined for audio, vision, found text"):
        recipe_name("noise", 3, ["text"])
    with pytest.raises(ConfigError, match="unknown corruption kind 'fog'"):
        recipe_name("fog", 1)
    with pytest.raises(ConfigError, match="'drop' needs a level"):
        recipe_name("drop")


def test_fingerprint_changes_with_one_weight(run_folder: Path) -> None:
    first, second = Predictor.from_pretrained(run_folder), Predictor.from_pretrained(run_folder)
    assert first.fingerprint == second.fingerprint
    third = Predictor.from_pretrained(run_folder)
    with torch.no_grad():
        next(third.model.parameters()).view(-1)[0] += 1e-4
    assert third.fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, InputError, "needs a file or a text, found neither"),
        ({"text": "  "}, InputError, "a text must hold a word"),
        ({"source": "no-such.mp4"}, MediaError, r"no-such\.mp4"),
        (
            {"source": "a.mp4", "text": "the", "transcript": "x.srt"},
            ConfigError,
            "one source, found text and transcript",
        ),
    ],
)
def test_unreadable_input_is_named(
    predictor: Predictor, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        predictor.read(**arguments)


def test_clip_without_anything_the_model_reads_is_named(predictor: Predictor, tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "silent.wav", None, 0 * tone(), audio_codec="pcm_s16le")
    read = predictor.read(silent)
    assert read.states["audio"] == "silent"
    with pytest.raises(InputError, match="needs a modality that the model reads, found none"):
        predictor.predict(read)
    with pytest.raises(InputError, match="has no modality that the model reads"):
        predictor.predict(read, corruption="drop-0.5")


def test_clip_without_a_face_is_scored_and_says_so(predictor: Predictor, tmp_path: Path) -> None:
    grey = write_clip(tmp_path / "grey.mp4", even_times(2.0), tone(2.0))
    read = predictor.read(grey, max_thumbnails=4)
    assert read.states == {"text": "absent", "audio": "features", "vision": "no_face"}
    assert any("No face" in note for note in read.notes)
    assert 0 < len(read.thumbnails) <= 4
    assert predictor.predict(read).present["vision"]


def test_heard_words_are_used_and_said_to_be_heard(predictor: Predictor, talkers: Path, tmp_path: Path) -> None:
    class Ears(SpeechRecogniser):
        name, sampling_rate = "ears", 16000

        def __init__(self) -> None:
            pass

        def words(self, waveform: np.ndarray, sampling_rate: int) -> tuple[TimedWord, ...]:
            loud = np.abs(waveform).max() > 1e-3
            return (TimedWord("slow", 0.2, 0.6, 0.5), TimedWord("end", 0.7, 0.9, 0.7)) if loud else ()

    read = predictor.read(talkers / "drawn00_1.mp4", asr=Ears())
    assert (read.text, read.text_source, read.states["text"]) == ("slow end", "asr", "features")
    assert read.notes[0].startswith(
        "The words were heard by ears with a mean confidence of 0.60: a source of corruption"
    )
    faint = write_clip(tmp_path / "faint.mp4", even_times(), 1e-4 * tone())
    unheard = predictor.read(faint, asr=Ears())
    assert (unheard.words, unheard.text_source, unheard.states["text"]) == (None, None, "absent")
    assert unheard.notes[0] == "ears heard no word, so text is absent."


def test_model_for_other_features_is_named(tmp_path: Path, talkers: Path) -> None:
    other = Predictor.from_pretrained(make_run(tmp_path / "run"))
    with pytest.raises(
        InputError, match="takes 5 precomputed audio features, which can't be computed from a recording"
    ):
        other.read(talkers / "drawn00_1.mp4")


def test_folder_without_a_model_and_several_runs_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="a model and its processor must be loadable"):
        Predictor.from_pretrained(tmp_path / "empty")
    for seed in ("seed-1", "seed-2"):
        (tmp_path / "several" / seed).mkdir(parents=True)
    with pytest.raises(DataError, match=r"found 2 seed-\* folders"):
        Predictor.from_pretrained(tmp_path / "several")


def test_stretch_outside_the_clip_and_timeline_of_a_text_are_named(predictor: Predictor, clip: Clip) -> None:
    with pytest.raises(InputError, match="a stretch must lie within the recording"):
        clip.between(0.0, 99.0)
    with pytest.raises(InputError, match="a timeline needs a recording, found a text alone"):
        predictor.timeline(predictor.read(text="the end"))
    with pytest.raises(ConfigError, match="batch_size must be at least 1"):
        predictor.timeline(clip, batch_size=0)
    with pytest.raises(ConfigError, match="a clip is corrupted by a recipe such as drop"):
        predictor.predict(clip, corruption="fog-3")
