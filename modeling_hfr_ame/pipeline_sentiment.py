"""The pipeline `multimodal-sentiment-analysis`: text, audio and vision → a score and what stands behind it.

Design choices:

- One item is a dict, so that an absent modality is an absent key. A plain string is a text alone.
- Items are encoded one by one and padded per batch by the processor, so a result doesn't depend on its batch mates
  beyond rounding.
- The score is a regression output: there is no `top_k`, and label and bin are read off the score.
"""

import inspect
import os
from collections.abc import Mapping
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

TASK = "multimodal-sentiment-analysis"
_ITEM_KEYS = (*MODALITIES, "video", "sampling_rate", "video_frame_rate")
# Half-open bins of CH-SIMS: a score on a border belongs to the bin below it.
_SIMS_BORDERS = np.array([-0.7, -0.1, 0.1, 0.7], dtype=np.float32)
_POLARITIES = ("negative", "neutral", "positive")


def sentiment_bin(score: float, scheme: str) -> int:
    """Bins a score as the published accuracy of the scheme does.

    Args:
        score: In the label range.
        scheme: `mosi`: the nearest whole number from −3 to 3 (seven bins, half to even). `sims`: five bins −2 … 2 with
            borders ±0.1 and ±0.7.

    Returns:
        The bin; 0 is neutral.
    """
    value = np.float32(score)
    if scheme == "sims":
        return int(np.searchsorted(_SIMS_BORDERS, np.clip(value, -1, 1))) - 2
    return int(np.round(np.clip(value, -3, 3)))


class MultimodalSentimentPipeline(Pipeline):
    """Scores the sentiment of clips of which any modality may be missing.

    An item is a string, or a dict with at least one of

    - `text`: a string or a list of words;
    - `audio`: a waveform (n,), frames (n, Da), `{"array": …, "sampling_rate": …}`, or the path or bytes of a `.npy`,
      wav or media file;
    - `vision`: pictures (n, H, W, 3) uint8, frames (n, Dv), or the path or bytes of a `.npy` or media file;
    - `video`: path or bytes of one media file that gives both of them, as far as they aren't given;

    and, where they are needed, `sampling_rate` in hertz of a waveform and `video_frame_rate` in pictures per second.
    Precomputed frames are raw: the processor standardises them. A silent recording counts as absent, as in training.

    A call takes an item, a list, or a generator, and `batch_size`; `sampling_rate` and `video_frame_rate` apply to
    items without their own. Each item gives a dict:

    - `score`: float, clipped to `label_range`;
    - `label`: `negative`, `neutral` or `positive`, the sign of `bin`;
    - `bin`: int, see `sentiment_bin`;
    - `severity`: per modality how corrupted the model takes it to be, in [0, 1]; 1 for an absent one. None where the
      model doesn't predict it;
    - `gates`: for each present modality of the model the mean gate of each frequency band, lowest band first; None
      where the model has none;
    - `label_range`: [low, high] of the score.

    Raises:
        InputError: An item is neither a string nor such a dict, or breaks the processor's rules.
        MediaError: A file can't be read.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False
    _load_video_processor = False

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Scores one item, a list or tuple of items, or a generator of items."""
        items = list(inputs) if isinstance(inputs, tuple) else inputs
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
                f"the pipeline takes batch_size, num_workers, sampling_rate and video_frame_rate; found "
                f"{sorted(unknown)}; leave them out"
            )
        given = {"sampling_rate": sampling_rate, "video_frame_rate": video_frame_rate}
        return {name: value for name, value in given.items() if value is not None}, {}, {}

    def preprocess(
        self, inputs: Any, sampling_rate: float | None = None, video_frame_rate: float | None = None
    ) -> dict[str, Any]:
        """Encodes one item without padding; returns `{"sample": …}`."""
        item = _as_item(inputs)
        sampling_rate = item.get("sampling_rate", sampling_rate)
        video_frame_rate = item.get("video_frame_rate", video_frame_rate)
        model_rate = self.processor.feature_extractor.sampling_rate
        frame_rate_hz = self.processor.vision_feature_extractor.frame_rate_hz
        audio, vision = item.get("audio"), item.get("vision")
        if audio is not None:
            audio, sampling_rate = read_audio(audio, sampling_rate, model_rate)
        if vision is not None:
            vision = read_vision(vision, frame_rate_hz)
        if item.get("video") is not None:
            tracks = read_video(item["video"], model_rate, frame_rate_hz)
            if audio is None:
                audio, sampling_rate = tracks.waveform, model_rate
            if vision is None and tracks.pictures is not None and len(tracks.pictures):
                vision = tracks.pictures
        if audio is not None and np.ndim(audio) == 1 and is_silent(audio):
            audio = None
        sample = self.processor.encode(
            text=item.get("text"),
            audio=audio,
            vision=vision,
            sampling_rate=sampling_rate,
            video_frame_rate=video_frame_rate,
        )
        return {"sample": sample}

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
        # The base class hands over one encoded sample, or a list of them where it made a batch.
        samples = model_inputs["sample"]
        batch = self.processor.pad(samples if isinstance(samples, list) else [samples]).to(self.device)
        wanted = inspect.signature(self.model.forward).parameters
        output = self.model(**batch, **{name: True for name in ("output_severity", "output_gates") if name in wanted})
        result = {"score": output.logits.float().squeeze(-1), "present": batch["modality_mask"]}
        if getattr(output, "severity", None) is not None and getattr(self.model.config, "severity", "") != "none":
            result["severity"] = output.severity.float()
        if getattr(output, "gates", None) is not None:
            result["gates"] = output.gates.float().mean(-1)
        return result

    def postprocess(self, model_outputs: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Turns the output for one item into plain numbers; see the class."""
        config = self.model.config
        low, high = (float(end) for end in config.label_range)
        score = min(max(float(model_outputs["score"][0]), low), high)
        bin_ = sentiment_bin(score, config.metric_scheme)
        present = dict(zip(MODALITIES, model_outputs["present"][0].tolist(), strict=True))
        severity = gates = None
        if "severity" in model_outputs:
            severity = dict(zip(MODALITIES, model_outputs["severity"][0].tolist(), strict=True))
        if "gates" in model_outputs:
            rows = zip(config.modality_names, model_outputs["gates"][0].tolist(), strict=True)
            gates = {name: bands for name, bands in rows if present[name]}
        return {
            "score": score,
            "label": _POLARITIES[1 + (bin_ > 0) - (bin_ < 0)],
            "bin": bin_,
            "severity": severity,
            "gates": gates,
            "label_range": [low, high],
        }


def _as_item(inputs: Any) -> Mapping[str, Any]:
    item = {"text": inputs} if isinstance(inputs, str) else inputs
    if not isinstance(item, Mapping):
        raise InputError(
            f"an item must be a string or a dict with text, audio, vision or video; found {type(inputs).__name__}; "
            "write for example {'text': …, 'audio': …}"
        )
    unknown = sorted(str(key) for key in item if key not in _ITEM_KEYS)
    if unknown:
        raise InputError(f"an item may hold {', '.join(_ITEM_KEYS)}; found {', '.join(unknown)}; rename or drop them")
    return item
