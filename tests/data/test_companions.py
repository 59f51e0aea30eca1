"""Lists of training rows that look alike, or don't, and share the label, or don't."""

import numpy as np
import pytest

from modeling_hfr_ame.data import companions
from modeling_hfr_ame.data.companions import NO_ROW, CompanionLists, list_companions

ROWS, LENGTH = 23, 4


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> CompanionLists:
    monkeypatch.setattr(companions, "_BLOCK", 5)  # the last block is a short one
    return list_companions(*_rows(), list_length=LENGTH)


def _rows() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.standard_normal((ROWS, 6), np.float32), (np.arange(ROWS) % 5).astype(np.float64)


@pytest.mark.parametrize(
    ("name", "is_same", "is_similar"),
    [
        ("similar_same", True, True),
        ("similar_different", False, True),
        ("dissimilar_same", True, False),
        ("dissimilar_different", False, False),
    ],
)
def test_companion_list_holds_the_extreme_rows_of_its_kind(
    lists: CompanionLists, name: str, is_same: bool, is_similar: bool
) -> None:
    features, classes = _rows()
    for row in range(ROWS):
        cosine = features @ features[row] / np.linalg.norm(features, axis=1)
        kind = [index for index in range(ROWS) if index != row and (classes[index] == classes[row]) == is_same]
        expected = sorted(kind, key=lambda index: cosine[index], reverse=is_similar)[:LENGTH]
        found = getattr(lists, name)[row]
        assert found[: len(expected)].tolist() == expected
        assert (found[len(expected) :] == NO_ROW).all()


def test_companion_list_of_a_lonely_class_is_empty() -> None:
    features, classes = _rows()
    classes[7] = 99.0
    lists = list_companions(features, classes, list_length=LENGTH)
    assert (lists.similar_same[7] == NO_ROW).all()
    assert (lists.similar_different[7] != NO_ROW).all()


def test_published_lists_hold_positions_and_so_mostly_miss_the_class() -> None:
    generator = np.random.default_rng(1)
    features, classes = generator.standard_normal((300, 6), np.float32), np.round(generator.uniform(-3, 3, 300))
    rates = []
    for as_published in (False, True):
        same = list_companions(features, classes, as_published=as_published).similar_same
        rates.append((classes[same] == classes[:, None]).mean())
    assert rates[0] == 1.0
    assert rates[1] < 0.3
