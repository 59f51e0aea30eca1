"""Options of one call: lengths, padding, rates and tensor type, in the library's forms."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertTokenizer, TensorType
from transformers.tokenization_utils_base import PaddingStrategy, TruncationStrategy

from modeling_hfr_ame.errors import InputError
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
from modeling_hfr_ame.feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor
from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor

PIECES = ["good", "bad", "movie", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = ["good", "bad movie good movie bad movie good"]
AUDIO = [np.full((length, 3), 0.5) for length in (4, 9)]
VISION = [np.full((length, 2), 0.25) for length in (8, 3)]


def make_processor(**tokenizer_options: Any) -> HfrAmeProcessor:
    return HfrAmeProcessor(
        HfrAmeAudioFeatureExtractor(feature_size=3),
        HfrAmeVisionFeatureExtractor(feature_size=2),
        BertTokenizer(vocab={piece: index for index, piece in enumerate(PIECES)}, **tokenizer_options),
        max_text_length=6,
        max_audio_length=7,
        max_vision_length=5,
    )


PROCESSOR = make_processor()


def call_lengths(processor: HfrAmeProcessor = PROCESSOR, **options: Any) -> list[tuple[int, list[int]]]:
    """Padded length and valid lengths of text, audio and vision."""
    batch = processor(TEXTS, AUDIO, VISION, **options)
    masks = [batch[name] for name in ("attention_mask", "audio_mask", "vision_mask")]
    return [(mask.shape[1], mask.sum(1).tolist()) for mask in masks]


def test_call_without_options_cuts_at_the_saved_lengths_and_pads_to_the_longest_row() -> None:
    assert call_lengths() == [(6, [3, 6]), (7, [4, 7]), (5, [5, 3])]


def test_call_lone_max_length_counts_tokens_only() -> None:
    assert call_lengths(max_length=4) == [(4, [3, 4]), (7, [4, 7]), (5, [5, 3])]


@pytest.mark.parametrize("max_length", [4, 8])
def test_call_max_length_of_each_modality_replaces_the_saved_one(max_length: int) -> None:
    options = {f"{name}_kwargs": {"max_length": max_length} for name in ("text", "audio", "videos")}
    expected = [[min(length, max_length) for length in lengths] for lengths in ([3, 9], [4, 9], [8, 3])]
    found = call_lengths(**options)
    assert [valid for _, valid in found] == expected
    assert found == call_lengths(common_kwargs={"max_length": max_length})


@pytest.mark.parametrize("truncation", [False, "do_not_truncate", TruncationStrategy.DO_NOT_TRUNCATE])
def test_call_without_truncation_keeps_every_step(truncation: Any) -> None:
    assert call_lengths(truncation=truncation) == [(9, [3, 9]), (9, [4, 9]), (8, [8, 3])]
    assert call_lengths(truncation=truncation, max_length=3)[0] == (9, [3, 9])


@pytest.mark.parametrize("truncation", [True, None, "longest_first", "only_first"])
def test_call_with_any_kind_of_truncation_is_the_default(truncation: Any) -> None:
    assert call_lengths(truncation=truncation) == call_lengths()


@pytest.mark.parametrize("padding", ["max_length", PaddingStrategy.MAX_LENGTH])
def test_call_padding_to_max_length_gives_the_same_shape_for_every_batch(padding: Any) -> None:
    batch = PROCESSOR("good", np.ones((2, 3)), padding=padding)
    assert {batch[name].shape[1] for name in ("input_ids", "attention_mask", "token_type_ids")} == {6}
    assert batch["audio_values"].shape == (1, 7, 3)
    assert batch["vision_values"].shape == (1, 5, 2)
    assert batch["input_ids"].tolist() == [[5, 0, 6, 3, 3, 3]]
    assert batch["audio_mask"].tolist() == [[True, True, *[False] * 5]]
    assert not batch["vision_mask"].any()


def test_call_padding_of_one_modality_leaves_the_others() -> None:
    options = {"padding": "max_length", "max_length": 12}
    assert call_lengths(videos_kwargs=options) == [(6, [3, 6]), (7, [4, 7]), (12, [8, 3])]
    assert call_lengths(text_kwargs=options) == [(12, [3, 9]), (7, [4, 7]), (5, [5, 3])]


def test_call_padding_and_multiple_round_up_together() -> None:
    found = call_lengths(padding="max_length", max_length=9, pad_to_multiple_of=4)
    assert [length for length, _ in found] == [12, 8, 8]


@pytest.mark.parametrize("padding", [False, "do_not_pad"])
def test_call_without_padding_takes_rows_of_one_length(padding: Any) -> None:
    batch = PROCESSOR(["good", None], [AUDIO[0], AUDIO[0]], padding=padding)
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 0]]
    with pytest.raises(InputError, match=r"not padded must have one length; found \[3, 6\]. Use padding='longest'"):
        PROCESSOR(TEXTS, padding=padding)


@pytest.mark.parametrize(
    "options",
    [
        {"max_length": 4, "padding": "max_length"},
        {"text_kwargs": {"max_length": 4}, "padding": "max_length"},
        {"common_kwargs": {"padding": "max_length"}, "max_length": 4},
        {"common_kwargs": {"padding": "longest"}, "padding": "max_length", "text_kwargs": {"max_length": 4}},
    ],
)
def test_call_option_forms_agree(options: dict[str, Any]) -> None:
    assert call_lengths(**options) == [(4, [3, 4]), (7, [4, 7]), (5, [5, 3])]


@pytest.mark.parametrize("form", ["lone", "common_kwargs", "text_kwargs"])
@pytest.mark.parametrize(("value", "kind"), [("pt", torch.Tensor), (TensorType.NUMPY, np.ndarray), (None, np.ndarray)])
def test_call_return_tensors_holds_for_the_whole_batch(form: str, value: Any, kind: type) -> None:
    options = {"return_tensors": value}
    batch = PROCESSOR("good", AUDIO[:1], **(options if form == "lone" else {form: options}))
    assert {type(values) for values in batch.values()} == {kind}


def test_call_options_change_no_value_of_what_is_kept() -> None:
    batch, wide = PROCESSOR(TEXTS, AUDIO, VISION), PROCESSOR(TEXTS, AUDIO, VISION, padding="max_length", max_length=6)
    for name, values in batch.items():
        torch.testing.assert_close(wide[name], values, rtol=0, atol=0)


def test_call_tokenizers_own_padding_is_kept_and_cuts_nothing_less() -> None:
    processor = make_processor(padding="max_length", max_length=20)
    assert call_lengths(processor) == [(20, [3, 6]), (7, [4, 7]), (5, [5, 3])]
    assert call_lengths(processor, padding="longest") == call_lengths()
    assert processor.pad([processor.encode("good")])["input_ids"].shape == (1, 3)


def test_call_tokenizers_own_max_length_without_padding_has_no_effect() -> None:
    assert call_lengths(make_processor(max_length=20, padding=True)) == call_lengths()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_lenght": 4}, r"a call takes the options max_length, .* found \['max_lenght'\]. Leave them out"),
        ({"images_kwargs": {}}, r"found \['images_kwargs'\]"),
        ({"common_kwargs": {"stride": 1}}, r"found \['stride'\]"),
        ({"text_kwargs": {"sampling_rate": 1}}, r"found \[\"text_kwargs\['sampling_rate'\]\"\]"),
        ({"padding": True, "audio_kwargs": {"padding": True}}, r"found \['padding'\] both alone and in audio_kwargs"),
        ({"max_length": 4, "text_kwargs": {"max_length": 4}}, r"found \['max_length'\] both alone and in text_kwargs"),
        ({"padding": "left"}, "padding must be one of .*'max_length', 'do_not_pad'; found 'left'"),
        ({"truncation": 3}, "truncation must be one of .*; found 3"),
        ({"max_length": 2}, "max_length of text must be a whole number of at least 3; found 2. .* processor's 6"),
        ({"videos_kwargs": {"max_length": 0}}, "max_length of vision must be a whole number of at least 1; found 0"),
        ({"audio_kwargs": {"max_length": 4.0}}, r"max_length of audio must be .*; found 4\.0"),
        ({"pad_to_multiple_of": 0}, "pad_to_multiple_of must be at least 1; found 0"),
    ],
)
def test_call_bad_option_raises(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PROCESSOR("good", **options)
