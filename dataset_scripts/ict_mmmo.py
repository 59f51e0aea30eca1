"""Builds a stored dataset from a user's copy of ICT-MMMO.

python -m dataset_scripts.ict_mmmo --source mmmo --out prepared/ict_mmmo

In Python, `IctMmmo(folder, "drop-0.5")` builds the stored dataset under a corruption.
"""

from collections.abc import Sequence

from dataset_scripts.feature_files import convert
from modeling_hfr_ame.data.builders import IctMmmo

__all__ = ["IctMmmo", "main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the script.

    Args:
        argv: Command-line arguments; None takes the process's own.
    """
    convert(argv, dataset_name="ict_mmmo", title="ICT-MMMO", label_range=IctMmmo.label_range)


if __name__ == "__main__":
    main()
