"""Pooling over what is valid, and learned tokens in front of a sequence."""

import pytest
import torch

from modeling_hfr_ame.encoders import add_tokens_and_positions
from modeling_hfr_ame.pooling import masked_max, masked_mean

STATES = torch.tensor([[[-1.0, 4.0], [-3.0, 2.0], [9.0, 9.0]], [[5.0, 5.0], [6.0, 6.0], [7.0, 7.0]]])
MASK = torch.tensor([[True, True, False], [False, False, False]])


@pytest.mark.parametrize(("pool", "expected"), [(masked_mean, [-2.0, 3.0]), (masked_max, [-1.0, 4.0])])
def test_pooling_reads_valid_steps_only_and_gives_zero_for_an_empty_row(pool: object, expected: list[float]) -> None:
    assert pool(STATES, MASK).tolist() == [expected, [0.0, 0.0]]  # type: ignore[operator]


def test_tokens_come_first_and_share_the_table_with_the_sequence() -> None:
    table = torch.arange(10.0).view(1, 5, 2)
    tokens = torch.full((1, 1, 2), 100.0)
    found = add_tokens_and_positions(STATES, tokens, table)
    assert torch.equal(found[:, 0], (tokens + table[:, :1])[:, 0].expand(2, -1))
    assert torch.equal(found[:, 1:], STATES + table[:, 1:4])
    assert torch.equal(add_tokens_and_positions(STATES, None, table), STATES + table[:, :3])
