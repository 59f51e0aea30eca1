import itertools

import numpy as np
import pytest

from modeling_hfr_ame.corruption import (
    LnlnTrainingRates,
    emt_dlfr_masks,
    fixed_modality_masks,
    lnln_masks,
    random_keep_masks,
    tfr_net_masks,
)
from modeling_hfr_ame.corruption.literature_masks import replace_dropped_tokens, zero_dropped_frames
from modeling_hfr_ame.errors import ConfigError, DataError

PADDED = (12, 20, 20)


@pytest.fixture
def lengths() -> np.ndarray:
    generator = np.random.default_rng(0)
    made = np.stack([generator.integers(2, 13, 400), *generator.integers(1, 21, (2, 400))], axis=1)
    made[0], made[1], made[2] = PADDED, (0, 5, 5), (2, 0, 1)  # full; without text; two special tokens only
    return made


def valid_steps(lengths: np.ndarray) -> list[np.ndarray]:
    return [np.arange(padded) < lengths[:, [column]] for column, padded in enumerate(PADDED)]


def test_lnln_masks_at_a_higher_rate_drop_what_a_lower_one_drops_and_more(lengths):
    by_rate = [lnln_masks(lengths, PADDED, tenth / 10) for tenth in range(11)]
    for lower, higher in itertools.pairwise(by_rate):
        for low, high in zip(lower, higher, strict=True):
            assert not (high & ~low).any()
            assert high.sum() < low.sum()


def test_lnln_masks_rate_zero_keeps_every_valid_step_and_no_padding(lengths):
    for mask, valid in zip(lnln_masks(lengths, PADDED, 0.0), valid_steps(lengths), strict=True):
        np.testing.assert_array_equal(mask, valid)


def test_lnln_masks_rate_one_keeps_the_special_tokens_only(lengths):
    text, audio, vision = lnln_masks(lengths, PADDED, 1.0)
    assert not audio.any()
    assert not vision.any()
    np.testing.assert_array_equal(text.sum(axis=1), np.where(lengths[:, 0] > 0, 2, 0))
    for row in np.flatnonzero(lengths[:, 0]):
        assert text[row, [0, lengths[row, 0] - 1]].all()


def test_lnln_masks_of_modalities_with_equal_padding_drop_the_same_steps(lengths):
    _, audio, vision = lnln_masks(lengths, PADDED, 0.4)
    both = np.arange(20) < lengths[:, 1:].min(axis=1, keepdims=True)
    np.testing.assert_array_equal(audio & both, vision & both)
    _, audio, vision = emt_dlfr_masks(lengths, PADDED, 0.4)
    assert (audio & both != vision & both).mean() > 0.1


def test_lnln_masks_of_another_padded_length_are_others_beyond_the_first_row(lengths):
    a, b = lnln_masks(lengths, PADDED, 0.5)[1], lnln_masks(lengths, (12, 21, 20), 0.5)[1]
    np.testing.assert_array_equal(a[0], b[0, :20])
    assert (a != b[:, :20])[1:].mean() > 0.1


def test_random_keep_masks_drop_the_asked_share_of_each_modality(lengths):
    masks = random_keep_masks(lengths, PADDED, (0.2, 0.5, 0.8), (1, 2, 3))
    valid = valid_steps(lengths)
    inner = valid[0].copy()
    inner[:, 0] = False
    rows = np.flatnonzero(lengths[:, 0])
    inner[rows, lengths[rows, 0] - 1] = False
    shares = [1 - masks[0][inner].mean(), 1 - masks[1][valid[1]].mean(), 1 - masks[2][valid[2]].mean()]
    assert shares == pytest.approx((0.2, 0.5, 0.8), abs=0.03)  # sd of the smallest is 0.009


def test_random_keep_masks_take_a_rate_per_row(lengths):
    rates = np.zeros((len(lengths), 3))
    rates[::2] = 1.0
    _, audio, _ = random_keep_masks(lengths, PADDED, rates, (1, 1, 1))
    assert not audio[::2].any()
    np.testing.assert_array_equal(audio[1::2], valid_steps(lengths)[1][1::2])


