"""What LNLN repairs, and what its reference variant keeps."""

import pytest
import torch

from modeling_hfr_ame import ConfigError, InputError, LnlnForSentiment
from tests.models.model_fixtures import build_lnln, random_batch, shake, tiny_lnln_config

LENGTHS = [(9, 12, 6), (4, 3, 10), (7, 5, 5)]


def _gradients(model: LnlnForSentiment, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward(retain_graph=True)
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def _task_gradient_of_the_generator(variant: str) -> torch.Tensor:
    model = shake(build_lnln(variant=variant, text_config=_intact_text())).train()
    # At full length and with everything present, the variants differ in the reversal alone.
    losses = model(**random_batch([(40, 40, 40)] * 3, training=True), output_losses=True).losses
    return _gradients(model, losses["task"])["proxy_generator.position_embedding"]


def _intact_text() -> dict[str, object]:
    text = tiny_lnln_config().text_config.to_dict()
    return text | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def test_task_gradient_of_the_proxy_has_opposite_signs_in_the_two_variants() -> None:
    repaired, reference = (_task_gradient_of_the_generator(variant) for variant in ("repaired", "reference"))
    assert repaired.abs().sum() > 0
    torch.testing.assert_close(repaired, -reference, atol=1e-6, rtol=1e-4)


def test_adversarial_loss_makes_proxy_and_discriminator_opponents() -> None:
    model = shake(build_lnln(text_config=_intact_text())).train()
    batch = random_batch(LENGTHS, training=True)
    before = model(**batch, output_losses=True).losses["adversarial"]
    gradients = _gradients(model, before)
    for part, sign in (("proxy_token", 1), ("discriminator", -1)):
        moved = build_lnln(text_config=_intact_text())
        moved.load_state_dict(model.state_dict())
        with torch.no_grad():
            for name, p in moved.named_parameters():
                if name.startswith(part):
                    p.sub_(1e-2 * gradients[name] / gradients[name].norm())
        change = moved.train()(**batch, output_losses=True).losses["adversarial"] - before
        assert change * sign > 0


@pytest.mark.parametrize(("variant", "reached"), [("repaired", False), ("reference", True)])
def test_clean_targets_get_a_gradient_only_in_the_reference(variant: str, reached: bool) -> None:
    model = shake(build_lnln(variant=variant, text_config=_intact_text())).train()
    batch = random_batch([(0, 12, 6)], training=True)
    # A word that only the clean text holds.
    batch["clean_input_ids"] = torch.full((1, 4), 59)
    batch["clean_attention_mask"] = torch.ones(1, 4, dtype=torch.long)
    model(**batch).loss.backward()
    gradient = model.get_input_embeddings().weight.grad
    assert bool(gradient is not None and gradient[59].abs().sum() > 0) is reached


def test_absent_text_has_no_completeness_and_leaves_the_proxy() -> None:
    model = shake(build_lnln()).eval()
    inputs = model.reader.read(random_batch([(0, 12, 6), (9, 12, 6)]))
    prediction = model.predict(inputs, None)
    assert prediction.completeness[0] == 0
    assert 0 < prediction.completeness[1] < 1
    assert torch.equal(prediction.corrected[0], prediction.proxy[0])


def test_reference_prediction_depends_on_padding_only_up_to_its_own_length() -> None:
    model = shake(build_lnln(variant="reference")).eval()
    plain, padded = (model(**random_batch(LENGTHS, pad=pad)).logits for pad in (0, 7))
    torch.testing.assert_close(plain, padded, atol=1e-5, rtol=0)
    wider = shake(build_lnln(variant="reference", max_audio_length=39)).eval()
    with torch.no_grad():
        for (name, target), source in zip(wider.named_parameters(), model.parameters(), strict=True):
            target.copy_(source[:, : target.shape[1]] if name.endswith("position_embedding") else source)
    assert (wider(**random_batch(LENGTHS)).logits - plain).abs().max() > 1e-4


def test_completeness_target_is_what_corruption_left_of_the_text() -> None:
    model = shake(build_lnln(text_config=_intact_text())).train()
    batch = random_batch(LENGTHS, training=True)
    batch["severity"][:, 0] = torch.tensor([0.0, 0.3, 0.8])
    found = model.predict(model.reader.read(batch), None).completeness.squeeze(-1)
    expected = (found - torch.tensor([1.0, 0.7, 0.2])).square().mean()
    torch.testing.assert_close(model(**batch, output_losses=True).losses["completeness"], expected)


def test_sequence_longer_than_the_position_table_raises() -> None:
    with pytest.raises(InputError, match=r"audio has at most 40 steps .*max_audio_length.*; found 41"):
        build_lnln().eval()(**random_batch([(5, 41, 6)]))


@pytest.mark.parametrize(
    ("variant", "num_heads", "projected"), [("repaired", 1, True), ("reference", 1, False), ("reference", 2, True)]
)
def test_hyper_modality_of_one_head_has_no_projection_in_the_reference(
    variant: str, num_heads: int, projected: bool
) -> None:
    names = build_lnln(variant=variant, num_hyper_heads=num_heads).state_dict()
    assert ("hyper_layers.0.attention.output.weight" in names) == projected


@pytest.mark.parametrize("num_learned", [2, 5])
def test_block_with_other_learned_tokens_still_gives_as_many_as_are_read(num_learned: int) -> None:
    model = shake(build_lnln(block_sizes={"audio": {"num_tokens": num_learned}, "proxy": {"num_tokens": num_learned}}))
    assert model.embedders["audio"].position_embedding.shape[1] == 40 + num_learned
    assert model.embedders["text"].position_embedding.shape[1] == 40 + 3
    inputs = model.eval().reader.read(random_batch(LENGTHS))
    prediction = model.predict(inputs, None)
    assert {tuple(tokens.shape) for tokens in (*prediction.tokens.values(), prediction.proxy)} == {(3, 3, 16)}
    # What is read starts with the learned tokens and goes on with the frames.
    before = prediction.tokens["audio"]
    with torch.no_grad():
        model.embedders["audio"].token[:, 0] += 1
    assert (model.predict(inputs, None).tokens["audio"] - before).abs().max() > 1e-3


@pytest.mark.parametrize(("variant", "kept"), [("repaired", False), ("reference", True)])
def test_terms_with_a_weight_of_zero_are_computed_only_in_the_reference(variant: str, kept: bool) -> None:
    weights = dict.fromkeys(("completeness_weight", "adversarial_weight", "reconstruction_weight"), 0.0)
    model = shake(build_lnln(variant=variant, **weights)).train()
    assert model.config.needs_clean_twin is kept
    losses = model(**random_batch(LENGTHS, training=True), output_losses=True).losses
    assert ({"completeness", "adversarial", "reconstruction"} <= losses.keys()) is kept


def test_hyper_heads_that_do_not_divide_the_width_are_rounded_only_in_the_reference() -> None:
    query = build_lnln(variant="reference", num_hyper_heads=3).hyper_layers[0].attention.query
    assert query.out_features == 3 * (16 // 3)
    with pytest.raises(ConfigError, match=r"num_hyper_heads must divide hidden_size \(16\); found 3"):
        tiny_lnln_config(num_hyper_heads=3)


def test_config_with_learned_tokens_for_a_block_without_any_raises() -> None:
    with pytest.raises(ConfigError, match=r"block_sizes maps a block .* found 'language' with num_tokens"):
        tiny_lnln_config(block_sizes={"language": {"num_tokens": 2}})


def test_config_with_an_unknown_block_raises() -> None:
    with pytest.raises(ConfigError, match=r"block_sizes maps a block .* found 'fuison'"):
        tiny_lnln_config(block_sizes={"fuison": {"num_layers": 4}})


def test_config_with_too_many_hyper_layers_raises() -> None:
    with pytest.raises(ConfigError, match=r"language encoder, which has 3; found num_hyper_layers 4"):
        tiny_lnln_config(num_hyper_layers=4)


def test_config_without_all_modalities_raises() -> None:
    with pytest.raises(ConfigError, match=r"LnlnConfig is defined for modalities 'tav'; found 'ta'"):
        tiny_lnln_config(modalities="ta")


def test_default_sizes_have_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = LnlnForSentiment(published_config())
    own = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("text_model."))
    assert own == 6_483_012


def published_config() -> object:
    return type(tiny_lnln_config())(
        text_config={"model_type": "bert"}, audio_config={"feature_size": 5}, vision_config={"feature_size": 20}
    )
