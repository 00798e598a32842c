"""A corpus is searched a tile of texts at a time, with the order of all texts at once."""

from __future__ import annotations

import pytest
import torch

from finetune.scoring import retrievers
from finetune.students.encoders import open_encoder
from finetune.students.pair_parts import PairScorer, add_pair_head
from finetune.students.three_heads import HeadScorer, add_heads
from tests import tiny

QUERIES = ["red pen", "old house"]
TEXTS = [*tiny.FACTS, "a pen that is red", "house", "dog and tree"]


def opened(kind):
    torch.manual_seed(0)
    encoder = open_encoder("bi", tiny.encoder("mlm")).eval()
    if kind == "pair":
        return PairScorer(add_pair_head(encoder))
    return HeadScorer(add_heads(encoder), "")


class Counting:
    """A scorer that remembers how many texts it compared at once."""

    def __init__(self, scorer):
        self.scorer = scorer
        self.encode_query = scorer.encode_query
        self.encode_document = scorer.encode_document
        self.seen = []

    def similarity(self, queries, texts):
        self.seen.append(len(texts))
        return self.scorer.similarity(queries, texts)


@pytest.mark.parametrize("kind", ["pair", "heads"])
def test_tiles_give_what_all_texts_at_once_give(kind, monkeypatch):
    scorer = Counting(opened(kind))
    whole = list(retrievers._most_like(scorer, QUERIES, TEXTS, 5))
    assert scorer.seen == [len(TEXTS)]
    monkeypatch.setattr(retrievers, "_A_TILE", 3)
    scorer.seen.clear()
    tiled = list(retrievers._most_like(scorer, QUERIES, TEXTS, 5))
    assert max(scorer.seen) == 3
    assert sum(scorer.seen) == len(TEXTS)
    for hits, expected in zip(tiled, whole, strict=True):
        assert [place for place, _ in hits] == [place for place, _ in expected]
        assert [score for _, score in hits] == pytest.approx(
            [score for _, score in expected], abs=1e-6
        )
