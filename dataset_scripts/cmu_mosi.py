"""Builds a stored dataset from a user's copy of CMU-MOSI.

python -m dataset_scripts.cmu_mosi --source MOSI/unaligned_50.pkl --out prepared/cmu_mosi

In Python, `CmuMosi(folder, "drop-0.5")` builds the stored dataset under a corruption.
"""

from collections.abc import Sequence

from dataset_scripts.feature_files import convert
from modeling_hfr_ame.data.builders import CmuMosi

__all__ = ["CmuMosi", "main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the script.

    Args:
        argv: Command-line arguments; None takes the process's own.
    """
    convert(argv, dataset_name="cmu_mosi", title="CMU-MOSI", label_range=CmuMosi.label_range)


if __name__ == "__main__":
    main()
