"""Runs one model over one split under named corruptions.

Nothing here knows a model family: a model takes the batch contract and returns `logits`; `severity` is read where a
model gives it.
"""

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NotRequired, Protocol, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from modeling_hfr_ame.configuration_sentiment import MODALITIES
from modeling_hfr_ame.corruption import CorruptionRecipe, LiteratureRecipe, read_recipe
from modeling_hfr_ame.data import SentimentCollator, SentimentDataset
from modeling_hfr_ame.data.prompted_rows import Prompt, PromptCollator, PromptedRows
from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.evaluation.metrics import (
    LABEL_RANGE_OF_SCHEME,
    METRICS_OF_SCHEME,
    require_scheme,
    sentiment_metrics,
)
from modeling_hfr_ame.evaluation.protocols import canonical_recipe, removed_modalities

logger = logging.getLogger(__name__)

# Samples are sorted by length inside a window of this many batches: little padding, and memory that does not grow with
# the split.
_BATCHES_PER_WINDOW = 32
_SEQUENCE_KEYS = ("input_ids", "text_states", "audio_values", "vision_values")
# What is not a model input, or would tell the model how a sample was corrupted.
_WITHHELD_KEYS = frozenset({"labels", "severity", "sample_ids"})
_CLEAN_TWIN_PREFIX = "clean_"

Sample = Mapping[str, Any]
Collator = Callable[[list[Sample]], Mapping[str, Any]]


class SampleSource(Protocol):
    """A sized collection of encoded samples, such as a `SentimentDataset`."""

    def __len__(self) -> int:
        """Returns the number of samples."""

    def __getitem__(self, index: int, /) -> Sample:
        """Returns one sample."""


class RecipeResult(TypedDict):
    """What one model does under one corruption recipe.

    `metrics` are those of the scheme, `n` counts the scored rows and `num_skipped` those that kept no modality.
    `predicted_severity` maps a modality to its mean over the rows that have it, and is empty where the model predicts
    none. `ids`, `predictions` (n,) and `labels` (n,) are in dataset order. `padded_lengths` of text, audio and vision
    is there for masks that were drawn on padded arrays, as in published protocols.
    """

    metrics: dict[str, float]
    n: int
    num_skipped: int
    predicted_severity: dict[str, float]
    ids: list[str]
    predictions: NDArray[np.float32]
    labels: NDArray[np.float32]
    padded_lengths: NotRequired[list[int]]


@dataclass(frozen=True)
class ModelPredictions:
    """Predictions in dataset order.

    Attributes:
        ids: Sample ids.
        predictions: (N,) scores.
        labels: (N,) true scores.
        severity: (N, 3) predicted severities, `nan` where the modality is absent; None where the model predicts none.
    """

    ids: list[str]
    predictions: NDArray[np.float32]
    labels: NDArray[np.float32]
    severity: NDArray[np.float32] | None


def predict(
    model: torch.nn.Module,
    dataset: SampleSource,
    collator: Collator,
    *,
    batch_size: int = 32,
    device: str | torch.device | None = None,
) -> tuple[list[str], NDArray[np.float32], NDArray[np.float32]]:
    """Predicts every sample of a dataset.

    Args:
        model: A model of the batch contract. It moves to the device, runs in eval mode and returns to its own mode.
        dataset: Encoded samples with `labels` and `sample_ids`, such as a `SentimentDataset`.
        collator: From a list of samples to a batch, such as a `SentimentCollator`.
        batch_size: Samples per forward pass.
        device: Where to run. None means CUDA if there is one, else the CPU.

    Returns:
        Sample ids, predictions (N,) and labels (N,), in dataset order.

    Raises:
        DataError: If the batch size is not positive.
    """
    found = predict_with_severity(model, dataset, collator, batch_size=batch_size, device=device)
    return found.ids, found.predictions, found.labels


@torch.inference_mode()
def predict_with_severity(
    model: torch.nn.Module,
    dataset: SampleSource,
    collator: Collator,
    *,
    batch_size: int = 32,
    device: str | torch.device | None = None,
) -> ModelPredictions:
    """Does what `predict` does and keeps the predicted severities.

    Args:
        model: As in `predict`.
        dataset: As in `predict`.
        collator: As in `predict`.
        batch_size: As in `predict`.
        device: As in `predict`.

    Returns:
        Predictions in dataset order.

    Raises:
        DataError: If the batch size is not positive.
    """
    if batch_size < 1:
        raise DataError(f"batch_size must be at least 1, found {batch_size}; pass a positive number of samples")
    device = resolve_device(device)
    num_rows = len(dataset)
    ids = [""] * num_rows
    predictions, labels = np.empty(num_rows, np.float32), np.empty(num_rows, np.float32)
    severity = np.full((num_rows, len(MODALITIES)), np.nan, np.float32)
    has_severity = False
    # An ablation of HFR-AME asks for the true severity by name; no other model sees it.
    withheld = _WITHHELD_KEYS - ({"severity"} if _config_value(model, "severity", None) == "oracle" else set())
    request = {"output_severity": True} if "output_severity" in inspect.signature(model.forward).parameters else {}
    was_training = model.training
    model.to(device).eval()
    try:
        for positions, samples in _length_sorted_batches(dataset, batch_size):
            batch = collator(samples)
            outputs = model(**_model_inputs(batch, withheld, device), **request)
            predictions[positions] = outputs.logits.float().reshape(-1).cpu().numpy()
            labels[positions] = [float(sample["labels"]) for sample in samples]
            for position, sample in zip(positions, samples, strict=True):
                ids[position] = str(sample["sample_ids"])
            predicted = getattr(outputs, "severity", None)
            if predicted is not None:
                has_severity = True
                observed = torch.as_tensor(batch["modality_mask"]).cpu().numpy().astype(bool)
                severity[positions] = np.where(observed, predicted.float().cpu().numpy(), np.nan)
    finally:
        model.train(was_training)
    return ModelPredictions(ids, predictions, labels, severity if has_severity else None)


