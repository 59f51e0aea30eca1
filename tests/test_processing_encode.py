"""One sample: words, frames, absent modalities, alignment of corrupted and clean tokens."""

import numpy as np
import pytest
from transformers import BertTokenizer

from modeling_hfr_ame.errors import ConfigError, InputError
from modeling_hfr_ame.feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
from modeling_hfr_ame.feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor
from modeling_hfr_ame.feature_scaling import RepairCounts
from modeling_hfr_ame.processing_hfr_ame import HfrAmeProcessor

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "movie", "##s", "##ish", "very"]
PAD, UNK, CLS, SEP, MASK, GOOD, BAD, MOVIE, S, ISH, VERY = range(len(PIECES))


def make_tokenizer() -> BertTokenizer:
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(PIECES)})


def make_processor(**settings: int) -> HfrAmeProcessor:
    return HfrAmeProcessor(
        HfrAmeAudioFeatureExtractor(feature_size=3, feature_mean=[1.0, 2.0, 3.0], feature_std=[1.0, 2.0, 4.0]),
        HfrAmeVisionFeatureExtractor(feature_size=2, feature_mean=[0.0, 0.0], feature_std=[1.0, 1.0]),
        make_tokenizer(),
        **settings,
    )


PROCESSOR = make_processor()


def test_encode_text_string_and_words_agree() -> None:
    sample = PROCESSOR.encode(text=" Very  good\tmovies ")
    assert sample["input_ids"].tolist() == [CLS, VERY, GOOD, MOVIE, S, SEP]
    assert sample["input_ids"].dtype == np.int64
    assert PROCESSOR.encode(text=["Very", "good", "movies"])["input_ids"].tolist() == sample["input_ids"].tolist()
    assert set(sample) == {"input_ids"}


def test_encode_words_special_words_become_special_tokens() -> None:
    input_ids, word_ids = PROCESSOR.encode_words(["[UNK]", "goodish", "[MASK]", "zzz"])
    assert input_ids.tolist() == [CLS, UNK, GOOD, ISH, MASK, UNK, SEP]
    assert word_ids.tolist() == [-1, 0, 1, 1, 2, 3, -1]


def test_encode_words_other_special_names_are_mapped() -> None:
    vocabulary = {piece.replace("[UNK]", "<unk>").replace("[MASK]", "<mask>"): i for i, piece in enumerate(PIECES)}
    tokenizer = BertTokenizer(vocab=vocabulary, unk_token="<unk>", mask_token="<mask>")
    input_ids, _ = HfrAmeProcessor(tokenizer=tokenizer).encode_words(["[UNK]", "[MASK]", "good"])
    assert input_ids.tolist() == [CLS, UNK, MASK, GOOD, SEP]


def test_encode_words_too_long_keeps_the_trailing_special_token() -> None:
    processor = make_processor(max_text_length=5)
    input_ids, word_ids = processor.encode_words(["very", "goodish", "movies", "bad"])
    assert input_ids.tolist() == [CLS, VERY, GOOD, ISH, SEP]
    assert word_ids.tolist() == [-1, 0, 1, 1, -1]
    assert processor.encode_counted(text="very goodish movies bad")[1]["text"] == RepairCounts(truncated=3)


def test_encode_words_exactly_full_is_not_cut() -> None:
    processor = make_processor(max_text_length=5)
    assert processor.encode_counted(text="very good bad")[1]["text"].truncated == 0


def test_encode_frames_are_standardised_and_truncated() -> None:
    processor = make_processor(max_audio_length=2)
    audio = np.array([[2.0, 2.0, np.inf], [0.0, 0.0, 0.0], [9.0, 9.0, 9.0]])
    sample, repairs = processor.encode_counted(audio=audio, vision=np.array([[7, -1]]))
    np.testing.assert_array_equal(sample["audio_values"], np.float32([[1, 0, 0], [0, 0, 0]]))
    np.testing.assert_array_equal(sample["vision_values"], np.float32([[5, -1]]))
    assert repairs["audio"] == RepairCounts(non_finite=1, zero_frames=1, truncated=1)
    assert repairs["vision"] == RepairCounts(clipped=1)
    assert set(sample) == {"audio_values", "vision_values"}


def test_encode_raw_waveform_and_pictures_use_the_extractors() -> None:
    processor = HfrAmeProcessor(tokenizer=make_tokenizer())
    wave = np.random.default_rng(0).normal(0, 0.1, 16000)
    pictures = np.full((3, 40, 60, 3), 9, dtype=np.uint8)
    sample = processor.encode(audio=wave, vision=pictures, sampling_rate=16000, video_frame_rate=5.0)
    np.testing.assert_array_equal(sample["audio_values"], processor.feature_extractor.extract(wave, 16000))
    assert sample["vision_values"].shape == (3, 46)


@pytest.mark.parametrize("text", ["", "  \t", [], [" "]])
def test_encode_blank_text_raises(text: str | list[str]) -> None:
    with pytest.raises(InputError, match="text needs at least one word; found only white space"):
        PROCESSOR.encode(text=text, audio=np.ones((1, 3)))


def test_encode_nothing_raises() -> None:
    with pytest.raises(InputError, match="a sample needs text, audio or vision; found none"):
        PROCESSOR.encode()


def test_encode_text_of_other_type_raises() -> None:
    with pytest.raises(InputError, match="text must be a string or a list of words; found int"):
        PROCESSOR.encode(text=3)  # type: ignore[arg-type]