def test_tfr_net_masks_default_is_a_fifth_with_lnln_seeds(lengths):
    for a, b in zip(tfr_net_masks(lengths, PADDED), lnln_masks(lengths, PADDED, 0.2), strict=True):
        np.testing.assert_array_equal(a, b)


def test_emt_dlfr_masks_use_one_published_seed_per_modality(lengths):
    for column, (mask, seed) in enumerate(zip(emt_dlfr_masks(lengths, PADDED, 0.3), (111, 1111, 11111), strict=True)):
        np.testing.assert_array_equal(mask, lnln_masks(lengths, PADDED, 0.3, seed)[column])


def test_fixed_modality_masks_erase_the_named_ones_and_nothing_else(lengths):
    text, audio, vision = fixed_modality_masks(lengths, PADDED, ("text", "vision"))
    assert not vision.any()
    assert text.sum() == 2 * np.count_nonzero(lengths[:, 0])
    np.testing.assert_array_equal(audio, valid_steps(lengths)[1])


def test_replace_dropped_tokens_leaves_padding_and_input_alone():
    ids = np.array([[101, 7, 8, 102, 0], [101, 9, 102, 0, 0]])
    keep = np.array([[True, False, True, True, False], [True, False, True, False, False]])
    before = ids.copy()
    found = replace_dropped_tokens(ids, keep, 100, np.array([4, 3]))
    np.testing.assert_array_equal(found, [[101, 100, 8, 102, 0], [101, 100, 102, 0, 0]])
    np.testing.assert_array_equal(ids, before)


def test_zero_dropped_frames_are_exact_zero_rows_of_the_same_type():
    frames = np.full((3, 2), -0.5, dtype=np.float32)
    found = zero_dropped_frames(frames, np.array([True, False, True]))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[-0.5, -0.5], [0, 0], [-0.5, -0.5]])
    assert not np.signbit(found[1]).any()


def test_random_keep_masks_row_longer_than_its_padding_raises(lengths):
    with pytest.raises(DataError, match=r"found 20 steps of audio and a padded length of 19; pass at least 20, or cut"):
        lnln_masks(lengths, (12, 19, 20), 0.5)


def test_random_keep_masks_malformed_lengths_raise(lengths):
    with pytest.raises(DataError, match=r"lengths must be \(rows, 3\).* found shape \(400, 2\) and 3 padded lengths"):
        lnln_masks(lengths[:, :2], PADDED, 0.5)
    with pytest.raises(DataError, match=r"found shape .* and 2 padded lengths; pass 0 for a modality"):
        lnln_masks(lengths, PADDED[:2], 0.5)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_random_keep_masks_rate_outside_its_range_raises(lengths, rate):
    with pytest.raises(ConfigError, match=r"drop rates must be in \[0, 1\], found .*; pass shares"):
        lnln_masks(lengths, PADDED, rate)


def test_lnln_training_rates_are_zero_in_half_of_the_rows_and_uniform_in_the_others():
    rates = LnlnTrainingRates(2001, 7).rates
    assert ((rates == 0).sum(axis=0) == 1000).all()
    assert rates[rates > 0].mean() == pytest.approx(0.5, abs=0.02)
    both = (rates[:, :2] == 0).all(axis=1).mean()
    assert both == pytest.approx(0.25, abs=0.05)  # halves are drawn per modality


def test_lnln_training_rates_redraws_repeat_the_numbers_and_change_the_zeros():
    drawn = LnlnTrainingRates(50, 7)
    first, second = drawn.redraw(20).copy(), drawn.redraw(20)
    assert second is drawn.rates
    both = (first > 0) & (second > 0)
    assert both.any()
    np.testing.assert_array_equal(first[both], second[both])
    assert ((first > 0) != (second > 0)).any()


def test_lnln_training_rates_without_rows_raise():
    with pytest.raises(ConfigError, match="at least one row, found 0; pass the size of the split"):
        LnlnTrainingRates(0, 1)
