"""The corruption protocol: seeded, named, versioned damage to words and standardised frames.

A pure function of (protocol version, dataset, split, sample id, modality, kind, seed, epoch) and the level. Beside it,
under their own names, the protocols of published systems (`LiteratureRecipe`).
"""

from modeling_hfr_ame.corruption.frames import corrupt_frames
from modeling_hfr_ame.corruption.keyed_draws import PROTOCOL_VERSION, SampleKey
from modeling_hfr_ame.corruption.literature import (
    LITERATURE_KINDS,
    LiteratureRecipe,
    read_padded_lengths,
    read_recipe,
)
from modeling_hfr_ame.corruption.literature_masks import (
    emt_dlfr_masks,
    fixed_modality_masks,
    lnln_masks,
    random_keep_masks,
    tfr_net_masks,
)
from modeling_hfr_ame.corruption.lnln_training_rates import LnlnTrainingRates
from modeling_hfr_ame.corruption.missing_patterns import draw_missing_patterns
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
from modeling_hfr_ame.corruption.split_masks import SplitMasks
from modeling_hfr_ame.corruption.words import MASK_WORD, UNKNOWN_WORD, corrupt_words

__all__ = [
    "KINDS",
    "LITERATURE_KINDS",
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
    "LiteratureRecipe",
    "LnlnTrainingRates",
    "Modality",
    "SampleKey",
    "SoundAlikes",
    "SplitMasks",
    "TrainingMix",
    "corrupt_frames",
    "corrupt_sample",
    "corrupt_words",
    "draw_missing_patterns",
    "emt_dlfr_masks",
    "fixed_modality_masks",
    "lnln_masks",
    "random_keep_masks",
    "read_padded_lengths",
    "read_recipe",
    "tfr_net_masks",
]
