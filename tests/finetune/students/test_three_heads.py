"""Three heads of one encoder: what each scores, and that the model is kept whole."""

from __future__ import annotations

import pytest
import torch

from finetune.students.encoders import open_encoder
from finetune.students.three_heads import (
    HEADS,
    HeadScorer,
    encode,
    likenesses,
)
from tests import tiny

QUERIES = ["red pen pen", "big dog"]
TEXTS = ["old red house", "dog", "tall tree"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return open_encoder("heads", tiny.encoder("mlm")).eval()


def read(model, texts):
    with torch.no_grad():
        return encode(model, model.preprocess(texts))


def test_heads_score_as_by_hand(model):
    queries, texts = read(model, QUERIES), read(model, TEXTS)
    scores = likenesses(queries, texts)
    vocabulary = model.tokenizer.get_vocab()
    shared = queries.words[0, vocabulary["red"]]
    shared = shared * texts.words[0, vocabulary["red"]]
    assert float(scores["sparse"][0, 0]) == pytest.approx(float(shared))
    assert float(scores["sparse"][0, 1]) == 0.0
    dense = model.encode(QUERIES[0], normalize_embeddings=True) @ model.encode(
        TEXTS[2], normalize_embeddings=True
    )
    assert float(scores["dense"][0, 2]) == pytest.approx(dense, abs=1e-5)
    best = [
        max(float(token @ other) for other in texts.tokens[1][texts.mask[1]])
        for token in queries.tokens[1][queries.mask[1]]
    ]
    # "big", "dog" and the mark behind them.
    assert len(best) == 3
    assert float(scores["multi"][1, 1]) == pytest.approx(sum(best) / 3)


def test_a_word_that_stands_twice_has_its_highest_weight(model):
    queries = read(model, QUERIES)
    features = model(model.preprocess(QUERIES[:1]))
    weights = features["term_weights"][0, :, 0]
    ids = features["input_ids"][0].tolist()
    pen = model.tokenizer.get_vocab()["pen"]
    highest = max(
        float(w) for w, i in zip(weights, ids, strict=True) if i == pen
    )
    assert float(queries.words[0, pen]) == pytest.approx(highest)
    assert queries.words[:, model.tokenizer.all_special_ids].abs().sum() == 0


def test_a_saved_model_keeps_its_heads_and_opens_without_them(model, tmp_path):
    model.save_pretrained(str(tmp_path))
    again = open_encoder("heads", str(tmp_path)).eval()
    assert len(again) == len(model)
    before, after = read(model, TEXTS), read(again, TEXTS)
    for part in ("dense", "words", "tokens", "mask"):
        assert torch.allclose(getattr(before, part), getattr(after, part))
    plain = open_encoder("bi", str(tmp_path))
    vectors = plain.encode(TEXTS, normalize_embeddings=True)
    assert torch.allclose(torch.tensor(vectors), before.dense, atol=1e-5)


def test_texts_read_one_by_one_score_as_together(model):
    whole = likenesses(read(model, QUERIES), read(model, TEXTS))
    for head in HEADS:
        scorer = HeadScorer(model, head)
        found = scorer.similarity(
            scorer.encode_query(QUERIES), scorer.encode_document(TEXTS)
        )
        assert torch.allclose(found, whole[head], atol=1e-5)
    scorer = HeadScorer(model)
    found = scorer.similarity(
        scorer.encode_query(QUERIES), scorer.encode_document(TEXTS)
    )
    wanted = whole["dense"] + 0.3 * whole["sparse"] + whole["multi"]
    assert torch.allclose(found, wanted, atol=1e-5)
