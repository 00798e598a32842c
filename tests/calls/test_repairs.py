"""A reply that cannot be read is shown to the teacher with the reason and asked again, as often as
the step says.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest

import synth
from synth.calls.journal import Journal
from synth.pipeline.plan import make_plan
from synth.pipeline.prepare import RunConfig, prepare
from tests.conftest import chat, serving

ROWS = [{"question": f"[{n}] pens ?", "target": "3"} for n in range(12)]


def number_of(body):
    asked = [
        message["content"]
        for message in body["messages"]
        if message["role"] == "user" and "[" in message["content"]
    ]
    return int(asked[-1].split("[")[-1].split("]")[0])


def turns(body):
    return [
        message["role"]
        for message in body["messages"]
        if message["role"] != "system"
    ]


def answer(body, count):
    """Every third question gets a reply without an answer first, every sixth always."""
    asked_again = turns(body)[-3:] == ["user", "assistant", "user"]
    number = number_of(body)
    if number % 6 == 0 or (number % 3 == 0 and not asked_again):
        return chat("I think that it depends.")
    return chat(f"So. [{number}]\n#### 3")


def run_with(server, output, repairs, rows=ROWS, **more):
    overrides = {"rationale.repairs": repairs, **more.pop("overrides", {})}
    return synth.run(
        "cot",
        rows,
        teacher="openai/m",
        api_base=server.url,
        output=output,
        overrides=overrides,
        **more,
    )


@pytest.mark.parametrize(
    ("repairs", "kept", "calls"),
    [(0, 8, 12), (1, 10, 12 + 4), (2, 10, 12 + 4 + 2)],
)
def test_a_reply_is_asked_for_again_as_often_as_the_step_says(
    tmp_path, repairs, kept, calls
):
    with serving(answer) as server:
        run = run_with(server, tmp_path, repairs)
        assert len(server.bodies) == calls
        assert run.counts["kept"] == kept
        assert run.counts["asked"] == 12
        again = run_with(server, tmp_path, repairs)
        assert len(server.bodies) == calls, "a finished run asks nothing"
    assert again.counts == run.counts
    # Every reply that was paid is in the journal, the unreadable ones too.
    assert Journal(tmp_path / "journal").totals.replies == calls
    repaired = [row for row in run.kept if row["meta"]["mended"]]
    assert len(repaired) == (2 if repairs else 0)
    for row in repaired:
        assert row["meta"]["mended"].startswith("rationale: asked again (")
        assert row["question"] in ("[3] pens ?", "[9] pens ?")


def test_the_teacher_sees_its_reply_and_the_reason(tmp_path):
    with serving(answer) as server:
        run_with(server, tmp_path, 1, ROWS[3:4])
    first, second = server.bodies
    question = first["messages"]
    assert second["messages"][: len(question)] == question
    reply, request = second["messages"][len(question) :]
    assert reply == {
        "role": "assistant",
        "content": "I think that it depends.",
    }
    assert request["role"] == "user"
    assert "not in the form" in request["content"]
    # The reason stands there in words, not as a code.
    assert "no_" not in request["content"]
    for name in first.keys() - {"messages"}:
        assert first[name] == second[name]


def test_more_repairs_later_pay_only_for_what_is_missing(tmp_path):
    with serving(answer) as server:
        run_with(server, tmp_path, 0)
        run_with(server, tmp_path, 1)
        assert len(server.bodies) == 12 + 4
        last = run_with(server, tmp_path, 0)
        assert len(server.bodies) == 12 + 4
    assert last.counts["kept"] == 8


@pytest.mark.parametrize(
    "reply",
    [
        chat("It is", choices=None)
        | {
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "It is"},
                    "finish_reason": "length",
                }
            ]
        },
        chat("")
        | {
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": "",
                        "refusal": "I will not.",
                    },
                    "finish_reason": "stop",
                }
            ]
        },
    ],
    ids=["cut off", "refused"],
)
def test_what_another_turn_would_not_mend_is_not_asked_again(tmp_path, reply):
    with serving(lambda body, count: reply) as server:
        run = run_with(server, tmp_path, 3, ROWS[:2])
    assert len(server.bodies) == 2
    assert not run.counts["kept"]


def test_a_failed_repair_fails_the_row_which_is_asked_again(tmp_path):
    broken = {"now": True}

    def sometimes(body, count):
        if broken["now"] and turns(body)[-2:] == ["assistant", "user"]:
            return {"error": {"message": "down", "code": 400}}
        return answer(body, count)

    with serving(sometimes) as server:
        run = run_with(server, tmp_path, 1, ROWS[3:4])
        assert sum(run.counts["failed"].values()) == 1
        broken["now"] = False
        again = run_with(server, tmp_path, 1, ROWS[3:4])
        assert again.counts["kept"] == 1
    questions = Counter(len(body["messages"]) for body in server.bodies)
    assert questions[min(questions)] == 1, "the first reply was in the journal"


def test_a_plan_counts_them_as_calls_at_most(tmp_path):
    calls = []
    for repairs in (0, 2):
        config = RunConfig(
            teachers={"teacher": "openai/gpt-4o-mini"},
            overrides={"rationale.repairs": repairs},
        )
        plan = make_plan(prepare("cot", ROWS, tmp_path / "o", config))
        calls.append(plan.summary()["calls"])
    assert calls == [12, 36]


def test_steps_that_walk_a_list_repair_each_element(tmp_path):
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "pack.yaml").write_text(
        "name: listed\nversion: 1\nabout: Each part.\n"
        "inputs: {question: text, parts: list}\n"
        "steps:\n- name: look\n  each: {parts: part}\n  repairs: 1\n"
        "  parser: final_number\n"
        "exports: {sft: {prompt: '{{ question }}', completion: '{{ look }}'}}\n"
    )
    (pack / "look.user.j2").write_text("[{{ part }}] {{ question }}")
    rows = [{"question": "How many ?", "parts": ["1", "3", "5"]}]
    with serving(answer) as server:
        run = synth.run(
            pack,
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "out",
        )
    assert len(server.bodies) == 4
    assert [part["answer"] for part in run.kept[0]["look"]] == ["3", "3", "3"]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["counts"][
        "kept"
    ]
