"""One modality's steps on another one's time axis."""

import torch

from modeling_hfr_ame.time_alignment import align_in_time


def _mask(lengths: list[int], size: int) -> torch.Tensor:
    return torch.arange(size) < torch.tensor(lengths).unsqueeze(-1)


def test_align_same_length_is_the_identity_on_the_valid_prefix() -> None:
    states = torch.randn(2, 5, 3)
    mask = _mask([5, 3], 5)
    aligned = align_in_time(states, mask, mask)
    torch.testing.assert_close(aligned[mask], states[mask])
    assert aligned[1, 3:].abs().sum() == 0


def test_align_linear_signal_is_read_at_equal_relative_time() -> None:
    def ramp(length: int, size: int) -> torch.Tensor:
        return ((torch.arange(size) + 0.5) / length).view(1, -1, 1)

    aligned = align_in_time(ramp(8, 10), _mask([8], 10), _mask([6], 7))
    torch.testing.assert_close(aligned[:, :6], ramp(6, 6))


def test_align_longer_target_holds_the_ends() -> None:
    states = torch.tensor([1.0, 2.0]).view(1, 2, 1)
    aligned = align_in_time(states, _mask([2], 2), _mask([4], 4))
    torch.testing.assert_close(aligned.flatten(), torch.tensor([1.0, 1.25, 1.75, 2.0]))


def test_align_source_padding_and_batch_mates_change_nothing() -> None:
    states = torch.randn(1, 4, 2)
    alone = align_in_time(states, _mask([4], 4), _mask([6], 6))
    padded = torch.cat([states, torch.full((1, 3, 2), 9.0)], dim=1)
    together = align_in_time(torch.cat([padded, torch.randn(1, 7, 2)]), _mask([4, 7], 7), _mask([6, 8], 8))
    torch.testing.assert_close(together[:1, :6], alone)


def test_align_absent_source_gives_zeros() -> None:
    assert align_in_time(torch.ones(1, 3, 2), _mask([0], 3), _mask([4], 4)).abs().sum() == 0
    assert align_in_time(torch.ones(1, 3, 2), _mask([3], 3), _mask([0], 4)).abs().sum() == 0
