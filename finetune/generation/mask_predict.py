"""Texts that are written whole and mended over a few passes (mask-predict, arXiv:1904.09324)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from finetune.core.tensors import Mask
from finetune.students.mask_predict import (
    LengthScores,
    Reading,
    length_scores,
    token_scores,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _Draft(NamedTuple):
    """A text of one length.

    Attributes:
        row: number of its prompt.
        length: tokens.
    """

    row: int
    length: int


@torch.no_grad()
def written(
    model: PreTrainedModel,
    reading: Reading,
    sources: Sequence[Sequence[int]],
    *,
    passes: int,
    lengths: int,
) -> list[list[int]]:
    """The text of each prompt: of drafts of the likeliest lengths the one whose tokens have the
    highest mean log-probability, the likelier length first.

    Args:
        model: with scores of lengths.
        reading: how it reads.
        sources: ids of prompts, which leave room for one token or more.
        passes: over each draft. Pass k of K writes the n (K - k) / K tokens anew that were least
            sure, rounded down; the first, k = 0, writes all.
        lengths: of drafts.

    Source: Ghazvininejad et al., Mask-Predict, 2019, sections 3.1 to 3.3.
    """
    model.eval()
    nothing: list[list[int]] = [[] for _ in sources]
    read, _ = reading.inputs(sources, nothing)
    moved = {name: value.to(model.device) for name, value in read.items()}
    scores = length_scores(model, moved).float().cpu()
    taken = [len(one) for one in sources]
    drafts = _drafts(scores, taken, reading, lengths)
    texts, means = _filled(model, reading, sources, drafts, passes)
    best: dict[int, int] = {}
    for number, draft in enumerate(drafts):
        former = best.setdefault(draft.row, number)
        if means[number] > means[former]:
            best[draft.row] = number
    return [texts[best[row]] for row in range(len(sources))]


def _drafts(
    scores: LengthScores, taken: Sequence[int], reading: Reading, lengths: int
) -> list[_Draft]:
    """The likeliest lengths of each prompt, the likeliest first, of one token or more.

    Args:
        scores: of lengths.
        taken: tokens of each prompt.
        reading: has room for both.
        lengths: of each prompt.
    """
    found = []
    for row, tokens in enumerate(taken):
        room = min(reading.room - tokens, scores.shape[1] - 1)
        there = scores[row, 1 : room + 1]
        best = there.topk(min(lengths, room)).indices + 1
        found += [_Draft(row, length) for length in best.tolist()]
    return found


def _filled(
    model: PreTrainedModel,
    reading: Reading,
    sources: Sequence[Sequence[int]],
    drafts: Sequence[_Draft],
    passes: int,
) -> tuple[list[list[int]], list[float]]:
    """(tokens of each draft, their mean log-probabilities when they were written)."""
    read, spots = reading.inputs(
        [sources[draft.row] for draft in drafts],
        [[reading.mask] * draft.length for draft in drafts],
    )
    inputs = {name: value.to(model.device) for name, value in read.items()}
    spots = spots.to(model.device)
    ids = inputs["input_ids"]
    counts = spots.sum(dim=1)
    logs = torch.zeros(ids.shape, device=ids.device)
    masked = spots
    for number in range(passes):
        if number:
            left = passes - number
            anew = counts * left // passes
            masked = least_sure(logs, spots, anew)
        inputs["input_ids"] = ids.masked_fill(masked, reading.mask)
        scores = token_scores(model, inputs).float()
        scores[..., [reading.mask, reading.padding]] = -torch.inf
        said, tokens = scores.log_softmax(dim=-1).max(dim=-1)
        ids = torch.where(masked, tokens, ids)
        logs = torch.where(masked, said, logs)
    means = (logs * spots).sum(dim=1) / counts
    pairs = zip(ids, spots, strict=True)
    return [row[there].tolist() for row, there in pairs], means.tolist()


def least_sure(logs: Tensor, spots: Mask, counts: Tensor) -> Mask:
    """[B, T] the tokens of each text that are to be written anew.

    Args:
        logs: [B, T] log-probabilities of tokens.
        spots: which are of the text.
        counts: [B] how many.
    """
    sure = logs.masked_fill(~spots, torch.inf)
    order = sure.argsort(dim=1, stable=True)
    ranks = order.argsort(dim=1)
    least: Mask = ranks < counts[:, None]
    return least & spots
