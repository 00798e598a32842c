"""What several searches found becomes one ranking, and words and vectors find more together."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measuring import evaluate_retriever
from finetune.measuring.evaluate_retriever import SearchConfig
from finetune.measuring.fusing import by_ranks, by_scores
from finetune.scoring.retrievers import best, pair_scores
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write

FOUND = st.dictionaries(
    st.sampled_from("abcdef"), st.integers(-5, 5).map(float), min_size=1
)


@given(FOUND, FOUND)
def test_ranks_are_summed_as_reciprocals(left, right):
    def share(scores, text):
        ranks = sorted(set(left) | set(right))
        behind = [scores.get(other, -1e9) for other in ranks]
        own = scores.get(text, -1e9)
        first = 1 + sum(other > own for other in behind)
        last = first + sum(other == own for other in behind) - 1
        return 1 / (60 + (first + last) / 2)

    fused = by_ranks([left, right])
    assert set(fused) == set(left) | set(right)
    for text, score in fused.items():
        assert score == pytest.approx(share(left, text) + share(right, text))


@given(FOUND, FOUND, st.floats(0.1, 5))
def test_scores_of_any_range_count_the_same(left, right, scale):
    moved = {text: 3 + scale * score for text, score in left.items()}
    one = by_scores([left, right], (0.7, 0.3))
    other = by_scores([moved, right], (0.7, 0.3))
    assert one == pytest.approx(other, abs=1e-6)
    assert all(0 <= score <= 1 + 1e-9 for score in one.values())


def test_nothing_found_is_nothing():
    assert by_ranks([{}, {}]) == {}
    assert by_scores([{}, {}], (1, 1)) == {}


ROWS = [
    {"query": "red pen", "positive": "red pen"},
    {"query": "hat", "positive": "old house"},
]
CORPUS = [{"text": text} for text in ("green hat", "old house", "red pen")]


def config_of(tmp_path, **more):
    return SearchConfig(
        data=str(write(tmp_path / "rows.jsonl", ROWS)),
        model="bm25",
        output=tmp_path / "out",
        corpus=str(write(tmp_path / "corpus.jsonl", CORPUS)),
        **more,
    )


def test_a_search_beside_finds_what_words_do_not(tmp_path):
    alone = evaluate_retriever.run(config_of(tmp_path))
    assert alone["recall@10"]["mean"] == 0.5
    beside = (f"sparse={tiny.encoder('mlm')}", tiny.encoder("mlm"))
    together = evaluate_retriever.run(config_of(tmp_path, beside=beside))
    assert together["recall@10"]["mean"] == 1.0
    assert together["beside"] == list(beside)
    heavy = evaluate_retriever.run(
        config_of(tmp_path, beside=("bm25",), fuse="scores", weights=(1.0, 0.0))
    )
    assert heavy["mrr@10"] == alone["mrr@10"]
    lines = (tmp_path / "out" / "run.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["found"][0] == {"text": "red pen", "score": 1.0}


@pytest.mark.parametrize(
    "more",
    [
        {"fuse": "scores", "weights": (1.0,)},
        {"fuse": "ranks", "weights": (1.0, 2.0)},
    ],
)
def test_weights_are_one_a_search_and_of_scores(tmp_path, more):
    with pytest.raises(WrongUse, match="a weight for each search"):
        evaluate_retriever.run(config_of(tmp_path, beside=("bm25",), **more))


@pytest.mark.parametrize("kind", ["sparse", "multi", "bi"])
def test_a_search_orders_texts_as_pairs_are_scored(kind, tmp_path):
    from finetune.students.encoders import open_encoder

    folder = str(tmp_path / "model")
    # The layer that makes vectors of tokens begins at random: it is kept for both.
    open_encoder(kind, tiny.encoder("mlm")).save_pretrained(folder)
    texts = ["red pen", "green hat", "old house", "small dog", "green hat"]
    pairs = [("big dog", text) for text in texts]
    scores = pair_scores(kind, folder, pairs)
    (hits,) = best(kind, folder, ["big dog"], texts, 4)
    assert len(hits) == 4
    wanted = sorted(range(5), key=lambda place: -round(scores[place], 4))
    assert [place for place, _ in hits] == wanted[:4]
    for place, score in hits:
        assert score == pytest.approx(scores[place], abs=1e-4)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"beside": ("sparce=M",)}, "Did you mean sparse?"),
        ({"beside": ("sparse=",)}, "no such search"),
        ({"beside": ("",)}, "no such search"),
        ({"beside": ("cross=M",)}, "Leave --corpus out"),
        ({"fuse": "scores"}, "Give more with --beside"),
        ({"fuse": "scores", "beside": ("bm25",), "weights": (1.0, float("nan"))}, "no number"),
        ({"fuse": "scores", "beside": ("bm25",), "weights": (1.0, -1.0)}, "below 0"),
        ({"fuse": "scores", "beside": ("bm25",), "weights": (0.0, 0.0)}, "none above 0"),
    ],
)  # fmt: skip
def test_searches_that_cannot_be_fused_are_refused_at_once(
    tmp_path, more, says
):
    with pytest.raises(WrongUse, match=re.escape(says)):
        evaluate_retriever.run(config_of(tmp_path, **more))
    assert not (tmp_path / "out").exists()


def test_a_model_beside_may_have_an_equals_sign_in_its_name():
    exit_2 = "truncate:runs/exits:layers=2"
    beside = evaluate_retriever._beside
    assert beside(f"multi={exit_2}") == ("multi", exit_2)
    assert beside(exit_2) == ("bi", exit_2)
    assert beside("runs/dense") == ("bi", "runs/dense")
    assert beside("bm25") == ("bi", "bm25")


@pytest.mark.parametrize(
    ("corpus", "says"),
    [
        ([{"text": "red pen"}, {"text": None}], "row 2: found None as text"),
        ([{"body": "red pen"}], "Name the column with --field"),
    ],
)
def test_a_row_of_a_corpus_has_a_text(tmp_path, corpus, says):
    path = str(write(tmp_path / "some.jsonl", corpus))
    config = replace(config_of(tmp_path), corpus=path)
    with pytest.raises(WrongUse, match=says):
        evaluate_retriever.run(config)


def saved_without_numbers(folder):
    """An encoder whose weights a failed training left as NaN."""
    import torch

    from finetune.students.encoders import open_encoder

    model = open_encoder("bi", tiny.encoder("mlm"))
    with torch.no_grad():
        for weights in model[0].parameters():
            weights.fill_(float("nan"))
    model.save_pretrained(str(folder))
    return str(folder)


@pytest.mark.parametrize("corpus", [True, False])
def test_scores_that_are_no_numbers_are_no_measure(tmp_path, corpus):
    model = saved_without_numbers(tmp_path / "model")
    config = replace(config_of(tmp_path), model=model)
    if not corpus:
        config = replace(config, corpus=None)
    with pytest.raises(WrongUse, match="no finite number"):
        evaluate_retriever.run(config)


@pytest.mark.parametrize(
    ("kind", "task", "says"),
    [
        ("cross", "mlm", "no head of kind cross"),
        ("cross", "classify", "3 classes"),
        ("pair", "mlm", "no head of kind pair"),
        ("heads", "mlm", "no head of kind heads"),
        ("heads-sparse", "mlm", "no head of kind heads"),
    ],
)
def test_a_model_without_the_head_of_its_kind_scores_nothing(kind, task, says):
    with pytest.raises(WrongUse, match=says):
        pair_scores(kind, tiny.encoder(task), [("red pen", "old house")])
