"""What MMSLF's teacher reads in a prompt, what its student learns, and what the reference variant keeps."""

from typing import Any

import pytest
import torch

from modeling_hfr_ame import ConfigError, InputError, MmslfConfig, MmslfForSentiment
from tests.models.model_fixtures import (
    build_mmslf,
    build_mmslf_teacher,
    prompted_batch,
    random_batch,
    row_of,
    shake,
    tiny_mmslf_config,
)

LENGTHS = [(9, 12, 6), (4, 3, 10), (7, 5, 5)]
PROMPT = ("prompt_input_ids", "prompt_attention_mask")


def _without_prompts(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in batch.items() if name not in PROMPT}


def _targets(model: MmslfForSentiment, batch: dict[str, torch.Tensor], distill_map: str) -> dict[str, torch.Tensor]:
    return model.teach(distill_map, **{name: value for name, value in batch.items() if not name.startswith("clean_")})


def _sharp(model: MmslfForSentiment) -> MmslfForSentiment:
    """With larger scores: a product of two small ones hardly moves a softmax."""
    with torch.no_grad():
        for aligner in model.aligners.values():
            for layer in aligner.layers:
                for weight in (layer.attention.query.weight, layer.attention.key.weight, layer.prompt.weight):
                    weight.mul_(5)
    return model.eval()


def test_prompt_changes_the_teachers_score_and_an_absent_one_is_the_empty_token() -> None:
    model, batch = _sharp(shake(build_mmslf_teacher())), prompted_batch(LENGTHS)
    prompted, bare = model(**batch).logits, model(**_without_prompts(batch)).logits
    assert (prompted[:2] - bare[:2]).abs().min() > 1e-6
    # The last row has no prompt: it is scored as in a batch without prompts.
    torch.testing.assert_close(prompted[2], bare[2], atol=1e-6, rtol=0)
    with torch.no_grad():
        model.prompts.empty_prompt.add_(1.0)
    moved = model(**batch).logits
    assert torch.equal(moved[:2], prompted[:2])
    assert not torch.equal(moved[2], prompted[2])


def test_cached_prompt_states_give_the_score_of_their_ids() -> None:
    model, batch = shake(build_mmslf(role="teacher")).eval(), prompted_batch(LENGTHS)
    prompts = model.reader.read_prompts(3, batch["prompt_input_ids"], batch["prompt_attention_mask"], None)
    states = model.prompts.encode(prompts, model.text_model)
    mask = batch["prompt_attention_mask"]
    cached = _without_prompts(batch) | {"prompt_states": states, "prompt_attention_mask": mask}
    torch.testing.assert_close(model(**cached).logits, model(**batch).logits, atol=1e-6, rtol=0)


