"""Invariants that every model of the package keeps; parametrised over all of them."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, PreTrainedModel

from modeling_hfr_ame import InputError
from tests.models.model_fixtures import AUDIO_SIZE, BATCH_MAKERS, MODEL_BUILDERS, random_batch, row_of, shake

# An odd number of rows: with an even one the signs of an L1 gradient can cancel exactly.
LENGTHS = [(9, 12, 6), (4, 3, 10), (7, 5, 5), (3, 1, 2), (5, 0, 4)]
SUBSETS = [(9, 0, 0), (0, 12, 0), (0, 0, 6), (9, 12, 0), (9, 0, 6), (0, 12, 6), (9, 12, 6)]

# CyIN scores noisy latents and random translations in training, and must first learn to make both exact.
OVERFIT_STEPS = {"cyin": 300}

Builder = Callable[..., PreTrainedModel]
BatchMaker = Callable[..., dict[str, torch.Tensor]]


@pytest.fixture(params=sorted(MODEL_BUILDERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def build(name: str) -> Builder:
    return MODEL_BUILDERS[name]


@pytest.fixture
def make_batch(name: str) -> BatchMaker:
    return BATCH_MAKERS.get(name, random_batch)


@pytest.fixture
def model(build: Builder) -> PreTrainedModel:
    return shake(build()).eval()


def test_logits_with_more_padding_stay_equal(model: PreTrainedModel, make_batch: BatchMaker) -> None:
    plain = model(**make_batch(LENGTHS)).logits
    padded = model(**make_batch(LENGTHS, pad=7)).logits
    torch.testing.assert_close(plain, padded, atol=1e-5, rtol=0)


def test_logits_alone_equal_logits_among_batch_mates(model: PreTrainedModel, make_batch: BatchMaker) -> None:
    batch = make_batch(LENGTHS)
    together = model(**batch).logits
    alone = torch.cat([model(**row_of(batch, row)).logits for row in range(len(LENGTHS))])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def _without_padding(row: dict[str, torch.Tensor], lengths: tuple[int, int, int]) -> dict[str, torch.Tensor]:
    names = {0: ("input_ids", "attention_mask"), 1: ("audio_values", "audio_mask"), 2: ("vision_values", "vision_mask")}
    cut = {name: row[name][:, : max(1, lengths[column])] for column, pair in names.items() for name in pair}
    return row | cut


def test_logits_of_rows_in_another_order_and_without_padding_stay_equal(
    model: PreTrainedModel, make_batch: BatchMaker
) -> None:
    batch = make_batch(LENGTHS)
    together = model(**batch).logits
    backwards = model(**{name: value.flip(0) for name, value in batch.items()}).logits
    torch.testing.assert_close(together, backwards.flip(0), atol=1e-5, rtol=0)
    alone = [model(**_without_padding(row_of(batch, row), lengths)).logits for row, lengths in enumerate(LENGTHS)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_text_states_instead_of_ids_give_the_same_logits(model: PreTrainedModel, make_batch: BatchMaker) -> None:
    batch = make_batch(LENGTHS)
    text_model = next(module for name, module in model.named_modules() if name.endswith("text_model"))
    states = text_model(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    cached = {name: value for name, value in batch.items() if name != "input_ids"} | {"text_states": states}
    torch.testing.assert_close(model(**batch).logits, model(**cached).logits, atol=1e-5, rtol=0)


def test_eval_called_twice_is_bit_equal(model: PreTrainedModel, make_batch: BatchMaker) -> None:
    batch = make_batch(LENGTHS)
    assert torch.equal(model(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("lengths", SUBSETS)
def test_modality_subset_of_any_kind_gives_finite_logits(
    model: PreTrainedModel, lengths: tuple[int, int, int], make_batch: BatchMaker
) -> None:
    mixed = make_batch([lengths, (5, 4, 3)])
    alone = {name: value for name, value in make_batch([lengths]).items() if name != "modality_mask"}
    for column, names in enumerate(
        (("input_ids", "attention_mask"), ("audio_values", "audio_mask"), ("vision_values", "vision_mask"))
    ):
        if lengths[column] == 0:
            for name in names:
                del alone[name]
    first = model(**mixed).logits[:1]
    assert torch.isfinite(first).all()
    torch.testing.assert_close(first, model(**alone).logits, atol=1e-5, rtol=0)


def test_modality_mask_false_hides_the_values_of_the_modality(model: PreTrainedModel, make_batch: BatchMaker) -> None:
    batch = make_batch([(9, 12, 6)])
    batch["modality_mask"] = torch.tensor([[True, False, True]])
    hidden = model(**batch).logits
    batch["audio_values"] = torch.full_like(batch["audio_values"], float("nan"))
    assert torch.equal(hidden, model(**batch).logits)


def test_row_without_any_modality_raises(model: PreTrainedModel, make_batch: BatchMaker) -> None:
    with pytest.raises(InputError, match=r"at least one present modality.*found a row with none"):
        model(**make_batch([(9, 12, 6), (0, 0, 0)]))


def test_no_input_at_all_raises(model: PreTrainedModel) -> None:
    with pytest.raises(InputError, match=r"at least one of input_ids.*found none"):
        model()


def test_wrong_feature_width_raises(model: PreTrainedModel) -> None:
    with pytest.raises(InputError, match=rf"audio feature width 74 does not match the model's {AUDIO_SIZE}"):
        model(audio_values=torch.zeros(1, 4, 74))


def test_nan_in_valid_audio_raises(model: PreTrainedModel, make_batch: BatchMaker) -> None:
    batch = make_batch([(9, 12, 6)])
    batch["audio_values"][0, 3, 1] = float("nan")
    with pytest.raises(InputError, match="audio features must be finite"):
        model(**batch)


def test_front_padded_mask_raises(model: PreTrainedModel, make_batch: BatchMaker) -> None:
    batch = make_batch([(9, 12, 6)])
    batch["audio_mask"][0, 0] = False
    with pytest.raises(InputError, match="audio mask with a gap or front padding"):
        model(**batch)


@pytest.mark.parametrize("label", [3.5, float("nan")])
def test_label_out_of_range_raises(model: PreTrainedModel, label: float, make_batch: BatchMaker) -> None:
    with pytest.raises(InputError, match=r"labels must lie in the model's label_range -3\.0 to 3\.0"):
        model(**make_batch([(9, 12, 6)]), labels=torch.tensor([label]))


@pytest.mark.parametrize(("key", "shape"), [("labels", (1, 1)), ("severity", (1, 2)), ("modality_mask", (1, 2))])
def test_wrong_shape_of_a_row_wise_input_raises(
    build: Builder, key: str, shape: tuple[int, ...], make_batch: BatchMaker
) -> None:
    batch = make_batch([(9, 12, 6)], training=True) | {key: torch.ones(shape)}
    with pytest.raises(InputError, match=rf"{key} must have shape .* in a batch of 1; found"):
        build().train()(**batch)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_very_short_sequences_give_finite_output_and_gradient(
    build: Builder, length: int, make_batch: BatchMaker
) -> None:
    model = shake(build()).train()
    output = model(**make_batch([(length + 1, length, length), (2, 1, 1)], training=True))
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_every_parameter_in_training_gets_a_gradient(build: Builder, make_batch: BatchMaker) -> None:
    model = shake(build()).train()
    model(**make_batch(LENGTHS, training=True)).loss.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A key's bias shifts all scores of a query alike, so its true gradient is zero.
    assert [name for name in without if not name.endswith("key.bias")] == []


def test_every_parameter_takes_part_when_a_modality_is_absent_in_the_batch(
    build: Builder, make_batch: BatchMaker
) -> None:
    model = shake(build()).train()
    model(**make_batch([(9, 0, 0), (5, 0, 0)], training=True)).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_clean_twin_and_severity_in_eval_are_never_read(model: PreTrainedModel, make_batch: BatchMaker) -> None:
    batch = make_batch(LENGTHS, training=True)
    expected = model(**batch)
    for name, value in batch.items():
        if name.startswith("clean_") and value.is_floating_point():
            batch[name] = torch.full_like(value, float("nan"))
        elif name.startswith("clean_"):
            batch[name] = torch.full_like(value, -(10**9)) if value.dtype != torch.bool else ~value
    batch["severity"] = torch.full_like(batch["severity"], float("nan"))
    poisoned = model(**batch)
    assert torch.equal(expected.logits, poisoned.logits)
    assert torch.equal(expected.loss, poisoned.loss)


def test_save_and_load_through_auto_classes_is_bit_equal(
    model: PreTrainedModel, tmp_path: Path, make_batch: BatchMaker
) -> None:
    batch = make_batch(LENGTHS)
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    for auto_class in (AutoModel, AutoModelForSequenceClassification):
        loaded, report = auto_class.from_pretrained(tmp_path, output_loading_info=True)
        assert type(loaded) is type(model)
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        assert torch.equal(model(**batch).logits, loaded.eval()(**batch).logits)


def test_eager_and_sdpa_attention_agree(model: PreTrainedModel, make_batch: BatchMaker) -> None:
    batch = make_batch(LENGTHS)
    sdpa = model(**batch).logits
    model.set_attn_implementation("eager")
    output = model(**batch, output_attentions=True)
    torch.testing.assert_close(sdpa, output.logits, atol=1e-5, rtol=0)
    assert len(output.attentions) > 0


def test_bf16_autocast_stays_close_to_fp32(build: Builder, make_batch: BatchMaker) -> None:
    model, batch = shake(build()), make_batch(LENGTHS, training=True)
    model.eval()
    exact = model(**batch).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(**batch).logits
    torch.testing.assert_close(exact, rounded.float(), atol=0.05, rtol=0.05)
    model.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(**batch).loss
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_model_loaded_in_half_precision_keeps_its_own_modules_in_float32(
    model: PreTrainedModel, tmp_path: Path, make_batch: BatchMaker
) -> None:
    batch = make_batch(LENGTHS)
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    text = "text_model."
    assert {p.dtype for name, p in loaded.named_parameters() if text in name} == {torch.bfloat16}
    assert {name for name, p in loaded.named_parameters() if text not in name and p.dtype != torch.float32} == set()
    torch.testing.assert_close(loaded(**batch).logits.float(), model(**batch).logits, atol=0.05, rtol=0.05)


def test_training_on_eight_samples_overfits_them(build: Builder, make_batch: BatchMaker) -> None:
    model = build(dropout=0.0).train()
    batch = make_batch([(8, 6, 6)] * 8, training=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    # Decayed to nothing: at a constant rate the last loss depends on the step that it is read at.
    num_steps = OVERFIT_STEPS.get(model.config.model_type, 120)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=num_steps)
    for _ in range(num_steps):
        optimiser.zero_grad()
        output = model(**batch, output_losses=True)
        output.loss.backward()
        optimiser.step()
        schedule.step()
    assert output.losses["task"] < 0.1


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(
    build: Builder, use_reentrant: bool, make_batch: BatchMaker
) -> None:
    model = shake(build(dropout=0.0)).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = make_batch(LENGTHS, training=True)
    torch.manual_seed(2)  # some models draw in training
    model(**batch).loss.backward()
    plain = {name: p.grad.clone() for name, p in model.named_parameters()}
    checkpointed = copy.deepcopy(model)
    checkpointed.zero_grad()
    checkpointed.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    assert checkpointed.is_activation_checkpointing
    torch.manual_seed(2)
    checkpointed(**batch).loss.backward()
    for name, p in checkpointed.named_parameters():
        torch.testing.assert_close(p.grad, plain[name], atol=1e-6, rtol=1e-4, msg=name)


def test_return_dict_false_gives_a_tuple_with_loss_and_logits(model: PreTrainedModel, make_batch: BatchMaker) -> None:
    batch = make_batch(LENGTHS)
    labels = torch.zeros(len(LENGTHS))
    loss, logits = model(**batch, labels=labels, return_dict=False)
    assert loss.dim() == 0
    assert logits.shape == (len(LENGTHS), 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # raised inside torch when its compiler is imported
def test_compiled_model_gives_the_same_logits(model: PreTrainedModel, make_batch: BatchMaker) -> None:
    # Capture without code generation: inductor needs more than five minutes for the unrolled cascade on one CPU core.
    batch = make_batch(LENGTHS)
    expected = model(**batch).logits
    compiled = torch.compile(model, dynamic=True, backend="eager")
    torch.testing.assert_close(expected, compiled(**batch).logits, atol=1e-5, rtol=0)
