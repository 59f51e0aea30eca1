"""How well a model restores corrupted features, measured inside the model against the clean twin.

The yardstick is the model's own encoding of the clean input, so the numbers say how much of what the encoder would have
seen is recovered; they can't be compared between models with different encoders.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from modeling_hfr_ame.corruption import CorruptionRecipe
from modeling_hfr_ame.data import SentimentCollator, SentimentDataset
from modeling_hfr_ame.evaluation.metrics import LABEL_RANGE_OF_SCHEME
from modeling_hfr_ame.evaluation.runner import resolve_device
from modeling_hfr_ame.evaluation.seed_statistics import summarize_seeds

RESTORATION_RECIPES = ("drop-0.1", "drop-0.3", "drop-0.5", "drop-0.7", "drop-0.9", "noise-3", "blur-3")

# Modality to quantity to a value per band, or one value.
RestorationReport = dict[str, dict[str, list[float] | float]]


def measures_restoration(model: Any) -> bool:
    """Whether a model has a restoration and offers to measure it."""
    return hasattr(model, "measure_restoration") and bool(getattr(model.config, "use_hfr", False))


@torch.no_grad()
def evaluate_restoration(
    model: Any,
    processor: Any,
    rows: Any,
    *,
    dataset_name: str,
    split: str,
    seed: int = 0,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    scheme: str = "mosi",
    recipes: Sequence[str] = RESTORATION_RECIPES,
) -> dict[str, RestorationReport]:
    """Normalised mean squared error per modality and band, before and after restoration, for several recipes.

    Args:
        model: A model with the method `measure_restoration` (see `measures_restoration`).
        processor: The processor saved with the model.
        rows: Rows of a stored dataset.
        dataset_name: Name of the dataset, part of the key of every corruption draw.
        split: Name of the split, part of the key too.
        seed: Seed of the corruption masks.
        batch_size: Samples per forward pass.
        device: Where to run. None means CUDA if there is one, else the CPU.
        scheme: Label scheme, for the label range.
        recipes: Recipe names.

    Returns:
        Recipe to modality to: `nmse_before` and `nmse_after` per band, low to high (squared error over clean energy; 1
        is as bad as zeros), the same over all bands as `total_before` and `total_after`, `gain_db` = 10·log10(total
        before / after), and `gates`, the mean AME gate per band. NaN where the clean energy or the error is zero.
    """
    target = resolve_device(device)
    model.to(target).eval()
    collator = SentimentCollator(processor)
    dataset = SentimentDataset(
        rows,
        processor,
        dataset_name=dataset_name,
        split=split,
        seed=seed,
        with_clean=True,
        modalities=model.config.modalities,
        label_range=LABEL_RANGE_OF_SCHEME[scheme],
    )
    reports = {}
    for recipe in recipes:
        corrupted = dataset.with_corruption(CorruptionRecipe.from_name(recipe))
        sums: dict[str, dict[str, NDArray[np.float64]]] = {}
        for start in range(0, len(corrupted), batch_size):
            indices = range(start, min(start + batch_size, len(corrupted)))
            batch = collator([corrupted[index] for index in indices])
            tensors = {key: value.to(target) for key, value in batch.items() if isinstance(value, torch.Tensor)}
            tensors.pop("labels")
            for name, values in model.measure_restoration(**tensors).items():
                total = sums.setdefault(name, {})
                for key, value in values.items():
                    total[key] = total.get(key, np.float64(0)) + value.double().cpu().numpy()
        reports[recipe] = {name: _ratios(values) for name, values in sums.items()}
    return reports


def _ratios(values: Mapping[str, NDArray[np.float64]]) -> dict[str, list[float] | float]:
    energy, before, after = values["energy"], values["error_before"], values["error_after"]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "nmse_before": (before / energy).tolist(),
            "nmse_after": (after / energy).tolist(),
            "total_before": float(before.sum() / energy.sum()),
            "total_after": float(after.sum() / energy.sum()),
            "gain_db": float(10 * np.log10(before.sum() / after.sum())),
            "gates": (values["gates"] / values["rows"]).tolist(),
        }


def summarize_restoration(by_seed: Mapping[int, Mapping[str, RestorationReport]]) -> dict[str, Any]:
    """Summarises restoration reports over seeds.

    Args:
        by_seed: Seed to recipe to report, as `evaluate_restoration` returns it.

    Returns:
        The same nesting without the seed; each number becomes mean, sd and values, lists stay lists over bands.
    """
    reports = list(by_seed.values())
    if not reports:
        return {}

    def summarize(values: list[Any]) -> Any:
        if isinstance(values[0], dict):
            return {key: summarize([value[key] for value in values]) for key in values[0]}
        if isinstance(values[0], list):
            return [summarize(list(of_band)) for of_band in zip(*values, strict=True)]
        return summarize_seeds(values).as_dict()

    return summarize(reports)
