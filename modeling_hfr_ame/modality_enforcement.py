"""Adaptive modality enforcement (AME): useful bands are enhanced, the others suppressed.

The abstract states the purpose; a related public module of the same authors (ECG-with-AME) shows one realisation, which
`PublicBandEnhancement` reproduces for comparison. Our own differs: pooled context of all modalities instead of a
flattened fixed length, gains up to 2 instead of convex weights (a convex sum can only suppress), one gate per
channel, and a residual output.

Shape legend: B batch, L padded time, K bands, D width, M modalities of the model.
"""

import torch
from torch import nn

from .attention import ZeroLinear
from .configuration_hfr_ame import HfrAmeConfig
from .configuration_sentiment import MODALITIES
from .frequency import band_edges, band_masks, orthonormal_bases
from .frequency_restoration import ModalityFeatures
from .pooling import masked_mean


def band_energies(bands: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean energy of each band over valid steps and channels: (K, B, L, D) and (B, L) → (B, K)."""
    weight = mask.unsqueeze(-1).to(bands.dtype)
    total = (bands.square() * weight).sum((2, 3))
    return (total / (weight.sum((1, 2)).clamp(min=1) * bands.shape[-1])).transpose(0, 1)


class EnforcementOutput(nn.Module):
    """H = X̂ + MLP([X̂ ; E ; o·(Y − X̂) ; o]): the restored states enforced by their re-weighted bands.

    The observed flag o lets what follows tell received evidence from restored evidence at each step, and o·(Y − X̂)
    gives back what restoration changed where something was received. Without FM-UNets it is zero and left out.
    """

    def __init__(self, config: HfrAmeConfig) -> None:
        super().__init__()
        self.use_observed = config.use_observed
        self.use_received = config.use_observed and config.restores_bands
        width = (3 if self.use_received else 2) * config.hidden_size + config.use_observed
        self.hidden = nn.Linear(width, config.hidden_size)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, restored: torch.Tensor, integrated: torch.Tensor, features: ModalityFeatures) -> torch.Tensor:
        """Maps two (B, L, D) sequences to (B, L, D), zero at padding."""
        parts = [restored, integrated]
        seen = features.observed.unsqueeze(-1).to(restored.dtype)
        if self.use_received:
            parts.append((features.states - restored) * seen)
        if self.use_observed:
            parts.append(seen)
        hidden = nn.functional.gelu(self.hidden(torch.cat(parts, dim=-1)))
        return (restored + self.output(self.dropout(hidden))) * features.mask.unsqueeze(-1)


class ModalityEnforcement(nn.Module):
    """Band gates γ ∈ (0, 2) from a multimodal context; all gates are 1 at initialisation.

    Args:
        config: `ame` chooses gates per band and channel (`gate`), per band (`scalar`) or constant 1 (`uniform`).
    """

    def __init__(self, config: HfrAmeConfig) -> None:
        super().__init__()
        self.config = config
        self.names = config.modality_names
        self.outputs = nn.ModuleDict({name: EnforcementOutput(config) for name in self.names})
        if config.ame == "uniform":
            return
        per_modality = config.hidden_size + config.num_bands
        own = config.ame_context == "own"
        size = (per_modality + 1) if own else len(self.names) * per_modality + len(MODALITIES)
        keys = list(self.names) if own else ["multimodal"]
        self.context_norms = nn.ModuleDict({key: nn.LayerNorm(size) for key in keys})
        self.context_layers = nn.ModuleDict({key: nn.Linear(size, config.ame_hidden_size) for key in keys})
        width = config.num_bands * (config.hidden_size if config.ame == "gate" else 1)
        self.gates = nn.ModuleDict({name: ZeroLinear(config.ame_hidden_size, width) for name in self.names})

    def _contexts(
        self, bands: dict[str, torch.Tensor], features: dict[str, ModalityFeatures], severity: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        parts = {
            name: torch.cat(
                [
                    masked_mean(bands[name].sum(0), features[name].mask),
                    torch.log1p(band_energies(bands[name], features[name].mask)),
                ],
                dim=-1,
            )
            for name in self.names
        }
        if self.config.ame_context == "own":
            inputs = {
                name: torch.cat([parts[name], severity[:, [MODALITIES.index(name)]]], dim=-1) for name in self.names
            }
        else:
            inputs = {"multimodal": torch.cat([*parts.values(), severity], dim=-1)}
        hidden = {
            key: nn.functional.gelu(self.context_layers[key](self.context_norms[key](value)))
            for key, value in inputs.items()
        }
        return {name: hidden[name] if name in hidden else hidden["multimodal"] for name in self.names}

    def forward(
        self, bands: dict[str, torch.Tensor], features: dict[str, ModalityFeatures], severity: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Enforces the restored features.

        Args:
            bands: Restored bands, (K, B, L, D) per modality.
            features: Masks and observed flags of the same modalities.
            severity: (B, 3).

        Returns:
            Enforced states (B, L, D) per modality, and the gates (B, M, K, D).
        """
        num_bands, batch_size, _, width = next(iter(bands.values())).shape
        if self.config.ame == "uniform":
            gates = {name: value.new_ones(batch_size, num_bands, width) for name, value in bands.items()}
        else:
            contexts = self._contexts(bands, features, severity)
            gates = {
                name: (2 * torch.sigmoid(self.gates[name](contexts[name])))
                .view(batch_size, num_bands, -1)
                .expand(-1, -1, width)
                for name in self.names
            }
        enforced = {}
        for name in self.names:
            integrated = (gates[name].transpose(0, 1).unsqueeze(2) * bands[name]).sum(0)
            enforced[name] = self.outputs[name](bands[name].sum(0), integrated, features[name])
        return enforced, torch.stack([gates[name] for name in self.names], dim=1)


class PublicBandEnhancement(nn.Module):
    """The published behaviour of the related AME module, per modality, for comparison (`ame="authors_public"`).

    Equal-width hard Fourier bands along the *channel* axis, one flattened MLP score per band, scores divided by their
    sum, weighted sum, then two linear layers with dropout and ReLU on [X ; E]. A fixed length is built in: shorter
    inputs are padded with zeros, longer ones scored on their first steps.

    Source: public repository `nianhua20/ECG-with-AME`, described in our own words.
    Deviations: a real Fourier basis instead of a complex FFT, so no bin is lost at band edges; scores read masked
        states; the output covers the whole sequence although the scores see `ame_sequence_length` steps.
    """

    def __init__(self, config: HfrAmeConfig) -> None:
        super().__init__()
        self.config = config
        self.names = config.modality_names
        width, length = config.hidden_size, config.ame_sequence_length
        self.scorers = nn.ModuleDict(
            {name: nn.ModuleList(self._scorer(length, width) for _ in range(config.num_bands)) for name in self.names}
        )
        self.enforce_in = nn.ModuleDict({name: nn.Linear(2 * width, width) for name in self.names})
        self.enforce_out = nn.ModuleDict({name: nn.Linear(width, width) for name in self.names})
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def _scorer(length: int, width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(length * width, width), nn.Tanh(), nn.Linear(width, 1), nn.Sigmoid())

    def _segments(self, states: torch.Tensor) -> torch.Tensor:
        width = states.shape[-1]
        basis, frequency = orthonormal_bases(torch.tensor([width], device=states.device), width, "fft")
        weights = band_masks(frequency[0], band_edges(self.config.num_bands, "uniform"), 0.0)
        with torch.autocast(states.device.type, enabled=False):
            spectrum = states.float() @ basis[0].T
            return torch.stack([(spectrum * weight) @ basis[0] for weight in weights])

    def forward(
        self, bands: dict[str, torch.Tensor], features: dict[str, ModalityFeatures], severity: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Same interface as `ModalityEnforcement`; the gates are the convex band weights, equal over channels."""
        length = self.config.ame_sequence_length
        enforced, gates = {}, []
        for name in self.names:
            states = bands[name].sum(0)
            segments = self._segments(states)
            scorers = self.scorers[name].children()
            padded = nn.functional.pad(segments, (0, 0, 0, max(0, length - states.shape[1])))[:, :, :length]
            scores = torch.stack([score(segment.flatten(1)) for score, segment in zip(scorers, padded, strict=True)])
            weights = scores / scores.sum(0)
            integrated = (weights.unsqueeze(-1) * segments).sum(0)
            hidden = torch.relu(self.dropout(self.enforce_in[name](torch.cat([states, integrated], dim=-1))))
            hidden = torch.relu(self.dropout(self.enforce_out[name](hidden)))
            enforced[name] = hidden * features[name].mask.unsqueeze(-1)
            gates.append(weights.permute(1, 0, 2).expand(-1, -1, self.config.hidden_size))
        return enforced, torch.stack(gates, dim=1)


class NoEnforcement(nn.Module):
    """`ame="none"`: the restored bands are added up again."""

    def forward(
        self, bands: dict[str, torch.Tensor], features: dict[str, ModalityFeatures], severity: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Same interface as `ModalityEnforcement`; all gates are 1."""
        num_bands, batch_size, _, width = next(iter(bands.values())).shape
        gates = severity.new_ones(batch_size, len(bands), num_bands, width)
        return {name: value.sum(0) * features[name].mask.unsqueeze(-1) for name, value in bands.items()}, gates


def build_enforcement(config: HfrAmeConfig) -> nn.Module:
    """The enforcement module that `config.ame` names."""
    if config.ame == "none":
        return NoEnforcement()
    return PublicBandEnhancement(config) if config.ame == "authors_public" else ModalityEnforcement(config)
