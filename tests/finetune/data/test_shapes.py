"""Training rows as people have them: each shape is read, and what cannot be read is named with its row and column."""

from __future__ import annotations

import json

import pytest

from finetune.data import rows, shapes
from finetune.measuring.likelihoods import pairs_of
from synth.core.errors import WrongUse
from tests.conftest import write

USER, SAID, OTHER = (
    {"role": r, "content": c}
    for r, c in (("user", "2 + 3 ?"), ("assistant", "5"), ("assistant", "6"))
)
SYSTEM = {"role": "system", "content": "Be brief."}
PAIR = {"prompt": [USER], "chosen": [SAID], "rejected": [OTHER]}


def sft(row):
    return shapes.sft([row], "x")[0]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (
            {"prompt": "a\n", "completion": " b"},
            {"prompt": "a\n", "completion": " b"},
        ),
        (
            {"prompt": [USER], "completion": [SAID]},
            {"prompt": [USER], "completion": [SAID]},
        ),
        (
            {"prompt": " 2 + 3 ?\n", "completion": [SAID]},
            {"prompt": [USER], "completion": [SAID]},
        ),
        (
            {"prompt": [USER], "completion": "5"},
            {"prompt": [USER], "completion": [SAID]},
        ),
        ({"messages": [USER, SAID]}, {"messages": [USER, SAID]}),
        (
            {
                "conversations": [
                    {"from": "human", "value": "2 + 3 ?"},
                    {"from": "gpt", "value": "5"},
                ]
            },
            {"messages": [USER, SAID]},
        ),
        (
            {"messages": [{**USER, "name": None}, SAID]},
            {"messages": [USER, SAID]},
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "2 + 3 ?"}],
                    },
                    SAID,
                ]
            },
            {"messages": [USER, SAID]},
        ),
        ({"messages": json.dumps([USER, SAID])}, {"messages": [USER, SAID]}),
        ({"text": "all of it"}, {"text": "all of it"}),
        ({"prompt": "a", "completion": ""}, {"prompt": "a", "completion": ""}),
    ],
)
def test_rows_of_many_kinds_are_read(row, found):
    assert sft(row) == found


def test_tools_come_with_the_row_as_lists_or_json_without_what_other_rows_have():
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "properties": {"city": {"type": "string"}, "other": None}
            },
        },
    }
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "function": {
                    "name": "weather",
                    "arguments": {"city": "Oslo", "x": None},
                }
            }
        ],
    }
    bare = {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"properties": {"city": {"type": "string"}}},
        },
    }
    for tools in ([tool], json.dumps([tool])):
        found = sft(
            {
                "messages": [
                    USER,
                    call,
                    {"role": "tool", "content": "3 C"},
                    SAID,
                ],
                "tools": tools,
            }
        )
        assert json.loads(found["tools"]) == [bare]
        assert found["messages"][1]["content"] == ""
        assert found["messages"][1]["tool_calls"][0]["function"][
            "arguments"
        ] == {"city": "Oslo"}
    assert "tools" not in sft({"messages": [USER, SAID], "tools": None})
    with pytest.raises(WrongUse, match="row 1 tools"):
        sft({"messages": [USER, SAID], "tools": "none"})


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            {"prompt": "a", "completion": None},
            "row 2 completion: found nothing",
        ),
        ({"prompt": "a", "completion": 3}, "row 2 completion: found 3"),
        ({"prompt": None, "completion": "b"}, "row 2 prompt: found nothing"),
        ({"prompt": 4.5, "completion": "b"}, "row 2 prompt: found 4.5"),
        ({"text": None}, "row 2 text: found nothing"),
        ({"messages": None}, "row 2 messages: found nothing"),
        ({"messages": []}, "row 2 messages"),
        ({"messages": "hello"}, "row 2 messages: found 'hello'"),
        ({"messages": ["hello"]}, "row 2 messages 1"),
        (
            {"messages": [USER, {"role": "assistant", "content": None}]},
            "row 2 messages 2: found content = nothing",
        ),
        (
            {"messages": [USER, {"role": "assistant", "content": 5}]},
            "row 2 messages 2: found content = 5",
        ),
        (
            {"messages": [{"content": "a"}, SAID]},
            "row 2 messages 1: found role = nothing",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_row_and_column(row, says):
    with pytest.raises(WrongUse, match=says):
        shapes.sft(
            [
                {"prompt": "a", "completion": "b"}
                if "prompt" in row
                else row | {"messages": [USER, SAID], "text": "a"},
                row,
            ],
            "x",
        )


@pytest.mark.parametrize(
    "row",
    [
        PAIR,
        {"prompt": "2 + 3 ?", "chosen": [SAID], "rejected": [OTHER]},
        {
            "prompt": "2 + 3 ?\n",
            "chosen": [USER, SAID],
            "rejected": [USER, OTHER],
        },  # as UltraFeedback has them
        {"prompt": [USER], "chosen": [USER, SAID], "rejected": [USER, OTHER]},
        {"chosen": [USER, SAID], "rejected": [USER, OTHER]},
        {"prompt": "2 + 3 ?", "chosen": [SAID], "rejected": "6"},
        {"prompt": [USER], "chosen": "5", "rejected": "6"},
    ],
)
def test_pairs_of_messages_have_one_shape(row):
    assert shapes.preferences([row], "x") == ([PAIR], 0)


def test_a_system_message_and_earlier_turns_stay_in_the_prompt():
    before = [SYSTEM, USER, SAID, USER]
    found, _ = shapes.preferences(
        [
            {
                "prompt": "2 + 3 ?",
                "chosen": [*before, SAID],
                "rejected": [*before, OTHER],
            }
        ],
        "x",
    )
    assert found == [{"prompt": before, "chosen": [SAID], "rejected": [OTHER]}]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"prompt": "a\n", "chosen": "b", "rejected": "c"}, ("a\n", "b", "c")),
        (
            {
                "chosen": "Human: a Assistant: yes",
                "rejected": "Human: a Assistant: yesterday",
            },
            ("Human: a Assistant: ", "yes", "yesterday"),
        ),
        (
            {
                "chosen": "Human: a\nAssistant: no",
                "rejected": "Human: a\nAssistant: never",
            },
            ("Human: a\nAssistant: ", "no", "never"),
        ),
    ],
)
def test_pairs_of_texts_and_prompts_that_both_sides_begin_with(row, found):
    assert shapes.preferences([row], "x") == (
        [dict(zip(("prompt", "chosen", "rejected"), found, strict=True))],
        0,
    )


