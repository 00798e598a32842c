"""Exports that systems need: labelled rows, conversations, mined pairs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth
from synth.core import registry
from synth.core.errors import WrongUse
from synth.exports.base import pack_of
from synth.exports.mined_pairs import MinedPairs, rouge_l
from synth.runs.publisher import RunFolder
from synth.teachers.simulation.word_problems import make_problems
from tests import tiny
from tests.conftest import chat, serving


def rows_of(out, spec):
    folder = RunFolder(out)
    return list(
        registry.build("synth.exports", spec).rows(folder, pack_of(folder))
    )


def test_labels_are_right_and_wrong_draws_and_no_others(tmp_path):
    run = synth.run(
        "right_and_wrong",
        make_problems(40, seed=3),
        teacher="simulated/slips",
        output=tmp_path,
        draws=4,
    )
    rows = rows_of(tmp_path, "labelled:wrong=-0.1")
    wrong = sum(
        run.counts["dropped"].get(reason, 0) for reason in ("wrong_answer",)
    )
    assert (
        sum(row["label"] for row in rows),
        sum(not row["label"] for row in rows),
    ) == (run.counts["kept"], wrong)
    assert {(row["label"], row["weight"]) for row in rows} == {
        (True, 1.0),
        (False, -0.1),
    }


def test_conversations_keep_or_erase_their_system_message(tmp_path):
    with serving(
        lambda body, count: chat("It floats because ice is lighter than water.")
    ) as server:
        synth.run(
            "explanation_traces",
            [{"question": f"Why {n}?"} for n in range(12)],
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path,
        )
        asked = {body["messages"][0]["content"] for body in server.bodies}
    kept, erased = (
        rows_of(tmp_path, "messages"),
        rows_of(tmp_path, "messages:system=erase"),
    )
    assert len(asked) >= 4  # of a pool of eight
    assert {row["messages"][0]["content"] for row in kept} == asked
    assert [m["role"] for m in erased[0]["messages"]] == ["user", "assistant"]
    synth.run(
        "cot",
        make_problems(2),
        teacher="simulated/perfect",
        output=tmp_path / "cot",
    )
    with pytest.raises(WrongUse, match="messages export"):
        rows_of(tmp_path / "cot", "messages")


@given(st.text("ab ", max_size=12), st.text("ab ", max_size=12))
def test_rouge_is_symmetric_and_1_for_equal_words(one, two):
    assert rouge_l(one, two) == rouge_l(two, one)
    assert 0 <= rouge_l(one, two) <= 1
    assert rouge_l(one, one) == (1.0 if one.split() else 0.0)


@pytest.mark.long
def test_pairs_that_are_mined_must_entail_each_other():
    assert MinedPairs(nli=tiny.nli()).fits("a red pen", "a blue pen")
    assert not MinedPairs(nli=tiny.nli()).fits("a red pen", "not blue pen")


def test_pairs_are_mined_by_length_numbers_and_words(tmp_path):
    part = MinedPairs()
    assert part.fits("Ann bought 3 red pens there", "There Ann got 3 pens, red")
    assert not part.fits(
        "Ann bought 3 red pens there", "There Ann got 4 pens, red"
    )
    assert not part.fits(
        "Ann bought 3 red pens there", "Ann bought 3 red pens then"
    )
    assert not part.fits("Ann bought 3 red pens there", "Ann: 3")
    texts = [
        "It rained on the old town all day",
        "All day long rain fell on the town",
        "Rain fell the whole day there",
    ]
    with serving(lambda body, count: chat(texts[count % 3])) as server:
        synth.run(
            "sequence_kd",
            [{"question": "q"}],
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path,
            draws=3,
        )
    assert {row["prompt"] for row in rows_of(tmp_path, "mined_pairs")} == set(
        texts
    )
