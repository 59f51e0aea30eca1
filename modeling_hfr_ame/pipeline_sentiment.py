"""The pipeline `multimodal-sentiment-analysis`: text, audio and vision → a score and what stands behind it.

Design choices:

- One item is a dict, so that an absent modality is an absent key. A plain string is a text alone, unless it is the name
  of a media file: a path is what people pass to a pipeline.
- Items are encoded one by one and padded per batch by the processor, so a result doesn't depend on its batch mates
  beyond rounding.
- The score is a regression output: there is no `top_k`, and label and bin are read off the score.
"""

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Pipeline

from .configuration_sentiment import MODALITIES
from .errors import ConfigError, InputError
from .feature_extraction_hfr_ame_audio import is_silent
from .media_inputs import read_audio, read_video, read_vision
from .repository_code import write_code
from .sentiment_scores import polarity_label, read_score, run_batch, sentiment_bin
from .time_windows import cut_frames, mean_over_time, window_spans

TASK = "multimodal-sentiment-analysis"
_ITEM_KEYS = (*MODALITIES, "video", "sampling_rate", "video_frame_rate")
_MEDIA_SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".ts",
        ".mts",
        ".m2ts",
        ".flv",
        ".wmv",
        ".asf",
        ".3gp",
        ".3g2",
        ".ogv",
        ".ogg",
        ".oga",
        ".opus",
        ".wav",
        ".flac",
        ".mp3",
        ".m4a",
        ".aac",
        ".wma",
    ]
)


