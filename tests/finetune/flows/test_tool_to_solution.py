"""Adapting While Learning: the student's own answers split direct rows from tool rows, anew in each round."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.conftest import chat
from tests.finetune.flows.playing import play_system

pytestmark = [pytest.mark.slow, pytest.mark.long]

# The last one needs more words than the student may say.
LONG = 6
ROWS = [
    {
        "question": f"What is {n} and 2 ?",
        "target": str(n + 2),
    }
    for n in range(1, LONG + 1)
]
# It is answered without a tool.
HEAD = {"question": "What is 7 and 2 ?", "target": "9"}


def teach(body, count):
    if body.get("tools"):
        return calculated(body["messages"])
    said = body["messages"][-1]["content"]
    number = int(said.split("What is ")[-1].split()[0])
    words = "Step by step : " * (6 if number == LONG else 1)
    return chat(f"<solution>{words}.</solution><answer>{number + 2}</answer>")


def calculated(messages):
    """A call, then what it came to."""
    number = int(messages[0]["content"].split("What is ")[1].split()[0])
    reply = chat(f"It is {number + 2} .\n#### {number + 2}")
    if number != 7 and messages[-1]["role"] != "tool":
        arguments = {"left": number, "operator": "+", "right": 2}
        called = {"name": "calculate", "arguments": json.dumps(arguments)}
        reply["choices"][0]["message"] = {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "call1", "type": "function", "function": called}
            ],
        }
    elif number != 7:
        assert messages[-1]["content"] == str(number + 2)
    return reply


def test_easy_rows_answer_directly_and_hard_ones_use_tools(tmp_path):
    played = play_system(
        "tool_to_solution",
        tmp_path,
        teach,
        [*ROWS, HEAD],
        held_out=[{"question": "What is 9 and 2 ?", "target": "11"}],
        steps=90,
        overrides={"longest": 12},
    )
    # The calls were carried out, and what is answered in the head is no row.
    assert [row["trace"] for row in played.rows("traces")] == [
        f"calculate({n} + 2) -> {n + 2}\n#### {n + 2}"
        for n in range(1, LONG + 1)
    ]
    before = str(played.folder("know"))
    assert played.trained("know")["model"] == "scratch:tiny"
    for n in range(2):
        assert played.trained("learn", n)["model"] == before
        before = str(played.folder("learn", n))
        right = {row["question"] for row in played.rows("tried", n, "right")}
        wrong = {row["question"] for row in played.rows("tried", n, "wrong")}
        assert right
        assert ROWS[-1]["question"] in wrong
        learnt = played.rows("to_learn", n)
        solutions, offered = learnt[: len(ROWS)], learnt[len(ROWS) :]
        for row, given in zip(solutions, ROWS, strict=True):
            assert row["prompt"] == f"{given['question']}\n"
            assert "tool" not in row["completion"].lower()
        kinds = Counter(row["completion"].split("\n")[0] for row in offered)
        for row in offered:
            question = row["prompt"].split("\n")[1]
            is_direct = row["completion"].startswith("direct\n")
            assert question in (right if is_direct else wrong)
        # Five easy ones to one hard one, which stands there five times.
        larger, smaller = (
            max(len(right), len(wrong)),
            min(len(right), len(wrong)),
        )
        assert sorted(kinds.values()) == sorted(
            [larger, smaller * (larger // smaller)]
        )
    (decided,) = played.rows("decided", 1)
    (alone,) = played.rows("look", 1)
    fits = decided["reply"].startswith("direct") == alone["right"]
    assert played.phase(1)["fitting"]["rows"] == int(fits)
    # Two calls for each question of the agent's but one, and one of the teacher's.
    assert len(played.bodies) == 3 * len(ROWS) + 1


def test_a_function_of_the_users_answers_the_agents_calls(
    tmp_path, monkeypatch
):
    (tmp_path / "own_tools.py").write_text(
        "def calculate(left, operator, right):\n"
        "    return int(eval(f'{left}{operator}{right}'))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    played = play_system(
        "tool_to_solution",
        tmp_path,
        teach,
        ROWS[:2],
        held_out=[{"question": "What is 9 and 2 ?", "target": "11"}],
        overrides={"longest": 4, "rounds": 1},
        tools={"calculate": "own_tools:calculate"},
        plugins=("own_tools",),
    )
    assert [row["trace"] for row in played.rows("traces")] == [
        "calculate(1 + 2) -> 3\n#### 3",
        "calculate(2 + 2) -> 4\n#### 4",
    ]
    # Both are hard for a student that has learnt nothing: they are rows that use the tool.
    learnt = [row["completion"] for row in played.rows("to_learn", 0)]
    assert learnt[2:] == [
        "tool\ncalculate(1 + 2) -> 3\n#### 3",
        "tool\ncalculate(2 + 2) -> 4\n#### 4",
    ]
