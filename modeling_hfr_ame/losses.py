"""Training losses.

All means over a data-dependent number of elements go through `global_mean`: with several processes the denominator is
averaged over them first, so that the gradient of N processes on 1/N of the batch each equals the gradient of one
process on the whole batch.

Shape legend: B batch, L padded time, K bands, D width.
"""

import torch
from torch import nn


def global_mean(total: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Total / count, with the denominator averaged over all processes and a zero where nothing was counted.

    Args:
        total: Sums over this process's rows, any shape.
        count: Matching denominators without gradient.

    Returns:
        Same shape. The mean over processes equals the ratio over all rows.
    """
    count = count.detach().to(torch.float32)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        count = count.clone()
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return torch.where(count > 0, total / count.clamp(min=1e-12), torch.zeros_like(total))


def mean_over_rows(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Mean of (…, B) values over the rows that `counted` (…, B) marks; zero where it marks none."""
    weight = counted.to(values.dtype)
    return global_mean((values * weight).sum(-1), weight.sum(-1))


def task_loss(
    logits: torch.Tensor, labels: torch.Tensor, kind: str, counted: torch.Tensor | None = None
) -> torch.Tensor:
    """Regression loss of (B, 1) logits against (B,) labels: `l1`, `huber` (δ = 1) or `mse`.

    Args:
        logits: (B, 1).
        labels: (B,).
        kind: Name of the loss.
        counted: (B,) bool rows that count. None: all.
    """
    errors = nn.functional.mse_loss if kind == "mse" else nn.functional.huber_loss
    if kind == "l1":
        errors = nn.functional.l1_loss
    if counted is None:
        return errors(logits.float().squeeze(-1), labels.float())
    return mean_over_rows(errors(logits.float().squeeze(-1), labels.float(), reduction="none"), counted)


def band_loss(restored: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, relative: bool) -> torch.Tensor:
    """Restoration error of one modality, averaged over its bands; an empty band adds zero.

    Args:
        restored: (K, B, L, D) restored bands.
        target: (K, B, L, D) bands of the clean twin, without gradient.
        mask: (B, L) bool steps that have a clean counterpart.
        relative: Whether each band's squared error is divided by that band's energy in the batch, floored at 1e-4 of
            the modality's total energy; otherwise by the number of valid elements.

    Returns:
        Scalar; zero if no step is valid.
    """
    weight = mask.unsqueeze(-1).to(torch.float32)
    error = ((restored - target).square() * weight).sum((1, 2, 3))
    if not relative:
        count = (weight.sum() * target.shape[-1]).expand(len(error))
        return global_mean(error, count).sum() / len(error)
    energy = (target.square() * weight).sum((1, 2, 3))
    # An empty band holds no correction either, so its ratio is exactly zero.
    return global_mean(error, energy + 1e-4 * energy.sum()).sum() / len(error)


def weighted_sum(losses: dict[str, torch.Tensor], weights: dict[str, float]) -> torch.Tensor:
    """Adds up scalar terms by their weights; a term without a weight is a monitor and left out."""
    return torch.stack([weights[name] * term for name, term in losses.items() if name in weights]).sum()


def normal_divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Divergence of a normal distribution from the standard normal one, element by element.

    Args:
        mean: Of any shape.
        log_variance: Of the same shape, natural logarithm.

    Returns:
        The same shape, in nats.
    """
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)


def _mean_over_steps(errors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of (B, L, d) errors over the valid steps of a (B, L) mask; zero if none is valid."""
    weight = mask.unsqueeze(-1).to(torch.float32)
    return global_mean((errors * weight).sum(), weight.sum() * errors.shape[-1])


def masked_smooth_l1(predicted: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """SmoothL1 (δ = 1) between two sequences.

    Args:
        predicted: (B, L, D).
        target: (B, L, D).
        mask: (B, L) bool valid steps.

    Returns:
        Scalar mean over elements of valid steps; zero if none is valid.
    """
    return _mean_over_steps(nn.functional.smooth_l1_loss(predicted.float(), target.float(), reduction="none"), mask)


def spectral_loss(restored: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Absolute difference of two spectra.

    Args:
        restored: (B, L, D) spectrum.
        target: (B, L, D) spectrum of the clean twin.
        mask: (B, L) bool rows that count; along time a sequence of n valid steps has n coefficients, the first ones.

    Returns:
        Scalar mean over elements of rows that count; zero if none does.
    """
    return _mean_over_steps((restored - target).abs(), mask)


def severity_loss(predicted: torch.Tensor, severity: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """SmoothL1 (δ = 1) between predicted and true severities.

    Args:
        predicted: (B, M) in [0, 1], of M modalities.
        severity: (B, M) in [0, 1].
        present: (B, M) bool modalities that are there.

    Returns:
        Scalar mean over present modalities; zero if none is present.
    """
    errors = nn.functional.smooth_l1_loss(predicted.float(), severity.float(), reduction="none")
    return mean_over_rows(errors.flatten(), present.flatten())
