"""The batch contract: shapes, dtypes, masks, absent modalities, training keys, call forms."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertTokenizer

from modeling_hfr_ame.errors import InputError
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
from modeling_hfr_ame.feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor
from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor

# The pad token is not number 0, so that a forgotten pad id shows.
PIECES = ["good", "bad", "movie", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD = 3
TEXTS = ["good", "bad movie good", None]
LABELS = [1.0, -2.0, 0.5]


def _processor() -> HfrAmeProcessor:
    return HfrAmeProcessor(
        HfrAmeAudioFeatureExtractor(feature_size=3),
        HfrAmeVisionFeatureExtractor(feature_size=2),
        BertTokenizer(vocab={piece: index for index, piece in enumerate(PIECES)}),
    )


PROCESSOR = _processor()


def _frames(length: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(length, width)).astype(np.float32)


def _samples() -> list[dict[str, Any]]:
    audio, vision = [_frames(4, 3), None, _frames(2, 3, 1)], [None, _frames(1, 2), _frames(5, 2, 1)]
    return [PROCESSOR.encode(*row) for row in zip(TEXTS, audio, vision, strict=True)]


def _train_samples() -> list[dict[str, Any]]:
    samples = _samples()
    for sample, label in zip(samples, LABELS, strict=True):
        clean = {f"clean_{key}": value for key, value in sample.items()}
        sample |= clean | {"labels": label, "severity": np.full(3, 0.5), "sample_ids": f"clip{label}"}
    samples[0]["clean_text_index"] = np.array([0, -1, 2])
    samples[1]["clean_input_ids"] = np.array([5, 1, 2, 0, 0, 6])
    samples[1]["clean_text_index"] = np.array([0, 1, 2, 3, 5])
    return samples


def test_pad_mixed_rows_follow_the_contract() -> None:
    batch = PROCESSOR.pad(_samples())
    shapes = {name: (tuple(value.shape), value.dtype) for name, value in batch.items()}
    assert shapes == {
        "input_ids": ((3, 5), torch.int64),
        "attention_mask": ((3, 5), torch.int64),
        "token_type_ids": ((3, 5), torch.int64),
        "audio_values": ((3, 4, 3), torch.float32),
        "audio_mask": ((3, 4), torch.bool),
        "vision_values": ((3, 5, 2), torch.float32),
        "vision_mask": ((3, 5), torch.bool),
        "modality_mask": ((3, 3), torch.bool),
    }
    assert batch["input_ids"].tolist() == [[5, 0, 6, PAD, PAD], [5, 1, 2, 0, 6], [PAD] * 5]
    assert batch["attention_mask"].sum(1).tolist() == [3, 5, 0]
    assert batch["audio_mask"].sum(1).tolist() == [4, 0, 2]
    assert batch["vision_mask"].sum(1).tolist() == [0, 1, 5]
    assert batch["modality_mask"].tolist() == [[True, True, False], [True, False, True], [False, True, True]]
    assert set(shapes) == set(PROCESSOR.model_input_names)


def test_pad_values_are_the_samples_then_zeros() -> None:
    samples = _samples()
    batch = PROCESSOR.pad(samples, return_tensors="np")
    for row, sample in enumerate(samples):
        for name, width in (("audio", 3), ("vision", 2)):
            values = sample.get(f"{name}_values", np.zeros((0, width)))
            np.testing.assert_array_equal(batch[f"{name}_values"][row, : len(values)], values)
            assert not batch[f"{name}_values"][row, len(values) :].any()


def test_pad_zero_frame_inside_stays_valid() -> None:
    batch = PROCESSOR.pad([PROCESSOR.encode(audio=np.zeros((3, 3)))])
    assert batch["audio_mask"].tolist() == [[True, True, True]]


def test_pad_modality_absent_in_the_whole_batch_has_one_padding_step() -> None:
    text_only = PROCESSOR.pad([PROCESSOR.encode(text="good")])
    for name, width in (("audio", 3), ("vision", 2)):
        assert text_only[f"{name}_values"].shape == (1, 1, width)
        assert not text_only[f"{name}_values"].any()
        assert not text_only[f"{name}_mask"].any()
    audio_only = PROCESSOR.pad([PROCESSOR.encode(audio=_frames(2, 3))])
    assert audio_only["input_ids"].tolist() == [[PAD]]
    assert audio_only["attention_mask"].tolist() == [[0]]


def test_pad_row_does_not_depend_on_batch_mates() -> None:
    samples = _samples()
    together = PROCESSOR.pad(samples)
    for row, sample in enumerate(samples):
        alone = PROCESSOR.pad([sample])
        for name, value in alone.items():
            length = value.shape[1]
            torch.testing.assert_close(together[name][row, :length], value[0], rtol=0, atol=0, msg=name)


def test_pad_to_multiple_rounds_every_length_up() -> None:
    batch = PROCESSOR.pad(_samples(), pad_to_multiple_of=4)
    assert [batch[f"{name}"].shape[1] for name in ("input_ids", "audio_mask", "vision_mask")] == [8, 4, 8]


def test_pad_training_keys_are_padded_and_passed() -> None:
    batch = PROCESSOR.pad(_train_samples())
    assert batch["clean_input_ids"].shape == (3, 6)
    assert batch["clean_attention_mask"].sum(1).tolist() == [3, 6, 0]
    assert batch["clean_text_index"].tolist() == [[0, -1, 2, -1, -1], [0, 1, 2, 3, 5], [-1] * 5]
    torch.testing.assert_close(batch["clean_audio_values"], batch["audio_values"])
    assert batch["clean_audio_mask"].dtype == torch.bool
    assert batch["labels"].tolist() == LABELS
    assert batch["labels"].dtype == batch["severity"].dtype == torch.float32
    assert batch["severity"].shape == (3, 3)
    assert batch["sample_ids"] == ["clip1.0", "clip-2.0", "clip0.5"]
    assert "clean_token_type_ids" not in batch


def test_pad_domains_are_whole_numbers_of_every_row_or_none() -> None:
    samples = [PROCESSOR.encode(text="good"), PROCESSOR.encode(text="bad")]
    batch = PROCESSOR.pad([sample | {"domain_id": number} for number, sample in enumerate(samples)])
    assert batch["domain_id"].dtype == torch.int64
    assert batch["domain_id"].tolist() == [0, 1]
    with pytest.raises(
        InputError, match=r"domain_id must be given for every row or for none; it is missing in row.* \[1\]"
    ):
        PROCESSOR.pad([samples[0] | {"domain_id": 0}, samples[1]])


def test_pad_removed_modality_keeps_clean_and_received_on_one_grid() -> None:
    sample = PROCESSOR.encode(text="good") | {
        "clean_audio_values": _frames(6, 3),
        "clean_input_ids": np.array([5, 0, 6]),
    }
    batch = PROCESSOR.pad([sample])
    assert batch["audio_values"].shape == batch["clean_audio_values"].shape == (1, 6, 3)
    assert not batch["audio_mask"].any()
    assert batch["clean_audio_mask"].all()
    assert batch["clean_vision_values"].shape == (1, 1, 2)
    assert batch["clean_text_index"].tolist() == [[-1, -1, -1]]


def test_pad_text_states_stand_in_for_tokens() -> None:
    samples = [{"text_states": _frames(2, 8)}, {"text_states": _frames(3, 8)}, {"audio_values": _frames(1, 3)}]
    batch = PROCESSOR.pad(samples)
    assert batch["text_states"].shape == (3, 3, 8)
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert batch["modality_mask"][:, 0].tolist() == [True, True, False]
    assert "input_ids" not in batch


def test_pad_none_values_count_as_absent() -> None:
    batch = PROCESSOR.pad([{"input_ids": np.array([5, 6]), "audio_values": None, "labels": None}])
    assert batch["modality_mask"].tolist() == [[True, False, False]]
    assert "labels" not in batch


def test_pad_tensors_of_a_batch_collate_again() -> None:
    once = PROCESSOR.pad([PROCESSOR.encode("good", _frames(2, 3))])
    again = PROCESSOR.pad([{"input_ids": once["input_ids"][0], "audio_values": once["audio_values"][0]}])
    torch.testing.assert_close(again["audio_values"], once["audio_values"])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "a batch needs at least one sample; found none"),
        ([{"labels": 1.0}], r"every row needs text, audio or vision; found none in row\(s\) \[0\]"),
        ([{"input_ids": [5, 6], "audios": 1}], r"only known keys; found \['audios'\]"),
        ([{"audio_values": np.ones((2, 4))}], "audio feature width 4 does not match the model's 3"),
        ([{"input_ids": np.ones((2, 2), int)}], r"non-empty 1-D integer array; found shape \(2, 2\)"),
        ([{"input_ids": [0.5]}], "dtype float64. Leave the key out"),
        (
            [{"input_ids": [5, 6], "labels": 1.0}, {"input_ids": [5, 6]}],
            r"labels must be given .* missing in row\(s\) \[1\]",
        ),
        ([{"input_ids": [5, 6], "severity": [0.5]}], r"severity must have shape \(1, 3\) in a batch; found \(1, 1\)"),
        ([{"input_ids": [5, 6]}, {"text_states": np.ones((1, 2))}], "all input_ids .* or all text_states"),
        ([{"text_states": np.ones((1, 3))}, {"text_states": np.ones((1, 2))}], "text_states .* of one width"),
        ([{"input_ids": [5, 6], "clean_text_index": [0]}], r"found \[1\] entries for \[2\] tokens in row\(s\) \[0\]"),
    ],
)
def test_pad_broken_samples_raise(samples: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PROCESSOR.pad(samples)


def test_pad_bad_multiple_raises() -> None:
    with pytest.raises(InputError, match="pad_to_multiple_of must be at least 1; found 0"):
        PROCESSOR.pad(_samples(), pad_to_multiple_of=0)


def test_call_lists_with_none_equal_encode_and_pad() -> None:
    audio, vision = [_frames(4, 3), None, _frames(2, 3, 1)], [None, _frames(1, 2), _frames(5, 2, 1)]
    batch, expected = PROCESSOR(TEXTS, audio, vision), PROCESSOR.pad(_samples())
    assert set(batch) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(batch[name], value)


@pytest.mark.parametrize("text", ["good movie", ["good movie"], [["good", "movie"]]])
def test_call_single_item_forms_agree(text: Any) -> None:
    batch = PROCESSOR(text=text, audio=torch.ones(2, 3), vision=[_frames(1, 2)])
    assert batch["input_ids"].tolist() == [[5, 0, 2, 6]]
    assert batch["audio_values"].shape == (1, 2, 3)
    assert batch["modality_mask"].all()


def test_call_raw_signals_in_both_rate_forms_agree() -> None:
    processor = HfrAmeProcessor(tokenizer=PROCESSOR.tokenizer)
    wave, pictures = np.sin(np.arange(4000) / 9), np.zeros((2, 30, 40, 3), dtype=np.uint8)
    batch = processor(audio=wave, vision=pictures, sampling_rate=16000, video_frame_rate=5.0)
    other = processor(audio=[wave], vision=[pictures], audio_kwargs={"sampling_rate": 16000}, return_tensors="np")
    assert batch["audio_values"].shape == (1, 3, 33)
    assert batch["vision_mask"].tolist() == [[True, True]]
    np.testing.assert_array_equal(batch["audio_values"].numpy(), other["audio_values"])


def test_call_uneven_lists_raise() -> None:
    with pytest.raises(InputError, match=r"one common length ≥ 1; found \{'text': 2, 'audio': 1\}. Use None"):
        PROCESSOR(text=["good", "bad"], audio=_frames(2, 3))


@pytest.mark.parametrize("text", [None, []])
def test_call_nothing_raises(text: list[str] | None) -> None:
    with pytest.raises(InputError, match="must be lists of one common length ≥ 1"):
        PROCESSOR(text=text)


def test_call_bad_row_is_named() -> None:
    with pytest.raises(InputError, match="row 1: text needs at least one word"):
        PROCESSOR(text=["good", " "])


def test_call_row_without_modality_is_named() -> None:
    with pytest.raises(InputError, match="row 1: a sample needs text, audio or vision"):
        PROCESSOR(text=["good", None])
