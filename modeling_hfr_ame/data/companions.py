# Copyright 2026 The HFR-AME contributors. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Companions of training rows for a contrastive loss: which rows look alike and share, or don't share, their label.

The lists are made from a ranking of all rows by cosine, a block of rows at a time, so that memory grows with the number
of rows and not with its square.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

NO_ROW: Final = -(10**9)  # what fills a list that has too few entries
_BLOCK = 512


@dataclass(frozen=True)
class CompanionLists:
    """Up to K candidates of each of N rows, best first.

    Args:
        similar_same: (N, K) rows of the same class, most similar first.
        similar_different: (N, K) rows of other classes, most similar first.
        dissimilar_same: (N, K) rows of the same class, least similar first.
        dissimilar_different: (N, K) rows of other classes, least similar first.
    """

    similar_same: NDArray[np.int64]
    similar_different: NDArray[np.int64]
    dissimilar_same: NDArray[np.int64]
    dissimilar_different: NDArray[np.int64]


def rank_rows(similarity: NDArray[np.float32]) -> NDArray[np.int64]:
    """All rows by falling similarity to each of n rows, (n, N); equal ones in their own order."""
    return np.argsort(-similarity, axis=1, kind="stable")


def ranked_companions(
    rank: NDArray[np.int64],
    rows: NDArray[np.int64],
    classes: NDArray[np.float64],
    *,
    list_length: int = 10,
    as_published: bool = False,
) -> CompanionLists:
    """Lists the candidates of n rows whose ranking is known.

    Args:
        rank: (n, N) from `rank_rows`.
        rows: (n,) which rows they are.
        classes: (N,) class of each row's label.
        list_length: Longest list K.
        as_published: Whether lists hold what DashFusion's released code writes into them: the position in the ranking
            instead of the row found there, counted from the end for dissimilar rows; and leave out the position that
            equals the row's own number (for dissimilar rows, the first position) instead of the row itself.

    Returns:
        The lists; `NO_ROW` where there are too few.
    """
    position = np.broadcast_to(np.arange(len(classes)), rank.shape)
    same = classes[rank] == classes[rows, None]
    lists = []
    for backward in (False, True):
        if as_published:
            entry = position - len(classes) if backward else position
            kept = position != (0 if backward else rows[:, None])
        else:
            entry, kept = rank, rank != rows[:, None]
        order = slice(None, None, -1) if backward else slice(None)
        lists += [
            _first_entries(entry[:, order], wanted[:, order], list_length) for wanted in (same & kept, ~same & kept)
        ]
    return CompanionLists(*lists)


def list_companions(
    features: NDArray[np.float32],
    classes: NDArray[np.float64],
    *,
    list_length: int = 10,
    as_published: bool = False,
) -> CompanionLists:
    """Lists the candidates of every row.

    Args:
        features: (N, D) what decides how similar two rows are.
        classes: (N,) class of each row's label.
        list_length: Longest list K.
        as_published: As for `ranked_companions`.

    Returns:
        The lists; `NO_ROW` where there are too few.
    """
    directions = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    blocks = []
    for start in range(0, len(features), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(features)))
        rank = rank_rows(directions[rows] @ directions.T)
        blocks.append(ranked_companions(rank, rows, classes, list_length=list_length, as_published=as_published))
    return CompanionLists(
        *(np.concatenate([getattr(block, f.name) for block in blocks]) for f in fields(CompanionLists))
    )


def _first_entries(entry: NDArray[np.int64], wanted: NDArray[np.bool_], number: int) -> NDArray[np.int64]:
    """The first wanted entries of each row, filled up with `NO_ROW`."""
    first = np.argsort(~wanted, axis=1, kind="stable")[:, :number]
    found = np.where(np.take_along_axis(wanted, first, 1), np.take_along_axis(entry, first, 1), NO_ROW)
    return np.pad(found, ((0, 0), (0, number - found.shape[1])), constant_values=NO_ROW)
