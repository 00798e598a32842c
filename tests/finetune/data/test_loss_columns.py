from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.loss_columns import columns_of, form_of, forms
from finetune.data.query_lists import Listed
from synth.core.errors import WrongUse

SCORED = [
    Listed("q1", ("a", "b", "c"), (0.9, 0.5, 0.1)),
    Listed("q2", ("d", "e"), (1.0, 0.0)),
]
PLAIN = [Listed("q1", ("a", "b", "c"), None, "x"), Listed("q2", ("d", "e"))]


def columns(name, listed, width=3, kind="bi", encode=None):
    return columns_of(listed, width, form_of(name, kind), encode)


def test_each_shape_by_hand():
    assert columns("multiple_negatives_ranking", PLAIN) == {
        "anchor": ["q1", "q2"],
        "positive": ["a", "d"],
        "negative_1": ["b", "e"],
        "negative_2": ["c", "e"],
    }
    assert columns("margin_mse", SCORED)["label"] == [
        [0.9, 0.5, 0.1],
        [1.0, 0.0, 0.0],
    ]
    assert columns("mega_batch_margin", PLAIN) == {
        "anchor": ["q1", "q2"],
        "positive": ["a", "d"],
    }
    assert columns("triplet", PLAIN) == {
        "anchor": ("q1", "q1", "q2"),
        "positive": ("a", "a", "d"),
        "negative": ("b", "c", "e"),
    }
    assert columns("co_sent", SCORED) == {
        "sentence1": ["q1", "q1", "q1", "q2", "q2"],
        "sentence2": ["a", "b", "c", "d", "e"],
        "label": [0.9, 0.5, 0.1, 1.0, 0.0],
    }
    assert columns("co_sent", PLAIN)["label"] == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert columns("contrastive", SCORED)["label"] == [1, 1, 0, 1, 0]
    assert columns("batch_all_triplet", PLAIN) == {
        "sentence": ["q1", "a", "q2", "d"],
        "label": [0, 0, 1, 1],
    }
    assert columns("list_net", SCORED, kind="cross")["documents"] == [
        ["a", "b", "c"],
        ["d", "e"],
    ]


def test_vectors_stand_as_rows_columns_numbers():
    made = columns(
        "mse", PLAIN, width=2, encode=lambda texts: [[ord(t[0])] for t in texts]
    )
    assert made["label"] == [
        ([ord("q")], [ord("a")], [ord("b")]),
        ([ord("q")], [ord("d")], [ord("e")]),
    ]


def test_texts_without_rows():
    made = columns("contrastive_tension", PLAIN)
    equal = [a == b for a, b in zip(*made.values(), strict=True)]
    assert len(equal) == 7 * 8
    assert equal[::8] == [True] * 7
    long = [Listed("one two three four five six seven eight nine ten", ("x",))]
    made = columns("denoising_auto_encoder", long)
    for damaged, text in zip(made["damaged"], made["text"], strict=True):
        words = iter(text.split())
        assert damaged
        assert all(word in words for word in damaged.split())
    assert made == columns("denoising_auto_encoder", long)


@pytest.mark.parametrize("name", ["triplet"])
def test_no_negative_is_said(name):
    with pytest.raises(WrongUse, match="no negative"):
        columns(name, [Listed("q", ("a",))])


def test_one_negative_or_none():
    assert "negative" in columns("gist_embed", PLAIN)
    assert [*columns("gist_embed", [Listed("q", ("a",))])] == [
        "anchor",
        "positive",
    ]


texts = st.text("abc ", min_size=1, max_size=8)


@given(
    st.lists(
        st.builds(
            Listed,
            texts,
            st.lists(texts, min_size=2, max_size=5).map(tuple),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(2, 6),
)
def test_columns_are_as_long_as_each_other(listed, width):
    for kind in ("bi", "cross", "multi"):
        for name, form in forms(kind).items():
            if form.is_scored or form.has_vectors:
                continue
            made = columns(name, listed, width, kind)
            assert len({len(column) for column in made.values()}) == 1, name
            assert all(made.values()), name
