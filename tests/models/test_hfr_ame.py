"""What is specific to HFR-AME: section by section of `docs/paper_to_code.md`."""

from typing import Any

import pytest
import torch

from modeling_hfr_ame import ConfigError, HfrAmeConfig, HfrAmeForSentiment, InputError
from modeling_hfr_ame.losses import band_loss, global_mean, masked_smooth_l1
from tests.models.model_fixtures import UNKNOWN_ID, build_hfr_ame, lose_frames, random_batch, shake, tiny_config

# An odd number of rows: with an even one the signs of an L1 gradient can cancel exactly.
LENGTHS = [(9, 12, 6), (4, 3, 10), (7, 5, 5), (3, 1, 2), (5, 2, 4)]

ABLATIONS: list[dict[str, Any]] = [
    {"use_hfr": False},
    {"hfr_order": "high_to_low"},
    {"hfr_order": "parallel"},
    {"num_bands": 1},
    {"num_bands": 2},
    {"num_bands": 4},
    {"num_bands": 6},
    {"num_bands": 1, "loss_bands": 3},
    {"band_edges": (0.2, 0.6)},
    {"band_layout": "uniform"},
    {"band_softness": 0.0},
    {"transform": "fft"},
    {"transform": "haar"},
    {"freq_axis": "channel"},
    {"condition": "xattn"},
    {"condition": "film"},
    {"condition": "none"},
    {"condition_on": "self"},
    {"align_conditions": False},
    {"share_unet": "none"},
    {"share_unet": "all"},
    {"severity": "none"},
    {"severity": "oracle"},
    {"use_observed": False},
    {"frame_kernel_size": 3},
    {"band_loss": "plain"},
    {"band_loss": "off"},
    {"band_loss_trains": "all"},
    {"band_loss_trains": "restoration"},
    {"fill_gaps": False},
    {"use_fm_unet": False},
    {"readout_weight": 0.0},
    {"anchor_weight": 0.0},
    {"spectral_weight": 0.1},
    {"clean_task_weight": 0.5},
    {"clean_task_weight": 0.5, "severity": "oracle"},
    {"detach_lower": True},
    {"teacher_forcing_prob": 1.0},
    {"ame": "scalar"},
    {"ame": "uniform"},
    {"ame": "authors_public"},
    {"ame": "none"},
    {"ame_context": "own"},
    {"fusion": "concat"},
    {"fusion_size": 32, "fusion_ffn_size": 40},
    {"task_loss": "huber"},
    {"task_loss": "mse"},
    *({"modalities": letters} for letters in ("ta", "tv", "av", "t", "a", "v")),
]


@pytest.mark.parametrize("overrides", ABLATIONS, ids=str)
def test_ablation_trains_every_parameter_and_keeps_padding_out(overrides: dict[str, Any]) -> None:
    model = shake(build_hfr_ame(**overrides)).train()
    model.set_training_progress(0.01 if "teacher_forcing_prob" in overrides else 1.0)
    batch = lose_frames(random_batch(LENGTHS, training=True))
    output = model(**batch, output_losses=True)
    output.loss.backward()
    assert all(torch.isfinite(term) for term in output.losses.values())
    # A key's bias shifts all scores of a query alike, so its true gradient is zero.
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [name for name in dead if not name.endswith("key.bias")] == []
    model.eval()
    oracle = {"severity": batch["severity"]} if overrides.get("severity") == "oracle" else {}
    plain = model(**random_batch(LENGTHS), **oracle).logits
    padded = model(**random_batch(LENGTHS, pad=5), **oracle).logits
    torch.testing.assert_close(plain, padded, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "overrides",
    [{}, {"share_unet": "all"}, {"transform": "haar"}, {"hfr_order": "parallel"}, {"fill_gaps": False}],
    ids=str,
)
def test_restoration_of_intact_input_at_initialisation_is_exactly_the_identity(overrides: dict[str, Any]) -> None:
    model = build_hfr_ame(**overrides).eval()
    output = model(**random_batch(LENGTHS), output_restored=True, output_gates=True)
    for item in output.restored.values():
        assert torch.equal(item["bands"], item["input_bands"])
    assert torch.equal(output.gates, torch.ones_like(output.gates))


def test_restored_bands_after_training_differ_and_stay_in_their_band() -> None:
    model = shake(build_hfr_ame(band_softness=0.0)).eval()
    inputs = model.reader.read(random_batch(LENGTHS))
    output = model.model(inputs)
    for name, bands in output.restored.items():
        analysis = output.features[name].analysis
        assert (bands - output.features[name].bands).abs().max() > 1e-4
        for band in range(3):
            torch.testing.assert_close(analysis.project(bands[band], band), bands[band], atol=1e-5, rtol=0)


