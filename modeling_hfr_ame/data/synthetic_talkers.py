"""The embedded dataset: talkers whose words, voice and face are generated from a few known latents.

Design choices (docs/synthetic_talkers.md gives the reasons and the measured properties):

* Sentiment has three independent causes: the polarity of the words (P), the level of a slow mood curve in voice and
  face (M, the low band), and the amplitude contrast of a fast carrier between two channel groups (H, the high band).
* Voice and face share most of M, H and the carrier, and both carry bumps at polar words, so a damaged modality can in
  part be read from the others, band by band.
* Audio and vision run on the same clip time but not on the same frame grid.
* Everything is a function of (seed, split, index): the number of utterances, their order, and the platform's NumPy
  don't matter.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from modeling_hfr_ame.data.synthetic_draws import KeyedDraws
from modeling_hfr_ame.data.synthetic_words import WORLD, draw_words, effective_polarities, polarity_scale
from modeling_hfr_ame.errors import ConfigError

SPLITS: Final = ("train", "validation", "test")
LABEL_RANGE: Final = (-3.0, 3.0)
MODALITY_SIZES: Final = {"audio": 12, "vision": 16}
UTTERANCES_PER_TALKER: Final = 40
CARRIER_MIN_FREQUENCY: Final = 0.45  # order / number of frames; 1 is the highest frequency that the frames can hold

SHARED = 0.7  # of the variance of mood, contrast and carrier is common to audio and vision
EVENT_SHARED = 0.5  # of the variance of the word events is the polarity of the words; emphasis is looser than mood
LABEL_WEIGHTS = (math.sqrt(0.4), math.sqrt(0.3), math.sqrt(0.3))  # P, M, H
LABEL_GAIN = 0.7  # with unit latents: standard deviation near 1.5 and few labels at the ends of the range
LABEL_NOISE = 0.2
BACKGROUND, SENSOR_NOISE, TALKER_OFFSET = 0.5, 0.2, 0.3  # standard deviations in units of a latent's

_NUM_WORDS = (8, 20)
_FRAMES_PER_WORD = 2
_LENGTH_JITTER = 2
_MOOD_SCALES = np.array([1.0, 0.5, 0.35])  # of the orders 0, 1, 2
_EVENT_WIDTH = 0.5  # standard deviation of a bump in words: its width at half height is 1.2 words


@dataclass(frozen=True)
class Utterance:
    """One generated clip with the latents that caused it.

    Attributes:
        split: Split that it belongs to.
        index: Position within the split.
        words: The transcript, 8 to 20 words.
        polarity: P, sum of the words' effective polarities, scaled to unit variance at every length.
        mood: M, level of the mood curve that audio and vision share; standard normal.
        contrast: H, high-band contrast that audio and vision share; standard normal.
        audio: (number of frames, 12) float32 raw features.
        vision: (number of frames, 16) float32 raw features.
        label: Sentiment in [-3, 3], a multiple of 0.1.
    """

    split: str
    index: int
    words: list[str]
    polarity: float
    mood: float
    contrast: float
    audio: NDArray[np.float32]
    vision: NDArray[np.float32]
    label: float

    @property
    def talker(self) -> str:
        """Names the talker: the split's number, then a count, so that no talker occurs in two splits."""
        return f"talker{SPLITS.index(self.split) + 1}{self.index // UTTERANCES_PER_TALKER:02d}"

    def as_row(self) -> dict[str, Any]:
        """Gives the row of the stored dataset, without the latents.

        Returns:
            The columns `id`, `video_id`, `clip_id`, `text`, `audio`, `vision` and `label`.
        """
        clip_id = f"{self.index:05d}"
        return {
            "id": f"{self.talker}$_${clip_id}",
            "video_id": self.talker,
            "clip_id": clip_id,
            "text": " ".join(self.words),
            "audio": self.audio,
            "vision": self.vision,
            "label": self.label,
        }


@dataclass(frozen=True)
class _Sensors:
    """How one modality's channels see the latents. All arrays are (channels,)."""

    mood: NDArray[np.float64]
    event: NDArray[np.float64]
    carrier: NDArray[np.float64]
    group: NDArray[np.float64]  # +1 in group A (first half of the channels), −1 in group B
    gain: NDArray[np.float64]
    offset: NDArray[np.float64]


@dataclass(frozen=True)
class _SharedCurves:
    """What audio and vision have in common in one utterance."""

    mood: NDArray[np.float64]  # (3,) coefficients of orders 0, 1, 2
    contrast: float
    events: NDArray[np.float64]  # (words,) polarity in units of its standard deviation
    carrier: NDArray[np.float64]  # (orders,) coefficients
    first_carrier_order: int


