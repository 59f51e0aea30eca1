"""Writes corrupted versions of a stored dataset as named configs of one folder, and uploads it if asked to.

python -m dataset_scripts.corrupted_splits --data prepared/mosi --out prepared/mosi_corrupted \
    --config drop-0.5 --config noise-3 --config missing-text
python -m dataset_scripts.corrupted_splits --data prepared/mosi --out prepared/mosi_corrupted \
    --config drop-0.5 --push-to-hub owner/name

The folder loads without this package: `datasets.load_dataset(folder, "drop-0.5", split="test")`. An upload is private
unless `--public` is given: features of voices and faces are personal data, and most sources may not be passed on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from dataset_scripts.publishing import add_push_options, check_push_options, push_if_asked
from modeling_hfr_ame.data.builders import CorruptedSplits
from modeling_hfr_ame.data.corrupted_splits import write_corrupted

__all__ = ["CorruptedSplits", "main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the script.

    Args:
        argv: Command-line arguments; None takes the process's own.
    """
    parser = argparse.ArgumentParser(description="Write corrupted versions of a stored dataset.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the clean stored dataset")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--config", dest="configs", action="append", required=True, help="recipe name; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws")
    parser.add_argument("--overwrite", action="store_true", help="replace an older folder of corrupted splits")
    add_push_options(parser)
    arguments = parser.parse_args(argv)
    check_push_options(parser, arguments)
    folder = write_corrupted(
        arguments.data, arguments.out, arguments.configs, seed=arguments.seed, overwrite=arguments.overwrite
    )
    print(folder)
    push_if_asked(folder, arguments)


if __name__ == "__main__":
    main()
