"""States of a frozen text encoder: computed once, found again, never those of another encoder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from modeling_hfr_ame.training import frozen_states
from modeling_hfr_ame.training.frozen_states import (
    CachedTextRows,
    cached_states,
    encode_token_rows,
    encoder_fingerprint,
)

ROWS = [np.array([2, 9, 11, 3]), np.array([2, 3]), np.array([2, 7, 7, 7, 7, 3])]


def _encoder(seed: int = 0) -> BertModel:
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    return BertModel(config, add_pooling_layer=False)


def test_states_of_many_rows_are_those_of_each_row_alone_without_dropout() -> None:
    encoder = _encoder().train()
    found = encode_token_rows(encoder, ROWS)
    assert encoder.training
    for row, states in zip(ROWS, found, strict=True):
        with torch.no_grad():
            alone = encoder.eval()(input_ids=torch.from_numpy(row)[None]).last_hidden_state[0]
        np.testing.assert_allclose(states, alone.numpy(), atol=1e-6)


def test_fingerprint_changes_with_a_weight_and_not_with_a_name() -> None:
    encoder, again, other = _encoder(), _encoder(), _encoder(seed=1)
    again.config.name_or_path = "somewhere else"
    assert encoder_fingerprint(encoder) == encoder_fingerprint(again) != encoder_fingerprint(other)


def test_cache_on_disk_is_computed_once_per_encoder_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(text_model: Any, rows: Any) -> Any:
        calls.append(len(rows))
        return encode_token_rows(text_model, rows)

    monkeypatch.setattr(frozen_states, "encode_token_rows", counted)
    first = cached_states(tmp_path, _encoder(), ROWS)
    again = cached_states(tmp_path, _encoder(), ROWS)
    assert calls == [3]
    assert isinstance(again[0].base, np.memmap)
    for exact, one, two in zip(encode_token_rows(_encoder(), ROWS), first, again, strict=True):
        assert np.array_equal(one, two)
        np.testing.assert_allclose(one.astype(np.float32), exact, atol=2e-3)
    cached_states(tmp_path, _encoder(seed=1), ROWS)
    cached_states(tmp_path, _encoder(), ROWS[:2])
    assert calls == [3, 3, 2]
    assert len(list(tmp_path.iterdir())) == 3


def test_cache_cut_off_while_it_is_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, array: Any) -> None:
        if "lengths" in str(path):
            raise KeyboardInterrupt
        np.save(path, array)

    class _Numpy:
        save = staticmethod(fail)

        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

    with monkeypatch.context() as patched:
        patched.setattr(frozen_states, "np", _Numpy())
        with pytest.raises(KeyboardInterrupt):
            cached_states(tmp_path, _encoder(), ROWS)
    assert list(tmp_path.iterdir()) == []
    assert len(cached_states(tmp_path, _encoder(), ROWS)) == 3


class _Texts:
    """Rows with a text, but for the last."""

    padded_lengths = None

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> dict[str, Any]:
        row = index[1] if isinstance(index, tuple) else index
        return {"labels": row} | ({"input_ids": ROWS[row]} if row < 2 else {})

    def with_corruption(self, plan: Any) -> "_Texts":
        return self


def test_text_rows_carry_states_in_the_place_of_ids() -> None:
    encoder = _encoder()
    train, validation = CachedTextRows.encode(encoder, [_Texts(), _Texts()])  # type: ignore[list-item]
    expected = encode_token_rows(encoder, ROWS)
    for rows in (train, validation.with_corruption(None)):
        assert "input_ids" not in rows[0]
        np.testing.assert_allclose(rows[5, 1]["text_states"], expected[1], atol=1e-6)
        assert rows[2] == {"labels": 2}
        assert len(rows) == 3
        assert rows.padded_lengths is None