def test_own_prompt_encoder_is_frozen_without_dropout_and_starts_as_the_text_encoder() -> None:
    model = shake(build_mmslf(role="teacher", dropout=0.0, min_keep_rate=1.0)).train()
    model.copy_text_encoder_to_prompts()
    own = dict(model.prompts.text_model.named_parameters())
    assert not any(parameter.requires_grad for parameter in own.values())
    assert all(torch.equal(value, own[name]) for name, value in model.text_model.named_parameters())
    # Cached text states leave the dropout of the text encoder out, too.
    batch = prompted_batch(LENGTHS) | {"text_states": torch.randn(3, 9, 16)}
    first, second = (model(**{k: v for k, v in batch.items() if k != "input_ids"}).logits for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("delta_from", ["key", "value"])
def test_conditional_map_is_the_softmax_of_scores_times_prompt_scores(delta_from: str) -> None:
    model = shake(build_mmslf_teacher(delta_from=delta_from, num_aligner_layers=1)).eval()
    layer = model.aligners["audio"].layers[0]
    text, source, prompt = (torch.randn(2, size, 16) for size in (5, 7, 5))
    mask = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    _, plain, applied = layer(text, source, mask, prompt)

    def heads(states: torch.Tensor) -> torch.Tensor:
        return states.view(2, -1, 2, 8).transpose(1, 2)

    query, key, value = (
        heads(part)
        for part in (
            layer.attention.query(layer.attention_norm(text)),
            layer.attention.key(layer.key_norm(source)),
            layer.attention.value(layer.value_norm(source)),
        )
    )
    against = key if delta_from == "key" else value
    scores = torch.einsum("bhtd,bhsd->bhts", query, key) / 8**0.5
    delta = torch.einsum("bhtd,bhsd->bhts", heads(layer.prompt(layer.prompt_norm(prompt))), against) / 8**0.5
    for row, length in enumerate((7, 4)):
        expected = (scores * delta)[row, :, :, :length].softmax(-1)
        torch.testing.assert_close(applied[row, :, :, :length], expected)
        torch.testing.assert_close(plain[row, :, :, :length], scores[row, :, :, :length].softmax(-1))
        assert applied[row, :, :, length:].abs().sum() == 0


@pytest.mark.parametrize(("distill_map", "differs"), [("conditional", True), ("plain", False)])
def test_only_the_conditional_map_depends_on_the_prompt_in_one_layer(distill_map: str, differs: bool) -> None:
    model, batch = shake(build_mmslf_teacher(num_aligner_layers=1)).eval(), prompted_batch(LENGTHS)
    prompted, bare = (_targets(model, item, distill_map) for item in (batch, _without_prompts(batch)))
    assert torch.equal(prompted["audio_map"][:2], bare["audio_map"][:2]) is not differs


def test_student_that_follows_its_teacher_has_no_distillation_loss() -> None:
    student = shake(build_mmslf(dropout=0.0)).train()
    batch = random_batch(LENGTHS, training=True)
    own = _targets(student.eval(), batch, "plain")
    # The text encoder keeps its dropout in training, so this batch brings cached states.
    states = torch.randn(3, 9, 16)
    batch = {name: value for name, value in batch.items() if name != "input_ids"} | {"text_states": states}
    own = student.predict(student.reader.read(batch), None).targets("plain")
    losses = student.train()(**batch, teacher=own, output_losses=True).losses
    assert losses["map"] == losses["tokens"] == 0
    moved = own | {"audio_map": own["audio_map"] + 0.25, "tokens": own["tokens"] - 2.0}
    losses = student(**batch, teacher=moved, output_losses=True).losses
    torch.testing.assert_close(losses["map"], torch.tensor(0.25))
    torch.testing.assert_close(losses["tokens"], torch.tensor(2.0))


def test_student_loss_adds_up_by_its_weights_and_is_the_task_alone_in_eval() -> None:
    student = shake(build_mmslf(task_weight=0.5, map_weight=3.0, token_weight=0.25)).train()
    batch = random_batch(LENGTHS, training=True)
    teacher = {name: value + 0.1 for name, value in _targets(student, batch, "plain").items()}
    output = student(**batch, teacher=teacher, output_losses=True)
    parts = output.losses
    torch.testing.assert_close(output.loss, 0.5 * parts["task"] + 3.0 * parts["map"] + 0.25 * parts["tokens"])
    assert set(student.eval()(**batch, teacher=teacher, output_losses=True).losses) == {"task"}


def _map_loss(variant: str, pad: int) -> float:
    # Only audio is longer than the longest row, and only there do the two maps differ.
    student = shake(build_mmslf(variant=variant, dropout=0.0)).train()
    batch = random_batch([(40, 20, 40)], training=True)
    audio = torch.full((1, 20 + pad, 5), 3.0)
    audio[:, :20] = batch["audio_values"]
    batch |= {"audio_values": audio, "audio_mask": torch.arange(20 + pad).unsqueeze(0) < 20}
    batch = {name: value for name, value in batch.items() if not name.startswith(("clean_", "input_ids"))}
    batch["text_states"] = torch.ones(1, 40, 16)
    own = student.predict(student.reader.read(batch), None).targets("plain")
    own["audio_map"] = own["audio_map"] + (torch.arange(own["audio_map"].shape[-1]) >= 20)
    return student(**batch, teacher=own, output_losses=True).losses["map"].item()


def test_distillation_leaves_padding_out_except_in_the_reference() -> None:
    assert _map_loss("repaired", pad=7) == 0
    assert _map_loss("reference", pad=7) == pytest.approx(0.5)


def test_absent_sources_leave_a_prompt_without_effect_unless_text_stands_in() -> None:
    batch = prompted_batch([(9, 0, 0), (5, 0, 0)])
    batch = {name: value for name, value in batch.items() if not name.startswith(("audio", "vision", "modality"))}
    effects = {}
    for absent_source in ("none", "text"):
        model = _sharp(shake(build_mmslf_teacher(absent_source=absent_source)))
        moved = model(**batch).logits - model(**_without_prompts(batch)).logits
        effects[absent_source] = moved[0].abs().item()
    assert effects["none"] == 0
    assert effects["text"] > 1e-4


def test_text_that_stands_in_is_not_asked_where_the_source_is_there() -> None:
    plain, standing_in = (shake(build_mmslf(absent_source=absent_source)).eval() for absent_source in ("none", "text"))
    complete = random_batch(LENGTHS)
    torch.testing.assert_close(plain(**complete).logits, standing_in(**complete).logits, atol=1e-6, rtol=0)
    text_alone = random_batch([(9, 0, 6)])
    assert not torch.allclose(plain(**text_alone).logits, standing_in(**text_alone).logits, atol=1e-4)


def test_model_with_text_standing_in_is_independent_of_padding_and_batch_mates() -> None:
    model = shake(build_mmslf_teacher(absent_source="text")).eval()
    lengths = [(9, 12, 6), (4, 0, 10), (7, 0, 0), (0, 5, 0)]
    plain = model(**prompted_batch(lengths)).logits
    torch.testing.assert_close(plain, model(**prompted_batch(lengths, pad=6)).logits, atol=1e-5, rtol=0)
    batch = prompted_batch(lengths)
    alone = torch.cat([model(**row_of(batch, row)).logits for row in range(4)])
    torch.testing.assert_close(plain, alone, atol=1e-5, rtol=0)


def _rates(*rates: float) -> Any:
    return lambda rows: torch.tensor(rates)


def test_augmentation_takes_whole_frames_and_words_but_no_special_token() -> None:
    model = build_mmslf_teacher(min_keep_rate=0.5)
    inputs = model.reader.read(random_batch([(9, 12, 12), (5, 6, 6)], pad=2))
    lost = model.augment(inputs, draw_rates=_rates(0.0, 0.0))
    assert lost["audio"].values.abs().sum() == 0
    ids, unknown = lost["text"].values, model.config.unk_token_id
    for row, length in enumerate((9, 5)):
        assert torch.equal(ids[row, [0, length - 1]], inputs["text"].values[row, [0, length - 1]])
        assert (ids[row, 1 : length - 1] == unknown).all()
        assert (ids[row, length:] == 0).all()
    half = model.augment(inputs, draw_rates=_rates(0.5, 0.5), generator=torch.Generator().manual_seed(0))
    frames = half["vision"].values[0, :12]
    kept = (frames == inputs["vision"].values[0, :12]).all(-1)
    assert (kept | (frames == 0).all(-1)).all()
    assert 0 < kept.sum() < 12
    assert torch.equal(half["vision"].mask, inputs["vision"].mask)


def test_augmentation_of_the_reference_takes_single_numbers_and_any_token() -> None:
    model = build_mmslf_teacher(variant="reference", min_keep_rate=0.5)
    inputs = model.reader.read(random_batch([(9, 12, 12)]))
    lost = model.augment(inputs, draw_rates=_rates(0.5), generator=torch.Generator().manual_seed(0))
    zero = lost["audio"].values == 0
    assert 0 < zero.float().mean() < 1
    assert not (zero.all(-1) | ~zero.any(-1)).all()
    assert (model.augment(inputs, draw_rates=_rates(0.0))["text"].values == model.config.unk_token_id).all()


def test_augmentation_happens_in_training_only() -> None:
    model = shake(build_mmslf_teacher(min_keep_rate=0.5, dropout=0.0))
    batch = prompted_batch(LENGTHS)
    batch = {name: value for name, value in batch.items() if name != "input_ids"}
    batch["text_states"] = torch.randn(3, 9, 16)
    # With cached prompts and text nothing but the augmentation is random.
    states = torch.randn(3, 9, 16)
    batch = {name: value for name, value in batch.items() if name != "prompt_input_ids"} | {"prompt_states": states}
    assert torch.equal(model.eval()(**batch).logits, model(**batch).logits)
    assert not torch.equal(model.train()(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (2, 2, 1.0, "key", "conditional")),
        ({"role": "teacher"}, (6, 6, 0.5, "key", "conditional")),
        ({"variant": "reference", "num_fusion_layers": 1}, (2, 1, 1.0, "value", "plain")),
    ],
)
def test_defaults_follow_role_and_variant(fields: dict[str, Any], expected: tuple[Any, ...]) -> None:
    names = ("num_aligner_layers", "num_fusion_layers", "min_keep_rate", "delta_from", "distill_map")
    config = MmslfConfig(**fields)
    assert tuple(getattr(config, name) for name in names) == expected
    assert MmslfConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()


