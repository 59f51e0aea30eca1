"""The pipeline `multimodal-sentiment-analysis`: what it takes, and what it says."""

import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modeling_hfr_ame import MultimodalSentimentPipeline
from modeling_hfr_ame.data.clip_features import ClipFeatureSpec, extract_clip
from modeling_hfr_ame.errors import ConfigError, InputError, MediaError
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import AUDIO_FEATURE_NAMES, HfrAmeAudioFeatureExtractor
from modeling_hfr_ame.feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor
from modeling_hfr_ame.media import decode_media
from modeling_hfr_ame.media_inputs import read_audio, read_video, read_vision
from modeling_hfr_ame.prediction import Predictor
from modeling_hfr_ame.sentiment_scores import sentiment_bin
from tests.hub.run_making import make_items, make_model, make_processor
from tests.media.clip_writing import even_times, tone, write_clip


def make_pipe(native: bool = False, **overrides: Any) -> MultimodalSentimentPipeline:
    return MultimodalSentimentPipeline(
        model=make_model(native, **overrides), processor=make_processor(native), device="cpu"
    )


@pytest.fixture(scope="module")
def pipe() -> MultimodalSentimentPipeline:
    return make_pipe()


@pytest.fixture(scope="module")
def native_pipe() -> MultimodalSentimentPipeline:
    return make_pipe(native=True)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def wav(waveform: np.ndarray, rate: int = 16000, channels: int = 1) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(waveform * 32767).astype("<i2").tobytes())
    return stream.getvalue()


def test_result_is_the_models_score_with_what_stands_behind_it(pipe: MultimodalSentimentPipeline) -> None:
    item = make_items()[0]
    result = pipe(item)
    batch = pipe.processor(**{name: [value] for name, value in item.items()})
    with torch.no_grad():
        output = pipe.model(**batch, output_severity=True, output_gates=True)
    assert result["score"] == output.logits.item()
    assert result["label_range"] == [-3.0, 3.0]
    assert list(result["severity"].values()) == output.severity[0].tolist()
    assert result["gates"]["audio"] == pytest.approx(output.gates[0, 1].mean(-1).tolist())
    assert result["bin"] == round(result["score"])
    assert result["label"] == ("negative" if result["bin"] < 0 else "positive" if result["bin"] > 0 else "neutral")


def test_absent_modality_has_severity_one_and_no_gates(pipe: MultimodalSentimentPipeline) -> None:
    result = pipe(make_items()[1])
    assert result["severity"]["vision"] == 1.0
    assert result["gates"].keys() == {"text", "audio"}


def test_model_without_severity_and_gates_says_none() -> None:
    result = make_pipe(severity="none", ame="none")("the end")
    assert result["severity"] is None
    assert "score" in result


def test_score_beyond_the_label_range_is_clipped(pipe: MultimodalSentimentPipeline) -> None:
    outputs = {"score": torch.tensor([7.5]), "present": torch.ones(1, 3, dtype=torch.bool)}
    result = pipe.postprocess(outputs)
    assert (result["score"], result["bin"], result["label"]) == (3.0, 3, "positive")


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_list_in_batches_gives_the_single_results_in_order(pipe: MultimodalSentimentPipeline, batch_size: int) -> None:
    singles = [pipe(item)["score"] for item in make_items()]
    assert len(set(singles)) == len(singles)
    results = pipe(make_items(), batch_size=batch_size)
    assert [result["score"] for result in results] == pytest.approx(singles, abs=1e-5)


def test_generator_is_read_lazily(pipe: MultimodalSentimentPipeline) -> None:
    read = []

    def clips() -> Iterator[dict[str, Any]]:
        for index, item in enumerate(make_items()):
            read.append(index)
            yield item

    results = pipe(clips())
    first = next(iter(results))
    assert first["score"] == pipe(make_items()[0])["score"]
    assert len(read) < len(make_items())


def test_empty_list_and_tuple_and_string_are_taken(pipe: MultimodalSentimentPipeline) -> None:
    assert pipe([]) == []
    assert pipe(("the end", "slow")) == pipe(["the end", "slow"]) == [pipe({"text": "the end"}), pipe("slow")]


@pytest.mark.parametrize("kind", ["list", "tensor", "bytes", "path", "string path"])
def test_frames_in_every_form_give_the_same_result(
    pipe: MultimodalSentimentPipeline, tmp_path: Path, kind: str
) -> None:
    item = make_items()[2]

    def as_kind(name: str) -> Any:
        array = item[name]
        (tmp_path / name).write_bytes(npy(array))
        forms = {"list": array.tolist(), "tensor": torch.tensor(array), "bytes": npy(array)}
        return (forms | {"path": tmp_path / name, "string path": str(tmp_path / name)})[kind]

    assert pipe({name: as_kind(name) for name in item}) == pipe(item)


