"""Builds a stored dataset from a user's copy of CMU-MOSEI.

python -m dataset_scripts.cmu_mosei --source MOSEI/unaligned_50.pkl --out prepared/cmu_mosei

In Python, `CmuMosei(folder, "drop-0.5")` builds the stored dataset under a corruption.
"""

from collections.abc import Sequence

from dataset_scripts.feature_files import convert
from modeling_hfr_ame.data.builders import CmuMosei

__all__ = ["CmuMosei", "main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the script.

    Args:
        argv: Command-line arguments; None takes the process's own.
    """
    convert(argv, dataset_name="cmu_mosei", title="CMU-MOSEI", label_range=CmuMosei.label_range)


if __name__ == "__main__":
    main()
