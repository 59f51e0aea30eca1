"""Compares a model of this package with numbers that a published system gave.

A golden folder holds `config.json` (sizes), `params.safetensors` (weights), `io.safetensors` (inputs `in.…`, results
`out.…` and `loss.…`) and `grads.json` (L2 norm, sum and largest absolute value of each gradient). Everything is read
from the folder; nothing about a particular one is known here.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from modeling_hfr_ame.data.safe_pickle import read_pickle
from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.evaluation.reference_systems import ReferenceSystem, Replay, find_reference_system

ABSOLUTE, RELATIVE = 2e-5, 1e-5
GRADIENT_RELATIVE = 1e-3
# Below this a norm is rounding noise: the true gradient is zero.
GRADIENT_FLOOR = 1e-5


@dataclass(frozen=True)
class Comparison:
    """One compared tensor or gradient norm.

    Args:
        name: Its name; gradients as `grad.<parameter>`, with the training case in front where there are several.
        error: Largest absolute difference.
        share: Largest difference as a share of what is allowed; above 1 is a failure, NaN too.
    """

    name: str
    error: float
    share: float

    @property
    def passed(self) -> bool:
        """Whether the difference is allowed."""
        return self.share <= 1


@dataclass
class ParityReport:
    """Result for one folder.

    Args:
        model: Name of the published system.
        comparisons: All that was compared.
        omitted: What can't be reproduced → the reason.
        unexplained: What the folder holds and the model didn't give, without a reason.
    """

    model: str
    comparisons: list[Comparison] = field(default_factory=list)
    omitted: dict[str, str] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether everything was compared or explained, and no difference is too large."""
        return bool(self.comparisons) and not self.unexplained and all(item.passed for item in self.comparisons)


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Reads a checkpoint without running anything in it.

    Args:
        path: `.safetensors`, or a file of `torch.save` that holds a state dict, as it is or under `state_dict` or
            `model`.

    Returns:
        Tensors by name.

    Raises:
        DataError: The file is damaged, or holds something other than named tensors.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path.name} must be a complete safetensors file ({error}); copy it again") from error
    content = read_pickle(path)
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise DataError(f"{path.name} must hold named tensors, found {type(content).__name__}; pass a state dict")
    return {str(name).removeprefix("module."): torch.tensor(value) for name, value in content.items()}


def check_parity(folder: str | Path) -> ParityReport:
    """Builds the reference variant of a golden folder's model and compares it with the folder's numbers.

    Args:
        folder: A golden folder.

    Raises:
        DataError: A file is missing or damaged, or its system is unknown.
    """
    folder = Path(folder)
    settings = _read_json(folder / "config.json")
    if not isinstance(settings.get("model"), str):
        raise DataError(f"config.json must name its model; found none in {folder.name}; pass a golden folder")
    system = find_reference_system(settings["model"])
    reference = {name: value.float() for name, value in read_weights(folder / "params.safetensors").items()}
    stored = read_weights(folder / "io.safetensors")
    inputs = {name.removeprefix("in."): value for name, value in stored.items() if name.startswith("in.")}
    try:
        replayed = system.replay(system.build(settings, reference), inputs, settings)
    except KeyError as error:
        raise DataError(
            f"config.json, params.safetensors and io.safetensors must hold what {settings['model']} needs; found no "
            f"{error} in {folder.name}; compare the folder with the layout of a complete one"
        ) from error
    report = ParityReport(settings["model"], omitted=dict(replayed.omitted))
    for name, expected in stored.items():
        if not name.startswith(("out.", "loss.")) or name in replayed.omitted:
            continue
        if name not in replayed.outputs:
            report.unexplained.append(name)
            continue
        tolerance = system.tolerances.get(name, (ABSOLUTE, RELATIVE))
        report.comparisons.append(_compare(name, replayed.outputs[name], expected, tolerance))
    gradients = folder / "grads.json"
    if gradients.is_file():
        _compare_gradients(report, system, replayed, _read_json(gradients), reference)
    return report


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"a golden folder needs a readable {path.name} ({error}); check the folder") from error
    if not isinstance(content, dict):
        raise DataError(f"{path.name} must hold an object; found {type(content).__name__}; check the folder")
    return content


def _compare(name: str, found: torch.Tensor, expected: torch.Tensor, tolerance: tuple[float, float]) -> Comparison:
    found, expected = found.detach().double(), expected.double()
    if found.shape != expected.shape:
        return Comparison(f"{name} (shape {tuple(found.shape)} for {tuple(expected.shape)})", math.inf, math.inf)
    error = (found - expected).abs()
    allowed = tolerance[0] + tolerance[1] * expected.abs()
    return Comparison(name, float(error.max()), float((error / allowed).max()))


def _compare_gradients(
    report: ParityReport,
    system: ReferenceSystem,
    replayed: Replay,
    stored: Mapping[str, Any],
    reference: Mapping[str, torch.Tensor],
) -> None:
    # One block per training case, or the parameters themselves.
    is_flat = any(name in reference for name in stored)
    for case, norms in ({"": stored} if is_flat else stored).items():
        gradients = replayed.gradients.get(case)
        for name, norm in norms.items():
            label = f"grad.{case}.{name}" if case else f"grad.{name}"
            if label in replayed.omitted:
                continue
            if gradients is None:
                report.unexplained.append(label)
                continue
            parts = [gradients[own].double() for own in system.our_names(name) if own in gradients]
            found = math.sqrt(sum(float(part.square().sum()) for part in parts))
            expected = 0.0 if norm is None else float(norm["l2"])
            error = abs(found - expected)
            allowed = GRADIENT_RELATIVE * expected if expected > GRADIENT_FLOOR else GRADIENT_FLOOR
            report.comparisons.append(Comparison(label, error, error / allowed))


def parity_lines(report: ParityReport, *, brief: bool = False) -> list[str]:
    """The report as text: a line per tensor and gradient with its largest error, then what is missing, then a sum.

    Args:
        report: From `check_parity`.
        brief: Whether lines of what agrees are left out.
    """
    shown = [item for item in report.comparisons if not (brief and item.passed)]
    width = max((len(item.name) for item in shown), default=0)
    lines = [f"{item.name:<{width}}  {item.error:.2e}  {'ok' if item.passed else 'FAILED'}" for item in shown]
    for kind, is_gradient in (("tensors", False), ("gradient norms", True)):
        items = [item for item in report.comparisons if item.name.startswith("grad.") is is_gradient]
        if items:
            worst = max(items, key=lambda item: item.share if item.share == item.share else math.inf)
            lines.append(f"{len(items)} {kind}, nearest to its limit: {worst.name} at {worst.share:.0%} of it")
    lines += [f"{name}  not reproduced: {reason}" for name, reason in report.omitted.items()]
    lines += [f"{name}  MISSING: the model gave no such value" for name in report.unexplained]
    failed = sum(not item.passed for item in report.comparisons) + len(report.unexplained)
    lines.append(f"{report.model}: {len(report.comparisons)} compared, {failed} failed, {len(report.omitted)} omitted")
    return lines
