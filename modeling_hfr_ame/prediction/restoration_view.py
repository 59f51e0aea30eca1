"""One clip, damaged on purpose: what the model received, what it restored, and what it would have seen undamaged."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from modeling_hfr_ame.clean_twin import CleanTarget
from modeling_hfr_ame.corruption import MODALITIES
from modeling_hfr_ame.errors import InputError
from modeling_hfr_ame.frequency import band_edges
from modeling_hfr_ame.frequency_restoration import ModalityFeatures
from modeling_hfr_ame.prediction.encoded_clip import EncodedClip
from modeling_hfr_ame.prediction.results import Prediction
from modeling_hfr_ame.restoration_quality import restoration_sums


@dataclass(frozen=True)
class ModalityRestoration:
    """The restoration of one modality, in the features of the model's encoder.

    L steps (frames, or word pieces), D channels, K bands with the lowest first. Steps of received text without a clean
    counterpart are zero in `clean` and count nowhere.

    Attributes:
        modality: `text`, `audio` or `vision`.
        clean: (L, D) features of the undamaged input, on the time grid of the received one.
        corrupted: (L, D) features of what was received.
        restored: (L, D) what the model made of it.
        times_s: (L,) middle of each frame in seconds; of text the positions 0 … L − 1.
        labels: Word pieces of text; empty for audio and vision.
        observed: (L,) bool: something was received at this step.
        energy_clean, energy_corrupted, energy_restored: (K,) mean squared feature per step and channel of each band.
        nmse_before: (K,) squared error of the received features over the energy of the clean ones, per band.
        nmse_after: (K,) the same of the restored features.
        total_before: The same over all bands.
        total_after: The same over all bands.
        gain_db: 10 · log10(total_before / total_after); NaN where either is zero, as where nothing was damaged.
        gates: (K,) mean AME gate of each band.
        severity: Corruption that the model estimates, in [0, 1]; None where it estimates none.
        applied: Severity of the corruption that was applied, in [0, 1].
    """

    modality: str
    clean: np.ndarray = field(repr=False)
    corrupted: np.ndarray = field(repr=False)
    restored: np.ndarray = field(repr=False)
    times_s: np.ndarray = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    observed: np.ndarray = field(repr=False)
    energy_clean: np.ndarray
    energy_corrupted: np.ndarray
    energy_restored: np.ndarray
    nmse_before: np.ndarray
    nmse_after: np.ndarray
    total_before: float
    total_after: float
    gain_db: float
    gates: np.ndarray
    severity: float | None
    applied: float

    def as_dict(self) -> dict[str, Any]:
        """Gives the numbers without the feature maps as plain JSON; what is undefined is None."""
        return {
            "modality": self.modality,
            "num_steps": len(self.times_s),
            "num_observed": int(self.observed.sum()),
            **{
                name: [_plain(value) for value in getattr(self, name).tolist()]
                for name in (
                    "energy_clean",
                    "energy_corrupted",
                    "energy_restored",
                    "nmse_before",
                    "nmse_after",
                    "gates",
                )
            },
            "total_before": _plain(self.total_before),
            "total_after": _plain(self.total_after),
            "gain_db": _plain(self.gain_db),
            "severity": self.severity,
            "applied": self.applied,
        }


@dataclass(frozen=True)
class RestorationView:
    """The restoration of one clip under one recipe.

    Attributes:
        name: Name of the clip.
        corruption: Name of the recipe.
        seed: Seed of its draws.
        clean: Prediction for the undamaged clip.
        corrupted: Prediction for the damaged one.
        modalities: The modalities that are there before and after the damage.
        band_edges: K − 1 inner edges of the bands, as shares of the highest frequency.
        label_range: Lowest and highest score.
    """

    name: str
    corruption: str
    seed: int
    clean: Prediction
    corrupted: Prediction
    modalities: dict[str, ModalityRestoration]
    band_edges: tuple[float, ...]
    label_range: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """Gives the view without the feature maps as plain JSON."""
        return {
            "name": self.name,
            "corruption": self.corruption,
            "seed": self.seed,
            "clean": self.clean.as_dict(),
            "corrupted": self.corrupted.as_dict(),
            "modalities": {name: each.as_dict() for name, each in self.modalities.items()},
            "band_edges": list(self.band_edges),
            "label_range": list(self.label_range),
        }


def check_restores(model: Any) -> None:
    """Refuses a model without restoration.

    Raises:
        InputError: The model is another one than HFR-AME, or one without HFR.
    """
    if not (hasattr(model, "restore_beside_clean") and getattr(model.config, "use_hfr", False)):
        raise InputError(
            f"a restoration view needs a model with frequency restoration, found {type(model).__name__}"
            f"{'' if not hasattr(model, 'restore_beside_clean') else ' with use_hfr=False'}; use an HFR-AME model"
        )


def edges_of(config: Any) -> tuple[float, ...]:
    """Inner band edges of a model's configuration."""
    return tuple(config.band_edges or band_edges(config.num_bands, config.band_layout))