def test_modality_order_in_one_stage_does_not_matter() -> None:
    model = shake(build_hfr_ame()).eval()
    inputs = model.reader.read(random_batch(LENGTHS))
    features, _, _ = model.model.encode(inputs)
    severity = torch.zeros(len(LENGTHS), 3)
    straight = model.model.restoration(features, severity)
    turned = model.model.restoration(dict(reversed(features.items())), severity)
    for name, bands in straight.items():
        torch.testing.assert_close(bands, turned[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("overrides", "reaches"), [({}, True), ({"condition_on": "self"}, False), ({"condition": "none"}, False)], ids=str
)
def test_other_modalities_reach_the_restoration_only_as_conditions(overrides: dict[str, Any], reaches: bool) -> None:
    model = shake(build_hfr_ame(severity="none", **overrides)).eval()
    batch = random_batch([(9, 12, 6)])
    before = model(**batch, output_restored=True).restored["audio"]["bands"]
    batch["vision_values"] = -batch["vision_values"]
    after = model(**batch, output_restored=True).restored["audio"]["bands"]
    assert torch.equal(before, after) != reaches


def test_lower_bands_reach_the_next_stage_and_detaching_cuts_their_gradient() -> None:
    found = {}
    for detach in (False, True):
        model = shake(build_hfr_ame(detach_lower=detach, share_unet="none", use_observed=False)).eval()
        output = model(**random_batch([(9, 12, 6)]), output_restored=True)
        output.restored["audio"]["bands"][2].sum().backward()
        gradient = model.model.restoration.unets["audio_0"].output.weight.grad
        found[detach] = gradient is not None and bool(gradient.abs().sum() > 0)
    assert found == {False: True, True: False}


def test_severity_of_an_absent_modality_is_one_and_predictions_lie_in_range() -> None:
    model = shake(build_hfr_ame()).eval()
    severity = model(**random_batch([(9, 12, 0), (9, 12, 6)]), output_severity=True).severity
    assert severity[0, 2] == 1
    assert ((severity > 0) & (severity <= 1)).all()
    assert severity[1].max() < 1


def test_oracle_severity_without_severity_raises() -> None:
    with pytest.raises(InputError, match="severity='oracle' needs the batch's true severity; found none"):
        build_hfr_ame(severity="oracle")(**random_batch(LENGTHS))


def test_observed_flag_marks_zero_frames_unknown_tokens_and_padding() -> None:
    model = build_hfr_ame().eval()
    batch = random_batch([(6, 5, 4), (4, 2, 2)])
    batch["audio_values"][0, 2] = 0
    batch["input_ids"][0, 3] = UNKNOWN_ID
    features, _, _ = model.model.encode(model.reader.read(batch))
    assert features["audio"].observed.tolist() == [[1, 1, 0, 1, 1], [1, 1, 0, 0, 0]]
    assert features["text"].observed.tolist() == [[1, 1, 0, 1], [1, 1, 0, 0]]


def test_special_tokens_are_kept_out_of_the_band_analysis() -> None:
    model = build_hfr_ame().eval()
    features, sentence, states = model.model.encode(model.reader.read(random_batch([(6, 5, 4), (3, 2, 2)])))
    assert features["text"].mask.sum(1).tolist() == [4, 1]
    assert torch.equal(sentence, states[:, 0])


def test_text_states_instead_of_ids_give_the_same_logits() -> None:
    model = shake(build_hfr_ame()).eval()
    batch = random_batch(LENGTHS)
    expected = model(**batch).logits
    ids = batch.pop("input_ids")
    batch["text_states"] = model.model.text_model(ids, attention_mask=batch["attention_mask"]).last_hidden_state
    torch.testing.assert_close(model(**batch).logits, expected, atol=1e-5, rtol=0)


def test_text_states_of_wrong_width_raise() -> None:
    with pytest.raises(InputError, match=r"text_states must be \(batch, length, 16\).*found \(1, 4, 9\)"):
        build_hfr_ame()(text_states=torch.zeros(1, 4, 9))


def test_clean_text_index_puts_the_twin_on_the_received_grid() -> None:
    model = build_hfr_ame().eval()
    clean = random_batch([(7, 5, 5)])
    received = random_batch([(5, 5, 5)])
    index = torch.tensor([[0, 1, 4, -1, 6]])
    features, _, _ = model.model.encode(model.reader.read(received))
    clean_inputs = {f"clean_{name}": value for name, value in clean.items()}
    twin = model.model.encode_clean(model.reader.read(clean_inputs, "clean_"), features, index)
    own, _, _ = model.model.encode(model.reader.read(clean))
    assert twin["text"].mask.tolist() == [[True, True, False]]
    torch.testing.assert_close(twin["text"].states[0, :2], own["text"].states[0, [0, 3]])
    assert not twin["text"].states[0, 2].any()


def test_restoration_loss_of_intact_input_at_initialisation_is_zero() -> None:
    model = build_hfr_ame(dropout=0.0).train()
    for module in model.model.text_model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    output = model(**random_batch(LENGTHS, training=True), output_losses=True)
    assert output.losses["band"] < 1e-9


def test_clean_twin_pass_leaves_training_modes_and_gradients_alone() -> None:
    model = build_hfr_ame().train()
    model.model.text_model.embeddings.eval()
    model(**random_batch(LENGTHS, training=True)).loss.backward()
    assert model.model.text_model.training
    assert not model.model.text_model.embeddings.training
    assert model.model.text_model.encoder.layer[0].training


def test_band_weight_ramp_follows_training_progress() -> None:
    others = {f"{term}_weight": 0.0 for term in ("anchor", "readout", "severity")}
    model = shake(build_hfr_ame(dropout=0.0, band_ramp=0.1, **others)).train()
    batch = random_batch(LENGTHS, training=True)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    found = []
    for progress in (0.0, 0.05, 0.5):
        model.set_training_progress(progress)
        output = model(**batch, output_losses=True)
        found.append(((output.loss - output.losses["task"]) / output.losses["band"]).item())
    assert found == pytest.approx([0.0, 1.0, 2.0], abs=1e-4)


def test_teacher_forcing_shows_clean_lower_bands_only_early_in_training() -> None:
    model = shake(build_hfr_ame(dropout=0.0, teacher_forcing_prob=1.0))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.train()
    batch = random_batch(LENGTHS, training=True)
    batch["clean_audio_values"] = -batch["clean_audio_values"]
    restored = []
    for progress in (0.0, 0.3):
        model.set_training_progress(progress)
        restored.append(model(**batch, output_restored=True).restored["vision"]["bands"])
    assert torch.equal(restored[0][0], restored[1][0])
    assert not torch.equal(restored[0][2], restored[1][2])


def test_relative_band_loss_of_unrestored_zeros_is_one_per_band() -> None:
    target = torch.randn(3, 2, 6, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 6, dtype=torch.bool)
    assert band_loss(torch.zeros_like(target), target, mask, relative=True).item() == pytest.approx(1.0, abs=1e-3)
    plain = band_loss(torch.zeros_like(target), target, mask, relative=False)
    assert plain.item() == pytest.approx(target.square().mean().item(), rel=1e-5)


def test_losses_over_no_valid_step_are_zero() -> None:
    empty = torch.zeros(2, 6, dtype=torch.bool)
    values = torch.randn(2, 6, 4)
    for relative in (True, False):
        assert band_loss(values.expand(3, -1, -1, -1), -values.expand(3, -1, -1, -1), empty, relative) == 0
    assert masked_smooth_l1(values, -values, empty) == 0
    assert global_mean(torch.tensor(0.0), torch.tensor(0.0)) == 0


def test_public_ame_weights_are_convex_over_bands() -> None:
    gates = shake(build_hfr_ame(ame="authors_public")).eval()(**random_batch(LENGTHS), output_gates=True).gates
    torch.testing.assert_close(gates.sum(2), torch.ones_like(gates.sum(2)))


def test_gates_lie_between_zero_and_two() -> None:
    gates = shake(build_hfr_ame()).eval()(**random_batch(LENGTHS), output_gates=True).gates
    assert gates.shape == (5, 3, 3, 16)
    assert ((gates > 0) & (gates < 2)).all()
    assert (gates - 1).abs().max() > 1e-3


def test_default_sizes_are_near_the_documented_budget() -> None:
    model = HfrAmeForSentiment(HfrAmeConfig())
    restoration = sum(p.numel() for p in model.model.restoration.parameters())
    enforcement = sum(p.numel() for p in model.model.enforcement.parameters())
    assert restoration == pytest.approx(2.3e6, rel=0.05)
    assert enforcement == pytest.approx(0.15e6, rel=0.05)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"modalities": "va"}, "modalities must be a non-empty subset of the letters of 'tav'.*found 'va'"),
        ({"num_bands": 0}, "num_bands must be at least 1; found 0"),
        ({"band_edges": (0.5, 0.2)}, r"band_edges must be num_bands − 1 = 2 ascending values.*found \[0.5, 0.2\]"),
        ({"band_softness": 0.7}, r"band_softness must lie in \[0, 0.5\); found 0.7"),
        ({"label_range": (3, -3)}, r"label_range must be two ascending numbers; found \[3, -3\]"),
        ({"hidden_size": 15}, r"hidden_size must be a positive multiple of num_attention_heads \(2\); found 15"),
        (
            {"hidden_size": 18, "num_attention_heads": 1, "unet_channels": (3,), "condition_size": 0},
            "condition_size must be positive; found 0",
        ),
        ({"hidden_size": 15, "num_attention_heads": 1}, "hidden_size must be even .*; found 15"),
        ({"unet_channels": ()}, "unet_channels must hold at least one width; found none"),
        ({"dropout": 1.5}, r"dropout must lie in \[0, 1\]; found 1.5"),
        ({"band_weight": -1.0}, "band_weight must not be negative; found -1.0"),
    ],
)
def test_config_value_out_of_its_rule_raises(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config(**overrides)


def test_config_unknown_key_raises_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"unknown key\(s\) num_band; did you mean num_bands\?"):
        HfrAmeConfig(num_band=3)
    with pytest.raises(ConfigError, match=r"HfrAmeAudioConfig accepts only its declared fields; .* size"):
        HfrAmeConfig(audio_config={"size": 3})


