"""Entropy over meanings, whoever says what means the same."""

from __future__ import annotations

from math import exp, log

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from synth.filters.semantic_entropy import SemanticEntropy, entropy
from tests import tiny
from tests.conftest import chat, serving


def rows(*answers, **more):
    return [{"question": "q", "answer": answer, **more} for answer in answers]


def marks(found):
    return found["marks"]["semantic_entropy"]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_entropy_is_from_0_to_1_and_by_the_formula(counts):
    total = sum(counts)
    found = entropy(counts, total)
    assert 0 <= found <= 1.0001
    if total > 1:
        assert found == pytest.approx(
            -sum(c / total * log(c / total) for c in counts) / log(total),
            abs=1e-4,
        )


@pytest.mark.parametrize(
    ("options", "answers", "clusters"),
    [
        ({}, ("26", "$26.00", "26 eggs", "18"), 2), ({"same": "algebra"}, ("2(x+1)", "2x+2", "x"), 2),
        ({"same": "embedding", "model": "hashing", "least": 0.5}, ("a red old pen", "a red old pen now", "x y"), 2),
        ({"same": "entailment", "least": 0.5}, ("a red pen", "a blue pen", "not red pen"), 2),
    ],
)  # fmt: skip
def test_clusters_by_each_kind_of_sameness(options, answers, clusters):
    options = {
        **options,
        **(
            {"model": tiny.nli()} if options.get("same") == "entailment" else {}
        ),
    }
    kept, dropped = SemanticEntropy(most=1.0, **options).split(rows(*answers))
    assert {marks(row)["clusters"] for row in [*kept, *dropped]} == {clusters}
    assert {row["reason"] for row in dropped} <= {"other_meaning"}
    assert kept


def test_a_judge_is_asked_about_different_texts_only():
    with serving(
        lambda body, count: chat(
            f"<verdict>{'yes' if 'Ann' in body['messages'][-1]['content'].split('SECOND')[1] else 'no'}</verdict>"
        )
    ) as server:
        part = SemanticEntropy(
            same="judge", teacher="openai/m", api_base=server.url, most=1.0
        )
        kept, dropped = part.split(
            rows("It was Ann.", "it was ann", "Ann did it.", "Tom.")
        )
        assert len(server.bodies) == 2
    assert (len(kept), len(dropped)) == (3, 1)
    assert part.questions(4)[0][2] == 6
    with serving(
        lambda body, count: web.Response(status=400, text="{}")
    ) as server:
        part = SemanticEntropy(
            same="judge", teacher="openai/m", api_base=server.url
        )
        assert {row["reason"] for row in part.split(rows("a", "b"))[1]} == {
            "critic_failed"
        }


def test_probabilities_weigh_where_they_are_asked_for():
    two = [
        *rows("a", meta={"logprob": -0.1}),
        *rows("b", meta={"logprob": -3.0}),
    ]
    kept, dropped = SemanticEntropy(most=0.9, estimate="rao").split(two)
    share = exp(-0.1) / (exp(-0.1) + exp(-3.0))
    assert marks(kept[0])["entropy"] == pytest.approx(
        -(share * log(share) + (1 - share) * log(1 - share)) / log(2), abs=1e-4
    )
    assert [row["answer"] for row in kept] == ["a"]
    assert [row["reason"] for row in dropped] == ["other_meaning"]
    assert not SemanticEntropy(most=0.9).split(two)[0]
