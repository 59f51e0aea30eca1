"""Frequency bands of sequences with different lengths.

Design choices:
- Orthonormal real bases as plain matrices, built per sample over its valid prefix: Parseval holds on the prefix and
  padding stays exactly zero. `torch.fft` refuses bfloat16 and odd lengths in half precision; matrix products don't.
- DCT-II by default: its even extension has no jump at the ends of a short, non-periodic utterance.
- Bands are differences of cross-faded steps, so they always add up to the identity.
- float32 whatever autocast says; angles are reduced with integer arithmetic before the cosine.

Shape legend: B batch, L padded time, K bands, D width, n valid length of one sample.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch


def band_edges(num_bands: int, layout: str = "octave") -> tuple[float, ...]:
    """Inner band edges in normalised frequency.

    Args:
        num_bands: K ≥ 1.
        layout: `octave`: (2^j − 1) / 2^K for j = 1 … K − 1, which is 1/8 and 3/8 for K = 3; `uniform`: j / K.

    Returns:
        K − 1 ascending values in (0, 1).
    """
    if layout == "uniform":
        return tuple(j / num_bands for j in range(1, num_bands))
    return tuple((2**j - 1) / 2**num_bands for j in range(1, num_bands))


def band_masks(frequency: torch.Tensor, edges: tuple[float, ...], softness: float) -> torch.Tensor:
    """Weight of every coefficient in every band.

    Args:
        frequency: (…, n) normalised frequencies in [0, 1].
        edges: K − 1 ascending inner edges.
        softness: Half-width of the cross-fade; 0 gives hard, mutually orthogonal bands.

    Returns:
        (K, …, n) weights in [0, 1] that sum to 1 over K.
    """
    steps = [torch.ones_like(frequency)]
    for edge in edges:
        if softness > 0:
            phase = ((frequency - edge) / softness).clamp(-1.0, 1.0)
            steps.append(0.5 * (1 + torch.sin(0.5 * math.pi * phase)))
        else:
            steps.append((frequency >= edge).to(frequency.dtype))
    steps.append(torch.zeros_like(frequency))
    return torch.stack([low - high for low, high in pairwise(steps)])


def _cosine_table(lengths: torch.Tensor, size: int, period: int) -> torch.Tensor:
    """cos(2π·r / (period·n)) for r = 0 … size − 1, computed in float64 where the device has it: (B, size) float32."""
    dtype = torch.float32 if lengths.device.type == "mps" else torch.float64
    steps = torch.arange(size, device=lengths.device, dtype=dtype)
    return torch.cos(2 * math.pi * steps / (period * lengths.to(dtype)).unsqueeze(-1)).to(torch.float32)


def _dct_basis(lengths: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    index = torch.arange(size, device=lengths.device)
    length = lengths.clamp(min=1).view(-1, 1, 1)
    # cos(π (2i + 1) k / 2n) has period 4n in (2i + 1) k.
    turn = ((2 * index + 1).view(1, 1, -1) * index.view(1, -1, 1)) % (4 * length)
    table = _cosine_table(lengths.clamp(min=1), 4 * size, 4)
    basis = torch.gather(table, 1, turn.flatten(1)).view(turn.shape)
    scale = torch.where(index.view(1, -1, 1) == 0, 1.0, math.sqrt(2.0)) / length.to(torch.float32).sqrt()
    return basis * scale, index / lengths.clamp(min=1).unsqueeze(-1).to(torch.float32)


def _fourier_basis(lengths: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    index = torch.arange(size, device=lengths.device)
    length = lengths.clamp(min=1).view(-1, 1, 1)
    harmonic = (index + 1) // 2
    # Rows alternate cos, sin; sin x = cos(x − π/2), written on a grid of 4n so that the shift by n is exact.
    shift = torch.where((index % 2 == 0) & (index > 0), 1, 0).view(1, -1, 1)
    turn = (4 * harmonic.view(1, -1, 1) * index.view(1, 1, -1) - shift * length) % (4 * length)
    table = _cosine_table(lengths.clamp(min=1), 4 * size, 4)
    basis = torch.gather(table, 1, turn.flatten(1)).view(turn.shape)
    single = (index.view(1, -1, 1) == 0) | (2 * harmonic.view(1, -1, 1) == length)
    scale = torch.where(single, 1.0, math.sqrt(2.0)) / length.to(torch.float32).sqrt()
    return basis * scale, 2 * harmonic / lengths.clamp(min=1).unsqueeze(-1).to(torch.float32)


@lru_cache(maxsize=1024)
def _haar_matrix(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Unbalanced Haar wavelets: each node splits its stretch in the middle, so any length has an orthonormal basis."""
    rows = [torch.full((length,), 1 / math.sqrt(length), dtype=torch.float64)]
    frequency = [0.0]
    stretches = [(0, length)]
    while stretches:
        start, end = stretches.pop(0)
        if end - start < 2:
            continue
        middle = (start + end + 1) // 2
        left, right = middle - start, end - middle
        row = torch.zeros(length, dtype=torch.float64)
        row[start:middle] = math.sqrt(right / (left * (left + right)))
        row[middle:end] = -math.sqrt(left / (right * (left + right)))
        rows.append(row)
        frequency.append(2 / (end - start))  # one cycle per stretch, on the scale of the other two bases
        stretches += [(start, middle), (middle, end)]
    return torch.stack(rows).to(torch.float32), torch.tensor(frequency)


