"""Calls of tools in any spelling against those that were due."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measures.base import measured
from finetune.measures.calls import Calls
from synth.replies.calls import calls_in

CALLS = st.lists(
    st.tuples(
        st.sampled_from(["find", "lend"]),
        st.dictionaries(
            st.sampled_from(["title", "n"]), st.integers() | st.text(max_size=4)
        ),
    ),
    max_size=4,
)


def openai(name, arguments):
    return json.dumps(
        {
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
    )


def qwen(name, arguments):
    inside = json.dumps({"name": name, "arguments": arguments}, indent=1)
    return f"<tool_call>\n{inside}\n</tool_call>"


def llama(name, arguments):
    return json.dumps({"name": name, "parameters": arguments})


@given(CALLS, st.sampled_from([openai, qwen, llama]))
def test_calls_are_read_in_the_spellings_of_models(calls, spelt):
    text = "So: " + ", ".join(spelt(*call) for call in calls)
    assert calls_in(text) == calls
    assert calls_in(f"[{', '.join(spelt(*call) for call in calls)}]") == calls


@given(CALLS, CALLS)
def test_it_is_1_for_the_same_calls_in_any_order_and_even(one, other):
    due, said = (
        "".join(qwen(*call) for call in calls) for calls in (one, other)
    )
    worth = Calls().of_question([{"reply": said, "target": due}])
    assert 0 <= worth <= 1
    swapped = Calls().of_question([{"reply": due, "target": said}])
    assert worth == pytest.approx(swapped)
    backwards = "".join(qwen(*call) for call in reversed(one))
    same = {"reply": backwards, "target": due}
    assert Calls().of_question([same]) == 1


DUE = json.dumps([{"name": "find", "arguments": {"title": "Emma", "n": 1}}])


@pytest.mark.parametrize(
    ("said", "worth"),
    [
        (qwen("find", {"title": "Emma", "n": 1}), 1),
        # Name and one of two arguments, of three: 2 * 2 / (2 + 3).
        (qwen("find", {"title": "Emma"}), 0.8),
        (qwen("find", {"title": "Emma", "n": 2}), 2 / 3),
        (qwen("find", {"title": "Emma", "n": "1"}), 2 / 3),
        (qwen("lend", {"title": "Emma", "n": 1}), 0),
        ("It is in.", 0),
        ('{"name": "find", "arguments": {"title": ', 0),
        ('{"name": "find", "name": "lend", "arguments": {}}', 0),
        ("{" * 100_000, 0),
        ("[" * 100_000 + DUE, 1),
        ("", 0),
    ],
)
def test_names_and_arguments_count(said, worth):
    found = Calls().of_question([{"reply": said, "target": DUE}])
    assert found == pytest.approx(worth)


def test_who_should_call_nothing_is_counted_apart():
    rows = [
        {"prompt": "a", "reply": qwen("find", {}), "target": DUE},
        {"prompt": "b", "reply": "It is in.", "target": "[]"},
        {"prompt": "c", "reply": qwen("find", {}), "target": "[]"},
    ]
    info = measured(Calls(), rows)
    assert info["value"] == pytest.approx((0.5 + 1 + 0) / 3, abs=1e-4)
    assert info["names"] == pytest.approx(2 / 3, abs=1e-4)
    assert info["whole"] == pytest.approx(1 / 3, abs=1e-4)
    assert (info["idle"], info["restraint"]) == (2, 0.5)