def test_default_sizes_have_the_published_number_of_parameters() -> None:
    counts = {}
    for role in ("teacher", "student"):
        config = MmslfConfig(
            role=role,
            text_config={"model_type": "bert"},
            audio_config={"feature_size": 5},
            vision_config={"feature_size": 20},
        )
        with torch.device("meta"):
            model = MmslfForSentiment(config)
        counts[role] = sum(p.numel() for name, p in model.named_parameters() if "text_model." not in name)
    # Per aligner the released tables have one row more for text and source, and for prompts as many as for the source.
    idle = 64 * (2 + 2 + (376 - 50) + (501 - 50))
    assert counts["teacher"] == 1_445_057 - idle + 64  # the empty prompt is ours
    unread = 2 * 2 * (64 * 128 + 2 * 64) + 64 * (376 + 501)
    assert counts["student"] == 525_953 - 64 * 4 - unread


def test_teacher_of_another_shape_raises() -> None:
    student = build_mmslf().train()
    batch = random_batch(LENGTHS, training=True)
    teacher = _targets(build_mmslf_teacher(num_aligner_heads=3).eval(), batch, "conditional")
    with pytest.raises(InputError, match=r"found audio_map of shape \(3, 3, 9, 12\) for the student's \(3, 2, 9, 12\)"):
        student(**batch, teacher=teacher)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [((41, 4, 4), r"text has at most 40 steps .*; found 41"), ((4, 41, 4), r"audio has at most 40 steps .*found 41")],
)
def test_sequence_longer_than_its_position_table_raises(lengths: tuple[int, int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_mmslf().eval()(**random_batch([lengths]))


def test_prompt_longer_than_its_position_table_raises() -> None:
    batch = random_batch([(5, 4, 4)])
    with pytest.raises(InputError, match=r"prompt has at most 40 steps \(MmslfConfig.max_prompt_length\); found 41"):
        build_mmslf_teacher().eval()(**batch, prompt_input_ids=torch.full((1, 41), 7))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"prompt_states": torch.zeros(1, 4, 5)}, r"prompt_states must be \(batch, length, 16\)"),
        ({"prompt_input_ids": torch.zeros(2, 4, dtype=torch.long)}, "prompt inputs and mask must share batch"),
        (
            {"prompt_input_ids": torch.full((1, 3), 7), "prompt_attention_mask": torch.tensor([[0, 1, 1]])},
            "prompt mask with a gap",
        ),
        ({"prompt_states": torch.full((1, 2, 16), float("nan"))}, "prompt features must be finite"),
    ],
)
def test_wrong_prompt_inputs_raise(prompts: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_mmslf_teacher().eval()(**random_batch([(5, 4, 4)]), **prompts)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_prompt_layers": 0}, "num_prompt_layers must be at least 1; found 0"),
        ({"absent_source": "text", "variant": "reference"}, "absent_source must be 'none' in the reference variant"),
        ({"map_weight": -1}, "map_weight must not be negative; found -1"),
        ({"min_keep_rate": 0}, r"min_keep_rate must lie in \(0, 1\]; found 0"),
    ],
)
def test_wrong_config_raises(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_mmslf_config(**fields)
