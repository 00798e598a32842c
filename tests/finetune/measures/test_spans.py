"""Spans with their kinds, held against those that were wanted."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measures.base import measured
from finetune.measures.spans import Spans, spans_of

PAIRS = st.lists(
    st.tuples(
        st.sampled_from(["bank", "old mill", "light"]),
        st.sampled_from(["a.1", "a.2", "b.1"]),
    ),
    max_size=6,
)


def in_tags(pairs):
    return " and ".join(f"<{kind.replace('.', '_')}>{text}</{kind.replace('.', '_')}>" for text, kind in pairs)  # fmt: skip


def on_lines(pairs):
    return "\n".join(f"{text} = {kind}" for text, kind in pairs) or "none"


@given(PAIRS, PAIRS, st.sampled_from([in_tags, on_lines]))
def test_scores_are_those_of_multisets(said, wanted, form):
    row = {"reply": form(said), "target": form(wanted)}
    shared = (Counter(said) & Counter(wanted)).total()
    total = len(said) + len(wanted)
    assert Spans().of_question([row]) == pytest.approx(
        2 * shared / total if total else 1.0
    )
    report = Spans().more([row])
    assert report["precision"] == round(shared / max(1, len(said)), 4)
    assert report["recall"] == round(shared / max(1, len(wanted)), 4)


def test_a_part_of_a_definition_counts_by_its_words_alone():
    gold = "<term>sextant</term> <definition>an instrument that measures angles</definition>"
    half = (
        "<term>Sextant</term>\n<definition>an instrument</definition> of ships"
    )
    found = measured(Spans(), [{"prompt": "q", "reply": half, "target": gold}])
    assert found["value"] == 0.5
    assert found["classes"]["term"]["f1"] == 1.0
    assert found["classes"]["definition"]["f1"] == 0.0
    # 3 of 3 words, and 3 of 6.
    assert found["word_f1"] == round(2 * 3 / (3 + 6), 4)


def test_a_definition_in_a_row_without_one_costs_precision():
    rows = [
        {"prompt": "a", "reply": "none", "target": "none"},
        {"prompt": "b", "reply": "<term>x</term>", "target": "none"},
    ]
    found = measured(Spans(), rows)
    assert (found["value"], found["precision"], found["support"]) == (0.5, 0, 0)


def test_lines_without_a_kind_are_spans_too():
    assert [*spans_of("gave up\nNone.\n a = b = c.1")] == [
        ("", "gave up"),
        ("c.1", "a b"),
    ]
