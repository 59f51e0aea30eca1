import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC, pipeline

from modeling_hfr_ame.errors import ConfigError, DataError, InputError
from modeling_hfr_ame.media import SpeechRecogniser
from modeling_hfr_ame.media.speech_recognition import find_sound

RATE = 16000


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).normal(size=round(seconds * RATE))).astype(np.float32)


def test_sound_is_found_between_pauses() -> None:
    quiet = noise(1.0, 1e-4)
    wave = np.concatenate(
        [quiet, noise(1.0), noise(0.3, 1e-4), noise(0.5), quiet, quiet, noise(0.05), quiet, noise(1.0)]
    )
    # The pause of 0.3 s is bridged, the click of 0.05 s is left out.
    np.testing.assert_allclose(find_sound(wave, RATE), [(0.8, 3.0), (5.65, 6.85)], atol=0.021)


def test_silence_and_nothing_hold_no_sound() -> None:
    assert find_sound(np.zeros(RATE), RATE) == []
    assert find_sound(np.zeros(0), RATE) == []
    assert find_sound(noise(2.0, 1e-3), RATE) == []  # −60 dB


def test_long_sound_is_cut_where_it_is_quietest() -> None:
    wave = noise(60.0)
    wave[20 * RATE : 20 * RATE + 4000] *= 0.05
    spans = find_sound(wave, RATE)
    assert all(end_s - start_s <= 28.0 for start_s, end_s in spans)
    assert 20.0 <= spans[0][1] <= 20.25
    assert [start_s for start_s, _ in spans[1:]] == [end_s for _, end_s in spans[:-1]]
    assert (spans[0][0], spans[-1][1]) == (0.0, 60.0)


@pytest.fixture(scope="module")
def ctc_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that spells something different for every sound."""
    folder = tmp_path_factory.mktemp("asr") / "ctc"
    folder.mkdir()
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefgh"]
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}), encoding="utf-8")
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(letters),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8, 8, 8),
        conv_stride=(5, 4, 4, 4),
        conv_kernel=(10, 4, 4, 4),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    model = Wav2Vec2ForCTC(config)
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 3)
    model.save_pretrained(folder)
    return folder


def test_words_are_the_librarys_moved_to_their_place(ctc_folder: Path) -> None:
    recogniser = SpeechRecogniser(ctc_folder)
    sound, quiet = noise(2.0, seed=1), noise(3.0, 1e-5, seed=2)
    wave = np.concatenate([quiet, sound, quiet])
    words = recogniser.words(wave, RATE)
    ((start_s, end_s),) = find_sound(wave, RATE)
    reference = pipeline("automatic-speech-recognition", model=str(ctc_folder))
    heard = reference(
        {"raw": wave[round(start_s * RATE) : round(end_s * RATE)], "sampling_rate": RATE}, return_timestamps="word"
    )
    expected = [chunk for chunk in heard["chunks"] if chunk["text"].strip()]
    assert len(expected) > 1
    assert [word.text for word in words] == [chunk["text"].strip() for chunk in expected]
    np.testing.assert_allclose(
        [(word.start_s, word.end_s) for word in words], [np.add(start_s, chunk["timestamp"]) for chunk in expected]
    )
    assert all(2.5 < (word.start_s or 0) <= (word.end_s or 0) < 5.5 for word in words)
    confidences = [word.confidence or 0.0 for word in words]
    assert all(1 / 13 <= value <= 1 for value in confidences)
    assert len(set(confidences)) > 1


def test_model_is_not_asked_about_silence(ctc_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recogniser = SpeechRecogniser(ctc_folder)

    def forward(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the model was asked")

    monkeypatch.setattr(Wav2Vec2ForCTC, "forward", forward)
    assert recogniser.words(np.zeros(RATE), RATE) == ()


class CannedPipeline:
    """Answers as the library's pipeline does for models that are too large for a test."""

    feature_extractor = SimpleNamespace(sampling_rate=RATE)

    def __init__(self, kind: str, answer: dict[str, Any], alignment_heads: Any = None) -> None:
        self.type, self.answer, self.asked = kind, answer, []
        self.model = SimpleNamespace(generation_config=SimpleNamespace(alignment_heads=alignment_heads))

    def __call__(self, inputs: dict[str, Any], **options: Any) -> dict[str, Any]:
        self.asked.append(options)
        return self.answer


@pytest.mark.parametrize(
    ("kind", "heads", "answer", "options", "expected"),
    [
        (
            "seq2seq_whisper",
            [[0, 1]],
            {
                "text": " so good",
                "chunks": [{"text": " so", "timestamp": (0, 0.5)}, {"text": " good", "timestamp": (1, None)}],
            },
            {"return_timestamps": "word"},
            [("so", 0.0, 0.5), ("good", 1.0, 2.0)],
        ),
        (
            "seq2seq_whisper",
            None,
            {"text": " so good", "chunks": [{"text": " so good", "timestamp": (0.5, 9.0)}]},
            {"return_timestamps": True},
            [("so", 0.5, 1.0), ("good", 1.0, 2.0)],
        ),
        ("seq2seq", None, {"text": "so good"}, {}, [("so", 0.0, 2 / 3), ("good", 2 / 3, 2.0)]),
        ("seq2seq", None, {"text": " [BLANK_AUDIO] "}, {}, []),
    ],
)
def test_times_are_as_fine_as_the_model_gives_them(
    kind: str, heads: Any, answer: dict[str, Any], options: dict[str, Any], expected: list[tuple[str, float, float]]
) -> None:
    canned = CannedPipeline(kind, answer, heads)
    words = SpeechRecogniser(canned).words(noise(2.0), RATE)
    assert canned.asked == [options]
    assert [word.text for word in words] == [text for text, _, _ in expected]
    for word, (_, start_s, end_s) in zip(words, expected, strict=True):
        assert (word.start_s, word.end_s) == (pytest.approx(start_s), pytest.approx(end_s))
        assert word.confidence is None


def test_missing_model_wrong_rate_and_failure_are_named(tmp_path: Path, ctc_folder: Path) -> None:
    with pytest.raises(DataError, match="a speech recogniser must be a model that transformers' pipeline loads"):
        SpeechRecogniser(tmp_path)
    with pytest.raises(ConfigError, match="takes 16000 samples per second, found 8000"):
        SpeechRecogniser(ctc_folder).words(noise(1.0), 8000)
    with pytest.raises(InputError, match=r"must take 2\.0 s of sound, it failed"):
        SpeechRecogniser(BrokenPipeline("seq2seq", {})).words(noise(2.0), RATE)


class BrokenPipeline(CannedPipeline):
    def __call__(self, inputs: dict[str, Any], **options: Any) -> dict[str, Any]:
        raise RuntimeError("out of order")
