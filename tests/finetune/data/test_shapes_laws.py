"""Laws of shaping: shaped rows are shaped already, nulls of other rows play no part, nothing is
lost or said twice.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from finetune.data import shapes
from synth.core.errors import WrongUse

WORDS = st.text("ab c\n\u00e9\u4e2d", min_size=1, max_size=8).filter(
    lambda text: bool(text.strip())
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text("xy")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    ),
    max_leaves=12,
)


def turn(role: str) -> st.SearchStrategy[dict[str, str]]:
    return WORDS.map(lambda text: {"role": role, "content": text.strip()})


TALK = st.lists(st.tuples(turn("user"), turn("assistant")), min_size=1).map(
    lambda pairs: [message for pair in pairs for message in pair]
)


def nulls_of(value: Any) -> int:
    """Mappings' entries that are null, at any depth."""
    if isinstance(value, dict):
        inner = sum(map(nulls_of, value.values()))
        return inner + sum(part is None for part in value.values())
    return sum(map(nulls_of, value)) if isinstance(value, list) else 0


@given(JSON)
def test_cleaning_leaves_no_null_in_a_mapping_and_cleans_once(value):
    found = shapes.cleaned(value)
    assert nulls_of(found) == 0
    assert shapes.cleaned(found) == found
    if nulls_of(value) == 0:
        assert found == value


@given(TALK, st.sampled_from(["messages", "conversations"]))
def test_conversations_are_read_in_every_spelling_of_their_keys(talk, name):
    names = {"user": "human", "assistant": "gpt"}
    other = [
        {"from": names[turn["role"]], "value": turn["content"]} for turn in talk
    ]
    as_json = json.dumps(talk)
    parts = [
        {**turn, "content": [{"type": "text", "text": turn["content"]}]}
        for turn in talk
    ]
    with_nulls = [{**turn, "tool_calls": None, "from": None} for turn in talk]
    for given_turns in (talk, other, as_json, parts, with_nulls):
        (row,) = shapes.sft([{name: given_turns}], "x")
        assert row == {"messages": talk}


@given(TALK)
def test_shaped_rows_are_shaped_already(talk):
    rows = [
        {"messages": talk},
        {"prompt": talk[:-1], "completion": talk[-1:]},
        {"prompt": talk[0]["content"], "completion": talk[1]["content"]},
        {"text": talk[0]["content"]},
    ]
    once = shapes.sft(rows, "x")
    assert shapes.sft(once, "x") == once
    assert once == rows


@given(TALK, turn("assistant"), turn("assistant"))
def test_pairs_of_conversations_have_one_shape_however_the_prompt_stands(
    talk, one, two
):
    assume(one != two)
    context = [*talk, {"role": "user", "content": "and now?"}]
    rows = [
        {"prompt": context, "chosen": [one], "rejected": [two]},
        {"chosen": [*context, one], "rejected": [*context, two]},
        {
            "prompt": context,
            "chosen": [*context, one],
            "rejected": [*context, two],
        },
        {
            "prompt": json.dumps(context),
            "chosen": [*context, one],
            "rejected": [*context, two],
        },
    ]
    made, same = shapes.preferences(rows[:3], "x")
    assert same == 0
    wanted = {"prompt": context, "chosen": [one], "rejected": [two]}
    assert made == [wanted] * 3
    again, _ = shapes.preferences(made, "x")
    assert again == made


@given(
    st.text("ab \n", max_size=12),
    st.text("ab \n", max_size=6),
    st.text("ab \n", max_size=6),
)
def test_a_prompt_that_both_texts_begin_with_is_a_whole_number_of_words(
    start, one, two
):
    # The words behind the prompt have a letter in common.
    chosen = f"{start} wx{one}"
    rejected = f"{start} wy{two}"
    (made,), same = shapes.preferences(
        [{"chosen": chosen, "rejected": rejected}], "x"
    )
    assert same == 0
    assert made["prompt"] == f"{start} "
    assert made["prompt"] + made["chosen"] == chosen
    assert made["prompt"] + made["rejected"] == rejected


@given(WORDS, WORDS)
def test_a_text_that_begins_the_other_keeps_something_to_say(start, more):
    row = {"chosen": f"{start} end", "rejected": f"{start} end {more}"}
    (made,), _ = shapes.preferences([row], "x")
    assert made["chosen"]
    assert made["rejected"]
    assert made["prompt"] + made["chosen"] == row["chosen"]


