"""What CyIN repairs, and what its reference variant keeps."""

import pytest
import torch

from modeling_hfr_ame import ConfigError, CyinForSentiment
from modeling_hfr_ame.configuration_cyin import CyinConfig
from modeling_hfr_ame.informative_latents import MixingChoice, pool_neighbours, pool_strided
from modeling_hfr_ame.modeling_cyin import SOURCES, CyinPrediction
from tests.models.model_fixtures import build_cyin, random_batch, shake, tiny_cyin_config

LENGTHS = [(9, 12, 6), (4, 3, 10), (7, 5, 5)]


def _predict(model: CyinForSentiment, lengths: list[tuple[int, int, int]] = LENGTHS) -> CyinPrediction:
    return model.predict(model.reader.read(random_batch(lengths)), None)


def _choose(model: CyinForSentiment, choice: int) -> None:
    """Makes the mixing stage choose the same for every row and modality."""
    model.mixing_choice.register_forward_hook(lambda _, args, __: torch.full_like(args[0], choice, dtype=torch.long))


def test_pooling_of_a_multiple_of_the_size_averages_neighbours() -> None:
    frames = torch.arange(12.0).view(1, 6, 2)
    expected = frames.view(1, 3, 2, 2).mean(2)
    torch.testing.assert_close(pool_neighbours(frames, torch.ones(1, 6, dtype=torch.bool), 3), expected)


def test_pooling_of_an_uneven_length_splits_a_frame_between_its_parts() -> None:
    frames = torch.tensor([[[0.0], [3.0], [9.0]]])
    # Two parts of one and a half frames each.
    expected = torch.tensor([[[(0 + 0.5 * 3) / 1.5], [(0.5 * 3 + 9) / 1.5]]])
    torch.testing.assert_close(pool_neighbours(frames, torch.ones(1, 3, dtype=torch.bool), 2), expected)


def test_pooling_of_fewer_frames_than_parts_repeats_them_and_ignores_padding() -> None:
    frames = torch.tensor([[[1.0], [2.0], [99.0]]])
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(pool_neighbours(frames, mask, 4), torch.tensor([[[1.0], [1.0], [2.0], [2.0]]]))


def test_strided_pooling_repeats_the_last_frame_and_averages_frames_far_apart() -> None:
    frames = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
    expected = torch.tensor([[[(1 + 4) / 2], [(2 + 4) / 2], [(3 + 4) / 2]]])
    torch.testing.assert_close(pool_strided(frames, 3), expected)


@pytest.mark.parametrize(("variant", "kept"), [("repaired", False), ("reference", True)])
def test_inputs_of_one_length_count_as_aligned_only_in_the_reference(variant: str, kept: bool) -> None:
    lengths = {f"max_{name}_length": 9 for name in ("text", "audio", "vision")}
    model = shake(build_cyin(variant=variant, **lengths)).eval()
    batch = random_batch([(9, 9, 9)])
    aligned = model.align(model.reader.read(batch))
    assert {states.shape[1] for states in aligned.values()} == {9 if kept else 6}
    assert torch.equal(aligned["audio"], batch["audio_values"]) is kept
    longer = build_cyin(variant=variant, **(lengths | {"max_vision_length": 10}))
    assert {states.shape[1] for states in longer.align(longer.reader.read(batch)).values()} == {6}


def test_translator_of_one_width_maps_latents_to_latents() -> None:
    model = shake(build_cyin(translator_sizes=(5,)))
    assert model.translate("text", "audio", torch.randn(2, 6, 32)).shape == (2, 6, 32)
    block = model.translators["text_audio"].blocks[0]
    assert [layer.weight.shape for layer in (*block.encoder, *block.decoder)] == [(5, 32, 3), (32, 5, 1)]


@pytest.mark.parametrize(("variant", "is_stable"), [("repaired", True), ("reference", False)])
def test_evaluation_draws_latents_only_in_the_reference(variant: str, is_stable: bool) -> None:
    model = shake(build_cyin(variant=variant)).eval()
    batch = random_batch(LENGTHS)
    assert torch.equal(model(**batch).logits, model(**batch).logits) is is_stable


