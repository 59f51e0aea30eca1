"""How every script here publishes what it wrote: one private dataset repository, one commit, if it was asked to."""

import argparse
from pathlib import Path

from modeling_hfr_ame.hub.push import check_repo_id, push_folder


def add_push_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `push_if_asked` reads.

    Args:
        parser: Parser of a script.
    """
    options = parser.add_argument_group(
        "publishing", "Features of voices and faces are personal data, and most sources may not be passed on."
    )
    options.add_argument("--push-to-hub", metavar="OWNER/NAME", help="upload the folder to this dataset repository")
    options.add_argument("--public", action="store_true", help="let the repository be public; otherwise it is private")
    options.add_argument("--tag", help="tag for the commit, such as v1; it must be new")
    options.add_argument("--dry-run", action="store_true", help="list what would be uploaded, and send nothing")


def check_push_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Checks the options before hours go into the dataset.

    Args:
        parser: The parser, which reports an option that makes no sense.
        arguments: What it read.

    Raises:
        ConfigError: The repository isn't named `owner/name`.
    """
    if arguments.push_to_hub:
        check_repo_id(arguments.push_to_hub)
    elif arguments.public or arguments.tag or arguments.dry_run:
        parser.error("--public, --tag and --dry-run say how to upload; pass --push-to-hub OWNER/NAME as well")


def push_if_asked(folder: Path, arguments: argparse.Namespace) -> None:
    """Uploads a dataset and prints what was sent, if there is a repository to send it to.

    Args:
        folder: A stored dataset, or corrupted splits of one.
        arguments: What the parser read.

    Raises:
        DataError: As `push_folder`.
        ConfigError: As `push_folder`.
    """
    if not arguments.push_to_hub:
        return
    report = push_folder(
        folder,
        arguments.push_to_hub,
        repo_type="dataset",
        private=not arguments.public,
        tag=arguments.tag,
        dry_run=arguments.dry_run,
    )
    print("\n".join(report.lines()))
