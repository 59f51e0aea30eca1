"""Builds the synthetic_talkers dataset, or prints what simple regressors can know from it.

python -m dataset_scripts.synthetic_talkers --out prepared/synthetic_talkers
python -m dataset_scripts.synthetic_talkers --report
python -m dataset_scripts.synthetic_talkers --clips prepared/synthetic_clips
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from dataset_scripts.publishing import add_push_options, check_push_options, push_if_asked
from modeling_hfr_ame.data.synthetic_clips import generate_synthetic_clips
from modeling_hfr_ame.data.synthetic_report import report_synthetic_talkers
from modeling_hfr_ame.data.synthetic_talkers import prepare_synthetic_talkers


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the script.

    Args:
        argv: Command-line arguments; None takes the process's own.
    """
    parser = argparse.ArgumentParser(description="Build or describe the synthetic_talkers dataset.")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--out", type=Path, help="write the feature-level dataset into this folder")
    action.add_argument("--clips", type=Path, help="write drawn video clips and labels.csv into this folder")
    action.add_argument("--report", action="store_true", help="print the tables of docs/synthetic_talkers.md")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-train", type=int, default=2400)
    parser.add_argument("--num-validation", type=int, default=200)
    parser.add_argument("--num-test", type=int, default=400)
    parser.add_argument("--num-clips", type=int, default=24)
    parser.add_argument("--overwrite", action="store_true", help="replace an older dataset in the folder")
    add_push_options(parser)
    arguments = parser.parse_args(argv)
    check_push_options(parser, arguments)
    if arguments.push_to_hub and arguments.out is None:
        parser.error("--push-to-hub uploads a stored dataset; pass --out FOLDER as well")
    if arguments.report:
        print(report_synthetic_talkers(arguments.seed, num_train=arguments.num_train, num_test=arguments.num_test))
    elif arguments.clips is not None:
        print(generate_synthetic_clips(arguments.clips, num_clips=arguments.num_clips, seed=arguments.seed))
    else:
        folder = prepare_synthetic_talkers(
            arguments.out,
            num_train=arguments.num_train,
            num_validation=arguments.num_validation,
            num_test=arguments.num_test,
            seed=arguments.seed,
            overwrite=arguments.overwrite,
        )
        print(folder)
        push_if_asked(folder, arguments)


if __name__ == "__main__":
    main()
