"""A model's card, generated from the record of its runs and from the results of their evaluation.

Design choices:

- No number is typed: each stands in a results document, a `run.json`, a manifest, or is an output of the model itself.
- What was not measured or recorded is said in a sentence; there are no empty tables.
- Results that were taken with other runs than the described ones are refused.
- Rates, means and spreads belong to a study of several seeds, the weights to one of them; the card keeps the two apart.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import ModelCard

from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.evaluation.figures import draw_robustness
from modeling_hfr_ame.evaluation.protocols import RATE_PROTOCOLS
from modeling_hfr_ame.evaluation.results import RESULTS_FILE
from modeling_hfr_ame.evaluation.run_folders import RUN_RECORD, find_runs
from modeling_hfr_ame.evaluation.tables import conditions
from modeling_hfr_ame.hub import card_tables
from modeling_hfr_ame.hub.card_metadata import card_data, eval_results_yaml
from modeling_hfr_ame.hub.methods import METHODS
from modeling_hfr_ame.hub.run_description import describe_runs

CARD_FILE = "README.md"
EVAL_RESULTS_FOLDER = ".eval_results"
_SCHEMA_VERSION = 1
_TEMPLATE = "card.md.j2"
_OWN_MODEL = "hfr_ame"


@dataclass(frozen=True)
class BuiltCard:
    """A card and what belongs beside it.

    Attributes:
        text: `README.md`, with its YAML.
        eval_results: Content of the file in `.eval_results`; None where there are no results.
        dataset_name: Names that file.
        figures: File name of each robustness curve and the results document that it is drawn from.
    """

    text: str
    eval_results: str | None
    dataset_name: str
    figures: Mapping[str, Mapping[str, Any]]

    def write(self, folder: str | Path) -> Path:
        """Writes the card, its figures and `.eval_results` into a folder, and returns the card's path.

        Args:
            folder: The model repository; made if it is missing. Other files in it stay.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name, document in self.figures.items():
            draw_robustness(document, target / name)
        if self.eval_results is not None:
            (target / EVAL_RESULTS_FOLDER).mkdir(exist_ok=True)
            path = target / EVAL_RESULTS_FOLDER / f"{self.dataset_name}.yaml"
            path.write_text(self.eval_results, encoding="utf-8")
        (target / CARD_FILE).write_text(self.text, encoding="utf-8")
        return target / CARD_FILE


def build_card(
    run: str | Path,
    results: Sequence[str | Path | Mapping[str, Any]] = (),
    *,
    name: str | None = None,
    repository: str | None = None,
    dataset_id: str | None = None,
    data: str | Path | None = None,
) -> BuiltCard:
    """Builds the card of a finished run, or of a study of several seeds.

    Args:
        run: A run folder, whose weights the repository will hold, or a parent of `seed-*` run folders. Of a run
            folder, the sister folders with the other seeds of the results are described as well.
        results: Results documents of `evaluate`, or their files; none: the card says that nothing was measured.
        name: What the results call the model; None: their only one, or the one that is called like the run's folder or
            variant.
        repository: `owner/name` in the example of use; None: a placeholder.
        dataset_id: The dataset's `owner/name` on the Hub; None: the name it was stored under.
        data: The stored dataset of the training; None: where the run says it was.

    Returns:
        The card; `write` puts it into a folder.

    Raises:
        DataError: The run or a results file can't be read, or the results are not of these runs.
        ConfigError: The results hold several models and `name` doesn't say which.
    """
    documents = [item if isinstance(item, Mapping) else read_results(item) for item in results]
    found = find_runs(run)
    folders = [item.folder for item in found]
    weights_seed = found[0].seed if (Path(run) / RUN_RECORD).is_file() else None
    if documents:
        record = found[0].record
        hints = (name,) if name else (Path(run).resolve().name, folders[0].resolve().parent.name, record.get("variant"))
        name = _choose_model(documents, hints, required=name is not None)
        if weights_seed is not None:
            others = {seed for document in documents for seed in document["models"][name]["seeds"]} - {weights_seed}
            sisters = [folders[0].resolve().parent / f"seed-{seed}" for seed in sorted(others)]
            folders += [folder for folder in sisters if (folder / RUN_RECORD).is_file()]
    # The model of the first run gives the examples, so the one whose weights are published must stay first.
    description = describe_runs(folders[:1], data=data)
    if len(folders) > 1:
        records = [description["runs"][0], *describe_runs(folders[1:], data=data)["runs"]]
        description["runs"] = sorted(records, key=lambda item: int(item["seed"]))
    return render_card(
        description,
        documents,
        name=name or str(description["runs"][0]["variant"]),
        weights_seed=weights_seed,
        repository=repository,
        dataset_id=dataset_id,
    )


