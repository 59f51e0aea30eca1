"""Keep masks as published code draws them: one array of random numbers per split, not one key per sample.

Design choices:

- The published loaders seed NumPy's legacy global generator and draw an array over the padded split. An own
  `RandomState` with that seed gives the same numbers, and no global state is touched.
- The numbers of a row depend on its place in the split and on the padded length, hence both are arguments here.
- What the loaders do is kept, flaws included: equal seeds give modalities of equal padded length equal numbers, so they
  lose the same steps. Nothing of this is a default anywhere; `drop` is the protocol of this package.

Legend: N rows of a split, L padded length of a modality, D features.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from modeling_hfr_ame.corruption.protocol import MODALITIES, Modality
from modeling_hfr_ame.errors import ConfigError, DataError

Lengths = npt.NDArray[np.int64]
PaddedLengths = tuple[int, int, int]
KeepMasks = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]

LNLN_SEED = 1111
TFR_NET_RATES = (0.2, 0.2, 0.2)
TFR_NET_SEEDS = (1111, 1111, 1111)
EMT_DLFR_SEEDS = (111, 1111, 11111)


def random_keep_masks(lengths: Lengths, padded_lengths: Sequence[int], rates: Any, seeds: Sequence[int]) -> KeepMasks:
    """Draws which tokens and frames of a split stay, the rule that LNLN, TFR-Net and EMT-DLFR share.

    A step stays if its uniform number is greater than the rate. The first and the last token of a text always stay.

    Args:
        lengths: (N, 3) valid steps per row of text, audio and vision, 0 where a row lacks the modality. Text counts
            word pieces, the leading and the trailing special token included.
        padded_lengths: Padded lengths of text, audio and vision, in that order. They decide which random number belongs
            to which step.
        rates: Share to drop in [0, 1]: one number, three (per modality), or (N, 3).
        seeds: Seed of the generator for text, audio and vision.

    Returns:
        Three arrays (N, L), True = a valid step that stays; False = dropped or padding.

    Raises:
        ConfigError: A rate is outside [0, 1].
        DataError: `lengths` is not (N, 3), or a row is longer than its padded length.

    Source:
        The loaders of Haoyu-ha/LNLN (80a052c) and thuiar/MMSA (a94e65d); equal bit by bit to their stored output.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    _check_lengths(lengths, padded_lengths)
    rates = np.asarray(rates, dtype=np.float64)
    if not ((rates >= 0.0) & (rates <= 1.0)).all():
        raise ConfigError(f"drop rates must be in [0, 1], found {rates.min():g} to {rates.max():g}; pass shares")
    row_rates = np.broadcast_to(rates, lengths.shape)
    text, audio, vision = (
        _draw_keep(lengths[:, column], padded_lengths[column], row_rates[:, column], seeds[column])
        for column in range(len(MODALITIES))
    )
    rows = np.flatnonzero(lengths[:, 0])
    text[rows, 0] = text[rows, lengths[rows, 0] - 1] = True
    return text, audio, vision


def lnln_masks(lengths: Lengths, padded_lengths: Sequence[int], rates: Any, seed: int = LNLN_SEED) -> KeepMasks:
    """Draws LNLN's masks: one seed for all three modalities.

    Args:
        lengths: (N, 3), as in `random_keep_masks`.
        padded_lengths: As in `random_keep_masks`; 50, 375, 500 in the arrays of MOSI, 50, 500, 500 in those of MOSEI.
        rates: One rate for everything as in its tests, or (N, 3) from `LnlnTrainingRates` as in its training.
        seed: Seed of the masks; 1111 in the published protocol, whatever the seed of the training.

    Returns:
        As `random_keep_masks`.

    Raises:
        ConfigError: As `random_keep_masks`.
        DataError: As `random_keep_masks`.
    """
    return random_keep_masks(lengths, padded_lengths, rates, (seed, seed, seed))


