import math

import numpy as np
import pytest
import scipy.fft
import torch

from modeling_hfr_ame.frequency import analyse_bands, band_edges, band_masks, orthonormal_bases

LENGTHS = torch.tensor([0, 1, 2, 3, 5, 12, 31, 50])
SIZE = 50
TRANSFORMS = ["dct", "fft", "haar"]


def valid_mask(lengths: torch.Tensor, size: int) -> torch.Tensor:
    return torch.arange(size) < lengths.unsqueeze(-1)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_basis_on_the_valid_prefix_is_orthonormal_and_zero_outside(transform: str) -> None:
    basis, frequency = orthonormal_bases(LENGTHS, SIZE, transform)
    expected = torch.diag_embed(valid_mask(LENGTHS, SIZE).float())
    torch.testing.assert_close(basis @ basis.transpose(1, 2), expected, atol=2e-6, rtol=0)
    torch.testing.assert_close(basis.transpose(1, 2) @ basis, expected, atol=2e-6, rtol=0)
    assert frequency.min() >= 0
    assert frequency.max() <= 1


def test_dct_basis_equals_scipy() -> None:
    signal = np.random.default_rng(0).standard_normal(31)
    basis, frequency = orthonormal_bases(torch.tensor([31]), SIZE, "dct")
    ours = basis[0, :31, :31].numpy() @ signal
    np.testing.assert_allclose(ours, scipy.fft.dct(signal, norm="ortho"), atol=1e-6)
    np.testing.assert_allclose(frequency[0, :31].numpy(), np.arange(31) / 31, atol=1e-7)


@pytest.mark.parametrize("length", [7, 8])
def test_fourier_basis_energy_per_harmonic_equals_scipy(length: int) -> None:
    signal = np.random.default_rng(1).standard_normal(length)
    basis, frequency = orthonormal_bases(torch.tensor([length]), length, "fft")
    coefficients = basis[0].double().numpy() @ signal
    spectrum = scipy.fft.rfft(signal) / math.sqrt(length)
    for harmonic, value in enumerate(spectrum):
        rows = np.isclose(frequency[0].numpy(), 2 * harmonic / length)
        weight = 1 if harmonic == 0 or 2 * harmonic == length else 2
        np.testing.assert_allclose((coefficients[rows] ** 2).sum(), weight * abs(value) ** 2, rtol=1e-5)


def test_long_dct_basis_keeps_float32_accuracy() -> None:
    basis, _ = orthonormal_bases(torch.tensor([500]), 500, "dct")
    np.testing.assert_allclose(basis[0].numpy(), scipy.fft.dct(np.eye(500), norm="ortho", axis=0), atol=2e-7)


@pytest.mark.parametrize("num_bands", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("layout", ["octave", "uniform"])
@pytest.mark.parametrize("softness", [0.0, 0.05])
def test_band_masks_sum_to_one_and_are_not_negative(num_bands: int, layout: str, softness: float) -> None:
    masks = band_masks(torch.linspace(0, 1, 201), band_edges(num_bands, layout), softness)
    assert masks.shape == (num_bands, 201)
    torch.testing.assert_close(masks.sum(0), torch.ones(201))
    assert masks.min() >= 0


def test_band_edges_of_three_octave_bands_are_the_documented_ones() -> None:
    assert band_edges(3) == (0.125, 0.375)
    assert band_edges(4, "uniform") == (0.25, 0.5, 0.75)
    assert band_edges(1) == ()


@pytest.mark.parametrize(
    ("length", "counts"),
    [(50, (7, 12, 31)), (31, (4, 8, 19)), (12, (2, 3, 7)), (5, (1, 1, 3)), (2, (1, 0, 1)), (1, (1, 0, 0))],
)
def test_hard_bands_of_a_length_hold_the_documented_number_of_coefficients(
    length: int, counts: tuple[int, int, int]
) -> None:
    _, frequency = orthonormal_bases(torch.tensor([length]), length, "dct")
    assert tuple(band_masks(frequency[0], band_edges(3), 0.0).sum(1).int().tolist()) == counts


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("axis", ["time", "channel"])
def test_bands_add_up_to_the_signal_and_vanish_at_padding(transform: str, axis: str) -> None:
    states = torch.randn(len(LENGTHS), SIZE, 8, generator=torch.Generator().manual_seed(0))
    valid = valid_mask(LENGTHS, SIZE)
    analysis = analyse_bands(valid, 8, band_edges(3), 0.05, transform, axis)
    bands = analysis.split(states)
    torch.testing.assert_close(bands.sum(0), states * valid.unsqueeze(-1), atol=5e-6, rtol=0)
    assert not bands.masked_select(~valid[None, :, :, None]).any()


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_hard_bands_are_orthogonal_and_projection_is_idempotent(transform: str) -> None:
    states = torch.randn(len(LENGTHS), SIZE, 8, generator=torch.Generator().manual_seed(0))
    analysis = analyse_bands(valid_mask(LENGTHS, SIZE), 8, band_edges(3), 0.0, transform, "time")
    bands = analysis.split(states)
    gram = torch.einsum("kbld,jbld->bkj", bands, bands)
    off_diagonal = gram - torch.diag_embed(torch.diagonal(gram, dim1=1, dim2=2))
    assert off_diagonal.abs().max() < 1e-4
    for band in range(3):
        torch.testing.assert_close(analysis.project(bands[band], band), bands[band], atol=5e-6, rtol=0)


def test_slow_cosine_lands_in_the_low_band_and_fast_one_in_the_high_band() -> None:
    time = torch.arange(32) + 0.5
    slow, fast = torch.cos(math.pi * 2 * time / 32), torch.cos(math.pi * 25 * time / 32)
    analysis = analyse_bands(torch.ones(1, 32, dtype=torch.bool), 1, band_edges(3), 0.0, "dct", "time")
    energy = analysis.split((slow + fast).view(1, 32, 1)).square().sum((1, 2, 3))
    torch.testing.assert_close(energy, torch.tensor([16.0, 0.0, 16.0]), atol=1e-4, rtol=0)


def test_analysis_under_autocast_stays_float32() -> None:
    states = torch.randn(2, 10, 4)
    analysis = analyse_bands(valid_mask(torch.tensor([10, 4]), 10), 4, band_edges(3), 0.05, "dct", "time")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        bands = analysis.split(states.bfloat16())
    assert bands.dtype == torch.float32
