from pathlib import Path

import pytest

from modeling_hfr_ame.errors import ConfigError, DataError
from modeling_hfr_ame.prompts.cost_estimate import estimate_cost, estimate_tokens
from modeling_hfr_ame.prompts.generation import generate_prompts, plan_generation
from modeling_hfr_ame.prompts.instructions import instruction_template
from modeling_hfr_ame.prompts.store import PromptStore, transcripts_by_split
from modeling_hfr_ame.prompts.writer import read_rows
from tests.prompts.prompt_rows import EchoGenerator, write_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data")


def test_run_asks_about_every_sample_once_and_a_second_run_about_none(dataset: Path, tmp_path: Path) -> None:
    generator = EchoGenerator()
    summary = generate_prompts(dataset, tmp_path / "store", generator)
    assert (summary.samples, summary.kept, summary.answered, summary.failed, summary.left) == (8, 0, 8, 0, 0)
    assert (summary.n_in, summary.n_out) == (80, 40)
    assert len(generator.asked) == len(set(generator.asked)) == 8
    before = summary.store.read_bytes()
    second = generate_prompts(dataset, tmp_path / "store", generator)
    assert (second.kept, second.answered) == (8, 0)
    assert len(generator.asked) == 8
    assert summary.store.read_bytes() == before
    coverage = PromptStore.open(tmp_path / "store").require(transcripts_by_split(dataset))
    assert {split: each.answered for split, each in coverage.items()} == {"train": 4, "validation": 2, "test": 2}
    assert (tmp_path / "store" / "README.md").is_file()


def test_failed_samples_are_kept_and_asked_about_again(dataset: Path, tmp_path: Path) -> None:
    generator = EchoGenerator({"v1$_$0001": 2})
    first = generate_prompts(dataset, tmp_path / "store", generator)
    assert (first.answered, first.failed) == (7, 1)
    [failed] = [row for row in read_rows(first.store) if not row.answered]
    assert (failed.sample_id, failed.error, failed.text) == ("v1$_$0001", "no luck", "")
    untouched = generate_prompts(dataset, tmp_path / "store", generator, retry_failed=False)
    assert (untouched.kept, untouched.failed) == (8, 0)
    assert generate_prompts(dataset, tmp_path / "store", generator).failed == 1
    last = generate_prompts(dataset, tmp_path / "store", generator)
    assert (last.kept, last.answered) == (7, 1)
    assert [row.error for row in read_rows(first.store) if row.sample_id == "v1$_$0001"] == ["no luck", "no luck", None]


def test_limit_asks_about_the_first_samples(dataset: Path, tmp_path: Path) -> None:
    generator = EchoGenerator()
    counts = [generate_prompts(dataset, tmp_path / "store", generator, limit=3) for _ in range(3)]
    assert [(each.kept, each.answered, each.left) for each in counts] == [(0, 3, 5), (3, 3, 2), (6, 2, 0)]


def test_splits_are_asked_about_alone(dataset: Path, tmp_path: Path) -> None:
    summary = generate_prompts(dataset, tmp_path / "store", EchoGenerator(), splits=["test"])
    assert (summary.samples, summary.answered) == (2, 2)
    with pytest.raises(DataError, match="has the splits train, validation, test, asked for dev"):
        generate_prompts(dataset, tmp_path / "store", EchoGenerator(), splits=["dev"])


def test_labels_are_shown_to_training_rows_of_the_paper_protocol_only(dataset: Path, tmp_path: Path) -> None:
    generate_prompts(dataset, tmp_path / "store", EchoGenerator())
    generate_prompts(dataset, tmp_path / "paper", EchoGenerator(), paper_protocol=True)
    for row in PromptStore.open(tmp_path / "store").rows():
        assert not row.label_shown
        assert not row.description.paper_protocol
        assert "Rating" not in row.text
    for row in PromptStore.open(tmp_path / "paper").rows():
        assert row.description.paper_protocol
        assert row.label_shown == (row.split == "train")
        rating = next(line for line in row.text.splitlines() if line.startswith("Rating")).rpartition(": ")[2]
        assert (rating == "None") == (row.split != "train")
    assert "-2.50" in next(
        row.text for row in read_rows(next((tmp_path / "paper").glob("*.jsonl"))) if "0001" in row.sample_id
    )


def test_two_policies_and_two_models_share_a_folder(dataset: Path, tmp_path: Path) -> None:
    other = EchoGenerator()
    other.model_id = "tests/other"
    for generator, paper in ((EchoGenerator(), False), (EchoGenerator(), True), (other, False)):
        assert generate_prompts(dataset, tmp_path / "store", generator, paper_protocol=paper).answered == 8
    assert len(list((tmp_path / "store").glob("*.jsonl"))) == 3


def test_template_must_fit_the_label_policy(dataset: Path) -> None:
    with pytest.raises(
        ConfigError, match="exactly under paper_protocol, found hints-label-en/1 with paper_protocol=False"
    ):
        plan_generation(dataset, EchoGenerator(), template=instruction_template("en", True))


def test_changed_transcript_is_asked_about_again(tmp_path: Path) -> None:
    generator = EchoGenerator()
    generate_prompts(write_dataset(tmp_path / "1", {"train": ["fine", "good"]}), tmp_path / "store", generator)
    changed = write_dataset(tmp_path / "2", {"train": ["fine", "bad"]})
    summary = generate_prompts(changed, tmp_path / "store", generator)
    assert (summary.kept, summary.answered) == (1, 1)
    store = PromptStore.open(tmp_path / "store")
    assert '"bad"' in str(store.text_of("train", "v1$_$0001", "bad"))
    assert store.coverage({"train": {"v1$_$0001": "worse"}})["train"].stale == 1


def test_rows_come_to_the_callback_after_they_are_written(dataset: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    store = tmp_path / "store"
    generate_prompts(
        dataset, store, EchoGenerator(), on_row=lambda row: seen.append(len(read_rows(next(store.glob("*.jsonl")))))
    )
    assert seen == list(range(1, 9))


def test_estimate_counts_what_is_left_without_asking(dataset: Path, tmp_path: Path) -> None:
    generator = EchoGenerator()
    summary = generate_prompts(dataset, tmp_path / "store", generator, limit=5)
    answered = {row.key for row in read_rows(summary.store)}
    plan = plan_generation(dataset, generator)
    estimate = estimate_cost(plan.requests(), answered, max_tokens=100, prices=(1.0, 10.0))
    asked = [request for request in plan.requests() if request.key not in answered]
    expected = sum(estimate_tokens(request.instruction) + 8 for request in asked)
    assert (estimate.samples, estimate.kept, estimate.pictures) == (3, 5, 0)
    assert (estimate.n_in, estimate.n_out) == (expected, 300)
    assert estimate.cost == pytest.approx((expected + 3000) / 1e6)
    assert estimate_cost(plan.requests(), set(), max_tokens=100, limit=2).samples == 2
    assert len(generator.asked) == 5


def test_tokens_are_estimated_by_script() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("a" * 9) == 3
    assert estimate_tokens("很好" + "a" * 4) == 3