def test_config_round_trip_keeps_every_field(tmp_path: Any) -> None:
    config = tiny_config(num_bands=4, hfr_order="parallel", label_range=(-1, 1), metric_scheme="sims")
    config.save_pretrained(tmp_path)
    assert HfrAmeConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


def test_target_spread_is_monitored_and_is_no_loss() -> None:
    model = shake(build_hfr_ame(dropout=0.0)).train()
    batch = random_batch(LENGTHS, training=True)
    output = model(**batch, output_losses=True)
    twin = {f"clean_{name}": value for name, value in random_batch(LENGTHS).items()}
    features, _, _ = model.model.encode(model.reader.read(random_batch(LENGTHS)))
    targets = model.model.encode_clean(model.reader.read(twin, "clean_"), features)
    spreads = [target.states[target.mask].std(0, correction=0).mean() for target in targets.values()]
    torch.testing.assert_close(output.losses["monitor_target_std"], torch.stack(spreads).mean())
    weights = {"task": 1.0, "severity": 0.1, "band": 2.0, "anchor": 0.1, "readout": 1.0}
    expected = sum(weight * output.losses[name] for name, weight in weights.items())
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize(("trains", "reaches"), [("restoration", False), ("all", True)])
def test_band_loss_reaches_the_encoders_only_if_it_is_asked_to(trains: str, reaches: bool) -> None:
    model = build_hfr_ame(band_loss_trains=trains, dropout=0.0).train()
    batch = random_batch(LENGTHS, training=True)
    batch["audio_values"] = torch.ones_like(batch["audio_values"])
    output = model(**batch, output_losses=True)
    output.losses["band"].backward()
    gradient = model.model.encoders["audio"].projection.bias.grad
    assert (gradient is not None and bool(gradient.abs().sum() > 0)) == reaches


