"""Hints beside rows, and their place in a batch."""

from typing import Any

import numpy as np
import torch

from modeling_hfr_ame.data.prompted_rows import PromptCollator, PromptedRows, tokenize_prompts


class _Rows:
    """Rows that are called after their number and their plan."""

    padded_lengths = (1, 2, 3)

    def __init__(self, plan: str = "as it is") -> None:
        self.plan = plan

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> dict[str, Any]:
        row = index[1] if isinstance(index, tuple) else index
        return {"sample_ids": f"row {row}", "plan": self.plan}

    def with_corruption(self, plan: Any) -> "_Rows":
        return _Rows(plan)


def _collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    assert all("prompt" not in sample for sample in samples)
    return {"sample_ids": [sample["sample_ids"] for sample in samples]}


def test_rows_carry_their_own_hint_in_any_epoch_and_under_any_plan() -> None:
    hint = np.array([2, 7, 3])
    rows = PromptedRows(_Rows(), {"row 1": hint})
    assert len(rows) == 3
    assert rows[1]["prompt"] is rows[4, 1]["prompt"] is hint
    assert rows[0]["prompt"] is None
    other = rows.with_corruption("drop-0.5")  # type: ignore[arg-type]
    assert other[1] == {"sample_ids": "row 1", "plan": "drop-0.5", "prompt": hint}
    assert other.padded_lengths == (1, 2, 3)


def test_collator_pads_token_ids_with_the_pad_token_and_masks_rows_without_a_hint() -> None:
    rows = PromptedRows(_Rows(), {"row 0": np.array([2, 7, 3]), "row 2": np.array([2, 3])})
    batch = PromptCollator(_collate, pad_token_id=9)([rows[0], rows[1], rows[2]])
    assert batch["prompt_input_ids"].tolist() == [[2, 7, 3], [9, 9, 9], [2, 3, 9]]
    assert batch["prompt_attention_mask"].tolist() == [[1, 1, 1], [0, 0, 0], [1, 1, 0]]
    assert batch["sample_ids"] == ["row 0", "row 1", "row 2"]


def test_collator_gives_states_in_single_precision() -> None:
    states = np.arange(8, dtype=np.float16).reshape(2, 4)
    rows = PromptedRows(_Rows(), {"row 1": states})
    batch = PromptCollator(_collate, pad_token_id=9)([rows[0], rows[1]])
    assert batch["prompt_states"].dtype == torch.float32
    assert batch["prompt_states"].tolist() == [[[0.0] * 4] * 2, states.tolist()]
    assert "prompt_input_ids" not in batch


def test_batch_without_any_hint_has_no_keys_of_prompts() -> None:
    rows = PromptedRows(_Rows(), {})
    assert PromptCollator(_collate, pad_token_id=0)([rows[0], rows[1]]).keys() == {"sample_ids"}
    assert PromptCollator(_collate, pad_token_id=0)([{"sample_ids": "plain"}]).keys() == {"sample_ids"}


def test_hints_are_cut_to_their_longest_length_and_blank_ones_left_out() -> None:
    class _Tokenizer:
        def __call__(self, text: str, truncation: bool, max_length: int) -> dict[str, list[int]]:
            assert truncation
            inner = [len(word) for word in text.split()]
            return {"input_ids": [2, *inner[: max_length - 2], 3]}

    found = tokenize_prompts({"a": "one three", "b": "  ", "c": None, "d": "x " * 50}, _Tokenizer(), 6)
    assert sorted(found) == ["a", "d"]
    assert len(found["d"]) == 6
    assert found["a"].dtype == np.int64
