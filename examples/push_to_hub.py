"""Publishes a trained run, an exported repository folder or a dataset on the Hugging Face Hub, as one commit.

See what would be sent; nothing is contacted:

    python examples/push_to_hub.py --source runs/full/seed-1111 --repository owner/name --dry_run

Then send it, to a private repository and with a tag that readers can pin:

    python examples/push_to_hub.py --source runs/full/seed-1111 --repository owner/name \
        --results runs/full-results/results.json --tag v1

The token comes from `hf auth login` or from HF_TOKEN.
"""

from dataclasses import dataclass, field

from transformers import HfArgumentParser

from modeling_hfr_ame.errors import HfrAmeError
from modeling_hfr_ame.hub.push import push_run


@dataclass
class PushArguments:
    """What to publish, and where."""

    source: str = field(metadata={"help": "Run folder, exported repository folder, or folder of a dataset."})
    repository: str = field(metadata={"help": "OWNER/NAME; made if there is none."})
    results: list[str] = field(
        default_factory=list, metadata={"help": "results.json of `hfr-ame evaluate`, for the card of a run."}
    )
    model_name: str | None = field(
        default=None, metadata={"help": "What the results call the run's model; left out: their only one."}
    )
    public: bool = field(
        default=False, metadata={"help": "Let the repository be public; otherwise it must be private."}
    )
    tag: str | None = field(default=None, metadata={"help": "Tag for the commit; it must be new."})
    revision: str | None = field(default=None, metadata={"help": "Branch to commit to; left out: main."})
    create_pr: bool = field(default=False, metadata={"help": "Open a pull request instead of changing the branch."})
    dry_run: bool = field(default=False, metadata={"help": "Check and list every file with its size; send nothing."})


def main() -> None:
    """Reads the command line and publishes."""
    (arguments,) = HfArgumentParser(PushArguments).parse_args_into_dataclasses()
    try:
        report = push_run(
            arguments.source,
            arguments.repository,
            results=arguments.results,
            model_name=arguments.model_name,
            private=not arguments.public,
            tag=arguments.tag,
            revision=arguments.revision,
            create_pr=arguments.create_pr,
            dry_run=arguments.dry_run,
        )
    except HfrAmeError as error:
        raise SystemExit(f"error: {error}") from error
    print("\n".join(report.lines()))


if __name__ == "__main__":
    main()
