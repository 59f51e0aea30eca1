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
"""Companions of a row in a contrastive loss, and the loss over them.

A row is compared with a few others: positives that share the class of its label, and negatives that don't. Every row is
seen in several views, which share the companions.

Shape legend: B rows, V views, P positives, N negatives, G = 1 + P + N members of a group, D width.
"""

from dataclasses import dataclass

import torch
from torch import nn

from .losses import global_mean


@dataclass
class Companions:
    """Companions of B rows.

    Args:
        index: (B, P + N) where they stand; positives first.
        valid: (B, P + N) bool; False where there was no such companion.
        num_positives: P.
    """

    index: torch.Tensor
    valid: torch.Tensor
    num_positives: int


def choose_companions(
    features: torch.Tensor,
    classes: torch.Tensor,
    *,
    num_positives: int,
    num_similar_negatives: int,
    num_dissimilar_negatives: int,
) -> Companions:
    """Chooses companions among the rows themselves.

    Args:
        features: (B, D) what decides how similar two rows are, by its cosine.
        classes: (B,) class of each row's label.
        num_positives: Most similar rows of the same class.
        num_similar_negatives: Most similar rows of other classes.
        num_dissimilar_negatives: Least similar rows of other classes; none is chosen twice.

    Returns:
        Companions; fewer than asked for where the batch is smaller.
    """
    features = nn.functional.normalize(features.detach().float(), dim=-1)
    similarity = features @ features.T
    same = classes.unsqueeze(1) == classes
    itself = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    index, valid = [], []

    def choose(scores: torch.Tensor, allowed: torch.Tensor, number: int) -> torch.Tensor:
        ranked = scores.masked_fill(~allowed, -torch.inf).topk(min(number, len(classes)), dim=1).indices
        index.append(ranked)
        valid.append(allowed.gather(1, ranked))
        return ranked

    choose(similarity, same & ~itself, num_positives)
    taken = choose(similarity, ~same, num_similar_negatives)
    choose(-similarity, (~same).scatter(1, taken, False), num_dissimilar_negatives)
    return Companions(torch.cat(index, 1), torch.cat(valid, 1), index[0].shape[1])


@dataclass
class ContrastTerms:
    """Losses of the positive pairs of B groups.

    Args:
        losses: (B, pairs); zero where a pair doesn't count.
        counted: (B, pairs) bool pairs that have two members and at least one negative.
    """

    losses: torch.Tensor
    counted: torch.Tensor

    def mean(self) -> torch.Tensor:
        """Averages over the pairs that count.

        Returns:
            Scalar; zero without any.
        """
        return global_mean(self.losses.sum(), self.counted.sum())

    def row_means(self, num_further: int) -> torch.Tensor:
        """Averages row by row, over the pairs that don't count, too.

        Args:
            num_further: Further pairs of each row, whose loss is zero.

        Returns:
            (B,) means.
        """
        return self.losses.sum(1) / (self.losses.shape[1] + num_further)


def contrast_pairs(views: torch.Tensor, present: torch.Tensor, num_positives: int, temperature: float) -> ContrastTerms:
    """Normalised-temperature cross-entropy of each row's positive pairs, by cosine.

    Positive pairs are, in every view, a row and each of its positives; and the row's first view with each of its others
    but the last, since the modalities of one row belong together, too. The negatives of a pair are those of its row, in
    the view of its first member.

    Args:
        views: (V, B, G, D); of each group the row itself, its positives, its negatives. The last view is no modality.
        present: (V, B, G) bool members that there are in this view.
        num_positives: P.
        temperature: Divides the cosines.

    Returns:
        (V - 2) + V · P pairs per row.
    """
    views = nn.functional.normalize(views.float(), dim=-1)
    split = 1 + num_positives
    scores = (views[:, :, :1] * views).sum(-1) / temperature
    known = present[:, :, :1] & present
    has_negative = known[:, :, split:].any(-1)
    hidden = torch.finfo(scores.dtype).min
    negatives = scores[:, :, split:].masked_fill(~known[:, :, split:], hidden).logsumexp(-1)
    between = (views[:1, :, 0] * views[1:-1, :, 0]).sum(-1) / temperature
    # (V, P, B) and then (V · P, B), so that both kinds of pairs lie on the first axis.
    within = (scores[:, :, 1:split] - negatives.unsqueeze(-1)).movedim(-1, 1).flatten(0, 1)
    within_counted = (known[:, :, 1:split] & has_negative.unsqueeze(-1)).movedim(-1, 1).flatten(0, 1)
    margins = torch.cat([between - negatives[:1], within])
    counted = torch.cat([present[:1, :, 0] & present[1:-1, :, 0] & has_negative[:1], within_counted])
    losses = torch.where(counted, nn.functional.softplus(-margins), torch.zeros_like(margins))
    return ContrastTerms(losses.T, counted.T)
