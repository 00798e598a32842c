"""A network over two vectors and pooling by attention: what they compute, and that they are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from finetune.students.encoders import open_encoder
from finetune.students.layer_states import at_layers
from finetune.students.pair_parts import (
    AttentionPooling,
    PairHead,
    PairScorer,
    pair_head,
    pool,
    shorten,
    vector_size,
)
from finetune.students.three_heads import add_heads
from tests import tiny

TEXTS = ["red pen", "the big dog", "tall tree"]


def test_a_head_reads_both_vectors_their_difference_and_their_product():
    torch.manual_seed(0)
    head = PairHead(2, hidden=3).double()
    u = torch.tensor([1.0, 2.0], dtype=torch.float64)
    v = torch.tensor([3.0, -1.0], dtype=torch.float64)
    inputs = torch.tensor([1, 2, 3, -1, 2, 3, 3, -2], dtype=torch.float64)
    hidden = (head.first.weight @ inputs + head.first.bias).clamp(min=0)
    assert torch.allclose(head.features(u, v), hidden)
    wanted = head.last.weight[0] @ hidden + head.last.bias[0]
    assert torch.allclose(head.score(head.features(u, v)), wanted)
    plain = PairHead(2, compares=False, hidden=3)
    assert plain.first.in_features == 4


def test_attention_leaves_padding_out_and_sums_to_one():
    torch.manual_seed(0)
    layer = AttentionPooling(4, 2).eval()
    states = torch.rand(1, 3, 4)
    mask = torch.tensor([[1, 1, 0]])
    pooled = layer({"token_embeddings": states, "attention_mask": mask})
    short = layer(
        {"token_embeddings": states[:, :2], "attention_mask": mask[:, :2]}
    )
    found = pooled["sentence_embedding"]
    assert torch.allclose(found, short["sentence_embedding"], atol=1e-6)
    # Equal states are what attention makes of them, whatever their weights.
    alike = states[:, :1].expand(1, 3, 4)
    one = layer({"token_embeddings": alike, "attention_mask": mask})
    same = layer(
        {"token_embeddings": alike[:, :1], "attention_mask": mask[:, :1]}
    )
    assert torch.allclose(
        one["sentence_embedding"], same["sentence_embedding"], atol=1e-6
    )


def test_a_model_keeps_its_parts(tmp_path):
    torch.manual_seed(0)
    model = open_encoder("pair", tiny.encoder("mlm")).eval()
    pool(model, "attention")
    model.save_pretrained(str(tmp_path))
    again = open_encoder("pair", str(tmp_path)).eval()
    assert isinstance(again[1], AttentionPooling)
    before, after = PairScorer(model), PairScorer(again)
    vectors = before.encode_query(TEXTS)
    assert torch.allclose(vectors, after.encode_query(TEXTS), atol=1e-6)
    scores = before.similarity(vectors, vectors)
    assert torch.allclose(scores, after.similarity(vectors, vectors), atol=1e-6)
    # A network over two vectors need not score both orders alike.
    assert not torch.allclose(scores, scores.T)
    pairs = before.similarity_pairwise(list(vectors), list(vectors))
    assert torch.allclose(pairs, scores.diagonal(), atol=1e-6)
    assert pair_head(again).hidden == pair_head(model).hidden


@pytest.mark.parametrize(
    "how", ["cls", "max", "lasttoken", "attention", "weighted"]
)
def test_vectors_are_pooled_in_another_way(how):
    model = open_encoder("bi", tiny.encoder("mlm"))
    before = model.encode(TEXTS)
    pool(model, how)
    after = model.encode(TEXTS)
    assert before.shape == after.shape
    assert abs(before - after).max() > 1e-3


@pytest.mark.parametrize("kind", ["bi", "pair"])
@pytest.mark.parametrize("how", ["joined", "weighted"])
def test_layers_are_pooled_as_they_stand_in_the_model(kind, how, tmp_path):
    source = tiny.encoder("mlm")
    model = open_encoder(kind, source).eval()
    pool(model, how)
    if how == "weighted":
        # Shares of 3/4 and 1/4.
        model[1].weights.data = torch.tensor([3.0, 1.0]).log()
    # The mean over the tokens of each layer: that of the model cut there.
    short = open_encoder("bi", f"truncate:{source}:layers=1").encode(TEXTS)
    whole = open_encoder("bi", source).encode(TEXTS)
    wanted = {
        "joined": np.concatenate([whole, short], axis=1),
        "weighted": 0.75 * short + 0.25 * whole,
    }[how]
    assert np.allclose(model.encode(TEXTS), wanted, atol=1e-5)
    model.save_pretrained(str(tmp_path))
    again = open_encoder(kind, str(tmp_path)).eval()
    assert np.allclose(again.encode(TEXTS), wanted, atol=1e-5)
    assert vector_size(again) == wanted.shape[1]
    if kind == "pair":
        assert pair_head(again).width == wanted.shape[1]
    # Read at its lowest layer, the layers above it are missing.
    low = at_layers(again, again.preprocess(TEXTS), [1])[1]
    found = low["sentence_embedding"].detach().numpy()
    assert np.allclose(found[:, :32], short, atol=1e-5)
    assert np.allclose(found[:, -32:], short, atol=1e-5)


@pytest.mark.parametrize("kind", ["bi", "pair", "heads"])
def test_a_shorter_vector_reaches_what_stands_behind_it(kind, tmp_path):
    model = open_encoder(kind, tiny.encoder("mlm")).eval()
    for size in (8, 4):
        # Shortened once more, the layer stands behind the first one.
        shorten(model, size)
        assert model.encode(TEXTS).shape == (3, size)
    model.save_pretrained(str(tmp_path))
    again = open_encoder(kind, str(tmp_path)).eval()
    assert again.encode(TEXTS).shape == (3, 4)
    assert vector_size(again) == 4
    if kind == "pair":
        scorer = PairScorer(again)
        vectors = scorer.encode_query(TEXTS)
        assert scorer.similarity(vectors, vectors).shape == (3, 3)


def test_what_brings_a_vector_to_length_1_stays_behind_a_shorter_one():
    from sentence_transformers.sentence_transformer.modules import Normalize

    model = open_encoder("bi", tiny.encoder("mlm")).eval()
    model.append(Normalize())
    open_heads = add_heads(model)
    shorten(open_heads, 8)
    assert vector_size(open_heads) == 8
    lengths = (open_heads.encode(TEXTS) ** 2).sum(axis=1)
    assert lengths == pytest.approx([1, 1, 1], abs=1e-5)
