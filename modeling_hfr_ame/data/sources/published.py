"""What is published about the files people hold: checksums, and how many rows each split has.

Source: the MMSA README (sha256, MOSI and MOSEI counts), MMSA's loader and configurations (CH-SIMS), the loaders of
MulT and MISA, the CMU-MultimodalSDK folds.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

KNOWN_FILES: Mapping[str, str] = MappingProxyType(
    {
        "78e0f8b5ef8ff71558e7307848fc1fa929ecb078203f565ab22b9daab2e02524": "MMSA CMU-MOSI unaligned_50.pkl",
        "d3994fd25681f9c7ad6e9c6596a6fe9b4beb85ff7d478ba978b124139002e5f9": "MMSA CMU-MOSI aligned_50.pkl",
        "ad8b23d50557045e7d47959ce6c5b955d8d983f2979c7d9b7b9226f6dd6fec1f": "MMSA CMU-MOSEI unaligned_50.pkl",
        "45eccfb748a87c80ecab9bfac29582e7b1466bf6605ff29d3b338a75120bf791": "MMSA CMU-MOSEI aligned_50.pkl",
        "c9e20c13ec0454d98bb9c1e520e490c75146bfa2dfeeea78d84de047dbdd442f": "MMSA CH-SIMS unaligned_39.pkl",
    }
)

# Per dataset: who published it, and train / validation / test. The first entry is the usual one.
PUBLISHED_COUNTS: Mapping[str, tuple[tuple[str, tuple[int, int, int]], ...]] = MappingProxyType(
    {
        "cmu_mosi": (
            ("MMSA", (1284, 229, 686)),
            ("MISA and MAG-BERT, without the one segment whose interval has no length", (1283, 229, 686)),
        ),
        "cmu_mosei": (
            ("MMSA", (16326, 1871, 4659)),
            ("the CMU-MultimodalSDK folds", (16327, 1871, 4662)),
            ("MulT", (16265, 1869, 4643)),
        ),
        "ch_sims": (("MMSA", (1368, 456, 457)),),
        "ict_mmmo": (("MFN", (220, 40, 80)),),
    }
)
_SPLITS = ("train", "validation", "test")


def compare_counts(dataset_name: str, counts: Mapping[str, int]) -> list[str]:
    """Explains how a source's number of rows relates to the published ones.

    Args:
        dataset_name: Name of the dataset.
        counts: Rows per split in the source.

    Returns:
        One line per split of `counts` that can be compared, or a single line where every split agrees with one
        publication; nothing for a dataset that isn't known.
    """
    published = PUBLISHED_COUNTS.get(dataset_name)
    if published is None:
        return []
    found = {split: number for split, number in counts.items() if split in _SPLITS}
    for who, numbers in published:
        expected = dict(zip(_SPLITS, numbers, strict=True))
        if found and all(expected[split] == number for split, number in found.items()):
            parts = ", ".join(f"{split} {number}" for split, number in found.items())
            lacking = [split for split in _SPLITS if split not in found]
            return [
                f"{parts}: as published by {who}" + (f"; the source has no {', '.join(lacking)}" if lacking else "")
            ]
    return [_explain(split, number, published) for split, number in found.items()]


def _explain(split: str, number: int, published: tuple[tuple[str, tuple[int, int, int]], ...]) -> str:
    position = _SPLITS.index(split)
    agreeing = [who for who, numbers in published if numbers[position] == number]
    if agreeing:
        return f"{split} {number}: as published by {agreeing[0]}"
    usual = published[0][1][position]
    listed = ", ".join(f"{numbers[position]} ({who})" for who, numbers in published)
    word = "more" if number > usual else "fewer"
    return (
        f"{split} {number}: {abs(number - usual)} {word} than published, which is {listed}; no published variant has "
        "this number, so results on this split are not comparable with papers"
    )