def tfr_net_masks(
    lengths: Lengths,
    padded_lengths: Sequence[int],
    rates: Any = TFR_NET_RATES,
    seeds: Sequence[int] = TFR_NET_SEEDS,
) -> KeepMasks:
    """Draws the masks that MMSA gives to TFR-Net: a rate and a seed per modality, once per split.

    Args:
        lengths: (N, 3), as in `random_keep_masks`.
        padded_lengths: As in `random_keep_masks`.
        rates: Rate of text, audio and vision; MMSA's configuration has 0.2 for each.
        seeds: Seed of text, audio and vision; MMSA's configuration has 1111 for each.

    Returns:
        As `random_keep_masks`.

    Raises:
        ConfigError: As `random_keep_masks`.
        DataError: As `random_keep_masks`.
    """
    return random_keep_masks(lengths, padded_lengths, rates, seeds)


def emt_dlfr_masks(lengths: Lengths, padded_lengths: Sequence[int], rate: float) -> KeepMasks:
    """Draws EMT-DLFR's masks: MMSA's rule with one rate for all and the seeds 111, 1111 and 11111.

    Args:
        lengths: (N, 3), as in `random_keep_masks`.
        padded_lengths: As in `random_keep_masks`.
        rate: Share to drop; published curves run from 0.0 to 1.0 in tenths.

    Returns:
        As `random_keep_masks`.

    Raises:
        ConfigError: As `random_keep_masks`.
        DataError: As `random_keep_masks`.
    """
    return random_keep_masks(lengths, padded_lengths, rate, EMT_DLFR_SEEDS)


def fixed_modality_masks(lengths: Lengths, padded_lengths: Sequence[int], erased: Sequence[Modality]) -> KeepMasks:
    """Erases whole modalities the way LNLN does: rate 1 for them and rate 0 for the others.

    An erased text keeps its special tokens and its length, so how long the sentence was still shows.

    Args:
        lengths: (N, 3), as in `random_keep_masks`.
        padded_lengths: As in `random_keep_masks`.
        erased: The modalities to erase.

    Returns:
        As `random_keep_masks`.

    Raises:
        DataError: As `random_keep_masks`.
    """
    return lnln_masks(lengths, padded_lengths, [float(modality in erased) for modality in MODALITIES])


def replace_dropped_tokens(
    input_ids: npt.NDArray[np.int64], keep: npt.NDArray[np.bool_], unknown_id: int, length: int | Lengths | None = None
) -> npt.NDArray[np.int64]:
    """Puts the unknown token in place of dropped ones.

    Args:
        input_ids: (..., L) token ids. Not modified.
        keep: (..., L), True = stays.
        unknown_id: Id of the tokenizer's unknown token; the published loaders write 100, which it is in both of
            their BERT vocabularies.
        length: Valid tokens, one number or one per row; steps beyond them are padding and stay. None means all are
            valid.

    Returns:
        (..., L) token ids, a new array.
    """
    valid = np.ones(input_ids.shape, dtype=bool)
    if length is not None:
        valid = np.arange(input_ids.shape[-1]) < np.asarray(length)[..., None]
    return np.where(valid & ~keep, np.int64(unknown_id), input_ids)


def zero_dropped_frames(frames: npt.NDArray[np.float32], keep: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Makes dropped frames exact zero rows.

    Args:
        frames: (..., L, D), finite. Not modified.
        keep: (..., L), True = stays.

    Returns:
        (..., L, D), a new array.
    """
    return np.where(keep[..., None], frames, np.float32(0.0))


def _draw_keep(lengths: Lengths, padded: int, rates: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.bool_]:
    numbers = np.random.RandomState(seed).random_sample((len(lengths), padded))
    return (numbers > rates[:, None]) & (np.arange(padded) < lengths[:, None])


def _check_lengths(lengths: Lengths, padded_lengths: Sequence[int]) -> None:
    if lengths.ndim != 2 or lengths.shape[1] != len(MODALITIES) or len(padded_lengths) != len(MODALITIES):
        raise DataError(
            f"lengths must be (rows, 3) with one padded length each for {', '.join(MODALITIES)}, found shape "
            f"{lengths.shape} and {len(padded_lengths)} padded lengths; pass 0 for a modality that a row lacks"
        )
    longest = lengths.max(axis=0, initial=0)
    for modality, steps, padded in zip(MODALITIES, longest.tolist(), padded_lengths, strict=True):
        if steps > padded:
            raise DataError(
                f"no row may be longer than the padded length, found {steps} steps of {modality} and a padded length "
                f"of {padded}; pass at least {steps}, or cut rows at {padded} with the processor's "
                f"max_{modality}_length"
            )
