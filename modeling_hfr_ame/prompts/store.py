"""Reading a prompt store. Training reads only this: no model, no request, no lock.

The label policy is held here. Rows outside the training split that saw their label make a store unusable, both under
the store's own splits and under the splits of the dataset that a trainer brings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.prompts.rows import TRAINING_SPLIT, PromptRow, StoreDescription, sha256_of
from modeling_hfr_ame.prompts.writer import STORE_SUFFIX, index_rows, read_description, read_rows

Transcripts = Mapping[str, Mapping[str, str | None]]
"""Transcript by sample id, by split."""


class _Unchecked:
    """The type of `UNCHECKED`."""


UNCHECKED: Final = _Unchecked()
"""Says that the transcript that a hint was made for isn't compared."""


@dataclass(frozen=True)
class SplitCoverage:
    """How much of a split has a hint.

    Attributes:
        rows: Samples of the split.
        answered: Samples with a hint for their present transcript.
        failed: Samples that were asked about, without an answer so far.
        missing: Samples never asked about.
        stale: Samples whose hint was made for another transcript.
    """

    rows: int
    answered: int
    failed: int
    missing: int
    stale: int

    @property
    def share(self) -> float:
        """Answered share, 1 for a split without rows."""
        return self.answered / self.rows if self.rows else 1.0


def transcripts_by_split(dataset: str | Path) -> dict[str, dict[str, str | None]]:
    """Reads the transcripts of a stored dataset, without its frames.

    Args:
        dataset: Folder of the stored dataset.

    Returns:
        Transcript (None = absent) by sample id, by split.

    Raises:
        DataError: The folder isn't a stored dataset.
    """
    from modeling_hfr_ame.data.stored import load_stored_dataset

    loaded = load_stored_dataset(dataset).select_columns(["id", "text"])
    return {split: dict(zip(rows["id"][:], rows["text"][:], strict=True)) for split, rows in loaded.items()}


def list_prompt_stores(folder: str | Path) -> list[StoreDescription]:
    """Lists the stores of a folder by name; a file without a row yet is left out.

    Raises:
        DataError: The folder is missing, or a file's first line is damaged.
    """
    return [each for each in map(read_description, _store_files(folder)) if each is not None]


def _store_files(folder: str | Path) -> list[Path]:
    root = Path(folder)
    if not root.is_dir():
        raise DataError(
            f"prompt stores lie in a folder, found none at {str(folder)!r}; fill one with `hfr-ame prompts DATASET "
            "--store FOLDER`"
        )
    return sorted(root.glob(f"*{STORE_SUFFIX}"))