@given(WORDS, st.lists(WORDS, min_size=1, max_size=5))
def test_pairs_of_twice_the_same_are_counted_and_no_other(prompt, texts):
    rows = [
        {"prompt": prompt, "chosen": text, "rejected": texts[0]}
        for text in [*texts, "another one"]
    ]
    same = sum(text == texts[0] for text in texts)
    made, counted = shapes.preferences(rows, "x", also=("margin",))
    assert counted == same
    assert len(made) + counted == len(rows)
    with pytest.raises(WrongUse, match="twice the same"):
        shapes.preferences(rows[:1], "x")


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (True, True),
        (1, True),
        (1.0, True),
        ("1.0", True),
        (" Yes ", True),
        ("THUMBS_UP", True),
        (False, False),
        (0, False),
        (0.0, False),
        ("0.0", False),
        ("Rejected", False),
    ],
)
def test_a_label_is_read_as_number_flag_and_word(value, right):
    assert shapes.read_label(value, "row 1") is right


@pytest.mark.parametrize(
    "value", [None, "", "maybe", 2, -1, 0.5, float("nan"), [], ["yes"], {}]
)
def test_a_label_that_says_neither_is_shown_with_the_words_that_would(value):
    with pytest.raises(WrongUse, match="row 7 label") as caught:
        shapes.read_label(value, "row 7 label")
    assert "true, yes" in str(caught.value)
    assert "false, no" in str(caught.value)


@pytest.mark.parametrize(
    "given_text",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 50_000,
        "NaN",
        '"role"',
        "{}",
        "[]",
        "[1]",
    ],
)
def test_a_hostile_text_is_no_conversation_and_is_named(given_text):
    with pytest.raises(WrongUse, match="row 1 messages"):
        shapes.sft([{"messages": given_text}], "x")


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"role": "user"}, "content = nothing"),
        ({"content": "a"}, "role = nothing"),
        ({"role": None, "content": "a"}, "role = nothing"),
        ({"role": 3, "content": "a"}, "role = 3"),
        ({"role": "user", "content": 3}, "content = 3"),
        ({"role": "user", "content": {"text": "a"}}, "content = "),
        (
            {"role": "user", "content": [{"type": "image"}]},
            "content = ",
        ),
        ("user: hello", "user: hello"),
        (None, "nothing"),
    ],
)
def test_a_message_that_cannot_be_read_is_named_with_its_place(message, says):
    good = {"role": "user", "content": "a"}
    with pytest.raises(WrongUse) as caught:
        shapes.sft([{"messages": [good]}, {"messages": [good, message]}], "f")
    where, found = caught.value.args[:2]
    assert where == "--input f row 2 messages 2"
    assert found.startswith(says) or says in found


def test_a_call_of_tools_needs_no_text_and_an_empty_list_of_parts_is_one():
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}
    parts = {"role": "user", "content": []}
    (row,) = shapes.sft([{"messages": [parts, call]}], "x")
    assert [turn["content"] for turn in row["messages"]] == ["", ""]
    assert row["messages"][1]["tool_calls"] == call["tool_calls"]


@given(st.lists(st.dictionaries(st.sampled_from("ab"), JSON), max_size=3))
def test_tools_survive_as_json_without_nulls(tools):
    talk = [{"role": "user", "content": "a"}]
    for given_tools in (tools, json.dumps(tools)):
        (row,) = shapes.sft([{"messages": talk, "tools": given_tools}], "x")
        found = shapes.tools_of(row)
        assert found == (shapes.cleaned(tools) if tools else None)


@pytest.mark.parametrize("tools", ["none", 3, {"name": "f"}, ["f"], "[1]"])
def test_tools_of_another_kind_are_refused_in_every_shape(tools):
    pair = {"prompt": "a", "completion": "b", "tools": tools}
    for call in (
        lambda: shapes.sft([pair], "x"),
        lambda: shapes.labelled([{**pair, "label": 1}], "x"),
        lambda: shapes.preferences(
            [{**pair, "chosen": "b", "rejected": "c"}], "x"
        ),
    ):
        with pytest.raises(WrongUse, match="row 1 tools"):
            call()
