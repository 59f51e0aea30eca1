"""Lost frames begin as what the other modalities and the observed frames around them say."""

import math
from typing import Any

import pytest
import torch

from modeling_hfr_ame.coarse_restoration import EncodedSequence, fill_gaps
from tests.models.model_fixtures import build_hfr_ame, lose_frames, random_batch, shake

LENGTHS = [(9, 12, 6), (4, 3, 10), (7, 5, 5)]


def _mask(lengths: list[int], size: int) -> torch.Tensor:
    return torch.arange(size) < torch.tensor(lengths).unsqueeze(-1)


def _sequences(**changes: torch.Tensor) -> dict[str, EncodedSequence]:
    """One row of each modality, 16 wide as the tiny models are; `changes` replaces states."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, length in (("text", 3), ("audio", 6), ("vision", 4)):
        states = torch.randn(1, length, 16, generator=generator)
        observed = torch.ones(1, length)
        if name != "text":
            observed[0, 1] = 0
        found[name] = EncodedSequence(changes.get(name, states), observed, _mask([length], length))
    return found


def test_fill_observed_frames_stay_and_padding_is_zero() -> None:
    states, mask = torch.randn(2, 6, 3), _mask([6, 4], 6)
    observed = mask.float()
    observed[:, 1] = 0
    filled = fill_gaps(states, observed, mask, torch.ones(2, 6, 3))
    assert torch.equal(filled[observed > 0], states[observed > 0])
    assert filled[1, 4:].abs().sum() == 0
    assert filled[:, 1].abs().min() > 0


def test_fill_lost_frame_is_the_weighted_mean_of_the_observed_ones_and_the_expectation() -> None:
    states = torch.tensor([2.0, 99.0, 7.0, 3.0]).view(1, 4, 1)
    filled = fill_gaps(states, torch.tensor([[1.0, 0.0, 0.0, 1.0]]), _mask([4], 4), torch.full((1, 4, 1), 5.0))
    near, far = math.exp(-0.5 * (1 / 4) ** 2) + 0.1, math.exp(-0.5 * (2 / 4) ** 2) + 0.1
    assert filled[0, 1, 0].item() == pytest.approx((2 * near + 3 * far + 5) / (near + far + 1))


def test_fill_expectation_that_holds_at_the_observed_frames_is_kept_at_the_lost_ones() -> None:
    expected = torch.randn(1, 5, 2)
    observed = torch.tensor([[1.0, 0.0, 1.0, 0.0, 1.0]])
    torch.testing.assert_close(
        fill_gaps(expected * observed.unsqueeze(-1), observed, _mask([5], 5), expected), expected
    )


def test_fill_without_any_observed_frame_is_the_expectation() -> None:
    expected = torch.randn(1, 3, 2)
    filled = fill_gaps(torch.randn(1, 3, 2), torch.zeros(1, 3), _mask([2], 3), expected)
    assert torch.equal(filled[0, :2], expected[0, :2])
    assert filled[0, 2].abs().sum() == 0


def test_fill_padding_and_batch_mates_change_nothing() -> None:
    states, expected = torch.randn(2, 1, 5, 3)
    observed = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0]])
    alone = fill_gaps(states, observed, _mask([5], 5), expected)
    junk, mate = torch.full((1, 4, 3), 9.0), torch.randn(1, 9, 3)
    together = fill_gaps(
        torch.cat([torch.cat([states, junk], 1), mate]),
        torch.cat([torch.nn.functional.pad(observed, (0, 4)), torch.ones(1, 9)]),
        _mask([5, 9], 9),
        torch.cat([torch.cat([expected, junk], 1), mate]),
    )
    torch.testing.assert_close(together[:1, :5], alone)


def test_fill_of_a_slow_curve_is_nearer_to_it_than_zeros() -> None:
    generator = torch.Generator().manual_seed(0)
    times = torch.linspace(0, 3, 40)
    curve = torch.stack([times.cos(), (0.7 * times).sin()], dim=-1).unsqueeze(0)
    for rate, bound in ((0.3, 0.25), (0.7, 0.25), (0.9, 0.6)):
        observed = (torch.rand(1, 40, generator=generator) >= rate).float()
        received = curve * observed.unsqueeze(-1)
        filled = fill_gaps(received, observed, _mask([40], 40), torch.zeros_like(curve))
        error = (filled - curve).square().sum() / (received - curve).square().sum()
        assert error < bound, (rate, error)


def test_readout_sees_every_other_modality_and_not_its_own() -> None:
    coarse = build_hfr_ame(fill_gaps=True).model.coarse
    torch.nn.init.normal_(coarse.readouts["audio"].weight)
    before = coarse(_sequences())["audio"].readout
    for name, changes in (("text", True), ("vision", True), ("audio", False)):
        after = coarse(_sequences(**{name: torch.zeros_like(_sequences()[name].states)}))["audio"].readout
        assert torch.equal(before, after) != changes, name


@pytest.mark.parametrize("overrides", [{"condition": "none"}, {"condition_on": "self"}, {"modalities": "a"}], ids=str)
def test_readout_without_conditions_or_other_modalities_is_left_out(overrides: dict[str, Any]) -> None:
    coarse = build_hfr_ame(**{"fill_gaps": True, **overrides}).model.coarse
    assert len(coarse.readouts) == 0
    assert "audio" in coarse.priors


@pytest.mark.parametrize("overrides", [{"fill_gaps": False}, {"use_hfr": False}, {"use_observed": False}], ids=str)
def test_coarse_stage_without_restoration_or_flags_is_left_out(overrides: dict[str, Any]) -> None:
    assert build_hfr_ame(**{"fill_gaps": True, **overrides}).model.coarse is None


def test_coarse_stage_without_fm_unets_is_the_whole_restoration() -> None:
    model = shake(build_hfr_ame(use_fm_unet=False)).eval()
    output = model.model(model.reader.read(lose_frames(random_batch(LENGTHS))))
    assert model.model.restoration is None
    for name, item in output.features.items():
        assert torch.equal(output.restored[name], item.start)
    audio = output.features["audio"]
    assert (audio.start.sum(0) - audio.states).abs().sum(-1)[audio.mask & (audio.observed == 0)].min() > 0


def test_readout_loss_trains_the_encoders_of_the_other_modalities_alone() -> None:
    model = build_hfr_ame(fill_gaps=True, dropout=0.0).train()
    for readout in model.model.coarse.readouts.values():
        torch.nn.init.normal_(readout.weight)
    estimate = model.model.encode(model.reader.read(lose_frames(random_batch(LENGTHS))))[0]["audio"].coarse
    estimate.readout.square().sum().backward()
    assert model.model.encoders["text"].projection.weight.grad.abs().sum() > 0
    assert model.model.encoders["vision"].projection.weight.grad.abs().sum() > 0
    assert model.model.encoders["audio"].projection.weight.grad is None


def test_clean_twin_with_frames_of_its_own_missing_is_filled_alike() -> None:
    model = build_hfr_ame(fill_gaps=True, dropout=0.0).eval()
    batch = lose_frames(random_batch(LENGTHS))
    features, _, _ = model.model.encode(model.reader.read(batch))
    clean = {f"clean_{name}": value for name, value in batch.items() if name != "modality_mask"}
    targets = model.model.encode_clean(model.reader.read(clean, "clean_"), features)
    for name in ("audio", "vision"):
        torch.testing.assert_close(features[name].start.sum(0), targets[name].states, atol=1e-5, rtol=0)


def test_undamaged_input_with_frames_of_its_own_missing_has_no_error() -> None:
    batch = lose_frames(random_batch(LENGTHS))
    twin = {name.replace("audio_", "clean_audio_").replace("vision_", "clean_vision_"): batch[name] for name in batch}
    twin = {name: value for name, value in twin.items() if name.startswith("clean_")}
    twin |= {f"clean_{name}": batch[name] for name in ("input_ids", "attention_mask")}
    for name, sums in build_hfr_ame(dropout=0.0).eval().measure_restoration(**batch, **twin).items():
        assert sums["energy"].min() > 0, name
        torch.testing.assert_close(sums["error_before"], torch.zeros(3), msg=name)
        torch.testing.assert_close(sums["error_after"], torch.zeros(3), msg=name)


def test_frames_unobserved_in_the_clean_twin_do_not_count() -> None:
    batch = random_batch(LENGTHS, training=True)
    batch["clean_audio_values"][:, 2] = 0
    model = build_hfr_ame(dropout=0.0).eval()
    before = model.measure_restoration(**batch)["audio"]
    model.model.coarse.priors["audio"].data.add_(3.0)  # what is filled in changes, what was observed doesn't
    after = model.measure_restoration(**batch)["audio"]
    torch.testing.assert_close(after["error_before"], before["error_before"])
