"""What the reader of the batch contract accepts, and what it makes of it."""

import pytest
import torch

from modeling_hfr_ame.modality_inputs import ModalityInput, ModalityReader, content_mask, content_steps
from tests.models.model_fixtures import build_hfr_ame, random_batch, shake, tiny_config

LENGTHS = [(9, 12, 6), (4, 3, 10), (5, 0, 4)]
DTYPES = [torch.float16, torch.bfloat16, torch.float64]


def batch_of(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {name: v.to(dtype) if v.is_floating_point() else v for name, v in random_batch(LENGTHS).items()}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_reader_of_features_in_another_precision_gives_float32_frames(dtype: torch.dtype) -> None:
    inputs = ModalityReader(tiny_config()).read(batch_of(dtype))
    exact = ModalityReader(tiny_config()).read(random_batch(LENGTHS))
    for name in ("audio", "vision"):
        frames = inputs[name].frames()
        assert frames.dtype == torch.float32
        torch.testing.assert_close(frames, exact[name].frames(), atol=0.02, rtol=0.01)
        assert not frames[~inputs[name].mask].any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_model_reads_features_and_text_states_in_another_precision(dtype: torch.dtype) -> None:
    model = shake(build_hfr_ame()).eval()
    expected = model(**random_batch(LENGTHS)).logits
    batch = batch_of(dtype)
    torch.testing.assert_close(model(**batch).logits, expected, atol=0.02, rtol=0)
    ids = batch.pop("input_ids")
    states = model.model.text_model(ids, attention_mask=batch["attention_mask"]).last_hidden_state
    logits = model(**batch, text_states=states.detach().to(dtype)).logits
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected, atol=0.05, rtol=0)


def test_frames_at_padding_are_zero_even_where_they_hold_nan() -> None:
    values = torch.full((1, 3, 2), float("nan"))
    values[0, 0] = 1.0
    item = ModalityInput(values, torch.tensor([[True, False, False]]), torch.tensor([True]))
    assert item.frames().tolist() == [[[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]]


def test_content_of_a_text_leaves_both_special_tokens_out() -> None:
    attention_mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    assert content_mask(attention_mask).sum(1).tolist() == [3, 1, 0, 0]
    tokens = torch.arange(20).view(4, 5)
    assert content_steps(tokens)[content_mask(attention_mask)].tolist() == [1, 2, 3, 6]


def test_padded_input_has_pad_tokens_and_zero_frames_behind_and_is_never_cut() -> None:
    inputs = ModalityReader(tiny_config()).read(random_batch(LENGTHS, pad=2))
    text = inputs["text"].padded(20, 1)
    assert text.values.shape == text.mask.shape == (3, 20)
    assert torch.equal(text.mask[:, :11], inputs["text"].mask)
    assert not text.mask[:, 11:].any()
    assert (text.values[:, 11:] == 1).all()
    assert torch.equal(text.values[:, :11], inputs["text"].values)
    audio = inputs["audio"].padded(5, None)
    assert audio.values.shape == inputs["audio"].values.shape
    assert not inputs["audio"].padded(20, None).values[:, 14:].any()