def test_encode_words_given_a_string_raises() -> None:
    with pytest.raises(InputError, match="words must be a list of strings; found 'good movie'"):
        PROCESSOR.encode_words("good movie")


def test_encode_words_without_word_pieces_raises() -> None:
    with pytest.raises(InputError, match=r"BertTokenizer gave 2 token\(s\) without that form"):
        PROCESSOR.encode_words(["\u200b"])


def test_encode_wrong_width_names_the_config_field() -> None:
    with pytest.raises(InputError, match=r"vision feature width 35 does not match the model's 2 \(HfrAmeConfig.vision"):
        PROCESSOR.encode(vision=np.ones((4, 35)))


def test_text_alignment_dropped_and_replaced_words_point_to_their_source() -> None:
    clean_ids, clean = PROCESSOR.encode_words(["very", "goodish", "movies", "bad"])
    assert clean_ids.tolist() == [CLS, VERY, GOOD, ISH, MOVIE, S, BAD, SEP]
    _, corrupted = PROCESSOR.encode_words(["goodishs", "[UNK]", "badishs"])  # 3, 1 and 3 pieces
    index = PROCESSOR.text_alignment(clean, corrupted, [1, 2, 3])
    assert index.tolist() == [0, 2, 3, 3, 4, 6, 6, 6, 7]
    assert index.dtype == np.int64


def test_text_alignment_unchanged_text_is_the_identity() -> None:
    _, words = PROCESSOR.encode_words(["very", "goodish", "movies"])
    assert PROCESSOR.text_alignment(words, words, np.arange(3)).tolist() == list(range(len(words)))


def test_text_alignment_truncated_or_unknown_source_gives_minus_one() -> None:
    short = make_processor(max_text_length=4)
    _, clean = short.encode_words(["very", "goodish", "movies", "bad"])
    assert clean.tolist() == [-1, 0, 1, -1]
    _, corrupted = PROCESSOR.encode_words(["goodish", "bad", "movie", "very"])
    assert short.text_alignment(clean, corrupted, [1, 3, -1, 0]).tolist() == [0, 2, 2, -1, -1, 1, 3]


def test_text_alignment_a_source_used_twice_starts_anew_for_each_word() -> None:
    _, clean = PROCESSOR.encode_words(["goodish"])
    _, corrupted = PROCESSOR.encode_words(["goodish", "badish"])
    assert PROCESSOR.text_alignment(clean, corrupted, [0, 0]).tolist() == [0, 1, 2, 1, 2, 3]


def test_text_alignment_random_corruptions_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        words = [["good", "goodish", "movies", "badishs"][i] for i in rng.integers(0, 4, 12)]
        source = rng.integers(-1, 12, 8)
        _, clean = make_processor(max_text_length=int(rng.integers(4, 40))).encode_words(words)
        _, corrupted = PROCESSOR.encode_words([["bad", "verys", "[UNK]"][i] for i in rng.integers(0, 3, 8)])
        expected, piece = [], 0
        for position, word in enumerate(corrupted):
            piece = piece + 1 if position and word == corrupted[position - 1] else 0
            where = np.flatnonzero(clean == source[word]) if word >= 0 and source[word] >= 0 else []
            ends = 0 if position == 0 else len(clean) - 1
            expected.append(ends if word < 0 else where[min(piece, len(where) - 1)] if len(where) else -1)
        assert PROCESSOR.text_alignment(clean, corrupted, source).tolist() == expected


def test_fit_scalers_one_pass_over_a_generator_fits_both() -> None:
    rng = np.random.default_rng(0)
    rows = [{"audio": rng.normal(5, 2, (9, 33)), "vision": None if i else rng.normal(1, 3, (4, 46))} for i in range(3)]
    processor = HfrAmeProcessor(tokenizer=make_tokenizer())
    assert processor.fit_scalers(row for row in rows) == {"audio": 27, "vision": 4}
    stacked = np.concatenate([row["audio"] for row in rows]).astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(processor.feature_extractor.feature_mean, stacked.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(processor.feature_extractor.feature_std, stacked.std(axis=0), rtol=1e-12)
    assert processor.vision_feature_extractor.feature_mean is not None


def test_fit_scalers_modality_in_no_row_stays_as_it_was() -> None:
    processor = HfrAmeProcessor(tokenizer=make_tokenizer())
    assert processor.fit_scalers([{"audio": None, "vision": np.ones((2, 46))}]) == {"audio": 0, "vision": 2}
    assert processor.feature_extractor.feature_mean is None


@pytest.mark.parametrize(
    "settings",
    [{"max_text_length": 2}, {"max_audio_length": 0}, {"max_vision_length": -1}],
    ids=lambda s: next(iter(s)),
)
def test_processor_length_out_of_range_raises(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="max_text_length must be at least 3, max_audio_length"):
        make_processor(**settings)


def test_processor_without_tokenizer_raises() -> None:
    with pytest.raises(
        ConfigError, match="needs a fast tokenizer with pad, unk and mask token; found NoneType without"
    ):
        HfrAmeProcessor()


def test_processor_tokenizer_without_mask_token_raises() -> None:
    tokenizer = make_tokenizer()
    tokenizer.mask_token = None
    with pytest.raises(ConfigError, match=r"found BertTokenizer without \['mask_token'\]"):
        HfrAmeProcessor(tokenizer=tokenizer)