def draw_utterance(split: str, index: int, *, seed: int = 0) -> Utterance:
    """Generates one utterance.

    Args:
        split: One of train, validation, test.
        index: Position within the split, from 0.
        seed: Seed of the dataset.

    Returns:
        The utterance with its latents.
    """
    draws = KeyedDraws(WORLD, "utterance", seed, split, index)
    num_words = draws.integer(*_NUM_WORDS)
    words = draw_words(draws, num_words)
    events = effective_polarities(words) / polarity_scale()
    lengths = {
        modality: _FRAMES_PER_WORD * num_words + draws.integer(-_LENGTH_JITTER, _LENGTH_JITTER)
        for modality in MODALITY_SIZES
    }
    first_order = math.floor(CARRIER_MIN_FREQUENCY * max(lengths.values())) + 1
    shared = _SharedCurves(
        mood=draws.normal(3) * _MOOD_SCALES,
        contrast=float(draws.normal()),
        events=events,
        carrier=draws.normal(min(lengths.values()) - first_order),
        first_carrier_order=first_order,
    )
    polarity = float(events.sum() / math.sqrt(num_words))
    mood = float(shared.mood[0])
    label = sentiment_label(polarity, mood, shared.contrast, noise=float(draws.normal()))
    talker = index // UTTERANCES_PER_TALKER
    frames = {
        modality: _draw_frames(
            draws, shared, modality, lengths[modality], _talker_offset(seed, split, talker, modality)
        )
        for modality in MODALITY_SIZES
    }
    return Utterance(split, index, words, polarity, mood, shared.contrast, frames["audio"], frames["vision"], label)


def generate_synthetic_talkers(
    num_train: int = 2400, num_validation: int = 200, num_test: int = 400, seed: int = 0
) -> dict[str, list[dict[str, Any]]]:
    """Generates the rows of all splits.

    Utterance i of a split is the same whatever the number of utterances, and talkers are disjoint between splits.

    Args:
        num_train: Number of training utterances, ≥ 1.
        num_validation: Number of validation utterances, ≥ 1.
        num_test: Number of test utterances, ≥ 1.
        seed: Seed of talkers and utterances. Vocabulary and sensors are the same for all seeds.

    Returns:
        Rows in the stored-dataset layout per split.

    Raises:
        ConfigError: A split would be empty.
    """
    counts = dict(zip(SPLITS, (num_train, num_validation, num_test), strict=True))
    for split, count in counts.items():
        if count < 1:
            raise ConfigError(
                f"every split needs at least one utterance, but num_{split} is {count}; pass a positive number"
            )
    return {
        split: [draw_utterance(split, index, seed=seed).as_row() for index in range(count)]
        for split, count in counts.items()
    }