def evaluate_model(
    model: torch.nn.Module,
    processor: Any,
    rows: Any,
    *,
    dataset_name: str,
    split: str,
    recipes: Iterable[str],
    seed: int = 0,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    scheme: str = "mosi",
    vocabulary: Sequence[str] | None = None,
    padded_lengths: tuple[int, int, int] | None = None,
    prompts: Mapping[str, Prompt] | None = None,
) -> dict[str, RecipeResult]:
    """Scores one model under several corruption recipes.

    A row from which a recipe removes the last modality that the model uses can't be predicted; it is skipped and
    counted, and a recipe that leaves no row at all has the value `nan` in every metric.

    Args:
        model: A model of the batch contract.
        processor: The processor saved with the model.
        rows: Rows of a stored dataset: a `datasets.Dataset` or a list of dicts. Masks of published protocols depend on
            a row's place among them.
        dataset_name: Name of the dataset, part of the key of every corruption draw.
        split: Name of the split, part of the key too.
        recipes: Recipe names that `read_recipe` knows. Those with the same effect, such as `clean` and `drop-0.0`, run
            once.
        seed: Seed of the corruption masks; the same masks for every model that is compared.
        batch_size: Samples per forward pass.
        device: Where to run. None means CUDA if there is one, else the CPU.
        scheme: Label scheme, as in `sentiment_metrics`.
        vocabulary: Words of the training split, for the text kind `asr`; None where no recipe needs it.
        padded_lengths: Padded lengths of text, audio and vision for recipes of published protocols, for example (50,
            375, 500). None means the longest row of each; a modality that the model doesn't use then counts 1.
        prompts: Sample id to hint, for a model that reads hints. None: it reads none.

    Returns:
        Recipe name to result, in the order of `recipes`.

    Raises:
        ConfigError: If the scheme or a recipe is unknown.
        DataError: If there is no row, the model predicts NaN or infinity, or a row is longer than its padded length.
    """
    require_scheme(scheme)
    if not len(rows):
        raise DataError("an evaluation needs at least one row, found none; choose another split or subset")
    recipes = list(recipes)
    canonical = {recipe: canonical_recipe(recipe) for recipe in recipes}
    ids = _row_ids(rows)
    used = _config_value(model, "modality_names", MODALITIES)
    observed = row_modalities(rows) & np.array([modality in used for modality in MODALITIES])
    collator: Collator = SentimentCollator(processor)
    if prompts is not None:
        collator = PromptCollator(collator, processor.tokenizer.pad_token_id)
    dataset: Any = None
    rows_of_dataset = np.empty(0, np.intp)
    results: dict[str, RecipeResult] = {}
    for recipe in dict.fromkeys(canonical.values()):
        plan = read_recipe(recipe)
        if isinstance(plan, LiteratureRecipe):
            plan = plan.over(split_ids=ids, padded_lengths=padded_lengths)
        removed = _removed_modalities(plan, len(rows), dataset_name=dataset_name, split=split, seed=seed)
        kept = np.flatnonzero((observed & ~removed).any(axis=1))
        lengths = None
        logger.info("recipe %s: %d rows", recipe, len(kept))
        if len(kept) == 0:
            found = ModelPredictions([], np.empty(0, np.float32), np.empty(0, np.float32), None)
        else:
            if dataset is None or not np.array_equal(kept, rows_of_dataset):
                rows_of_dataset = kept
                dataset = SentimentDataset(
                    select_rows(rows, kept),
                    processor,
                    dataset_name=dataset_name,
                    split=split,
                    seed=seed,
                    vocabulary=vocabulary,
                    modalities="".join(modality[0] for modality in used),
                    label_range=LABEL_RANGE_OF_SCHEME[scheme],
                )
                dataset = dataset if prompts is None else PromptedRows(dataset, prompts)
            # Recipes over the same rows share what was decoded and encoded.
            corrupted = dataset.with_corruption(plan)
            lengths = corrupted.padded_lengths
            found = predict_with_severity(model, corrupted, collator, batch_size=batch_size, device=device)
        results[recipe] = _score(found, recipe, scheme, num_skipped=len(observed) - len(kept))
        if lengths is not None:
            results[recipe]["padded_lengths"] = list(lengths)
    return {recipe: results[canonical[recipe]] for recipe in recipes}


