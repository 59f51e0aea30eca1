"""How far received and restored features are from the clean ones, as sums that add up over batches.

Shape legend: B batch, L padded time, K bands, D width.
"""

import torch

from .clean_twin import CleanTarget
from .frequency_restoration import ModalityFeatures


def restoration_sums(
    features: ModalityFeatures, restored: torch.Tensor, target: CleanTarget, gates: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Sums of one modality over a batch.

    Args:
        features: Received features.
        restored: (K, B, L, D) restored bands.
        target: Clean twin on the received grid.
        gates: (B, K, D) gates of AME.

    Returns:
        `error_before`, `error_after` and `energy` (K,): the squared distance of the received and of the restored bands
        to the clean ones over steps that were observed in the clean twin, and the energy of the latter; `gates` (K,):
        the summed mean gate of each present row; `rows` (): the number of present rows. Gaps of the twin itself are
        open on both sides before, and filled on both sides after, so undamaged input has no error.
    """
    wanted = features.analysis.split(target.states)
    weight = target.known.unsqueeze(-1)
    return {
        "error_before": ((features.bands - features.analysis.split(target.unfilled)).square() * weight).sum((1, 2, 3)),
        "error_after": ((restored - wanted).square() * weight).sum((1, 2, 3)),
        "energy": (wanted.square() * weight).sum((1, 2, 3)),
        "gates": (gates.mean(-1) * features.present.unsqueeze(-1)).sum(0),
        "rows": features.present.sum(),
    }
