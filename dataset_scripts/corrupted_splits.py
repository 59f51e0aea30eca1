"""Writes corrupted versions of a stored dataset as named configs of one folder, and uploads it if asked to.

python -m dataset_scripts.corrupted_splits --data prepared/mosi --out prepared/mosi_corrupted \
    --config drop-0.5 --config noise-3 --config missing-text
python -m dataset_scripts.corrupted_splits --data prepared/mosi --out prepared/mosi_corrupted \
    --config drop-0.5 --push owner/name

The folder loads without this package: `datasets.load_dataset(folder, "drop-0.5", split="test")`. An upload is private
unless `--public` is given: features of voices and faces are personal data, and most sources may not be passed on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi

from modeling_hfr_ame.data.builders import CorruptedSplits
from modeling_hfr_ame.data.corrupted_splits import write_corrupted
from modeling_hfr_ame.errors import DataError

__all__ = ["CorruptedSplits", "main", "push_dataset"]


def push_dataset(folder: Path, repo_id: str, *, private: bool = True) -> str:
    """Uploads a folder of corrupted splits as one commit.

    Args:
        folder: What `write_corrupted` wrote.
        repo_id: `owner/name` of a dataset repository; it is made if there is none.
        private: Whether the repository must be private.

    Returns:
        Address of the commit.

    Raises:
        DataError: The repository exists and anybody can read it, although it must be private.
    """
    api = HfApi()
    api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    # An existing repository keeps its visibility, whatever create_repo was asked for.
    if private and not api.repo_info(repo_id, repo_type="dataset").private:
        raise DataError(
            f"the upload must be private, found the public dataset repository {repo_id!r}; "
            "make it private, choose another name, or pass --public"
        )
    commit = api.upload_folder(
        repo_id=repo_id,
        repo_type="dataset",
        folder_path=folder,
        commit_message="Add corrupted splits",
        # Shards of an older upload would be read as further rows of a config that keeps its name.
        delete_patterns=["*.parquet", "**/*.parquet"],
    )
    return str(commit.commit_url)


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
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the folder to this dataset repository")
    parser.add_argument("--public", action="store_true", help="let the repository be public")
    parser.add_argument("--overwrite", action="store_true", help="replace an older folder of corrupted splits")
    arguments = parser.parse_args(argv)
    folder = write_corrupted(
        arguments.data, arguments.out, arguments.configs, seed=arguments.seed, overwrite=arguments.overwrite
    )
    print(folder)
    if arguments.push:
        print(push_dataset(folder, arguments.push, private=not arguments.public))


if __name__ == "__main__":
    main()