def test_waveform_in_every_form_gives_the_same_result(native_pipe: MultimodalSentimentPipeline) -> None:
    # On the 16-bit grid, so that a wav file loses nothing.
    sound = np.round(tone(rate=16000) * 32768).astype(np.float32) / 32768
    file = wav(sound * 32768 / 32767)
    expected = native_pipe({"audio": sound, "sampling_rate": 16000})
    assert native_pipe({"audio": sound}, sampling_rate=16000) == expected
    assert native_pipe({"audio": {"array": sound, "sampling_rate": 16000}}) == expected
    assert native_pipe({"audio": file}) == expected
    assert expected["severity"]["text"] == 1.0


def test_silent_recording_counts_as_absent(native_pipe: MultimodalSentimentPipeline) -> None:
    silent = {"text": "the end", "audio": np.zeros(16000), "sampling_rate": 16000}
    assert native_pipe(silent) == native_pipe("the end")
    with pytest.raises(InputError, match="a sample needs text, audio or vision"):
        native_pipe({"audio": np.zeros(16000), "sampling_rate": 16000})


def test_video_file_gives_both_tracks(native_pipe: MultimodalSentimentPipeline, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", even_times(), tone())
    media = decode_media(clip)
    assert media.audio is not None
    assert media.video is not None
    result = native_pipe({"text": "the end", "video": clip})
    tracks = {"audio": media.audio.waveform, "vision": media.video.frames, "sampling_rate": 16000}
    assert result == native_pipe({"text": "the end", **tracks})
    assert result["gates"].keys() == {"text", "audio", "vision"}
    assert native_pipe({"text": "the end", "video": clip.read_bytes()}) == result


def test_media_file_alone_is_an_item(
    native_pipe: MultimodalSentimentPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", even_times(), tone())
    spaced = write_clip(tmp_path / "my clip.mp4", even_times(), tone())
    expected = native_pipe({"video": clip})
    for item in (clip, str(clip), clip.read_bytes(), str(spaced)):
        assert native_pipe(item) == expected
    monkeypatch.chdir(tmp_path)
    assert native_pipe(["clip.mp4", "the end"]) == [expected, native_pipe({"text": "the end"})]
    # A sentence stays a sentence, and a missing file is not scored as one.
    assert native_pipe("the end of clip.mp4") == native_pipe({"text": "the end of clip.mp4"})
    with pytest.raises(MediaError, match=r"other\.mp4 can't be read"):
        native_pipe("other.mp4")
    assert native_pipe({"text": "other.mp4"})["severity"]["audio"] == 1.0


def test_windows_are_those_of_a_timeline(native_pipe: MultimodalSentimentPipeline, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", even_times(3.0), tone(3.0))
    result = native_pipe(str(clip), window_s=1.0, hop_s=0.5, batch_size=2)
    predictor = Predictor(native_pipe.model, native_pipe.processor, cache_dir=tmp_path / "features")
    timeline = predictor.timeline(predictor.read(clip), window_s=1.0, hop_s=0.5)
    assert [(window["start_s"], window["end_s"]) for window in result["windows"]] == [
        (window.start_s, window.end_s) for window in timeline.windows
    ]
    scores = [window["score"] for window in result["windows"]]
    assert scores == pytest.approx(timeline.scores.tolist(), abs=1e-5)
    assert result["score"] == pytest.approx(timeline.score, abs=1e-5)
    assert result["label"] == timeline.label
    assert native_pipe([clip], window_s=1.0)[0]["windows"][1]["start_s"] == 0.25
    assert [each["score"] for each in native_pipe(iter([clip]), window_s=30.0)] == [
        pytest.approx(native_pipe(clip)["score"], abs=1e-5)
    ]


@pytest.mark.parametrize(
    ("item", "arguments", "message"),
    [
        ("the end", {"window_s": 2.0}, "windows need audio or vision that the model reads and no text"),
        ("the end", {"hop_s": 2.0}, "hop_s is the distance of two windows, found no window_s"),
        ("the end", {"window_s": 2.0, "top_k": 1}, "the pipeline takes batch_size"),
    ],
)
def test_windows_that_make_no_sense_are_named(
    native_pipe: MultimodalSentimentPipeline, item: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        native_pipe(item, **arguments)


def test_features_of_a_file_are_those_of_a_prepared_dataset_bit_for_bit(tmp_path: Path) -> None:
    stereo = np.stack([tone(1.3), 0.5 * tone(1.3, 220.0)])
    uneven = [0.0, 0.1, 0.15, 0.4, 0.41, 0.9, 1.25]
    for suffix, codec in (("mp4", "aac"), ("mkv", "pcm_s16le")):
        clip = write_clip(tmp_path / f"clip.{suffix}", uneven, stereo, audio_codec=codec)
        for rate_hz in (5.0, 12.5):
            spec = ClipFeatureSpec(video_frame_rate_hz=rate_hz)
            stored = extract_clip(clip, spec, tmp_path).load()
            read = read_video(clip, spec.audio_extractor, spec.vision_extractor)
            assert stored is not None
            assert stored.audio is not None
            np.testing.assert_array_equal(read.audio, stored.audio)
            np.testing.assert_array_equal(read.vision, stored.vision)


def test_wav_of_another_rate_and_width_is_converted() -> None:
    extractor = HfrAmeAudioFeatureExtractor()
    frames, rate = read_audio(wav(tone(frequency_hz=220.0, rate=8000), rate=8000), None, extractor)
    assert rate is None
    assert frames is not None
    np.testing.assert_allclose(np.exp(frames[1:-1, AUDIO_FEATURE_NAMES.index("log_f0_mean")]), 220.0, rtol=0.02)


@pytest.mark.parametrize("score", [-3.0, -2.5, -0.5, 0.49, 0.5, 1.5, 2.51, 4.0])
def test_bin_of_mosi_is_the_nearest_whole_number(score: float) -> None:
    assert sentiment_bin(score, "mosi") == np.round(np.clip(score, -3, 3))


@pytest.mark.parametrize(
    ("score", "expected"), [(-1.0, -2), (-0.7, -2), (-0.69, -1), (-0.1, -1), (0.0, 0), (0.1, 0), (0.11, 1), (0.71, 2)]
)
def test_bin_of_sims_has_its_five_classes(score: float, expected: int) -> None:
    assert sentiment_bin(score, "sims") == expected


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (3, InputError, "an item must be a string or a dict"),
        ({"sound": "a"}, InputError, "an item may hold .*; found sound; rename or drop"),
        ({}, InputError, "a sample needs text, audio or vision"),
        ({"audio": "https://example.org/a.wav"}, MediaError, "found the address .*; download the file first"),
        ({"audio": "no-such-file.wav"}, MediaError, r"no-such-file\.wav can't be read \(No such file"),
        ({"audio": b""}, MediaError, r"the data is empty \(0 bytes\)"),
        ({"audio": b"not a recording"}, MediaError, "the data can't be decoded"),
        ({"audio": npy(np.zeros((3, 5)))[:-1]}, MediaError, "an .npy file must hold one complete array"),
        ({"audio": wav(tone())[:-10]}, MediaError, "a wav file must be complete|can't be decoded"),
        ({"video": np.zeros((2, 3))}, MediaError, "video must be the path or the bytes"),
        ({"audio": np.zeros((3, 4))}, InputError, "width|features"),
    ],
)
def test_wrong_item_is_named(pipe: MultimodalSentimentPipeline, item: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        pipe(item)


def test_npy_with_pickled_objects_is_refused(pipe: MultimodalSentimentPipeline) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(MediaError, match="one complete array of plain numbers"):
        pipe({"audio": stream.getvalue()})


def test_media_without_the_wanted_track_is_named(tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "pictures.mp4", even_times(0.4))
    sound = write_clip(tmp_path / "sound.mp4", None, tone(0.4))
    with pytest.raises(MediaError, match="audio needs a file with an audio track"):
        read_audio(silent, None, HfrAmeAudioFeatureExtractor())
    with pytest.raises(MediaError, match="vision needs a file with a video track"):
        read_vision(sound, HfrAmeVisionFeatureExtractor())


def test_playlist_can_not_lead_to_another_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.ts", even_times(0.4), tone(0.4), audio_codec="mp2")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\n{clip}\n#EXT-X-ENDLIST\n".encode()
    with pytest.raises(MediaError, match="the data is a playlist"):
        read_audio(playlist, None, HfrAmeAudioFeatureExtractor())


def test_unknown_parameter_and_unfinished_push_are_refused(pipe: MultimodalSentimentPipeline, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the pipeline takes batch_size.*found \['top_k'\]"):
        pipe("the end", top_k=2)
    with pytest.raises(ConfigError, match=r"call pipe\.push_to_hub"):
        pipe.save_pretrained(tmp_path / "saved", push_to_hub=True)
    assert not (tmp_path / "saved").exists()


@pytest.mark.gpu
def test_pipeline_on_a_cuda_device_agrees_with_the_cpu(pipe: MultimodalSentimentPipeline) -> None:
    there = MultimodalSentimentPipeline(model=make_model(), processor=make_processor(), device="cuda:0")
    assert there.model.device.type == "cuda"
    scores = [result["score"] for result in there(make_items(), batch_size=2)]
    assert scores == pytest.approx([pipe(item)["score"] for item in make_items()], abs=1e-4)


def test_pipeline_takes_the_device_of_the_call(pipe: MultimodalSentimentPipeline) -> None:
    assert pipe.device == torch.device("cpu")
    assert {parameter.device.type for parameter in pipe.model.parameters()} == {"cpu"}