@pytest.mark.parametrize(("variant", "scale"), [("repaired", 1.0), ("reference", 2.0)])
def test_two_equal_translations_have_the_scale_of_one_only_when_repaired(variant: str, scale: float) -> None:
    model = shake(build_cyin(variant=variant)).eval()
    latents = {name: torch.zeros(2, 6, 32) for name in SOURCES}
    arrived = torch.randn(2, 6, 32)
    translated = {(source, target): arrived for target, sources in SOURCES.items() for source in sources}
    # Row 0 lacks text, row 1 text and audio.
    present = torch.tensor([[False, True, True], [False, False, True]])
    mixed = model._mixed(latents, translated, present)
    torch.testing.assert_close(mixed["text"][0], scale * arrived[0])
    torch.testing.assert_close(mixed["text"][1], arrived[1])


def test_absent_modality_is_fused_as_the_translation_of_those_present() -> None:
    model = shake(build_cyin()).eval()
    prediction = _predict(model, [(0, 12, 6), (0, 0, 6)])
    mixed = model._mixed(prediction.latents, prediction.translated, prediction.present)
    audio, vision = prediction.translated["audio", "text"], prediction.translated["vision", "text"]
    torch.testing.assert_close(mixed["text"][0], (audio[0] + vision[0]) / 2)
    torch.testing.assert_close(mixed["text"][1], vision[1])
    torch.testing.assert_close(mixed["vision"], prediction.latents["vision"])


@pytest.mark.parametrize("choice", range(4))
def test_mixing_never_fuses_what_an_absent_modality_gave(choice: int) -> None:
    model = shake(build_cyin()).train()
    _choose(model, choice)
    prediction = _predict(model, [(9, 12, 0), (0, 12, 0)])
    mixed = model._mixed(prediction.latents, prediction.translated, prediction.present)
    poisoned = {name: torch.full_like(latent, 7.0) for name, latent in prediction.latents.items()}
    junk = prediction.latents | {"vision": poisoned["vision"]}
    translated = prediction.translated | {("vision", name): poisoned["vision"] for name in ("text", "audio")}
    assert all(torch.equal(mixed[n], model._mixed(junk, translated, prediction.present)[n]) for n in mixed)


@pytest.mark.parametrize("per_row", [True, False])
def test_mixing_choice_is_drawn_per_row_only_when_repaired(per_row: bool) -> None:
    torch.manual_seed(0)
    drawn = MixingChoice(per_row)(torch.ones(200, 3, dtype=torch.bool))
    assert drawn.shape == (200, 3)
    assert (len(drawn.unique(dim=0)) > 1) is per_row
    assert set(MixingChoice(True)(torch.ones(200, 3, dtype=torch.bool)).unique().tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(("progress", "expected"), [(0.0, False), (0.09, False), (0.1, True), (1.0, True)])
def test_translations_are_trained_from_the_second_stage_on(progress: float, expected: bool) -> None:
    model = shake(build_cyin(first_stage_share=0.1)).train()
    model.set_training_progress(progress)
    losses = model(**random_batch(LENGTHS, training=True), output_losses=True).losses
    assert ("translation" in losses) is expected
    assert {"task", "unimodal", "bottleneck"} <= set(losses)


def test_first_stage_fuses_own_latents_and_keeps_every_parameter_in_the_graph() -> None:
    model = shake(build_cyin()).train()
    model.set_training_progress(0.0)
    prediction = _predict(model)
    mixed = model._mixed(prediction.latents, prediction.translated, prediction.present)
    assert all(torch.equal(mixed[name], prediction.latents[name]) for name in mixed)
    # Several processes need a gradient of every parameter in every step.
    model(**random_batch(LENGTHS, training=True)).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("variant", "reached"), [("repaired", False), ("reference", True)])