def prepare_synthetic_talkers(
    out: str | Path,
    *,
    num_train: int = 2400,
    num_validation: int = 200,
    num_test: int = 400,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Generates the dataset and stores it.

    Args:
        out: Folder of the stored dataset.
        num_train: Number of training utterances, ≥ 1.
        num_validation: Number of validation utterances, ≥ 1.
        num_test: Number of test utterances, ≥ 1.
        seed: Seed of talkers and utterances.
        overwrite: Replace an older stored dataset in that folder.

    Returns:
        The folder.

    Raises:
        ConfigError: A split would be empty.
        DataError: The folder exists and `overwrite` is False, or it holds something else.
    """
    from modeling_hfr_ame.data.stored import write_stored_dataset

    rows = generate_synthetic_talkers(num_train, num_validation, num_test, seed)
    manifest = {
        "dataset_name": "synthetic_talkers",
        "builder": "synthetic_talkers",
        "builder_version": WORLD.rsplit("-", 1)[1],
        "seed": seed,
        "label_range": list(LABEL_RANGE),
        "feature_names": {
            modality: [f"{modality}_{'a' if channel < size // 2 else 'b'}{channel:02d}" for channel in range(size)]
            for modality, size in MODALITY_SIZES.items()
        },
    }
    return write_stored_dataset(out, rows, manifest, feature_sizes=dict(MODALITY_SIZES), overwrite=overwrite)


def sentiment_label(polarity: float, mood: float, contrast: float, *, noise: float) -> float:
    """Turns latents into a label.

    Args:
        polarity: P, standard normal.
        mood: M, standard normal.
        contrast: H, standard normal.
        noise: Annotator's error in units of `LABEL_NOISE`; 0 for none.

    Returns:
        A multiple of 0.1 in [-3, 3].
    """
    score = float(np.dot(LABEL_WEIGHTS, (polarity, mood, contrast)))
    noisy = 3.0 * math.tanh(LABEL_GAIN * score) + LABEL_NOISE * noise
    # Adding zero turns a rounded −0.0 into 0.0.
    return round(min(max(noisy, LABEL_RANGE[0]), LABEL_RANGE[1]), 1) + 0.0


def event_curve(events: NDArray[np.float64], num_frames: int) -> NDArray[np.float64]:
    """Places one bump per word on a grid of frames.

    Args:
        events: (words,) heights.
        num_frames: Number of frames that span the clip.

    Returns:
        (num_frames,) sum of Gaussian bumps centred on the words.
    """
    word_times = np.arange(len(events)) + 0.5
    frame_times = (np.arange(num_frames) + 0.5) * len(events) / num_frames
    distance = (frame_times[:, None] - word_times[None, :]) / _EVENT_WIDTH
    return np.exp(-0.5 * distance**2) @ events


def _draw_frames(
    draws: KeyedDraws, shared: _SharedCurves, modality: str, num_frames: int, talker_offset: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Draws one modality's frames, (num_frames, channels), in raw sensor units."""
    sensors = _sensors(modality)
    own_contrast = float(draws.normal())
    contrast = math.tanh(_mix(shared.contrast, own_contrast, SHARED))
    mood = _cosine_sum(_mix(shared.mood, draws.normal(3) * _MOOD_SCALES, SHARED), 0, num_frames)
    coefficients = _mix(_unit(shared.carrier), _unit(draws.normal(len(shared.carrier))), SHARED)
    # Exactly one unit of carrier energy in every utterance: only its contrast tells anything.
    carrier = math.sqrt(2.0) * _cosine_sum(_unit(coefficients), shared.first_carrier_order, num_frames)
    events = event_curve(_mix(shared.events, draws.normal(len(shared.events)), EVENT_SHARED), num_frames)
    seen = (
        mood[:, None] * sensors.mood
        + events[:, None] * sensors.event
        + carrier[:, None] * sensors.carrier * (1.0 + sensors.group * contrast)
        + talker_offset
        + _background(draws, num_frames, len(sensors.gain))
        + SENSOR_NOISE * draws.normal(num_frames, len(sensors.gain))
    )
    return ((seen + sensors.offset) * sensors.gain).astype(np.float32)


@functools.cache
def _sensors(modality: str) -> _Sensors:
    size = MODALITY_SIZES[modality]
    draws = KeyedDraws(WORLD, "sensors", modality)
    group = np.where(np.arange(size) < size // 2, 1.0, -1.0)
    carrier = draws.normal(size)
    for sign in (1.0, -1.0):
        carrier[group == sign] = _unit(carrier[group == sign]) * math.sqrt(size / 2)
    return _Sensors(
        mood=_unit(draws.normal(size)) * math.sqrt(size),
        event=_unit(draws.normal(size)) * math.sqrt(size),
        carrier=carrier,
        group=group,
        # Raw scales differ by more than an order of magnitude, as real feature sets do: a scaler has work to do.
        gain=np.exp(draws.normal(size)),
        offset=3.0 * draws.normal(size),
    )


@functools.cache
def _talker_offset(seed: int, split: str, talker: int, modality: str) -> NDArray[np.float64]:
    return TALKER_OFFSET * KeyedDraws(WORLD, "talker", seed, split, talker, modality).normal(MODALITY_SIZES[modality])


def _background(draws: KeyedDraws, num_frames: int, size: int) -> NDArray[np.float64]:
    """Draws 1/f noise, (num_frames, size): the power of order k falls as 1/(k + 1)."""
    power = 1.0 / (np.arange(num_frames) + 1.0)
    scale = BACKGROUND * np.sqrt(num_frames * power / power.sum())
    return scipy.fft.idct(draws.normal(num_frames, size) * scale[:, None], norm="ortho", axis=0)


def _cosine_sum(
    coefficients: NDArray[np.float64] | Sequence[float], first_order: int, num_frames: int
) -> NDArray[np.float64]:
    """Sums cos(πkτ) over relative time τ: order k is the frequency k / num_frames of the DCT-II."""
    orders = first_order + np.arange(len(coefficients))
    times = (np.arange(num_frames) + 0.5) / num_frames
    return np.cos(np.pi * times[:, None] * orders[None, :]) @ np.asarray(coefficients)


def _mix(shared: Any, own: Any, fraction: float) -> Any:
    return math.sqrt(fraction) * shared + math.sqrt(1.0 - fraction) * own


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values / np.linalg.norm(values)
