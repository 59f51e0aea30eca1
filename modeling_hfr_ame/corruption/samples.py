"""A whole sample through a plan: text, audio and vision together, with severity labels and presence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modeling_hfr_ame.corruption.frames import Frames, corrupt_frames
from modeling_hfr_ame.corruption.keyed_draws import SampleKey
from modeling_hfr_ame.corruption.plans import CorruptionPlan, keep_one_modality
from modeling_hfr_ame.corruption.protocol import MODALITIES
from modeling_hfr_ame.corruption.sound_alikes import VocabularyLike
from modeling_hfr_ame.corruption.words import SourceIndex, corrupt_words
from modeling_hfr_ame.errors import InputError


@dataclass(frozen=True)
class CorruptedSample:
    """A sample after corruption.

    Args:
        words: The words; None where text is absent.
        source_index: For each word the index of its word in the clean text, int64; None where text is absent.
        audio: (n, D) float32; None where audio is absent.
        vision: (n, D) float32; None where vision is absent.
        severity: (3,) float32 in [0, 1], text, audio, vision; what the plan asked for, 0 for a modality that was absent
            before and so was not corrupted, 1 for one that the plan removed.
        present: (3,) bool, text, audio, vision; at least one is True.
    """

    words: list[str] | None
    source_index: SourceIndex | None
    audio: Frames | None
    vision: Frames | None
    severity: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_]


def corrupt_sample(
    words: Sequence[str] | None,
    audio: Frames | None,
    vision: Frames | None,
    plan: CorruptionPlan,
    key: SampleKey,
    vocabulary: VocabularyLike | None = None,
) -> CorruptedSample:
    """Applies a plan to all modalities of one sample.

    A removal that would leave the sample without any modality is taken back for one of them, which then stays clean:
    a sample without modalities is no input to any model.

    Args:
        words: The words; None if text is absent.
        audio: (n, D) float32 standardised; None if absent.
        vision: (n, D) float32 standardised; None if absent.
        plan: A `CorruptionRecipe` or a `TrainingMix`.
        key: The sample, which selects all random draws.
        vocabulary: Words of the training split; needed where `plan.needs_vocabulary`.

    Returns:
        The corrupted sample; no array in it shares memory with the input.

    Raises:
        InputError: All modalities are absent, or one is malformed.
        DataError: The plan draws "asr" and there is no vocabulary.
    """
    given = dict(zip(MODALITIES, (words, audio, vision), strict=True))
    available = [modality for modality in MODALITIES if given[modality] is not None]
    if not available:
        raise InputError("a sample needs at least one of text, audio, vision, found none; leave it out of the dataset")
    drawn = keep_one_modality(plan.draw(key), key, available)
    applied = {modality: drawn[modality] for modality in available}
    removed = {modality for modality, corruption in applied.items() if corruption and corruption.removes_modality}

    damaged_words: list[str] | None = None
    source_index: SourceIndex | None = None
    if words is not None and "text" not in removed:
        damaged_words, source_index = corrupt_words(words, applied["text"], key, vocabulary)
    damaged_frames: dict[str, Frames] = {}
    for modality, frames in (("audio", audio), ("vision", vision)):
        if frames is not None and modality not in removed:
            damaged_frames[modality] = corrupt_frames(frames, drawn[modality], key, modality)  # type: ignore[index]

    severity = [corruption.severity if (corruption := applied.get(modality)) else 0.0 for modality in MODALITIES]
    present = [modality in available and modality not in removed for modality in MODALITIES]
    return CorruptedSample(
        words=damaged_words,
        source_index=source_index,
        audio=damaged_frames.get("audio"),
        vision=damaged_frames.get("vision"),
        severity=np.array(severity, dtype=np.float32),
        present=np.array(present),
    )