def _haar_basis(lengths: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    basis = torch.zeros(len(lengths), size, size)
    frequency = torch.zeros(len(lengths), size)
    for row, length in enumerate(lengths.tolist()):
        if length > 0:
            matrix, levels = _haar_matrix(length)
            basis[row, :length, :length] = matrix
            frequency[row, :length] = levels
    return basis.to(lengths.device), frequency.to(lengths.device)


_BASES = {"dct": _dct_basis, "fft": _fourier_basis, "haar": _haar_basis}


def orthonormal_bases(lengths: torch.Tensor, size: int, transform: str = "dct") -> tuple[torch.Tensor, torch.Tensor]:
    """Orthonormal bases over the valid prefixes of a batch.

    Args:
        lengths: (B,) int64 valid lengths n, 0 ≤ n ≤ size.
        size: Padded length L.
        transform: `dct` (DCT-II), `fft` (real Fourier basis: constant, then cosine and sine of each harmonic) or
            `haar`.

    Returns:
        basis: (B, L, L) float32; row k is the k-th basis vector; rows and columns at or beyond n are zero.
        frequency: (B, L) float32 normalised frequency of each row in [0, 1]: k / n for the DCT, 2j / n for harmonic j,
            2 / s for a Haar wavelet over s steps.
    """
    basis, frequency = _BASES[transform](lengths, size)
    valid = torch.arange(size, device=lengths.device) < lengths.unsqueeze(-1)
    square = valid.unsqueeze(1) & valid.unsqueeze(2)
    return basis * square, frequency.clamp(max=1.0) * valid


@dataclass
class BandAnalysis:
    """Splits sequences of one modality into bands and projects corrections onto one band.

    Args:
        basis: (B, L, L) over time, or (1, D, D) over channels.
        weights: (K, B, L) or (K, 1, D) band weights.
        valid: (B, L) bool valid prefix.
        over_time: Whether the basis runs along time.
    """

    basis: torch.Tensor
    weights: torch.Tensor
    valid: torch.Tensor
    over_time: bool

    def spectrum(self, states: torch.Tensor) -> torch.Tensor:
        """Coefficients of (B, L, D) states along the analysed axis, float32, same shape."""
        states = states.float() * self.valid.unsqueeze(-1)
        with torch.autocast(states.device.type, enabled=False):
            return self.basis @ states if self.over_time else states @ self.basis.transpose(1, 2)

    def _synthesise(self, spectrum: torch.Tensor) -> torch.Tensor:
        with torch.autocast(spectrum.device.type, enabled=False):
            return self.basis.transpose(1, 2) @ spectrum if self.over_time else spectrum @ self.basis

    def _weight(self, band: int) -> torch.Tensor:
        return self.weights[band].unsqueeze(-1) if self.over_time else self.weights[band].unsqueeze(1)

    def project(self, states: torch.Tensor, band: int) -> torch.Tensor:
        """𝓑_b: the part of (B, L, D) states that lies in one band, float32."""
        return self._synthesise(self._weight(band) * self.spectrum(states))

    def split(self, states: torch.Tensor) -> torch.Tensor:
        """All bands of (B, L, D) states: (K, B, L, D) float32 that add up to the states on the valid prefix."""
        spectrum = self.spectrum(states)
        return torch.stack([self._synthesise(self._weight(band) * spectrum) for band in range(len(self.weights))])


def analyse_bands(
    valid: torch.Tensor, width: int, edges: tuple[float, ...], softness: float, transform: str, axis: str
) -> BandAnalysis:
    """Builds the band analysis for one modality of a batch.

    Args:
        valid: (B, L) bool, a prefix of True in each row.
        width: Feature width D, the length of the analysed axis when `axis` is `channel`.
        edges: K − 1 inner band edges.
        softness: Half-width of the cross-fade.
        transform: `dct`, `fft` or `haar`.
        axis: `time` or `channel`.

    Returns:
        The analysis: per-sample bases and weights over time, or one basis for the batch over channels.
    """
    if axis == "time":
        basis, frequency = orthonormal_bases(valid.sum(-1), valid.shape[1], transform)
    else:
        basis, frequency = orthonormal_bases(torch.tensor([width], device=valid.device), width, transform)
    return BandAnalysis(basis, band_masks(frequency, edges, softness), valid, axis == "time")
