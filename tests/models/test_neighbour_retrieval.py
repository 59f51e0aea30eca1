"""Who is a neighbour, and what the memory keeps."""

import torch

from modeling_hfr_ame.neighbour_retrieval import NeighbourMemory, batch_neighbours, smooth_neighbours

# Two pairs of near directions and one vector that nothing is near to.
STATES = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [-1.0, -1.0]])
PRESENT = torch.tensor([True, True, True, True, True])


def memory(size: int = 4, threshold: float = 0.6) -> NeighbourMemory:
    return NeighbourMemory(1, 2, size, threshold, 0.05)


def test_batch_neighbours_of_a_pair_are_each_other_and_the_outlier_gets_everyones_mean() -> None:
    found = batch_neighbours(STATES, 0.6)
    torch.testing.assert_close(found[:4], STATES[[1, 0, 3, 2]])
    torch.testing.assert_close(found[4], STATES.mean(0))


def test_batch_neighbours_of_a_zero_vector_are_all_that_are_not_zero() -> None:
    found = batch_neighbours(torch.cat([STATES[:4], torch.zeros(1, 2)]), 0.6)
    torch.testing.assert_close(found[4], STATES[:4].mean(0))


def test_smooth_neighbours_do_not_depend_on_a_common_offset() -> None:
    usable = ~torch.eye(5, dtype=torch.bool)
    plain = smooth_neighbours(STATES, PRESENT, STATES, usable, 0.6, 0.05)
    # With an offset of 50 all raw cosines are above 0.99.
    moved = smooth_neighbours(STATES + 50, PRESENT, STATES + 50, usable, 0.6, 0.05) - 50
    torch.testing.assert_close(plain, moved, atol=1e-3, rtol=0)
    torch.testing.assert_close(plain[:4], STATES[[1, 0, 3, 2]], atol=0.02, rtol=0)


def test_smooth_neighbours_move_little_when_a_key_crosses_the_threshold() -> None:
    near, far = torch.tensor([[1.0, 0.0]]), torch.tensor([-1.0, -0.6])
    usable = torch.ones(1, 3, dtype=torch.bool)
    found = []
    for shift in (-1e-4, 1e-4):
        angle = torch.tensor(0.9273) + shift  # cosine 0.6 to the query, around a centre at the origin
        key = torch.stack([angle.cos(), angle.sin()])
        keys = torch.stack([key, far, -key - far])
        found.append(smooth_neighbours(near, torch.tensor([True]), keys, usable, 0.6, 0.05))
    assert (found[0] - found[1]).abs().max() < 1e-2


def test_retrieval_in_training_never_returns_an_absent_row() -> None:
    present = torch.tensor([True, True, True, True, False])
    expected, _ = memory().train()(0, STATES, present)
    poisoned = STATES.clone()
    poisoned[4] = 1e6
    found, is_found = memory().train()(0, poisoned, present)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found[4], STATES[:4].mean(0))
    assert is_found.all()


def test_retrieval_of_the_only_present_row_is_the_row_itself() -> None:
    found, is_found = memory().train()(0, STATES[:1], torch.tensor([True]))
    torch.testing.assert_close(found, STATES[:1])
    assert is_found.all()


def test_memory_that_is_empty_finds_nothing_for_an_absent_row() -> None:
    found, is_found = memory().eval()(0, STATES[:2], torch.tensor([True, False]))
    assert is_found.tolist() == [True, False]
    torch.testing.assert_close(found, torch.stack([STATES[0], torch.zeros(2)]))


def test_memory_keeps_the_newest_present_rows() -> None:
    kept = memory(size=4).train()
    kept(0, STATES[:3], torch.tensor([True, False, True]))
    assert kept.filled[0].tolist() == [1, 1, 0, 0]
    kept(0, STATES[3:], torch.tensor([True, True]))
    torch.testing.assert_close(kept.vectors[0], STATES[[3, 4, 0, 2]])
    kept(0, STATES[:1], torch.tensor([True]))
    torch.testing.assert_close(kept.vectors[0], STATES[[0, 3, 4, 0]])


def test_memory_in_eval_is_read_and_not_written() -> None:
    kept = memory().train()
    kept(0, STATES[:4], PRESENT[:4])
    before = kept.state_dict()
    found, _ = kept.eval()(0, STATES[4:], torch.tensor([False]))
    torch.testing.assert_close(found[0], STATES[:4].mean(0))
    assert all(torch.equal(value, before[name]) for name, value in kept.state_dict().items())