def resolve_device(device: str | torch.device | None) -> torch.device:
    """Chooses where to run.

    Args:
        device: A torch device. None means CUDA if there is one, else the CPU.

    Raises:
        ConfigError: If the name is no device, or names CUDA where there is none.
    """
    has_cuda = torch.cuda.is_available()
    try:
        found = torch.device(device if device is not None else "cuda" if has_cuda else "cpu")
    except RuntimeError as error:
        raise ConfigError(f"device must be a torch device such as 'cpu' or 'cuda:0', found {device!r}") from error
    if found.type == "cuda" and not has_cuda:
        raise ConfigError(f"device {device!r} needs a CUDA device, found none; leave device out or pass 'cpu'")
    return found


def row_modalities(rows: Any) -> NDArray[np.bool_]:
    """Says which modalities each row has.

    Args:
        rows: A `datasets.Dataset` or a list of dicts with the columns `text`, `audio`, `vision`.

    Returns:
        (N, 3) flags for text, audio, vision. Text of nothing but white space counts as absent.
    """
    return np.stack([_column_is_present(rows, modality) for modality in MODALITIES], axis=1)


def select_rows(rows: Any, indices: NDArray[np.intp]) -> Any:
    """Takes some rows, in the order of the indices, of a `datasets.Dataset` or a list."""
    if len(indices) == len(rows) and np.array_equal(indices, np.arange(len(rows))):
        return rows
    if hasattr(rows, "select"):
        return rows.select(indices)
    return [rows[int(index)] for index in indices]


def _column_is_present(rows: Any, modality: str) -> NDArray[np.bool_]:
    if not hasattr(rows, "select_columns"):
        return np.array([_is_present(row.get(modality)) for row in rows], dtype=bool)
    if modality not in rows.column_names:
        return np.zeros(len(rows), dtype=bool)
    # Asked of Arrow's null flags: decoding every frame only to see that it is there would cost minutes on MOSEI.
    column = rows.with_format("arrow").select_columns([modality])[:].column(0)
    if modality == "text":
        return np.array([_is_present(text) for text in column.to_pylist()], dtype=bool)
    return column.is_valid().to_numpy(zero_copy_only=False) if len(rows) else np.zeros(0, dtype=bool)


def _is_present(value: Any) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _row_ids(rows: Any) -> list[str]:
    if hasattr(rows, "select_columns"):
        return list(rows.with_format(None).select_columns(["id"])[:]["id"])
    return [str(row["id"]) for row in rows]


def _removed_modalities(
    plan: CorruptionRecipe | LiteratureRecipe, num_rows: int, *, dataset_name: str, split: str, seed: int
) -> NDArray[np.bool_]:
    """Says which modalities a recipe takes from which rows, (N, 3)."""
    if isinstance(plan, LiteratureRecipe):
        return plan.removed_modalities(plan.split_ids or (), dataset=dataset_name, split=split, seed=seed)
    removed = removed_modalities(plan.name)
    return np.tile([modality in removed for modality in MODALITIES], (num_rows, 1))


def _score(found: ModelPredictions, recipe: str, scheme: str, *, num_skipped: int) -> RecipeResult:
    if not found.ids:
        metrics = dict.fromkeys(METRICS_OF_SCHEME[scheme], float("nan"))
    else:
        try:
            metrics = sentiment_metrics(found.predictions, found.labels, scheme)
        except DataError as error:
            raise DataError(f"recipe {recipe!r} can't be scored: {error}") from error
    severity: dict[str, float] = {}
    if found.severity is not None:
        for modality, values in zip(MODALITIES, found.severity.T, strict=True):
            if not np.isnan(values).all():
                severity[modality] = float(np.nanmean(values, dtype=np.float64))
    return RecipeResult(
        metrics=metrics,
        n=len(found.ids),
        num_skipped=num_skipped,
        predicted_severity=severity,
        ids=found.ids,
        predictions=found.predictions,
        labels=found.labels,
    )


def _length_sorted_batches(dataset: SampleSource, batch_size: int) -> Iterator[tuple[NDArray[np.intp], list[Sample]]]:
    """Yields batches of samples of similar length with their positions in the dataset."""
    positions = iter(range(len(dataset)))
    while window := list(islice(positions, batch_size * _BATCHES_PER_WINDOW)):
        samples = [dataset[position] for position in window]
        order = sorted(range(len(window)), key=lambda i: _num_steps(samples[i]), reverse=True)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            yield np.array([window[i] for i in chosen]), [samples[i] for i in chosen]


def _num_steps(sample: Sample) -> int:
    return sum(len(sample[key]) for key in _SEQUENCE_KEYS if sample.get(key) is not None)


def _config_value(model: torch.nn.Module, name: str, default: Any) -> Any:
    return getattr(getattr(model, "config", None), name, default)


def _model_inputs(batch: Mapping[str, Any], withheld: frozenset[str], device: torch.device) -> dict[str, Any]:
    return {
        name: value.to(device) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
        if name not in withheld and not name.startswith(_CLEAN_TWIN_PREFIX)
    }
