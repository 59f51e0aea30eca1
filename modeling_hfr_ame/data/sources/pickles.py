"""Pickle sources: read safely, then told apart by what is inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modeling_hfr_ame.data.safe_pickle import read_pickle
from modeling_hfr_ame.data.sources import mmsa, mult, sample_lists
from modeling_hfr_ame.data.sources.padded_arrays import SPLIT_NAMES
from modeling_hfr_ame.data.sources.source import SourceDataset, SourceOptions
from modeling_hfr_ame.errors import DataError

PICKLE_SUFFIXES = (".pkl", ".pickle", ".p", ".pt")
_LAYOUTS = (mmsa, mult, sample_lists)


def recognise(path: Path) -> str | None:
    """`pickle` for a file with such a suffix, `misa` for a folder of `train.pkl`, `dev.pkl`, `test.pkl`."""
    if path.is_file():
        return "pickle" if path.suffix.lower() in PICKLE_SUFFIXES else None
    return "pickle-folder" if path.is_dir() and _split_files(path) else None


def _split_files(folder: Path) -> dict[str, Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICKLE_SUFFIXES)
    return {path.stem: path for path in files if path.stem in SPLIT_NAMES}


def open_source(path: Path, options: SourceOptions) -> SourceDataset:
    """Reads a pickle and opens its layout.

    Raises:
        PickleError: The file isn't plain data.
        DataError: It is data of none of the known layouts, or breaks its layout's rules.
    """
    if path.is_dir():
        files = _split_files(path)
        splits = {SPLIT_NAMES[name]: read_pickle(file) for name, file in files.items()}
        for name, tree in splits.items():
            if not sample_lists.recognise_tree(tree):
                raise _unknown(path / f"{name}.pkl", tree)
        return sample_lists.open_splits(splits, list(files.values()), options)
    tree = read_pickle(path)
    for layout in _LAYOUTS:
        if layout.recognise_tree(tree):
            return layout.open_tree(tree, path, options)
    raise _unknown(path, tree)


def _unknown(path: Path, tree: Any) -> DataError:
    return DataError(
        f"{path.name} must hold one of the layouts MMSA (splits with 'regression_labels'), MulT (splits with 'labels', "
        f"'audio' and 'vision') or MISA and MAG-BERT (lists of samples), found {_outline(tree)}; for other data call "
        "write_stored_dataset with rows of your own"
    )


def _outline(tree: Any) -> str:
    """A tree's outermost shape in a few words."""
    if isinstance(tree, dict):
        keys = ", ".join(map(repr, list(tree)[:6])) + (", …" if len(tree) > 6 else "")
        inner = next((value for value in tree.values() if isinstance(value, dict)), None)
        return f"a dict with the keys {keys}" + (
            f" whose first dict holds {', '.join(map(repr, list(inner)[:8]))}" if inner else ""
        )
    if isinstance(tree, (list, tuple)):
        return f"a {type(tree).__name__} of {len(tree)}" + (f" {type(tree[0]).__name__}" if tree else "")
    return f"a {type(tree).__name__}"