def twin_sample(clean: EncodedClip, corrupted: EncodedClip, processor: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Makes an un-padded sample with its clean twin, as training makes it.

    Args:
        clean: The clip, at most as long as the processor's maximum lengths.
        corrupted: The same under a recipe.
        processor: The processor.

    Returns:
        The sample, and the word pieces of the received text between the special tokens.
    """
    sample, _ = corrupted.sample(processor)
    sample["severity"] = corrupted.severity
    twin, _ = clean.sample(processor)
    sample |= {f"clean_{name}": values for name, values in twin.items()}
    if clean.words is None or corrupted.words is None or corrupted.source_index is None:
        return sample, ()
    _, clean_ids = processor.encode_words([word.text for word in clean.words])
    input_ids, word_ids = processor.encode_words([word.text for word in corrupted.words])
    sample["clean_text_index"] = processor.text_alignment(clean_ids, word_ids, corrupted.source_index)
    return sample, tuple(processor.tokenizer.convert_ids_to_tokens(input_ids[1:-1].tolist()))


def view_modalities(
    model: Any, processor: Any, batch: dict[str, torch.Tensor], pieces: tuple[str, ...], rates_hz: dict[str, float]
) -> dict[str, ModalityRestoration]:
    """Runs the model on one sample beside its clean twin.

    Args:
        model: A model that `check_restores` accepts.
        processor: Its processor.
        batch: One row with its clean twin.
        pieces: Word pieces of the received text.
        rates_hz: Frames per second of audio and vision.

    Returns:
        Per modality that is there before and after; text, audio, vision.
    """
    output, targets = model.restore_beside_clean(**batch)
    has_estimate = getattr(model.config, "severity", "") == "predicted"
    views = {}
    for index, (name, features) in enumerate(output.features.items()):
        target = targets[name]
        if not bool(features.present[0]) or not bool(target.mask.any()):
            continue
        column = MODALITIES.index(name)
        views[name] = _view(
            name,
            features,
            output.restored[name],
            target,
            output.gates[:, index],
            pieces if name == "text" else (),
            rates_hz.get(name),
            float(output.severity[0, column]) if has_estimate else None,
            float(batch["severity"][0, column]),
        )
    return views


def _view(
    name: str,
    features: ModalityFeatures,
    restored: torch.Tensor,
    target: CleanTarget,
    gates: torch.Tensor,
    pieces: tuple[str, ...],
    rate_hz: float | None,
    severity: float | None,
    applied: float,
) -> ModalityRestoration:
    sums = {
        key: value.double().cpu().numpy() for key, value in restoration_sums(features, restored, target, gates).items()
    }
    length = int(features.mask[0].sum())
    weight = target.mask.unsqueeze(-1)
    num_entries = float(weight.sum()) * features.states.shape[-1]

    def energy(bands: torch.Tensor) -> np.ndarray:
        return _numpy((bands * weight).square().sum((1, 2, 3)).double()) / num_entries

    before, after, clean = sums["error_before"], sums["error_after"], sums["energy"]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (before / clean, after / clean)
        totals = (float(before.sum() / clean.sum()), float(after.sum() / clean.sum()))
        gain_db = float(10 * np.log10(before.sum() / after.sum())) if before.sum() > 0 and after.sum() > 0 else np.nan
    steps = np.arange(length)
    return ModalityRestoration(
        modality=name,
        clean=_numpy(target.states[0, :length]),
        corrupted=_numpy(features.states[0, :length]),
        restored=_numpy(restored.sum(0)[0, :length]),
        times_s=steps.astype(float) if rate_hz is None else (steps + 0.5) / rate_hz,
        labels=pieces,
        observed=_numpy(features.observed[0, :length]) > 0,
        energy_clean=clean / num_entries,
        energy_corrupted=energy(features.bands),
        energy_restored=energy(restored),
        nmse_before=ratios[0],
        nmse_after=ratios[1],
        total_before=totals[0],
        total_after=totals[1],
        gain_db=gain_db,
        gates=sums["gates"] / sums["rows"],
        severity=severity,
        applied=applied,
    )


def _numpy(values: torch.Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy() if values.dtype != torch.float64 else values.detach().cpu().numpy()


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