class MultimodalSentimentPipeline(Pipeline):
    """Scores the sentiment of clips of which any modality may be missing.

    An item is a text; the path of a media file (a `Path`, or a string without white space that ends in a media suffix
    such as `.mp4`), or its bytes; or a dict with at least one of

    - `text`: a string or a list of words;
    - `audio`: a waveform (n,), frames (n, Da), `{"array": …, "sampling_rate": …}`, or the path or bytes of a `.npy`,
      wav or media file;
    - `vision`: pictures (n, H, W, 3) uint8, frames (n, Dv), or the path or bytes of a `.npy` or media file;
    - `video`: path or bytes of one media file that gives both of them, as far as they aren't given;

    and, where they are needed, `sampling_rate` in hertz of a waveform and `video_frame_rate` in pictures per second.
    Precomputed frames are raw: the processor standardises them. A silent recording counts as absent, as in training.

    A call takes an item, a list, or a generator, and `batch_size`; `sampling_rate` and `video_frame_rate` apply to
    items without their own. Pass a text that a stranger wrote as `{"text": …}`, so that it never names a file. Each
    item gives a dict:

    - `score`: float, clipped to `label_range`;
    - `label`: `negative`, `neutral` or `positive`, the sign of `bin`;
    - `bin`: int, see `sentiment_bin`;
    - `severity`: per modality how corrupted the model takes it to be, in [0, 1]; 1 for an absent one. None where the
      model doesn't predict it;
    - `gates`: for each present modality of the model the mean gate of each frequency band, lowest band first; None
      where the model has none;
    - `label_range`: [low, high] of the score.

    With `window_s` (and `hop_s`, by default a quarter of it, both in seconds) each item is a recording that is scored
    window by window, and gives `score` (mean over time), `label`, `bin`, `label_range`, `duration_s` and `windows`, a
    list of the dicts above with `start_s` and `end_s`. The windows see audio and vision: a text has no times.

    Raises:
        InputError: An item is none of these, or breaks the processor's rules.
        MediaError: A file can't be read.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False
    _load_video_processor = False

    def __call__(self, inputs: Any, *, window_s: float | None = None, hop_s: float | None = None, **kwargs: Any) -> Any:
        """Scores one item, a list or tuple of items, or a generator of items."""
        items = list(inputs) if isinstance(inputs, tuple) else inputs
        if window_s is not None:
            score = partial(self._score_windows, window_s=window_s, hop_s=window_s / 4 if hop_s is None else hop_s)
            if isinstance(items, list):
                return [score(item, **kwargs) for item in items]
            if isinstance(items, Iterator):
                return (score(item, **kwargs) for item in items)
            return score(items, **kwargs)
        if hop_s is not None:
            raise InputError("hop_s is the distance of two windows, found no window_s; pass it as well")
        # The base class looks at the first item of a list before anything else.
        return [] if isinstance(items, list) and not items else super().__call__(items, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Saves model and processor with all code that they and this pipeline need without the package.

        Args:
            save_directory: Folder; made where it is missing.
            **kwargs: As for the model's `save_pretrained`, except `push_to_hub`.

        Raises:
            ConfigError: `push_to_hub` was passed, which would send the folder before it is complete.
        """
        if kwargs.pop("push_to_hub", False):
            raise ConfigError("a pipeline is saved before it is sent, found push_to_hub=True; call pipe.push_to_hub(…)")
        folder = Path(save_directory)
        self.model.save_pretrained(folder, **kwargs)
        self.processor.save_pretrained(folder)
        write_code(folder, self.model, self.processor, type(self), TASK)

    def _sanitize_parameters(
        self, sampling_rate: float | None = None, video_frame_rate: float | None = None, **unknown: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise InputError(
                f"the pipeline takes batch_size, num_workers, sampling_rate, video_frame_rate, window_s and hop_s; "
                f"found {sorted(unknown)}; leave them out"
            )
        given = {"sampling_rate": sampling_rate, "video_frame_rate": video_frame_rate}
        return {name: value for name, value in given.items() if value is not None}, {}, {}

    def preprocess(
        self, inputs: Any, sampling_rate: float | None = None, video_frame_rate: float | None = None
    ) -> dict[str, Any]:
        """Encodes one item without padding; returns `{"sample": …}`."""
        return {"sample": self.processor.encode(**self._read(inputs, sampling_rate, video_frame_rate))}

    def _read(
        self, inputs: Any, sampling_rate: float | None = None, video_frame_rate: float | None = None
    ) -> dict[str, Any]:
        """Reads the files of one item; gives the arguments of the processor's `encode`."""
        item = _as_item(inputs)
        sampling_rate = item.get("sampling_rate", sampling_rate)
        audio_extractor, vision_extractor = self.processor.feature_extractor, self.processor.vision_feature_extractor
        audio, vision = item.get("audio"), item.get("vision")
        if audio is not None:
            audio, sampling_rate = read_audio(audio, sampling_rate, audio_extractor)
        if vision is not None:
            vision = read_vision(vision, vision_extractor)
        if item.get("video") is not None:
            tracks = read_video(
                item["video"],
                None if audio is not None else audio_extractor,
                None if vision is not None else vision_extractor,
            )
            audio = tracks.audio if audio is None else audio
            vision = tracks.vision if vision is None else vision
        if audio is not None and np.ndim(audio) == 1 and is_silent(audio):
            audio = None
        return {
            "text": item.get("text"),
            "audio": audio,
            "vision": vision,
            "sampling_rate": sampling_rate,
            "video_frame_rate": item.get("video_frame_rate", video_frame_rate),
        }

    def _score_windows(
        self, inputs: Any, *, window_s: float, hop_s: float, batch_size: int | None = None, **rates: Any
    ) -> dict[str, Any]:
        """Scores one recording window by window; see the class."""
        signals = self._read(inputs, **self._sanitize_parameters(**rates)[0])
        extractors = {"audio": self.processor.feature_extractor, "vision": self.processor.vision_feature_extractor}
        stated = {"audio": signals["sampling_rate"], "vision": signals["video_frame_rate"]}
        frames = {
            name: extractor.extract(signals[name], stated[name])
            for name, extractor in extractors.items()
            if signals[name] is not None and name in self.model.config.modality_names
        }
        rates_hz = {name: float(extractor.frame_rate_hz) for name, extractor in extractors.items()}
        if not frames or signals["text"] is not None:
            raise InputError(
                f"windows need audio or vision that the model reads and no text, which has no times; found "
                f"{', '.join(name for name in MODALITIES if signals[name] is not None) or 'nothing'}; drop window_s"
            )
        duration_s = max(len(values) / rates_hz[name] for name, values in frames.items())
        parts = []
        for span in window_spans(duration_s, window_s, hop_s):
            inside = {name: cut_frames(values, rates_hz[name], *span) for name, values in frames.items()}
            if any(values is not None for values in inside.values()):
                parts.append((span, self.processor.encode(**inside)))
        size = batch_size or self._batch_size or 1
        windows = []
        for start in range(0, len(parts), size):
            chunk = parts[start : start + size]
            with torch.inference_mode():
                outputs = self._forward({"sample": [sample for _, sample in chunk]})
            for row, (span, _) in enumerate(chunk):
                windows.append({"start_s": span[0], "end_s": span[1], **read_score(self.model.config, outputs, row)})
        spans = [(window["start_s"], window["end_s"]) for window in windows]
        score = mean_over_time(spans, [window["score"] for window in windows])
        bin_ = sentiment_bin(score, self.model.config.metric_scheme)
        return {
            "score": score,
            "label": polarity_label(bin_),
            "bin": bin_,
            "label_range": windows[0]["label_range"],
            "duration_s": duration_s,
            "windows": windows,
        }

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
        # The base class hands over one encoded sample, or a list of them where it made a batch.
        samples = model_inputs["sample"]
        batch = self.processor.pad(samples if isinstance(samples, list) else [samples]).to(self.device)
        return run_batch(self.model, batch)

    def postprocess(self, model_outputs: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Turns the output for one item into plain numbers; see the class."""
        return read_score(self.model.config, model_outputs)


def _as_item(inputs: Any) -> Mapping[str, Any]:
    if isinstance(inputs, bytes | bytearray | memoryview | Path) or (isinstance(inputs, str) and _names_media(inputs)):
        return {"video": inputs}
    item = {"text": inputs} if isinstance(inputs, str) else inputs
    if not isinstance(item, Mapping):
        raise InputError(
            f"an item must be a string or a dict with text, audio, vision or video, or a media file; found "
            f"{type(inputs).__name__}; write for example {{'text': …, 'audio': …}}"
        )
    unknown = sorted(str(key) for key in item if key not in _ITEM_KEYS)
    if unknown:
        raise InputError(f"an item may hold {', '.join(_ITEM_KEYS)}; found {', '.join(unknown)}; rename or drop them")
    return item


def _names_media(text: str) -> bool:
    """Tells the name of a media file from a text: one word with a media suffix, or an existing file with one."""
    if os.path.splitext(text)[1].lower() not in _MEDIA_SUFFIXES or "\n" in text:
        return False
    return len(text.split()) == 1 or os.path.isfile(text)
