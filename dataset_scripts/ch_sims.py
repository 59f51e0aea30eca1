"""Builds a stored dataset from a user's copy of CH-SIMS.

python -m dataset_scripts.ch_sims --source SIMS/unaligned_39.pkl --out prepared/ch_sims

In Python, `ChSims(folder, "drop-0.5")` builds the stored dataset under a corruption.
"""

from collections.abc import Sequence

from dataset_scripts.feature_files import convert
from modeling_hfr_ame.data.builders import ChSims

__all__ = ["ChSims", "main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the script.

    Args:
        argv: Command-line arguments; None takes the process's own.
    """
    convert(argv, dataset_name="ch_sims", title="CH-SIMS", label_range=ChSims.label_range)


if __name__ == "__main__":
    main()
