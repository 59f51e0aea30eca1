"""MIDG's parts, one by one, and what is left of it with all of them off."""

from itertools import pairwise
from typing import Any

import pytest
import torch

from modeling_hfr_ame import ConfigError, InputError, MidgForSentiment
from modeling_hfr_ame.domain_disentanglement import (
    EntropySplit,
    cross_correlation,
    draw_partners,
    label_classes,
    risk_variance,
    simulate_specific,
)
from modeling_hfr_ame.invariant_experts import InvariantExperts
from tests.models.model_fixtures import ERM, build_midg, random_batch, row_of, shake, tiny_midg_config

LENGTHS = [(9, 12, 6), (4, 3, 10), (7, 5, 5), (3, 1, 2), (5, 0, 4)]
PARTS = {
    "use_adapters": "adapters.",
    "use_disentanglement": "splits.",
    "use_experts": "fusion.router",
}


def _losses(model: MidgForSentiment, **more: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    losses = model.train()(**random_batch(LENGTHS, training=True), **more, output_losses=True).losses
    return {name: value.detach() for name, value in losses.items()}


def test_erm_has_none_of_the_parts_and_the_task_loss_alone() -> None:
    names = [name for name, _ in build_midg(**ERM).named_parameters()]
    assert not [name for name in names if name.startswith(tuple(PARTS.values()))]
    assert set(_losses(build_midg(**ERM))) == {"task"}


@pytest.mark.parametrize("switch", sorted(PARTS))
def test_switch_off_removes_its_parameters_and_no_others(switch: str) -> None:
    off = {switch: False} | ({"use_ood_view": False} if switch == "use_disentanglement" else {})
    full, less = ({name for name, _ in build_midg(**fields).named_parameters()} for fields in ({}, off))
    assert not [name for name in less if name.startswith(PARTS[switch])]
    kinds = {name.partition(".")[0] for name in full ^ less}
    assert kinds == {PARTS[switch].partition(".")[0]}


def test_erm_and_full_model_share_encoders_layers_and_head() -> None:
    full, erm = (dict(build_midg(**fields).named_parameters()) for fields in ({}, ERM))
    assert {name for name in erm if not name.startswith("fusion.")} <= set(full)


@pytest.mark.parametrize("modalities", ["t", "av", "ta"])
def test_model_of_some_modalities_holds_nothing_of_the_others(modalities: str) -> None:
    model = shake(build_midg(modalities=modalities))
    absent = {"t": "text", "a": "audio", "v": "vision"}.keys() - set(modalities)
    names = " ".join(name for name, _ in model.named_parameters())
    assert not any(word in names for word in ({"t": "text", "a": "audio", "v": "vision"}[letter] for letter in absent))
    model.train()(**random_batch([(9, 12, 6), (4, 3, 10), (7, 5, 5)], training=True)).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_token_embeddings_of_a_model_without_text_raise() -> None:
    with pytest.raises(InputError, match="token embeddings exist only in a model that reads text"):
        build_midg(modalities="av").get_input_embeddings()


def test_closed_gate_makes_modalities_blind_to_each_other_and_an_open_one_does_not() -> None:
    batch = random_batch([(9, 12, 6)])
    other = batch | {"audio_values": batch["audio_values"] + 1}
    model = build_midg().eval()
    reader = model.reader

    def text_change() -> float:
        first, second = (model.encode(reader.read(given))["text"] for given in (batch, other))
        return float((first - second).detach().abs().max())

    assert text_change() == 0.0
    with torch.no_grad():
        model.adapters["text"][0].gate.fill_(1.0)
    assert text_change() > 1e-4


def test_adapter_of_a_row_without_other_modalities_is_an_ordinary_one() -> None:
    model = shake(build_midg()).eval()
    alone = random_batch([(9, 0, 0)])
    before = model(**alone).logits
    with torch.no_grad():
        model.adapters["text"][0].gate.fill_(5.0)
    assert torch.equal(before, model(**alone).logits)


def test_label_classes_are_the_nearest_of_equally_spaced_values() -> None:
    labels = torch.tensor([-3.0, -2.6, -0.4, 0.0, 1.4, 3.0])
    assert label_classes(labels, (-3.0, 3.0), 7).tolist() == [0, 0, 3, 3, 4, 6]
    assert label_classes(torch.tensor([-1.0, -0.4, 0.9]), (-1.0, 1.0), 3).tolist() == [0, 1, 2]


def test_specific_part_learns_against_the_probe_and_the_probe_against_a_copy() -> None:
    torch.manual_seed(0)
    split = EntropySplit(tiny_midg_config())
    specific = torch.randn(6, 16, requires_grad=True)
    present = torch.tensor([True] * 5 + [False])
    terms = split.losses(torch.randn(6, 16), specific, present, torch.arange(6))
    (against_probe,) = torch.autograd.grad(terms["specific_entropy"], specific, retain_graph=True)
    assert against_probe[:5].abs().sum(-1).min() > 0
    assert against_probe[5].abs().sum() == 0
    assert torch.autograd.grad(terms["specific_entropy"], split.specific_probe.weight, allow_unused=True)[0] is None
    terms["probe"].backward()
    assert specific.grad is None
    assert split.specific_probe.weight.grad.abs().sum() > 0


def test_certainty_of_a_probe_lies_between_none_and_all() -> None:
    split = EntropySplit(tiny_midg_config(num_label_classes=3))
    with torch.no_grad():
        split.specific_probe.weight.zero_()
        split.specific_probe.bias.zero_()
    arguments = torch.zeros(2, 16), torch.zeros(2, 16), torch.ones(2, dtype=torch.bool), torch.tensor([0, 1])
    assert float(split.losses(*arguments)["specific_entropy"].detach()) == pytest.approx(0.0, abs=1e-6)
    with torch.no_grad():
        split.specific_probe.bias[0] = 50.0
    assert float(split.losses(*arguments)["specific_entropy"].detach()) == pytest.approx(1.0, abs=1e-6)


def test_cross_correlation_is_that_of_numpy_over_the_present_rows() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(12, 3), torch.randn(12, 3)
    present = torch.arange(12) < 9
    whole = torch.corrcoef(torch.cat([first, second], dim=1)[:9].T)[:3, 3:]
    found = cross_correlation(first, second, present)
    torch.testing.assert_close(found, whole.square().mean(), atol=1e-4, rtol=1e-3)
    assert float(cross_correlation(first, second, torch.zeros(12, dtype=torch.bool))) == 0.0


def test_partner_comes_from_another_domain_and_never_from_an_absent_row() -> None:
    torch.manual_seed(0)
    present = torch.tensor([True, True, True, True, False])
    for _ in range(20):
        partners = draw_partners(present, torch.tensor([0, 0, 1, 1, 1]))
        assert all(p in (2, 3) for p in partners[:2].tolist())
        assert all(p in (0, 1) for p in partners[2:].tolist())
        within = draw_partners(present, None)
        assert not (within == torch.arange(5))[:4].any()
        assert (within != 4).all()
    alone = torch.tensor([True, False])
    assert draw_partners(alone, None).tolist() == [0, 0]


def test_simulated_part_without_distortion_is_that_of_the_partner() -> None:
    torch.manual_seed(0)
    specific, present = torch.randn(4, 6), torch.tensor([True, True, False, False])
    found = simulate_specific(specific, present, None, strength=0.0)
    torch.testing.assert_close(found[:2], specific[:2].flip(0), atol=1e-4, rtol=1e-4)
    assert found[2:].abs().sum() == 0
    assert not torch.allclose(simulate_specific(specific, present, None, 0.5)[:2], found[:2], atol=1e-2)


def test_simulated_view_keeps_present_flags_and_is_drawn_anew() -> None:
    model = shake(build_midg())
    first, same = _losses(model), _losses(model)
    torch.testing.assert_close(first, same)
    torch.manual_seed(4)
    other = model(**random_batch(LENGTHS, training=True), output_losses=True).losses["ood_task"].detach()
    assert not torch.allclose(first["ood_task"], other)
    assert float(first["routing"]) > 0
    assert float(first["invariance"]) > 0


def test_risk_variance_counts_each_domain_once() -> None:
    errors = torch.tensor([1.0, 1.0, 1.0, 3.0])
    domains = torch.tensor([7, 7, 7, 2])
    assert float(risk_variance(errors, domains)) == pytest.approx(1.0)
    assert float(risk_variance(errors, torch.zeros(4, dtype=torch.long))) == pytest.approx(0.0)


def test_domain_id_adds_the_risk_variance_and_is_not_read_in_eval() -> None:
    model = shake(build_midg())
    assert "risk_variance" not in _losses(model)
    found = _losses(model, domain_id=torch.tensor([0, 0, 1, 1, 1]))
    assert float(found["risk_variance"]) > 0
    batch = random_batch(LENGTHS)
    plain = model.eval()(**batch).logits
    assert torch.equal(plain, model(**batch, domain_id=torch.full((5,), -9)).logits)
    # A model that doesn't tell sources apart ignores them.
    assert set(_losses(build_midg(**ERM, risk_variance_weight=0.0), domain_id=torch.arange(5))) == {"task"}


def test_domain_id_of_another_shape_raises() -> None:
    with pytest.raises(InputError, match=r"domain_id must have shape \(5,\), one source per row; found \(3,\)"):
        _losses(build_midg(), domain_id=torch.arange(3))


def test_rows_are_routed_to_as_many_experts_as_stated_and_idle_ones_say_nothing() -> None:
    torch.manual_seed(0)
    experts = InvariantExperts(tiny_midg_config(num_experts=5, num_active_experts=2)).eval()
    experts.init_own_parameters()
    states = {name: torch.randn(4, 16) for name in ("text", "audio", "vision")}
    present = {name: torch.ones(4, dtype=torch.bool) for name in states}
    mixture = experts(states, present)
    assert mixture.selected.sum(-1).tolist() == [2] * 4
    chosen = mixture.selected[0]
    with torch.no_grad():
        for index in torch.nonzero(~chosen).flatten().tolist():
            experts.output[index].weight.fill_(float("1e3"))
    torch.testing.assert_close(experts(states, present).fused[0], mixture.fused[0])


def test_expert_starts_with_its_subset_and_reads_others_where_that_is_absent() -> None:
    experts = InvariantExperts(tiny_midg_config(num_experts=7, num_active_experts=7)).eval()
    experts.init_own_parameters()
    assert experts.subset_query.argmax(-1).tolist() == list(range(7))
    states = {name: torch.randn(1, 16) for name in ("text", "audio", "vision")}
    present = {name: torch.tensor([name == "text"]) for name in states}
    tokens, valid = experts.tokens(states, present)
    assert valid.tolist() == [[True, False, False, False, False, False, False]]
    assert torch.equal(tokens[:, 0], states["text"])
    assert torch.isfinite(experts(states, present).fused).all()


def test_balance_is_one_for_equal_loads_and_grows_with_preference() -> None:
    torch.manual_seed(0)
    experts = InvariantExperts(tiny_midg_config(num_experts=4, num_active_experts=1)).eval()
    experts.init_own_parameters()
    states = {name: torch.zeros(8, 16) for name in ("text", "audio", "vision")}
    present = {name: torch.ones(8, dtype=torch.bool) for name in states}
    with torch.no_grad():
        experts.router.bias.zero_()
    assert float(experts(states, present).imbalance().detach()) == pytest.approx(1.0)
    found = []
    for bias in (1.0, 4.0):
        with torch.no_grad():
            experts.router.bias[0] = bias
        found.append(float(experts(states, present).imbalance().detach()))
    assert all(low < high for low, high in pairwise([1.0, *found]))


def test_sparse_routing_in_eval_does_not_depend_on_batch_mates() -> None:
    model = shake(build_midg(num_experts=4, num_active_experts=1)).eval()
    batch = random_batch(LENGTHS)
    alone = torch.cat([model(**row_of(batch, row)).logits for row in range(len(LENGTHS))])
    torch.testing.assert_close(model(**batch).logits, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"variant": "reference"}, "MIDG has no public code, so no variant 'reference' exists"),
        ({"modalities": "tx"}, "modalities must be a non-empty subset"),
        ({"num_experts": 0}, "num_experts must be positive; found 0"),
        ({"num_attention_heads": 3}, r"num_attention_heads must divide hidden_size \(16\); found 3"),
        ({"num_adapter_heads": 3}, r"num_adapter_heads must divide adapter_size \(8\); found 3"),
        ({"hidden_size": 15, "num_attention_heads": 1}, "hidden_size must be even"),
        ({"num_active_experts": 4}, r"num_active_experts must not exceed num_experts \(3\); found 4"),
        ({"use_disentanglement": False}, "use_ood_view needs use_disentanglement"),
        ({"num_label_classes": 1}, "num_label_classes must be at least 2; found 1"),
        ({"ood_strength": -0.1}, "ood_strength must not be negative; found -0.1"),
    ],
)
def test_configuration_that_cannot_be_built_raises(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_midg_config(**fields)
