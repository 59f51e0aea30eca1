"""The training loss of HFR-AME: which terms the configuration asks for, and how they add up."""

import torch
from torch import nn

from .clean_twin import CleanTarget
from .configuration_hfr_ame import HfrAmeConfig
from .configuration_sentiment import MODALITIES
from .frequency import analyse_bands, band_edges
from .frequency_restoration import ModalityFeatures
from .losses import band_loss, masked_smooth_l1, severity_loss, spectral_loss

_MONITOR = "monitor_target_std"


def severity_term(
    predicted: torch.Tensor, severity: torch.Tensor, features: dict[str, ModalityFeatures]
) -> torch.Tensor:
    """Severity regression over the model's present modalities; both severities are (B, 3)."""
    columns = [MODALITIES.index(name) for name in features]
    present = torch.stack([item.present for item in features.values()], dim=-1)
    return severity_loss(predicted[:, columns], severity[:, columns], present)


def _loss_bands(
    config: HfrAmeConfig, item: ModalityFeatures, restored: torch.Tensor, target: CleanTarget
) -> tuple[torch.Tensor, torch.Tensor]:
    """Restored and clean bands as the band loss cuts them, which may differ from the network's cut."""
    if config.loss_bands is None or config.loss_bands == config.num_bands:
        return restored, item.analysis.split(target.states)
    analysis = analyse_bands(
        item.mask,
        config.hidden_size,
        band_edges(config.loss_bands, config.band_layout),
        config.band_softness,
        config.transform,
        config.freq_axis,
    )
    return analysis.split(restored.sum(0)), analysis.split(target.states)


def _spread(target: CleanTarget) -> torch.Tensor:
    """Standard deviation of the clean features over valid steps, averaged over channels: a scalar."""
    weight = target.mask.unsqueeze(-1).to(torch.float32)
    count = weight.sum().clamp(min=1)
    states = target.states.float()
    mean = (states * weight).sum((0, 1)) / count
    return (((states - mean).square() * weight).sum((0, 1)) / count).sqrt().mean()


def restoration_losses(
    config: HfrAmeConfig,
    features: dict[str, ModalityFeatures],
    restored: dict[str, torch.Tensor],
    targets: dict[str, CleanTarget],
    anchors: nn.ModuleDict,
) -> dict[str, torch.Tensor]:
    """Band, anchor, readout and spectral terms, each averaged over its modalities: readout over audio and vision only.

    Args:
        config: Chooses the terms.
        features: Received features per modality.
        restored: (K, B, L, D) restored bands per modality.
        targets: Clean twins per modality.
        anchors: Linear maps from D to the raw feature widths; empty without the anchor term.

    Returns:
        Unweighted scalars by name, and `monitor_target_std`: the spread of the clean features over this process's valid
        steps, averaged over channels. It is no loss; if it falls towards zero, the encoders have collapsed.
    """
    terms: dict[str, list[torch.Tensor]] = {"band": [], "anchor": [], "readout": [], "spectral": [], _MONITOR: []}
    for name, target in targets.items():
        item = features[name]
        whole = restored[name].sum(0)
        terms[_MONITOR].append(_spread(target))
        if config.uses_band_loss:
            # What the encoder passes on unchanged gets no gradient: it would lower the error by forgetting the detail.
            judged = restored[name]
            if config.band_loss_trains != "all":
                passed_on = item.bands.detach() if item.coarse is None else item.analysis.split(item.coarse.judged)
                judged = judged - item.start + passed_on
            found, wanted = _loss_bands(config, item, judged, target)
            terms["band"].append(band_loss(found, wanted, target.mask, config.band_loss == "relative"))
        if config.anchor_weight > 0:
            terms["anchor"].append(masked_smooth_l1(anchors[name](whole), target.raw, target.mask))
        if config.readout_weight > 0 and item.coarse is not None:
            read, wanted = item.analysis.split(item.coarse.readout), item.analysis.split(target.states)
            terms["readout"].append(band_loss(read, wanted, target.mask, config.band_loss == "relative"))
        if config.spectral_weight > 0:
            spectra = item.analysis.spectrum(whole), item.analysis.spectrum(target.states)
            terms["spectral"].append(spectral_loss(*spectra, item.mask))
    return {name: torch.stack(values).mean() for name, values in terms.items() if values}


def loss_weights(config: HfrAmeConfig, progress: float) -> dict[str, float]:
    """Weight of each term of the loss; a term without one is a monitor.

    Args:
        config: Holds the weights.
        progress: Share of training done in [0, 1]; the band term is ramped over the first `band_ramp` of it.
    """
    ramp = min(1.0, progress / config.band_ramp) if config.band_ramp > 0 else 1.0
    return {
        "task": 1.0,
        "band": config.band_weight * ramp,
        "anchor": config.anchor_weight,
        "readout": config.readout_weight,
        "severity": config.severity_weight,
        "spectral": config.spectral_weight,
        "clean_task": config.clean_task_weight,
    }
