"""Masks of the rows of a split, and one row under them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from modeling_hfr_ame.corruption.literature_masks import (
    KeepMasks,
    PaddedLengths,
    replace_dropped_tokens,
    zero_dropped_frames,
)

Flags = npt.NDArray[np.bool_]


class CorruptedTokens(NamedTuple):
    """One row after corruption; None = absent. `input_ids` (Lt,), `audio` (La, Da), `vision` (Lv, Dv)."""

    input_ids: npt.NDArray[np.int64] | None
    audio: npt.NDArray[np.float32] | None
    vision: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class SplitMasks:
    """What a recipe does to each of N rows.

    Args:
        keep: (N, L) per modality, True = a valid step that stays; None where a recipe only removes whole modalities.
        removed: (N, 3), True where the recipe takes a modality away that the row has.
        severity: (N, 3) float32 in [0, 1]: the nominal rate, 1 where removed, 0 for a modality that the row lacks.
        padded_lengths: Lengths of text, audio and vision that the masks were drawn on; None where they play no part.
    """

    keep: KeepMasks | None
    removed: Flags
    severity: npt.NDArray[np.float32]
    padded_lengths: PaddedLengths | None

    def apply(
        self,
        row: int,
        input_ids: npt.NDArray[np.int64] | None,
        audio: npt.NDArray[np.float32] | None,
        vision: npt.NDArray[np.float32] | None,
        unknown_id: int,
    ) -> CorruptedTokens:
        """Corrupts one row.

        Args:
            row: Place of the row among the N rows.
            input_ids: (Lt,) token ids with the two special tokens, not padded; None if absent. Not modified.
            audio: (La, Da) standardised frames, not padded; None if absent. Not modified.
            vision: (Lv, Dv), likewise.
            unknown_id: Id of the tokenizer's unknown token.

        Returns:
            The row with dropped tokens unknown and dropped frames zero; None for what is absent or removed.
        """
        text_gone, audio_gone, vision_gone = self.removed[row].tolist()
        ids = None if text_gone else input_ids
        sound, faces = None if audio_gone else audio, None if vision_gone else vision
        if self.keep is not None:
            text_keep, audio_keep, vision_keep = (masks[row] for masks in self.keep)
            ids = None if ids is None else replace_dropped_tokens(ids, text_keep[: len(ids)], unknown_id)
            sound = None if sound is None else zero_dropped_frames(sound, audio_keep[: len(sound)])
            faces = None if faces is None else zero_dropped_frames(faces, vision_keep[: len(faces)])
        return CorruptedTokens(ids, sound, faces)