@pytest.mark.parametrize(("trains", "reaches"), [("networks", False), ("restoration", True), ("all", True)])
def test_band_loss_reaches_the_encoders_through_what_the_networks_read_unless_it_trains_them_alone(
    trains: str, reaches: bool
) -> None:
    # The severity estimate keeps its gradient, as it is trained to tell the corruption anyway, and so do the readouts
    # of lost frames; nothing is lost here.
    model = shake(build_hfr_ame(band_loss_trains=trains, severity="none", dropout=0.0)).train()
    model(**random_batch(LENGTHS, training=True), output_losses=True).losses["band"].backward()
    gradient = model.model.encoders["audio"].projection.bias.grad
    assert (gradient is not None and bool(gradient.abs().sum() > 0)) == reaches


def test_clean_twin_holds_modalities_that_corruption_removed() -> None:
    model = shake(build_hfr_ame(clean_task_weight=1.0, dropout=0.0)).train()
    batch = random_batch(LENGTHS, training=True)
    batch["audio_mask"] = torch.zeros_like(batch["audio_mask"])
    batch["modality_mask"][:, 1] = False
    torch.manual_seed(0)
    before = model(**batch, output_losses=True).losses["clean_task"]
    batch["clean_audio_values"] = -batch["clean_audio_values"]
    torch.manual_seed(0)
    assert not torch.equal(before, model(**batch, output_losses=True).losses["clean_task"])