def test_decoder_targets_get_a_gradient_only_in_the_reference(variant: str, reached: bool) -> None:
    model = shake(build_cyin(variant=variant)).train()
    prediction = _predict(model)
    states = torch.randn_like(prediction.aligned["text"]).requires_grad_()
    prediction.aligned["text"] = states
    prediction.decoded_latents = {key: value.detach() for key, value in prediction.decoded_latents.items()}
    gradient = torch.autograd.grad(model._bottleneck_loss(prediction), states, allow_unused=True)[0]
    assert bool(gradient is not None and gradient.abs().sum() > 0) is reached


@pytest.mark.parametrize(("variant", "is_bounded"), [("repaired", False), ("reference", True)])
def test_decoders_reach_values_beyond_one_only_when_repaired(variant: str, is_bounded: bool) -> None:
    decoded = build_cyin(variant=variant).decoders["text"](50 * torch.randn(4, 6, 32))
    assert bool((decoded.abs() <= 1).all()) is is_bounded


def test_one_latent_per_step_is_decoded_and_fused_when_repaired() -> None:
    prediction = _predict(shake(build_cyin()).train())
    assert all(latent is prediction.latents[source] for (source, _), latent in prediction.decoded_latents.items())
    reference = _predict(shake(build_cyin(variant="reference")).train())
    assert reference.latents["text"] is reference.decoded_latents["text", "vision"]
    assert not torch.equal(reference.latents["text"], reference.decoded_latents["text", "audio"])


def test_loss_terms_ignore_what_stands_for_an_absent_modality() -> None:
    model = shake(build_cyin(dropout=0.0)).train()
    lengths = [(9, 12, 6), (4, 3, 0)]
    labels = torch.tensor([1.0, -2.0])
    prediction = _predict(model, lengths)
    before = model.training_losses(prediction, {}, None, None, labels)
    for name in ("aligned", "means", "log_variances", "latents"):
        value = getattr(prediction, name)["vision"].detach().clone()
        value[1] = 5.0
        getattr(prediction, name)["vision"] = value
    after = model.training_losses(prediction, {}, None, None, labels)
    assert after.keys() == before.keys()
    for name, value in before.items():
        torch.testing.assert_close(value, after[name], msg=name)


@pytest.mark.parametrize(("variant", "sees_future"), [("repaired", True), ("reference", False)])
def test_encoders_see_the_future_only_when_repaired(variant: str, sees_future: bool) -> None:
    encoder = shake(build_cyin(variant=variant)).eval().memories["text"]
    states = torch.randn(1, 4, 32)
    first = encoder(states)[:, 0]
    states[:, -1, :5] += 1
    assert bool((encoder(states)[:, 0] - first).abs().max() > 1e-4) is sees_future


def test_default_sizes_have_the_parameters_of_the_released_model() -> None:
    features = {f"{name}_config": {"feature_size": 1024} for name in ("audio", "vision")}
    with torch.device("meta"):
        model = CyinForSentiment(CyinConfig(text_config={"model_type": "bert"}, **features))
    own = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("text_model."))
    assert own == 46_065_028


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hidden_size", 15, r"hidden_size must be a positive multiple of num_attention_heads \(2\); found 15"),
        ("aligned_length", 2, r"aligned_length must be at least projection_kernel_size \(3\).*; found 2"),
        ("translator_sizes", (), r"translator_sizes must hold at least one positive width; found \[\]"),
        ("translator_kernel_size", 4, r"translator_kernel_size must be odd.*; found 4"),
        ("ib_beta", 0, r"ib_beta must be positive.*; found 0"),
        ("translation_weight", -1, r"translation_weight must not be negative; found -1"),
        ("first_stage_share", 1.5, r"first_stage_share must lie in \[0, 1\]; found 1.5"),
        ("num_translator_blocks", 0, r"num_translator_blocks must be at least 1; found 0"),
    ],
)
def test_config_with_an_impossible_field_raises(field: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_cyin_config(**{field: value})
