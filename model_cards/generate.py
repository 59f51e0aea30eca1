"""Writes the card of every model of the studies in docs/results, from the JSON that is kept there.

    python model_cards/generate.py
    python model_cards/generate.py --record synthetic --run full=runs/synthetic/full

The second form first extracts what a card needs of a study's finished runs into `docs/results/<study>.runs.json`. A
card is never edited by hand: a test compares it with what this script makes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from modeling_hfr_ame.errors import ConfigError
from modeling_hfr_ame.hub.card import BuiltCard, read_results, render_card
from modeling_hfr_ame.hub.run_description import describe_runs, read_descriptions, write_descriptions

CARDS = Path(__file__).resolve().parent
RESULTS = CARDS.parent / "docs" / "results"


@dataclass(frozen=True)
class Study:
    """One study and the card of its main model.

    Attributes:
        card: Folder of the card.
        title: Heading of the card.
        results: Results documents, in the order of the card.
        model: What they call the model.
        synthetic: Whether nobody was recorded for the data.
    """

    card: str
    title: str
    results: tuple[str, ...]
    model: str
    synthetic: bool


STUDIES = {
    "synthetic": Study("hfr-ame-synthetic-talkers", "HFR-AME on generated talkers", ("synthetic.json",), "full", True),
    "mosi": Study("hfr-ame-mosi", "HFR-AME on CMU-MOSI", ("mosi_test.json", "mosi_held_out.json"), "full", False),
}


def build_cards() -> Iterator[tuple[str, BuiltCard]]:
    """Builds every card; yields its folder's name and the card."""
    for name, study in STUDIES.items():
        record = RESULTS / f"{name}.runs.json"
        description = read_descriptions(record).get(study.model) if record.is_file() else None
        yield (
            study.card,
            render_card(
                description,
                [read_results(RESULTS / file) for file in study.results],
                name=study.model,
                title=study.title,
                synthetic=study.synthetic,
            ),
        )


def main(
    record: str | None = typer.Option(None, "--record", help="Study whose runs are described first."),
    run: list[str] = typer.Option([], "--run", help="NAME=FOLDER as in its results; repeatable."),
    data: Path | None = typer.Option(None, "--data", help="Stored dataset; left out: the one that the runs recorded."),
) -> None:
    """Write model_cards/ from docs/results/."""
    if record is not None:
        pairs = [text.partition("=") for text in run]
        if record not in STUDIES or not pairs or not all(name and folder for name, _, folder in pairs):
            raise ConfigError(
                f"a study of {', '.join(STUDIES)} is recorded from runs given as NAME=FOLDER, found {record!r} with "
                f"{', '.join(run) or 'none'}; pass --record and --run"
            )
        models = {name: describe_runs(folder, data=data) for name, _, folder in pairs}
        write_descriptions(RESULTS / f"{record}.runs.json", models)
    for name, card in build_cards():
        typer.echo(f"Written: {card.write(CARDS / name).relative_to(CARDS.parent)}")


if __name__ == "__main__":
    typer.run(main)