class PromptStore:
    """The hints of one model, template and set of options for one dataset. `open` finds it in a folder.

    Args:
        rows: All rows of the file, in order, at least one.

    Attributes:
        description: What the rows share.

    Raises:
        DataError: A row outside the training split saw its label.
    """

    def __init__(self, rows: list[PromptRow]) -> None:
        self.description: StoreDescription = rows[0].description
        leaks = [row for row in rows if row.label_shown and row.split != TRAINING_SPLIT]
        if leaks:
            raise DataError(
                f"only rows of the split {TRAINING_SPLIT!r} may be asked about with their label, {len(leaks)} rows of "
                f"{self.description.name} outside it saw theirs (first: {leaks[0].sample_id!r} in {leaks[0].split!r}); "
                "make the hints of those splits again without the label"
            )
        self._by_key = index_rows(rows)
        self._by_sample: dict[str, list[PromptRow]] = {}
        for row in self._by_key.values():
            self._by_sample.setdefault(row.sample_id, []).append(row)

    @classmethod
    def open(
        cls, folder: str | Path, *, dataset: str | None = None, model: str | None = None, name: str | None = None
    ) -> PromptStore:
        """Opens the one store of a folder that fits; a writer may be at work on it.

        Args:
            folder: Folder of the stores.
            dataset: Its `dataset_name`; None = any.
            model: Its model id; None = any.
            name: Stem of the file; None = any.

        Returns:
            The store as it is now.

        Raises:
            DataError: No store or several fit, a file is damaged, or a row outside the training split saw its label.
        """
        wanted = {"dataset": dataset, "model_id": model, "name": name}
        found = [
            description
            for description in list_prompt_stores(folder)
            if all(value in (None, getattr(description, key)) for key, value in wanted.items())
        ]
        if len(found) == 1:
            return cls(read_rows(Path(folder) / f"{found[0].name}{STORE_SUFFIX}"))
        asked = ", ".join(f"{key} {value!r}" for key, value in wanted.items() if value is not None) or "any store"
        if not found:
            names = ", ".join(path.stem for path in _store_files(folder)) or "none at all"
            raise DataError(
                f"a prompt store must fit {asked}, found {names} in {str(folder)!r}; fill one with `hfr-ame prompts "
                "DATASET --store FOLDER`"
            )
        names = ", ".join(description.name for description in found)
        raise DataError(f"one prompt store must be named, {asked} fits {len(found)} ({names}); pass name=")

    @property
    def content_sha256(self) -> str:
        """Hash over keys and texts of the answered rows; row order, failures and times don't matter."""
        return sha256_of(sorted([row.key, row.text] for row in self._by_key.values() if row.answered))

    def describe(self) -> dict[str, Any]:
        """Gives what a run record or a card says about the hints, as plain JSON."""
        return {
            **asdict(self.description),
            "content_sha256": self.content_sha256,
            "label_policy": self.description.label_policy,
            "answered": sum(row.answered for row in self._by_key.values()),
            "label_shown": sum(row.answered and row.label_shown for row in self._by_key.values()),
        }

    def rows(self) -> list[PromptRow]:
        """Gives one row per key, the answer or else the last failure, in the order of their first writing."""
        return list(self._by_key.values())

    def row_of(self, split: str, sample_id: str, transcript: str | _Unchecked | None = UNCHECKED) -> PromptRow | None:
        """Looks the answered row of a sample up.

        Args:
            split: The sample's split in the dataset at hand.
            sample_id: Its id.
            transcript: Its present transcript, None = it has none; left out, it isn't compared.

        Returns:
            The newest answered row, or None: never asked, failed, or made for another transcript.

        Raises:
            DataError: The row saw the label, and the sample isn't a training sample here.
        """
        rows = [row for row in self._by_sample.get(sample_id, ()) if row.answered]
        if not isinstance(transcript, _Unchecked):
            wanted = None if transcript is None else sha256_of(transcript)
            rows = [row for row in rows if row.inputs.transcript == wanted]
        if not rows:
            return None
        if rows[-1].label_shown and split != TRAINING_SPLIT:
            raise DataError(
                f"sample {sample_id!r} is in {split!r} here, and its hint in {self.description.name} was made with its "
                "label shown; use a store of the same folds, or one made without labels"
            )
        return rows[-1]

    def text_of(self, split: str, sample_id: str, transcript: str | _Unchecked | None = UNCHECKED) -> str | None:
        """Gives the hint of a sample, None where there is none; see `row_of`."""
        row = self.row_of(split, sample_id, transcript)
        return None if row is None else row.text

    def coverage(self, transcripts: Transcripts) -> dict[str, SplitCoverage]:
        """Counts what the store knows of a dataset.

        Args:
            transcripts: As `transcripts_by_split` gives it.

        Returns:
            The counts by split.

        Raises:
            DataError: A sample outside the training split has a hint that saw its label.
        """
        return {split: self._cover(split, samples) for split, samples in transcripts.items()}

    def _cover(self, split: str, samples: Mapping[str, str | None]) -> SplitCoverage:
        answered = failed = missing = stale = 0
        for sample_id, transcript in samples.items():
            if self.row_of(split, sample_id, transcript) is not None:
                answered += 1
            elif self.row_of(split, sample_id) is not None:
                stale += 1
            elif sample_id in self._by_sample:
                failed += 1
            else:
                missing += 1
        return SplitCoverage(len(samples), answered, failed, missing, stale)

    def require(self, transcripts: Transcripts, min_coverage: float = 1.0) -> dict[str, SplitCoverage]:
        """Checks before training that the store serves a dataset.

        Args:
            transcripts: As `transcripts_by_split` gives it.
            min_coverage: Smallest answered share of each split, in [0, 1].

        Returns:
            The counts by split.

        Raises:
            DataError: A split has too few hints, or a sample outside the training split has a hint that saw its label.
        """
        coverage = self.coverage(transcripts)
        for split, found in coverage.items():
            if found.share < min_coverage:
                raise DataError(
                    f"each split needs hints for at least {min_coverage:.0%} of its samples, {split!r} has "
                    f"{found.answered} of {found.rows} in {self.description.name} ({found.failed} failed, "
                    f"{found.missing} missing, {found.stale} stale); run `hfr-ame prompts` again with the same options"
                )
        return coverage
