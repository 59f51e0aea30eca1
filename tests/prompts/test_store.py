import json
from pathlib import Path

import pytest

from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.prompts.rows import PromptRow
from modeling_hfr_ame.prompts.store import PromptStore, SplitCoverage, list_prompt_stores, transcripts_by_split
from modeling_hfr_ame.prompts.store_card import write_store_card
from modeling_hfr_ame.prompts.writer import PromptWriter
from tests.prompts.prompt_rows import describe_store, prompt_row, write_dataset

STORE = describe_store()
PAPER = describe_store(paper_protocol=True)


def save(folder: Path, *rows: PromptRow) -> Path:
    with PromptWriter(folder, rows[0].description) as writer:
        for row in rows:
            writer.append(row)
    return folder


def test_store_gives_hint_by_split_and_sample(tmp_path: Path) -> None:
    store = PromptStore.open(save(tmp_path, prompt_row("a"), prompt_row("b", text="", split="test")))
    assert store.description == STORE
    assert store.text_of("train", "a") == "Language: warm."
    found = store.row_of("train", "a", "fine")
    assert found is not None
    assert found.cues["language"] == "warm."
    assert store.text_of("test", "b") is None
    assert store.text_of("test", "unknown") is None


def test_hint_for_another_transcript_is_stale(tmp_path: Path) -> None:
    store = PromptStore.open(save(tmp_path, prompt_row("a"), prompt_row("c", transcript=None)))
    assert store.text_of("train", "a", "other words") is None
    assert store.text_of("train", "a", None) is None
    assert store.text_of("train", "c", None) == "Language: warm."
    newer = prompt_row("a", transcript="other words", text="Language: new.")
    store = PromptStore.open(save(tmp_path, newer))
    assert store.text_of("train", "a", "other words") == store.text_of("train", "a") == "Language: new."
    assert store.text_of("train", "a", "fine") == "Language: warm."


def test_coverage_counts_answered_failed_missing_and_stale(tmp_path: Path) -> None:
    rows = [prompt_row("a"), prompt_row("b", text=""), prompt_row("d", split="test")]
    store = PromptStore.open(save(tmp_path, *rows))
    transcripts = {"train": {"a": "fine", "b": "fine", "c": "fine"}, "test": {"d": "changed"}, "empty": {}}
    coverage = store.coverage(transcripts)
    assert coverage["train"] == SplitCoverage(rows=3, answered=1, failed=1, missing=1, stale=0)
    assert coverage["test"] == SplitCoverage(rows=1, answered=0, failed=0, missing=0, stale=1)
    assert coverage["train"].share == pytest.approx(1 / 3)
    assert coverage["empty"].share == 1.0


def test_require_refuses_a_split_below_the_share(tmp_path: Path) -> None:
    store = PromptStore.open(save(tmp_path, prompt_row("a"), prompt_row("b", text="")))
    transcripts = {"train": {"a": "fine", "b": "fine"}}
    message = r"at least 100% of its samples, 'train' has 1 of 2 in .* \(1 failed, 0 missing, 0 stale\)"
    with pytest.raises(DataError, match=message):
        store.require(transcripts)
    assert store.require(transcripts, min_coverage=0.5)["train"].answered == 1


@pytest.mark.parametrize("split", ["validation", "test", "held_out"])
@pytest.mark.parametrize("text", ["Language: warm.", ""])
def test_store_with_a_row_outside_training_that_saw_its_label_is_refused(tmp_path: Path, split: str, text: str) -> None:
    leak = prompt_row("b", split=split, label="+2.00", text=text)
    save(tmp_path, prompt_row("a", label="-1.00"), leak)
    with pytest.raises(DataError, match=f"1 rows of {PAPER.name} outside it saw theirs .first: 'b' in '{split}'"):
        PromptStore.open(tmp_path)
    with pytest.raises(DataError, match="outside it saw theirs"):
        write_store_card(tmp_path)


def test_paper_protocol_store_serves_its_own_folds_only(tmp_path: Path) -> None:
    rows = [prompt_row("a", label="-1.00"), prompt_row("b", split="test", description=PAPER)]
    store = PromptStore.open(save(tmp_path, *rows))
    assert store.require({"train": {"a": "fine"}, "test": {"b": "fine"}})["test"].answered == 1
    moved = {"train": {"b": "fine"}, "test": {"a": "fine"}}
    for use in (lambda: store.text_of("test", "a"), lambda: store.coverage(moved), lambda: store.require(moved)):
        with pytest.raises(DataError, match=r"sample 'a' is in 'test' here.*made with its label shown"):
            use()
    described = store.describe()
    assert described["label_policy"] == "paper protocol: training rows show the label"
    assert (described["answered"], described["label_shown"]) == (2, 1)


def test_one_of_several_stores_is_found_by_dataset_model_or_name(tmp_path: Path) -> None:
    other = describe_store(model_id="org/other")
    save(tmp_path, prompt_row("a"))
    save(tmp_path, prompt_row("a", description=other))
    save(tmp_path, prompt_row("a", description=describe_store(dataset="elsewhere")))
    assert len(list_prompt_stores(tmp_path)) == 3
    assert PromptStore.open(tmp_path, model="org/other").description == other
    assert PromptStore.open(tmp_path, name=STORE.name).description == STORE
    with pytest.raises(DataError, match=r"dataset 'test_builder' fits 2 \("):
        PromptStore.open(tmp_path, dataset="test_builder")
    with pytest.raises(DataError, match=f"must fit model_id 'none', found .*{other.name}"):
        PromptStore.open(tmp_path, model="none")
    with pytest.raises(DataError, match="prompt stores lie in a folder, found none"):
        PromptStore.open(tmp_path / "absent")


def test_content_hash_ignores_order_times_and_failures(tmp_path: Path) -> None:
    a, b = prompt_row("a"), prompt_row("b", text="Language: cold.")
    first = PromptStore.open(save(tmp_path / "1", a, b))
    failed, later = prompt_row("b", text=""), prompt_row("a", created="2027-01-01T00:00:00+00:00", n_in=3)
    second = PromptStore.open(save(tmp_path / "2", failed, b, later))
    third = PromptStore.open(save(tmp_path / "3", a, prompt_row("b", text="Language: hot.")))
    assert first.content_sha256 == second.content_sha256 != third.content_sha256


def test_describe_is_plain_json_without_paths(tmp_path: Path) -> None:
    described = PromptStore.open(save(tmp_path, prompt_row("a"))).describe()
    assert json.loads(json.dumps(described)) == described
    assert described["label_policy"] == "labels not shown"
    assert str(tmp_path) not in json.dumps(described)


def test_transcripts_are_those_of_the_dataset(tmp_path: Path) -> None:
    transcripts = transcripts_by_split(write_dataset(tmp_path / "data"))
    assert list(transcripts["validation"].values()) == ["a waste of time", "nice music"]
    assert list(transcripts["train"].values())[3] is None


def test_card_names_model_policy_and_counts(tmp_path: Path) -> None:
    save(tmp_path, prompt_row("a", label="-1.00"), prompt_row("b", description=PAPER, split="test", text=""))
    save(tmp_path, prompt_row("a"))
    card = write_store_card(tmp_path).read_text(encoding="utf-8")
    assert "- Label policy: paper protocol: training rows show the label" in card
    assert "- Label policy: labels not shown" in card
    assert "| train | 1 | 0 | 1 |\n| test | 0 | 1 | 0 |" in card
    assert "model org/some-model, revision 1" in card
