"""The corruption protocol: seeded, named, versioned damage to words and standardised frames.

A pure function of (protocol version, dataset, split, sample id, modality, kind, seed, epoch) and the level.
"""

from modeling_hfr_ame.corruption.frames import corrupt_frames
from modeling_hfr_ame.corruption.keyed_draws import PROTOCOL_VERSION, SampleKey
from modeling_hfr_ame.corruption.plans import (
    TRAINING_MIXES,
    CorruptionPlan,
    CorruptionRecipe,
    DrawnCorruptions,
    TrainingMix,
)
from modeling_hfr_ame.corruption.protocol import KINDS, MODALITIES, Corruption, KindRule, Modality
from modeling_hfr_ame.corruption.samples import CorruptedSample, corrupt_sample
from modeling_hfr_ame.corruption.sound_alikes import SoundAlikes
from modeling_hfr_ame.corruption.words import MASK_WORD, UNKNOWN_WORD, corrupt_words

__all__ = [
    "KINDS",
    "MASK_WORD",
    "MODALITIES",
    "PROTOCOL_VERSION",
    "TRAINING_MIXES",
    "UNKNOWN_WORD",
    "CorruptedSample",
    "Corruption",
    "CorruptionPlan",
    "CorruptionRecipe",
    "DrawnCorruptions",
    "KindRule",
    "Modality",
    "SampleKey",
    "SoundAlikes",
    "TrainingMix",
    "corrupt_frames",
    "corrupt_sample",
    "corrupt_words",
]
