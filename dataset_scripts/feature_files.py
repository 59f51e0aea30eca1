"""What the scripts for published feature files share: one conversion, and its counts beside the published ones."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from dataset_scripts.publishing import add_push_options, check_push_options, push_if_asked
from modeling_hfr_ame.data import SourceOptions, prepare_source, read_manifest
from modeling_hfr_ame.data.sources.published import compare_counts


def convert(
    argv: Sequence[str] | None, *, dataset_name: str, title: str, label_range: tuple[float, float] | None
) -> None:
    """Converts a user's copy of a dataset and prints what came out.

    Args:
        argv: Command-line arguments; None takes the process's own.
        dataset_name: Name of the stored dataset.
        title: Name of the dataset for people.
        label_range: Lowest and highest label; None = as the source says.
    """
    parser = argparse.ArgumentParser(description=f"Build a stored dataset from a copy of {title} that you hold.")
    parser.add_argument("--source", type=Path, required=True, help="a feature file or folder of any known layout")
    parser.add_argument("--out", type=Path, required=True, help="folder of the stored dataset")
    parser.add_argument("--labels", type=Path, help="label table, where the source holds no labels")
    parser.add_argument("--splits", type=Path, help="CSV video_id[,clip_id],mode, where the source has no folds")
    parser.add_argument("--overwrite", action="store_true", help="replace an older dataset in the folder")
    add_push_options(parser)
    arguments = parser.parse_args(argv)
    check_push_options(parser, arguments)
    options = SourceOptions(
        dataset_name=dataset_name, label_range=label_range, labels=arguments.labels, splits=arguments.splits
    )
    prepared = prepare_source(
        arguments.source, arguments.out, options=options, overwrite=arguments.overwrite, say=print
    )
    counts = {split: found["rows"] for split, found in read_manifest(prepared.folder)["counts"].items()}
    for note in compare_counts(dataset_name, counts) or [f"{split} {rows}" for split, rows in counts.items()]:
        print(f"rows: {note}")
    print(prepared.folder)
    push_if_asked(prepared.folder, arguments)
