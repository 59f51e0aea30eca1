"""The tables of a model card, drawn from results documents and from the description of the runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from modeling_hfr_ame.evaluation.markdown import comparisons_table, markdown_table, mean_and_sd, recipes_table
from modeling_hfr_ame.evaluation.protocols import RATE_PROTOCOLS, SET_PROTOCOLS
from modeling_hfr_ame.evaluation.tables import METRIC_HEADINGS

OWN_PROTOCOLS = {
    "P0": "clean input",
    "P1": "words and frames dropped at random, at rates from 0 to 0.9",
    "P2": "one or two modalities missing",
    "P3": "one block of every sequence lost",
    "P4": "noise, blur, low-pass, impulses and freezing of audio and vision",
    "P5": "misheard and misspelt words",
}
_NOT_DEFINED = "–"
# Said elsewhere in the card, or the training loop's own business.
_UNPRINTED_ARGUMENTS = {
    "dataset",
    "debug",
    "eval_strategy",
    "greater_is_better",
    "load_best_model_at_end",
    "metric_for_best_model",
    "model",
    "remove_unused_columns",
    "restore_callback_states_from_checkpoint",
    "save_strategy",
    "seed",
    "variant",
}
_DOMAINS, _HINTS = ("sources", "domain_setting"), ("prompts",)
# Arguments that decide nothing unless one of these is set.
_REQUIREMENTS = {
    "sources": ("sources",),
    "domain_root": ("domain_setting",),
    "feature_harmonisation": _DOMAINS,
    "domain_selection": _DOMAINS,
    "prompt_store": _HINTS,
    "min_prompt_coverage": _HINTS,
    "max_prompt_length": _HINTS,
    "prompt_cache": _HINTS,
}


def results_table(document: Mapping[str, Any], name: str, weights_seed: int | None) -> str:
    """Draws every metric of every model, averaged over each protocol's recipes, and the constant predictors.

    Args:
        document: A results document.
        name: The card's model.
        weights_seed: Adds a row for the weights of this seed alone, where there is more than one; None adds none.
    """
    metrics = document["metrics"]
    rows = []
    for protocol in document["protocols"]:
        for other, model in document["models"].items():
            means = model["protocols"][protocol]["mean"]
            rows.append([protocol, other, *(mean_and_sd(means[metric]) for metric in metrics)])
            if other == name and weights_seed is not None and len(model["seeds"]) > 1:
                index = model["seeds"].index(weights_seed)
                values = [means[metric]["values"][index] for metric in metrics]
                rows.append([protocol, f"{name}, these weights", *map(_number, values)])
    for constant, values in document["baselines"].items():
        label = f"constant {constant.removeprefix('train_')}"
        rows.append(["any", label, *(_number(values[metric]) for metric in metrics)])
    return markdown_table(["protocol", "model", *(metric_heading(metric) for metric in metrics)], rows)


def metric_heading(metric: str) -> str:
    """Names a metric as the field does."""
    return METRIC_HEADINGS[metric].replace("\n", " ")


def recipe_tables(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Draws MAE and correlation per rate or missing set; returns pairs of protocol and table."""
    headings = dict.fromkeys(RATE_PROTOCOLS, "rate") | dict.fromkeys(("P2", *SET_PROTOCOLS), "missing")
    return [
        (protocol, recipes_table(document, protocol, headings[protocol]))
        for protocol in document["protocols"]
        if protocol in headings
    ]


def differences_table(document: Mapping[str, Any], name: str) -> str | None:
    """Draws the paired differences that concern a model; None where there are none over several seeds."""
    concerned = [entry for entry in document["comparisons"] if name in (entry["a"], entry["b"]) and entry["n"] > 1]
    return comparisons_table({**document, "comparisons": concerned}) if concerned else None


def restoration_table(document: Mapping[str, Any], name: str) -> str | None:
    """Draws the error of a model's features before and after restoration and the gain; None where none was measured.

    An error of zero before restoration has no gain: that corruption leaves the modality alone.
    """
    restoration = document["models"][name].get("restoration")
    if not restoration:
        return None
    modalities = list(next(iter(restoration.values())))
    rows = [[recipe, *(_gain(report[modality]) for modality in modalities)] for recipe, report in restoration.items()]
    return markdown_table(["corruption", *modalities], rows)


def unmeasured(document: Mapping[str, Any]) -> list[str]:
    """Names our protocols that a document has no number for."""
    return [f"{protocol} ({what})" for protocol, what in OWN_PROTOCOLS.items() if protocol not in document["protocols"]]


def arguments_table(run: Mapping[str, Any]) -> str:
    """Draws the arguments that decide a training.

    Not printed: what was left at None, and what belongs to domains or hints where a training had none.
    """
    given = {name for group in run["arguments"].values() for name, value in group.items() if value}
    idle = {name for name, requirements in _REQUIREMENTS.items() if given.isdisjoint(requirements)}
    rows = [
        [f"`{name}`", f"`{_plain(value)}`"]
        for group in run["arguments"].values()
        for name, value in group.items()
        if name not in _UNPRINTED_ARGUMENTS | idle and value is not None
    ]
    return markdown_table(["argument", "value"], rows)


def runs_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Draws what differs between the seeds of a training."""
    rows = [
        [str(run["seed"]), _plain(run["selected_epoch"]), _plain(run["num_steps"]), _seconds(run["wall_time_s"])]
        for run in runs
    ]
    return markdown_table(["seed", "selected epoch", "steps trained", "training time"], rows)


def splits_table(dataset: Mapping[str, Any]) -> str:
    """Draws the rows of each split, and how many have each modality."""
    rows = [
        [
            f"`{split}`",
            str(counts["rows"]),
            *(str(counts["present"][modality]) for modality in ("text", "audio", "vision")),
            str(counts["all_three"]),
        ]
        for split, counts in dataset["counts"].items()
    ]
    return markdown_table(["split", "rows", "with text", "with audio", "with vision", "with all three"], rows)


def examples_table(examples: Mapping[str, Any], label_range: Sequence[float]) -> str:
    """Draws the inputs and outputs of the examples."""
    rows = []
    for item in examples["items"]:
        frames = [f"{number} generated {name} frames" for name, number in item["num_frames"].items()]
        text = [f"“{item['text']}”"] if item["text"] else []
        result = item["result"]
        severity = result["severity"] or {}
        severities = " · ".join(f"{name} {value:.2f}" for name, value in severity.items())
        rows.append(
            [" + ".join([*text, *frames]), f"{result['score']:+.3f}", result["label"], severities or _NOT_DEFINED]
        )
    low, high = label_range
    return markdown_table(["input", f"score in [{low:g}, {high:g}]", "label", "predicted severity"], rows)


def _gain(report: Mapping[str, Any]) -> str:
    before, after, gain = (report[key] for key in ("total_before", "total_after", "gain_db"))
    if before["mean"] is None or after["mean"] is None:
        return _NOT_DEFINED
    change = f"{before['mean']:.2f} → {after['mean']:.2f}"
    return change if gain["mean"] is None else f"{change} ({mean_and_sd(gain, 1)} dB)"


def _number(value: float | None) -> str:
    return _NOT_DEFINED if value is None else f"{value:.3f}"


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return _NOT_DEFINED if value is None else str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return str(value)


def _seconds(value: float | None) -> str:
    return _NOT_DEFINED if value is None else f"{value:.0f} s"