def test_pairs_of_twice_the_same_are_left_out_and_counted():
    assert shapes.preferences([PAIR, {**PAIR, "rejected": [SAID]}], "x") == (
        [PAIR],
        1,
    )
    with pytest.raises(WrongUse, match="twice the same"):
        shapes.preferences([{**PAIR, "rejected": [SAID]}], "x")
    for row in (
        {"chosen": "yes", "rejected": "no"},
        {"chosen": [SAID], "rejected": [OTHER]},
        {**PAIR, "chosen": None},
    ):
        with pytest.raises(WrongUse, match="row 1"):
            shapes.preferences([row], "x")


@pytest.mark.parametrize(
    "label",
    [
        True,
        1,
        1.0,
        "true",
        "True",
        " yes ",
        "1",
        "desirable",
        "chosen",
        "correct",
    ],
)
def test_labels_in_words_are_read(label):
    row = {"prompt": "a", "completion": "b"}
    assert shapes.labelled([{**row, "label": label}], "x")[0]["label"] is True


@pytest.mark.parametrize(
    "label",
    [
        False,
        0,
        0.0,
        "false",
        "False",
        " no ",
        "0",
        "undesirable",
        "rejected",
        "incorrect",
    ],
)
def test_labels_in_words_that_say_wrong_are_false(label):
    assert (
        shapes.labelled(
            [{"prompt": "a", "completion": "b", "label": label}], "x"
        )[0]["label"]
        is False
    )


@pytest.mark.parametrize("label", [None, "maybe", 2, 0.5, ""])
def test_other_labels_are_refused(label):
    with pytest.raises(WrongUse, match="row 1 label"):
        shapes.labelled(
            [{"prompt": "a", "completion": "b", "label": label}], "x"
        )


def test_columns_that_change_their_kind_are_named_with_both_lines(tmp_path):
    for other in (["c"], {"c": 1}, 3, True):
        path = write(
            tmp_path / "x.jsonl",
            [
                {"prompt": "a", "completion": "b"},
                {"prompt": "a", "completion": other},
            ],
        )
        with pytest.raises(
            WrongUse,
            match=r"row 2 completion|completion = .* in line 2, a .*, and a str in line 1",
        ):
            rows.sft_rows(path)


def test_files_come_in_every_shape(tmp_path):
    found = rows.sft_rows(
        write(
            tmp_path / "a.jsonl",
            [{"messages": [USER, SAID], "tools": [{"name": "t"}], "id": 1}],
        )
    )
    assert found.column_names == ["messages", "tools"]
    with pytest.raises(WrongUse, match="row 2 completion"):
        rows.sft_rows(
            write(
                tmp_path / "b.jsonl",
                [
                    {"prompt": "a", "completion": "b"},
                    {"prompt": "a", "completion": None},
                ],
            )
        )
    pairs = rows.preference_rows(
        write(
            tmp_path / "c.jsonl",
            [{"chosen": [USER, SAID], "rejected": [USER, OTHER], "score": 1}],
        )
    )
    assert pairs[0]["prompt"] == [USER]


@pytest.mark.parametrize(
    "asked", [["a"], [[1]], [None], [], {"a": 1}, True, [{"role": "user"}]]
)
def test_what_asks_nothing_is_named_by_its_row(asked):
    for row in ({"prompt": asked}, {"question": asked}):
        name = next(iter(row))
        with pytest.raises(WrongUse, match=f"row 3 {name}"):
            shapes.check_asked(row, "--input x row 3")


def test_texts_numbers_and_messages_ask_something():
    talk = [{"role": "user", "content": "a"}]
    for asked in ("", "a", 5, 0.5, talk):
        shapes.check_asked({"prompt": asked}, "x")
        shapes.check_asked({"prompt": None, "question": asked}, "x")
    with pytest.raises(WrongUse, match="neither prompt nor question"):
        shapes.check_asked({"prompt": None}, "x")


@pytest.mark.parametrize("name", ["text", "prompt", "completion"])
@pytest.mark.parametrize("cell", [5, ["a"], {"a": 1}, True])
def test_rows_of_texts_name_the_cell_that_is_none(name, cell):
    row = (
        {"text": "a"} if name == "text" else {"prompt": "a", "completion": "b"}
    )
    with pytest.raises(WrongUse, match=f"--inside x row 2 {name}"):
        pairs_of([row, {**row, name: cell}], "--inside x")