def render_card(
    description: Mapping[str, Any] | None,
    results: Sequence[Mapping[str, Any]],
    *,
    name: str,
    weights_seed: int | None = None,
    repository: str | None = None,
    dataset_id: str | None = None,
    title: str | None = None,
    synthetic: bool = False,
) -> BuiltCard:
    """Renders a card from documents alone, without the runs.

    Args:
        description: From `describe_runs`; None: the card says that no record of the training was kept.
        results: Results documents.
        name: What they call the model.
        weights_seed: Seed of the published weights; None: the card is of a study, or the seed has no row of its own.
        repository: As in `build_card`.
        dataset_id: As in `build_card`.
        title: Heading; None: model, variant and dataset.
        synthetic: Whether nobody was recorded for the data; a manifest in the description knows it better.

    Raises:
        DataError: There is neither a description nor a result, or they aren't of the same runs.
    """
    if description is None and not results:
        raise DataError("a card needs the record of a run or results, found neither; pass a run folder")
    for document in results:
        _check_results(document, name, description)
    dataset_name = _dataset_name(description, results)
    title = title or _title(description, name, dataset_name)
    hub_dataset = dataset_id or dataset_name
    dataset = description["dataset"] if description else None
    synthetic = bool(dataset["synthetic"]) if dataset else synthetic
    figures = _figures(results)
    text = (
        _environment()
        .get_template(_TEMPLATE)
        .render(
            title=title,
            name=name,
            d=description,
            run=description["runs"][0] if description else None,
            is_own_model=_model_of(description) == _OWN_MODEL,
            method=METHODS.get(_model_of(description)),
            dataset=dataset,
            synthetic=synthetic,
            dataset_name=dataset_name,
            documents=[_section(document, name, weights_seed, figures) for document in results],
            weights_seed=weights_seed,
            repository=repository or "owner/name",
            tables=card_tables,
        )
    )
    data = card_data(title, description, results, name=name, dataset_id=hub_dataset, synthetic=synthetic)
    card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text.strip()}\n", ignore_metadata_errors=False)
    return BuiltCard(
        text=str(card),
        eval_results=eval_results_yaml(results, name, hub_dataset) if results else None,
        dataset_name=dataset_name,
        figures=figures,
    )


def _model_of(description: Mapping[str, Any] | None) -> str:
    """Name of the described model; the package's own where nothing is described."""
    return str(description["runs"][0]["model"]) if description else _OWN_MODEL


def read_results(path: str | Path) -> dict[str, Any]:
    """Reads a results document.

    Args:
        path: `results.json`, or a folder that holds one.

    Raises:
        DataError: There is none, or it isn't one of ours.
    """
    file = Path(path) / RESULTS_FILE if Path(path).is_dir() else Path(path)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"results are the {RESULTS_FILE} that evaluate writes, {str(path)!r} has none that can be read ({error}); "
            "run hfr-ame evaluate"
        ) from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != _SCHEMA_VERSION:
        raise DataError(
            f"a card reads results of schema version {_SCHEMA_VERSION}, {str(path)!r} has {version!r}; evaluate again"
        )
    return dict(document)


def _choose_model(documents: Sequence[Mapping[str, Any]], hints: Sequence[str | None], *, required: bool) -> str:
    shared = [name for name in documents[0]["models"] if all(name in document["models"] for document in documents)]
    if len(shared) == 1 and not required:
        return shared[0]
    for hint in hints:
        if hint is not None and hint in shared:
            return hint
    raise ConfigError(
        f"a card is of one model of the results, which are {', '.join(shared) or 'none in all of them'}, found "
        f"{', '.join(str(hint) for hint in hints)}; pass its name (--model)"
    )


def _check_results(document: Mapping[str, Any], name: str, description: Mapping[str, Any] | None) -> None:
    if name not in document["models"]:
        raise DataError(
            f"a card's results must hold its model, found {', '.join(document['models'])} and not {name}; pass others"
        )
    if description is None:
        return
    model = document["models"][name]
    seeds = {run["seed"] for run in description["runs"]}
    data = {str(run["manifest_sha256"]) for run in description["runs"]}
    if not seeds <= set(model["seeds"]):
        raise DataError(
            f"results must be of the described runs, with the seeds {_listed(sorted(seeds))}, found the seeds "
            f"{_listed(model['seeds'])}; evaluate these runs, or pass their own results"
        )
    if not data <= set(model["trained_on_manifest_sha256"]):
        raise DataError(
            f"results must be of the described runs, trained on the data {_listed(sorted(data))}, found "
            f"{_listed(model['trained_on_manifest_sha256'])}; evaluate these runs, or pass their own results"
        )


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


def _dataset_name(description: Mapping[str, Any] | None, results: Sequence[Mapping[str, Any]]) -> str:
    if description:
        return str(description["runs"][0]["dataset_name"])
    return str(results[0]["dataset"]["name"])


def _title(description: Mapping[str, Any] | None, name: str, dataset_name: str) -> str:
    model = _model_of(description)
    variant = str(description["runs"][0]["variant"]) if description else name
    kind = "" if variant == "full" else f" ({variant.replace('_', ' ')})"
    return f"{METHODS[model].title if model in METHODS else model}{kind} on {dataset_name}"


def _figures(results: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    drawn = [document for document in results if set(document["protocols"]) & set(RATE_PROTOCOLS)]
    if len(drawn) == 1:
        return {"robustness.png": drawn[0]}
    return {f"robustness_{document['split']}_{document['subset']}.png": document for document in drawn}


def _section(
    document: Mapping[str, Any], name: str, weights_seed: int | None, figures: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Draws everything that the template shows of one results document."""
    model = document["models"][name]
    return {
        "document": document,
        "model": model,
        "others": [other for other in document["models"] if other != name],
        "metrics": card_tables.results_table(document, name, weights_seed),
        "recipes": card_tables.recipe_tables(document),
        "differences": card_tables.differences_table(document, name),
        "restoration": card_tables.restoration_table(document, name),
        "unmeasured": card_tables.unmeasured(document),
        "figure": next((file for file, drawn in figures.items() if drawn is document), None),
        # The card's tables leave the areas out, so their definition would explain nothing.
        "conditions": [line for line in conditions(document).splitlines() if not line.startswith("AUILC")],
        "is_training_data": document["dataset"]["manifest_sha256"] in model["trained_on_manifest_sha256"],
    }


def _environment() -> jinja2.Environment:
    # Markdown and not HTML: escaping would damage it. What is filled in comes from our own documents.
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
