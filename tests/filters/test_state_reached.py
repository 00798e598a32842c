"""States that calls of tools bring about, against those that were wanted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.filters.state_reached import StateReached

DATA = ("field", "wanted", "start")
BEFORE = {"door": "shut", "lamp": "off"}
CASE = (
    {"field": "after", "wanted": "goal", "start": "room", "unknown": "drop"},
    [
        {"room": BEFORE, "after": {**BEFORE, "door": "open"}, "goal": {"door": "open"}},
        {"room": BEFORE, "after": BEFORE, "goal": {"door": "open"}},
        {"room": BEFORE, "after": {"door": "open", "lamp": "on"}, "goal": {"door": "open"}},
        {"room": BEFORE, "goal": {"door": "open"}},
    ],
)  # fmt: skip


@pytest.mark.parametrize(
    ("after", "goal", "reason"),
    [
        ({"a": "1"}, {"a": 1}, ""),
        ({"a": "1"}, {"a": "2"}, "not_reached"),
        ({"a": "1"}, {"b": "1"}, "not_reached"),
        ({"a": "1"}, {"b": None}, ""),
        ({"a": "1"}, {"a": None}, "not_reached"),
        ({"a": "1", "b": "2"}, {"a": "1"}, ""),
        ('{"a": "1"}', '{"a": "1"}', ""),
        ("{", {"a": "1"}, "no_state"),
        (["a"], {"a": "1"}, "no_state"),
    ],
)
def test_what_is_wanted_must_be_there(after, goal, reason):
    part = StateReached(field="after", wanted="goal")
    assert part.judge({"after": after, "goal": goal}).reason == reason


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ({"a": "2", "b": "1"}, ""),
        ({"a": "2", "b": "2"}, "spoiled"),
        ({"a": "2"}, "spoiled"),
        ({"a": "2", "b": "1", "c": "1"}, "spoiled"),
    ],
)
def test_nothing_else_may_change_where_the_start_counts(after, reason):
    part = StateReached(field="after", wanted="goal", start="before")
    row = {"before": {"a": "1", "b": "1"}, "goal": {"a": "2"}, "after": after}
    assert part.judge(row).reason == reason


states = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=4)


@given(states, states)
def test_a_state_reaches_itself_and_whatever_it_contains(state, goal):
    part = StateReached(field="after", wanted="goal", start="after")
    whole = {**state, **goal}
    assert part.judge({"after": whole, "goal": goal}).keep
    assert part.judge({"after": json.dumps(state), "goal": state}).keep
