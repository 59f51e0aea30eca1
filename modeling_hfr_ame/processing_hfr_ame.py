"""Text, audio and vision → model inputs.

Design choices:

- `encode` makes one un-padded sample and `pad` makes a batch, so that a data set can corrupt in between and a sample
  never depends on its batch mates.
- Text reaches the tokenizer as words. The words `[UNK]` and `[MASK]` become the tokenizer's own special tokens, so a
  corrupted text is an ordinary string.
- Inputs that are too long are cut at the end, not pooled: pooling would change the time base that the features were
  fitted on. Cut steps are counted.
- A call may state lengths and padding, as in the library. Training can't: `encode` and `pad` follow the saved settings.
- The processor is saved as one JSON plus the tokenizer's files; both extractors carry their scalers in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from .batch_assembly import BatchLayout, PaddedLength, Sample, assemble_batch
from .errors import ConfigError, InputError
from .feature_extraction_hfr_ame_audio import HfrAmeAudioFeatureExtractor
from .feature_extraction_hfr_ame_vision import HfrAmeVisionFeatureExtractor
from .feature_scaling import Array, FrameFeatureExtractor, FrameMoments, RepairCounts, as_numpy
from .processing_kwargs import MIN_TEXT_LENGTH, HfrAmeProcessorKwargs, call_lengths, merge_call_options
from .repository_checks import check_loaded_tokenizer, named_file_errors

SPECIAL_WORD = -1


class HfrAmeProcessor(ProcessorMixin):
    """Prepares text, audio and vision for every model of this package.

    Args:
        feature_extractor: Audio extractor; None = native audio features, not fitted.
        vision_feature_extractor: Vision extractor; None = native face features, not fitted.
        tokenizer: A fast tokenizer that puts one special token before and one after a text.
        max_text_length: Tokens kept, special tokens included; at least 3.
        max_audio_length: Audio frames kept; at least 1.
        max_vision_length: Vision frames kept; at least 1.

    Raises:
        ConfigError: If a length is out of range, or the tokenizer is slow or lacks a pad, unknown or mask token.
    """

    valid_processor_kwargs = HfrAmeProcessorKwargs

    def __init__(
        self,
        feature_extractor: HfrAmeAudioFeatureExtractor | None = None,
        vision_feature_extractor: HfrAmeVisionFeatureExtractor | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        max_text_length: int = 64,
        max_audio_length: int = 512,
        max_vision_length: int = 512,
    ) -> None:
        if max_text_length < MIN_TEXT_LENGTH or max_audio_length < 1 or max_vision_length < 1:
            raise ConfigError(
                "max_text_length must be at least 3, max_audio_length and max_vision_length at least 1; found "
                f"{max_text_length}, {max_audio_length}, {max_vision_length}. Use the defaults 64, 512, 512."
            )
        _check_tokenizer(tokenizer)
        self.max_text_length = max_text_length
        self.max_audio_length = max_audio_length
        self.max_vision_length = max_vision_length
        super().__init__(
            feature_extractor or HfrAmeAudioFeatureExtractor(),
            vision_feature_extractor or HfrAmeVisionFeatureExtractor(),
            tokenizer,
        )

    @staticmethod
    def get_possibly_dynamic_module(module_name: str) -> Any:
        """Finds a sub-processor class by name, our own two first.

        The base class looks a second extractor up in mappings that don't exist without torchvision.
        """
        own = {cls.__name__: cls for cls in (HfrAmeAudioFeatureExtractor, HfrAmeVisionFeatureExtractor)}
        return own.get(module_name) or ProcessorMixin.get_possibly_dynamic_module(module_name)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """Loads the processor as the library does.

        Raises:
            DataError: A file of a local folder is missing, or the tokenizer has no vocabulary.
        """
        with named_file_errors(pretrained_model_name_or_path, cls.__name__):
            processor = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        check_loaded_tokenizer(processor.tokenizer, pretrained_model_name_or_path)
        return processor

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoProcessor") -> None:
        """Makes `save_pretrained` write the code files beside the processor, both extractors' included."""
        super().register_for_auto_class(auto_class)
        HfrAmeAudioFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")
        HfrAmeVisionFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")

    @property
    def model_input_names(self) -> list[str]:
        """Names that a prediction batch holds."""
        text = ["input_ids", "attention_mask", "token_type_ids"]
        frames = ["audio_values", "audio_mask", "vision_values", "vision_mask"]
        return [*text, *frames, "modality_mask"]

    def fit_scalers(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
        """Fits both scalers in one pass over raw rows, usually the stored training split.

        Args:
            rows: Mappings with raw frames `audio` (n, Da) and `vision` (n, Dv), or None for absent.

        Returns:
            Frames used per modality. A modality that occurs in no row has 0, and its scaler stays as it was.

        Raises:
            InputError: If an array has a wrong shape, or a modality has frames but all of them are zero.
        """
        extractors = self._extractors
        moments = {name: FrameMoments(each.feature_size, name) for name, each in extractors.items()}
        seen = dict.fromkeys(extractors, False)
        for row in rows:
            for name in extractors:
                if row.get(name) is not None:
                    moments[name].update(row[name])
                    seen[name] = True
        for name, extractor in extractors.items():
            if seen[name]:
                extractor.set_scaler(*moments[name].result())
        return {name: each.num_frames for name, each in moments.items()}

    def encode(
        self,
        text: str | Sequence[str] | None = None,
        audio: Any = None,
        vision: Any = None,
        *,
        sampling_rate: float | None = None,
        video_frame_rate: float | None = None,
    ) -> dict[str, Array]:
        """Encodes one sample without padding; see `encode_counted`."""
        return self.encode_counted(text, audio, vision, sampling_rate=sampling_rate, video_frame_rate=video_frame_rate)[
            0
        ]

    def encode_counted(
        self,
        text: str | Sequence[str] | None = None,
        audio: Any = None,
        vision: Any = None,
        *,
        sampling_rate: float | None = None,
        video_frame_rate: float | None = None,
    ) -> tuple[dict[str, Array], dict[str, RepairCounts]]:
        """Encodes one sample without padding and counts repairs.

        Args:
            text: A string, which is split at white space, or a list of words. None = absent.
            audio: (n,) mono waveform or (n, Da) raw precomputed frames. None = absent.
            vision: (n, H, W, 3) uint8 RGB pictures or (n, Dv) raw precomputed frames. None = absent.
            sampling_rate: Samples per second; required with a waveform.
            video_frame_rate: Pictures per second; None = the vision extractor's `frame_rate_hz`.

        Returns:
            The sample: `input_ids` (Lt,) int64, `audio_values` (La, Da) float32, `vision_values` (Lv, Dv) float32, the
            key of an absent modality missing; and the counts per present modality.

        Raises:
            InputError: If everything is absent, a text holds no word, or an input breaks its extractor's rules.
        """
        rates = {"audio": sampling_rate, "vision": video_frame_rate}
        return self._encode({"text": text, "audio": audio, "vision": vision}, rates, self._max_lengths)

    def _encode(
        self, signals: Mapping[str, Any], rates: Mapping[str, float | None], limits: Mapping[str, int | None]
    ) -> tuple[dict[str, Array], dict[str, RepairCounts]]:
        """Encodes one sample, each modality cut at its limit; None = not cut."""
        sample: dict[str, Array] = {}
        repairs: dict[str, RepairCounts] = {}
        if signals["text"] is not None:
            sample["input_ids"], _, num_cut = self._tokenize(_words(signals["text"]), limits["text"])
            repairs["text"] = RepairCounts(truncated=num_cut)
        for name, extractor in self._extractors.items():
            if signals[name] is None:
                continue
            frames = extractor.extract(signals[name], rates[name])
            kept = frames[: limits[name]]
            values, counts = extractor.standardise_counted(kept)
            sample[f"{name}_values"] = values
            repairs[name] = counts + RepairCounts(truncated=len(frames) - len(kept))
        if not sample:
            raise InputError("a sample needs text, audio or vision; found none. Give at least one of them.")
        return sample, repairs

    def encode_words(self, words: Sequence[str]) -> tuple[Array, Array]:
        """Tokenizes words.

        Args:
            words: At least one word that is not white space; `[UNK]` and `[MASK]` stand for the special tokens.

        Returns:
            `input_ids` (Lt,) int64 with one leading and one trailing special token, cut to `max_text_length`; and
            `word_ids` (Lt,) int64, the index of the word behind each token, −1 for the two special tokens.

        Raises:
            InputError: If there is no word, or the tokenizer adds no special tokens.
        """
        return self._tokenize(words, self.max_text_length)[:2]

    def _tokenize(self, words: Sequence[str], limit: int | None) -> tuple[Array, Array, int]:
        """Returns token ids, word ids, and the number of word pieces that did not fit."""
        _check_words(words)
        special = {"[UNK]": self.tokenizer.unk_token, "[MASK]": self.tokenizer.mask_token}
        encoding = self.tokenizer([special.get(word, word) for word in words], is_split_into_words=True, verbose=False)
        word_ids = np.array([SPECIAL_WORD if word is None else word for word in encoding.word_ids()], dtype=np.int64)
        input_ids = np.array(encoding["input_ids"], dtype=np.int64)
        inner = word_ids[1:-1]
        if inner.size == 0 or SPECIAL_WORD in inner or not (word_ids[0] == word_ids[-1] == SPECIAL_WORD):
            raise InputError(
                "a text needs word pieces between one leading and one trailing special token; "
                f"{type(self.tokenizer).__name__} gave {len(word_ids)} token(s) without that form. Check the words, "
                "and use a BERT-like tokenizer."
            )
        num_kept = len(input_ids) if limit is None else min(len(input_ids), limit)
        keep = np.r_[: num_kept - 1, len(input_ids) - 1]
        return input_ids[keep], word_ids[keep], len(input_ids) - num_kept

    @staticmethod
    def text_alignment(
        clean_word_ids: Sequence[int] | Array,
        corrupted_word_ids: Sequence[int] | Array,
        source_index: Sequence[int] | Array,
    ) -> Array:
        """Puts the clean tokens on the grid of the corrupted ones.

        Args:
            clean_word_ids: (Lc,) word per clean token, −1 = special; from `encode_words`.
            corrupted_word_ids: (Lt,) word per corrupted token, −1 = special.
            source_index: For each corrupted word the index of the clean word that it replaces, −1 if none.

        Returns:
            `clean_text_index` (Lt,) int64: piece j of a corrupted word gets the position of piece min(j, k−1) of its
            source word with k pieces; the special tokens get the clean ones; −1 where the source was cut off.
        """
        clean, corrupted = np.asarray(clean_word_ids), np.asarray(corrupted_word_ids)
        position = np.arange(len(corrupted))
        starts, pieces = np.full(clean.max() + 2, -1), np.zeros(clean.max() + 2, dtype=np.int64)
        words, first, counts = np.unique(clean, return_index=True, return_counts=True)
        starts[words[1:]], pieces[words[1:]] = first[1:], counts[1:]  # words[0] is the special tokens' −1
        # Sources that are unknown or were cut off read the spare last entry, which has no pieces.
        source = np.append(np.asarray(source_index, dtype=np.int64), -1)[corrupted]
        source = np.where((source < 0) | (source >= len(starts)), -1, source)
        is_start = np.diff(corrupted, prepend=corrupted[0] - 1) != 0
        piece = position - np.maximum.accumulate(np.where(is_start, position, 0))
        aligned = np.where(pieces[source] > 0, starts[source] + np.minimum(piece, pieces[source] - 1), -1)
        special = np.where(position == 0, 0, len(clean) - 1)
        return np.where(corrupted == SPECIAL_WORD, special, aligned).astype(np.int64)

    def pad(
        self, samples: Sequence[Sample], return_tensors: str | None = "pt", pad_to_multiple_of: int | None = None
    ) -> BatchFeature:
        """Pads encoded samples to a batch.

        Args:
            samples: Outputs of `encode`, with or without the training keys; see `assemble_batch`. `text_states`
                (n, Dt) may stand in for `input_ids`.
            return_tensors: `"pt"`, `"np"` or None (= numpy).
            pad_to_multiple_of: Round padded lengths up to a multiple of this; None = the longest row.

        Returns:
            The batch contract. Frame masks and `modality_mask` are bool, `attention_mask` is int64.

        Raises:
            InputError: If there is no sample, a row has no modality, or shapes or keys disagree.
        """
        length = PaddedLength(multiple_of=pad_to_multiple_of)
        return self._assemble(samples, dict.fromkeys(self._max_lengths, length), return_tensors)

    def _assemble(
        self, samples: Sequence[Sample], lengths: Mapping[str, PaddedLength], return_tensors: Any
    ) -> BatchFeature:
        layout = BatchLayout(
            pad_token_id=self.tokenizer.pad_token_id,
            audio_size=self.feature_extractor.feature_size,
            vision_size=self.vision_feature_extractor.feature_size,
            **lengths,
        )
        batch = assemble_batch(samples, layout)
        return BatchFeature(batch, tensor_type=return_tensors, skip_tensor_conversion=["sample_ids"])

    def __call__(self, text: Any = None, audio: Any = None, vision: Any = None, **kwargs: Any) -> BatchFeature:
        """Encodes and pads one sample or a list of samples.

        Args:
            text: A string, or a list with one string, list of words, or None per row.
            audio: A waveform or (n, Da) frames, or a list of such or None per row.
            vision: Pictures or (n, Dv) frames, or a list of such or None per row.
            **kwargs: Options for this call, alone, in `text_kwargs`, `audio_kwargs`, `videos_kwargs` (of `vision`), or
                in `common_kwargs`: `sampling_rate` of waveforms, `video_frame_rate` of pictures, `padding`,
                `truncation`, `max_length`, `pad_to_multiple_of`, `return_tensors`. See `HfrAmeProcessorKwargs` for
                values and defaults. A lone `max_length` counts tokens.

        Returns:
            The batch contract without training keys: torch tensors padded to the longest row, unless stated otherwise.

        Raises:
            InputError: If an option is unknown, given twice or out of range, if lists differ in length, or if a row
                can't be encoded; the message names the row.
        """
        options = merge_call_options(kwargs)
        rates = {"audio": options["audio"].get("sampling_rate"), "vision": options["vision"].get("video_frame_rate")}
        own = self.tokenizer.init_kwargs
        padded_text = own.get("max_length") if own.get("padding") == "max_length" else None
        limits, padded = call_lengths(options, self._max_lengths, padded_text)
        given = {"text": _rows(text), "audio": _rows(audio), "vision": _rows(vision)}
        lengths = {name: len(rows) for name, rows in given.items() if rows is not None}
        if not lengths or len(set(lengths.values())) > 1 or 0 in lengths.values():
            raise InputError(
                f"text, audio and vision must be lists of one common length ≥ 1; found {lengths or 'nothing'}. "
                "Use None for a row that lacks a modality."
            )
        samples = []
        for index in range(next(iter(lengths.values()))):
            row = {name: None if rows is None else rows[index] for name, rows in given.items()}
            try:
                samples.append(self._encode(row, rates, limits)[0])
            except InputError as error:
                raise InputError(f"row {index}: {error}") from error
        return self._assemble(samples, padded, options["text"].get("return_tensors", "pt"))

    @property
    def _max_lengths(self) -> dict[str, int]:
        return {"text": self.max_text_length, "audio": self.max_audio_length, "vision": self.max_vision_length}

    @property
    def _extractors(self) -> dict[str, FrameFeatureExtractor]:
        return {"audio": self.feature_extractor, "vision": self.vision_feature_extractor}


def _check_tokenizer(tokenizer: PreTrainedTokenizerBase | None) -> None:
    names = ("pad_token", "unk_token", "mask_token")
    missing = list(names) if tokenizer is None else [name for name in names if getattr(tokenizer, name) is None]
    if tokenizer is None or missing or not tokenizer.is_fast:
        raise ConfigError(
            f"the processor needs a fast tokenizer with pad, unk and mask token; found {type(tokenizer).__name__} "
            f"without {missing or 'fast word ids'}. Use a BERT-like tokenizer from AutoTokenizer."
        )


def _words(text: str | Sequence[str]) -> list[str]:
    if not isinstance(text, str | list | tuple):
        raise InputError(f"text must be a string or a list of words; found {type(text).__name__}. None = absent.")
    return text.split() if isinstance(text, str) else list(text)


def _check_words(words: Sequence[str]) -> None:
    if isinstance(words, str) or not all(isinstance(word, str) for word in words):
        raise InputError(f"words must be a list of strings; found {words!r:.60}. Split a text at white space first.")
    if not any(word.strip() for word in words):
        raise InputError("text needs at least one word; found only white space. Pass None for an absent text.")


def _rows(value: Any) -> list[Any] | None:
    """Returns one item per row: a list as it is, a single string or array as one row, None as None."""
    if value is None or isinstance(value, list | tuple):
        return None if value is None else list(value)
    return [value] if isinstance(value, str) else [as_numpy(value)]
