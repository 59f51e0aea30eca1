"""Published corruption protocols as named recipes over a whole split.

    lnln-0.3  lnln_fixed-text  lnln_fixed-audio-vision  tfr_net-0.2  emt_dlfr-1.0  imder_mr-0.7

Design choices:

- A published mask belongs to a place in an array over the split, not to a sample. So these recipes are no
  `CorruptionPlan`, which decides sample by sample: they are bound once to the rows of a split, and hand out masks by
  row.
- They act on word pieces and standardised frames, after tokenisation, because the published ones do.
- Seeds are the published ones. Only `imder_mr`, whose reference has no reproducible draws, uses the caller's seed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from modeling_hfr_ame.corruption.keyed_draws import SampleKey
from modeling_hfr_ame.corruption.literature_masks import (
    KeepMasks,
    Lengths,
    PaddedLengths,
    emt_dlfr_masks,
    fixed_modality_masks,
    lnln_masks,
    tfr_net_masks,
)
from modeling_hfr_ame.corruption.missing_patterns import MAX_MISSING_RATE, check_missing_rate, draw_missing_patterns
from modeling_hfr_ame.corruption.plans import CorruptionRecipe, keep_one_modality
from modeling_hfr_ame.corruption.protocol import MODALITIES, Corruption, Modality
from modeling_hfr_ame.corruption.split_masks import Flags, SplitMasks
from modeling_hfr_ame.errors import ConfigError, DataError, InputError

LNLN = "lnln"
LNLN_FIXED = "lnln_fixed"
TFR_NET = "tfr_net"
EMT_DLFR = "emt_dlfr"
IMDER_MR = "imder_mr"

# What a rate means, by the first part of a recipe name; None where the name holds modalities instead.
LITERATURE_KINDS: Mapping[str, str | None] = MappingProxyType(
    {
        LNLN: "share of steps dropped",
        LNLN_FIXED: None,
        TFR_NET: "share of steps dropped",
        EMT_DLFR: "share of steps dropped",
        IMDER_MR: "share of modalities missing",
    }
)


@dataclass(frozen=True)
class LiteratureRecipe:
    """A published corruption, at one rate or for one set of modalities. Usually made by `from_name`.

    Args:
        kind: A key of `LITERATURE_KINDS`.
        rate: Rate in [0, 1] (`imder_mr`: at most 0.7); None for `lnln_fixed`.
        erased: For `lnln_fixed` one or two modalities, in any order; empty for the others.
        padded_lengths: Padded lengths of text, audio and vision in the arrays to reproduce, for example (50, 375, 500).
            None means the longest row of each, which gives other masks than a published array unless its padding is
            the same. `imder_mr` doesn't use them.
        split_ids: Ids of all rows of the split in stored order, where the rows at hand are only a part of it. None
            means that they are the split.

    Raises:
        ConfigError: The kind is unknown, or rate, modalities or padded lengths don't fit it.
    """

    kind: str
    rate: float | None = None
    erased: tuple[Modality, ...] = ()
    padded_lengths: PaddedLengths | None = None
    split_ids: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in LITERATURE_KINDS:
            raise ConfigError(f"a published protocol must be one of {', '.join(LITERATURE_KINDS)}, found {self.kind!r}")
        if LITERATURE_KINDS[self.kind] is None:
            self._check_erased()
        else:
            self._check_rate()
        lengths = self.padded_lengths
        if lengths is not None and (len(lengths) != len(MODALITIES) or min(lengths) < 1):
            raise ConfigError(
                f"padded lengths are three numbers of at least 1, for {', '.join(MODALITIES)}, found {lengths}; "
                "pass for example (50, 375, 500), or None for the longest rows"
            )

    def _check_erased(self) -> None:
        unknown = [modality for modality in self.erased if modality not in MODALITIES]
        if (
            self.rate is not None
            or unknown
            or len(set(self.erased)) != len(self.erased)
            or len(self.erased) not in (1, 2)
        ):
            raise ConfigError(
                f"{self.kind!r} erases one or two different modalities out of {', '.join(MODALITIES)} and has no rate, "
                f"found {', '.join(self.erased) or 'none'} and rate {self.rate}; write for example '{self.kind}-text'"
            )
        object.__setattr__(self, "erased", tuple(modality for modality in MODALITIES if modality in self.erased))

    def _check_rate(self) -> None:
        if self.erased or not isinstance(self.rate, float):
            raise ConfigError(
                f"{self.kind!r} takes a rate written with a decimal point and no modalities, found {self.rate!r} and "
                f"{', '.join(self.erased) or 'no modalities'}; write for example '{self.kind}-0.3'"
            )
        if self.kind == IMDER_MR:
            check_missing_rate(self.rate)
        elif not 0.0 <= self.rate <= 1.0:
            raise ConfigError(
                f"{self.kind!r} takes a rate in [0, 1], found {self.rate!r}; pass the share to be dropped"
            )

    @classmethod
    def from_name(cls, name: str) -> "LiteratureRecipe":
        """Reads a recipe from its name.

        Args:
            name: `<kind>-<rate>`, or `lnln_fixed-<modality>[-<modality>]`.

        Returns:
            The recipe, for padded lengths of the longest rows and rows that are the whole split.

        Raises:
            ConfigError: The name does not follow the grammar, or says something that can't be.
        """
        kind, *parts = name.split("-")
        if LITERATURE_KINDS.get(kind) is None:
            return cls(kind, erased=tuple(parts))  # type: ignore[arg-type]
        if len(parts) != 1 or not re.fullmatch(r"[0-9]+\.[0-9]+", parts[0]):
            raise ConfigError(
                f"{kind!r} takes one rate written with a decimal point, found {name!r}; write for example '{kind}-0.3'"
            )
        return cls(kind, rate=float(parts[0]))

    @property
    def name(self) -> str:
        """The canonical name."""
        if self.rate is None:
            return "-".join((self.kind, *self.erased))
        return f"{self.kind}-{np.format_float_positional(self.rate, trim='0')}"

    @property
    def needs_vocabulary(self) -> bool:
        """Whether words of the training split are needed; they never are."""
        return False

    @property
    def changes_nothing(self) -> bool:
        """Whether the rate is 0."""
        return self.rate == 0.0

    @property
    def nominal_rate(self) -> float | None:
        """The rate on the axis of a curve: the highest `imder_mr` is 2/3, not 0.7. None without a rate."""
        return min(self.rate, MAX_MISSING_RATE) if self.kind == IMDER_MR and self.rate is not None else self.rate

    def over(
        self, *, split_ids: Sequence[str] | None = None, padded_lengths: PaddedLengths | None = None
    ) -> "LiteratureRecipe":
        """Gives the same recipe for the rows of a named split.

        Args:
            split_ids: As in the constructor.
            padded_lengths: As in the constructor.

        Raises:
            ConfigError: As in the constructor.
        """
        ids = None if split_ids is None else tuple(split_ids)
        return replace(self, split_ids=ids, padded_lengths=padded_lengths)

    def removed_modalities(self, ids: Sequence[str], *, dataset: str, split: str, seed: int) -> Flags:
        """Says which modalities the recipe takes away as a whole.

        Args:
            ids: Ids of N rows of the split.
            dataset: Name of the dataset.
            split: Name of the split.
            seed: Seed of the draws; used by `imder_mr` only.

        Returns:
            (N, 3) flags for text, audio, vision. All False except for `imder_mr`: `lnln_fixed` leaves special tokens
            and zero frames in place.

        Raises:
            DataError: A row is not in `split_ids`.
        """
        places = self._places(ids)
        if self.kind != IMDER_MR or self.rate is None:
            return np.zeros((len(ids), len(MODALITIES)), dtype=bool)
        keys = [SampleKey(dataset, split, sample_id, seed) for sample_id in self.split_ids or ids]
        return ~draw_missing_patterns(keys, self.rate)[places]

    def bind(self, ids: Sequence[str], lengths: Lengths, *, dataset: str, split: str, seed: int) -> SplitMasks:
        """Draws the masks for rows of a split.

        Where a row would lose every modality that it has, one of them, drawn by key, stays and is left alone, as under
        any other plan.

        Args:
            ids: Ids of N rows.
            lengths: (N, 3) valid steps of text (word pieces with the two special tokens), audio and vision; 0 = absent.
            dataset: Name of the dataset.
            split: Name of the split.
            seed: Seed of the draws; used by `imder_mr` only.

        Returns:
            The masks of these N rows.

        Raises:
            DataError: A row is not in `split_ids`, or longer than its padded length.
        """
        present = lengths > 0
        removed = present & self.removed_modalities(ids, dataset=dataset, split=split, seed=seed)
        if self.kind == IMDER_MR:
            for row in np.flatnonzero(present.any(axis=1) & ~(present & ~removed).any(axis=1)).tolist():
                removed[row] = _keep_one(removed[row], SampleKey(dataset, split, ids[row], seed))
            return SplitMasks(None, removed, removed.astype(np.float32), None)
        padded = self.padded_lengths
        if padded is None:
            longest = lengths.max(axis=0, initial=1).tolist()
            padded = (longest[0], longest[1], longest[2])
        # rows of the split that are not at hand have no steps, yet take their share of the random numbers
        places = self._places(ids)
        split_lengths = np.zeros((len(self.split_ids or ids), len(MODALITIES)), dtype=np.int64)
        split_lengths[places] = lengths
        text, audio, vision = self._draw(split_lengths, padded)
        rates = [float(modality in self.erased) if self.rate is None else self.rate for modality in MODALITIES]
        severity = np.where(present, np.asarray(rates, dtype=np.float32), np.float32(0.0))
        return SplitMasks((text[places], audio[places], vision[places]), removed, severity, padded)

    def _draw(self, lengths: Lengths, padded: PaddedLengths) -> KeepMasks:
        if self.rate is None:
            return fixed_modality_masks(lengths, padded, self.erased)
        if self.kind == LNLN:
            return lnln_masks(lengths, padded, self.rate)
        if self.kind == TFR_NET:
            return tfr_net_masks(lengths, padded, self.rate)
        return emt_dlfr_masks(lengths, padded, self.rate)

    def _places(self, ids: Sequence[str]) -> npt.NDArray[np.intp]:
        if self.split_ids is None:
            return np.arange(len(ids), dtype=np.intp)
        place = {sample_id: index for index, sample_id in enumerate(self.split_ids)}
        strangers = [sample_id for sample_id in ids if sample_id not in place]
        if strangers:
            raise DataError(
                f"every row must belong to the split that {self.name!r} was made for, found {strangers[0]!r} "
                f"({len(strangers)} such rows) outside its {len(place)}; pass split_ids of all rows, in stored order"
            )
        return np.array([place[sample_id] for sample_id in ids], dtype=np.intp)


def read_recipe(name: str) -> CorruptionRecipe | LiteratureRecipe:
    """Reads a recipe of either sort from its name.

    Args:
        name: A name that `CorruptionRecipe.from_name` or `LiteratureRecipe.from_name` reads.

    Raises:
        ConfigError: The name follows neither grammar, or says something that can't be.
    """
    is_published = name.split("-")[0] in LITERATURE_KINDS
    return LiteratureRecipe.from_name(name) if is_published else CorruptionRecipe.from_name(name)


def read_padded_lengths(text: str) -> PaddedLengths:
    """Reads the padded lengths of published arrays as commands take them.

    Args:
        text: Steps of text, audio and vision with slashes between them, such as `50/375/500`.

    Raises:
        InputError: These aren't three whole numbers from 1.
    """
    parts = text.split("/")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(
            f"padded lengths are three whole numbers from 1 for text, audio and vision, found {text!r}; "
            "write for example 50/375/500"
        )
    return int(parts[0]), int(parts[1]), int(parts[2])


def _keep_one(removed: Flags, key: SampleKey) -> Flags:
    present = [modality for modality, gone in zip(MODALITIES, removed, strict=True) if gone]
    drawn = {modality: Corruption("missing", 1) if modality in present else None for modality in MODALITIES}
    kept = keep_one_modality(drawn, key, present)
    return np.array([kept[modality] is not None for modality in MODALITIES])
