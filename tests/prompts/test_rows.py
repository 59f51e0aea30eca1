import json
from dataclasses import replace
from typing import Any

import pytest

from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.prompts.rows import PromptInputs, PromptRow, row_key, storable_text
from tests.prompts.prompt_rows import describe_store, prompt_row

INPUTS = PromptInputs(transcript="t" * 64, frames=("f" * 64,), audio="a" * 64, label="l" * 64)


def reread(line: bytes) -> PromptRow:
    return PromptRow.from_line(line, name=describe_store().name)


def edited(row: PromptRow, **changes: Any) -> bytes:
    return json.dumps({**json.loads(row.to_line()), **changes}).encode()


def test_row_survives_writing_and_reading() -> None:
    text = 'Language: 很好 "quoted"\n\u2028 and \x85 a line end of its own'
    row = prompt_row(text=text, n_in=7, finish="stop")
    assert row.to_line().count(b"\n") == 1
    assert reread(row.to_line()) == row


@pytest.mark.parametrize(
    "changed",
    [
        {"sample_id": "v0$_$2"},
        {"inputs": replace(INPUTS, transcript="u" * 64)},
        {"inputs": replace(INPUTS, frames=("g" * 64,))},
        {"inputs": replace(INPUTS, frames=())},
        {"inputs": replace(INPUTS, audio=None)},
        {"inputs": replace(INPUTS, label="m" * 64)},
        {"description": describe_store(template_sha="b" * 64)},
        {"description": describe_store(template_id="hints-en/2")},
        {"description": describe_store(model_id="org/other")},
        {"description": describe_store(model_revision="2")},
        {"description": describe_store(decoding={"max_tokens": 301})},
        {"label_shown": True},
    ],
)
def test_key_changes_with_everything_that_decides_the_answer(changed: dict[str, Any]) -> None:
    told: dict[str, Any] = {
        "sample_id": "v0$_$1",
        "inputs": INPUTS,
        "description": describe_store(),
        "label_shown": False,
    }
    assert row_key(**told) == row_key(**told)
    assert row_key(**{**told, **changed}) != row_key(**told)


def test_key_ignores_where_a_row_is_kept() -> None:
    moved = describe_store(dataset="other")
    assert row_key("a", INPUTS, moved, False) == row_key("a", INPUTS, describe_store(), False)
    assert moved.name != describe_store().name


def test_row_with_its_label_flag_edited_away_is_refused() -> None:
    row = prompt_row(label="+1.00")
    assert reread(row.to_line()).label_shown
    with pytest.raises(DataError, match=r"the key of sample 'v0\$_\$1' doesn't fit the row"):
        reread(edited(row, label_shown=False))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_revision": "9"}, "doesn't fit the row"),
        ({"inputs_sha": "0" * 64}, "doesn't fit the row"),
        ({"paper_protocol": False}, "saw its label although the store isn't a paper_protocol one"),
        ({"status": "failed"}, r"has the status 'failed' and 15 characters"),
        ({"format": "other/1"}, "doesn't state the format hfr-ame-prompt/1"),
        ({"surprise": 1}, "not a row of a prompt store"),
    ],
)
def test_row_that_was_edited_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        reread(edited(prompt_row(label="+1.00"), **changes))


def test_row_that_shows_a_label_and_denies_it_is_refused() -> None:
    row = prompt_row(label="+1.00")
    denying = replace(
        row, label_shown=False, key=row_key(row.sample_id, row.inputs, row.description, label_shown=False)
    )
    with pytest.raises(DataError, match="states label_shown=False against its inputs"):
        reread(denying.to_line())


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b'{"format": "hfr-ame-prompt/1"}', b"\x00\x00\xff"])
def test_line_that_is_no_row_is_refused(line: bytes) -> None:
    with pytest.raises(DataError, match="not a row of a prompt store"):
        reread(line)


def test_storable_text_keeps_what_utf8_holds() -> None:
    assert storable_text("a\ud800b\0c 好") == "a?bc 好"
