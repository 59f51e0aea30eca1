import re
from pathlib import Path

import pytest

from modeling_hfr_ame.data.sources.published import compare_counts
from modeling_hfr_ame.data.sources.source import RULES, RuleCounts

_DOCS = Path(__file__).resolve().parents[3] / "docs" / "data_sources.md"


def test_rules_in_the_docs_are_the_rules_of_the_code() -> None:
    table = re.search(r"<!-- rules -->\n(.*)<!-- end of rules -->", _DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert table is not None
    lines = ["| rule | counts |", "| --- | --- |", *(f"| `{name}` | {text} |" for name, text in RULES.items())]
    assert table[1].strip() == "\n".join(lines)


def test_unknown_rule_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        RuleCounts().add("no_such_rule")


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"train": 1284, "validation": 229, "test": 686}, ["as published by MMSA"]),
        ({"validation": 229}, ["as published by MMSA; the source has no train, test"]),
        ({"train": 1283, "validation": 229, "test": 686}, ["as published by MISA and MAG-BERT"]),
        ({"train": 1200, "test": 686}, ["train 1200: 84 fewer than published", "test 686: as published by MMSA"]),
    ],
)
def test_counts_are_explained_against_every_publication(counts: dict[str, int], expected: list[str]) -> None:
    notes = compare_counts("cmu_mosi", counts)
    assert len(notes) == len(expected)
    for note, part in zip(notes, expected, strict=True):
        assert part in note


def test_unknown_dataset_has_no_published_counts() -> None:
    assert compare_counts("mine", {"train": 3}) == []
