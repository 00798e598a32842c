"""Packs of published systems keep the invariants of their papers."""

from __future__ import annotations

import pytest

import synth
from synth.core.records import canonical_json
from synth.core.strict_yaml import read_yaml
from synth.exports.multitask import Multitask
from synth.packs.pack import Pack, built_in, pack_names
from synth.runs.publisher import RunFolder
from synth.teachers.simulation.word_problems import make_problems
from tests.conftest import chat, serving
from tests.shipped import shipped

CASES = {name: built_in() / name / "cases.yaml" for name in pack_names()}
WALKED = [
    name
    for name, file in CASES.items()
    # Reading a file as YAML takes a thousand times as long as looking for a word.
    if "ends" in file.read_text()
    and any("ends" in case for case in read_yaml(file)[0]["cases"])
]


def test_most_packs_are_walked_to_their_end():
    assert len(WALKED) >= 22


@pytest.mark.parametrize("name", WALKED)
def test_a_pack_walks_its_own_cases_to_rows_of_the_declared_shape(
    tmp_path, name
):
    pack = shipped(name)
    cases = [
        case
        for case in read_yaml(pack.folder / "cases.yaml")[0]["cases"]
        if case.get("ends", {}).get("kept")
    ]
    run = synth.run(
        name,
        [cases[0]["inputs"]],
        teacher=dict.fromkeys(pack.roles, f"rehearsed/{name}"),
        output=tmp_path,
        overrides=cases[0].get("set", {}),
    )
    assert run.counts["kept"] == cases[0]["ends"]["kept"]
    row = run.kept[0]
    if "sft" in pack.exports:
        assert row["prompt"].strip()
        assert row["completion"].strip()
    else:
        assert pack.exports
    if "multitask" in pack.exports:
        rows = list(Multitask().rows(RunFolder(run.folder), pack))
        assert {one["task"] for one in rows} == {*pack.exports["multitask"]}
        for one in rows:
            assert one["prompt"].strip(), one["task"]
            assert one["completion"].strip(), one["task"]


HINTED = {
    "star": "rationalize",
    "two_stages": "explain_again",
    "fading_knowledge": "explain",
    "many_teachers": "first",
}


@pytest.mark.parametrize("name", HINTED)
def test_a_hint_never_stands_in_a_stored_prompt(name):
    pack = shipped(name)
    row = {"question": "How many?", "choices": ["a", "b"], "target": "SECRET", "rationale": "r", "answer": "SECRET", "summary": "s", "knowledge": "k",
           "rationale_first": "r", "rationale_second": "r", "attempt": {}}  # fmt: skip
    step = next(step for step in pack.steps if step.name == HINTED[name])
    assert "SECRET" in step.user.render(step.fill(pack.values(row)))
    for tasks in pack.exports.values():
        for pair in tasks.values():
            assert "SECRET" not in pair["prompt"].render(pack.values(row))


def answer_by_hint(body, count):
    """Wrong without the hint, right with it."""
    text = body["messages"][-1]["content"]
    return chat(
        f"so it is\n#### {text.split('Answer key: ')[1].splitlines()[0]}"
        if "Answer key: " in text
        else "so it is\n#### 1"
    )


def test_star_asks_again_once_for_what_no_draw_got_right(tmp_path):
    rows = [
        {"question": "How many?", "target": "1"},
        {"question": "How much?", "target": "7"},
    ]
    with serving(answer_by_hint) as server:
        run = synth.run(
            "star",
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path,
            overrides={"attempt.draws": 3},
        )
        assert len(server.bodies) == 7
    assert run.counts == {
        "asked": 6,
        "kept": 4,
        "dropped": {"wrong_answer": 2},
        "failed": {},
    }
    assert [row["meta"]["step"] for row in run.kept] == ["attempt"] * 3 + [
        "rationalize"
    ]
    assert "7" not in run.kept[3]["prompt"]
    again = synth.run(
        "star",
        rows,
        teacher="openai/m",
        api_base="http://127.0.0.1:9/v1",
        same_teacher=True,
        output=tmp_path,
        overrides={"attempt.draws": 3},
    )
    assert again.counts == run.counts


def test_a_system_message_is_picked_by_the_row_not_by_its_place(tmp_path):
    asked = []

    def answer(body, count):
        asked.append(
            (body["messages"][1]["content"], body["messages"][0]["content"])
        )
        return chat("One two three four five six.")

    questions = [{"question": f"Why {n}?"} for n in range(10)]
    with serving(answer) as server:
        for order, rows in enumerate((questions, questions[::-1])):
            synth.run(
                "explanation_traces",
                rows,
                teacher="openai/m",
                api_base=server.url,
                output=tmp_path / str(order),
            )
    assert len(asked) == 20
    assert len(dict(asked)) == 10
    assert all(dict(asked)[question] == system for question, system in asked)


def test_a_rule_and_a_context_are_not_in_what_the_student_sees():
    for name, hidden in (
        ("rule_distillation", "rule"),
        ("context_distillation", "context"),
    ):
        pack = shipped(name)
        row = {
            hidden: "SECRET words",
            "question": "q",
            "answer": "a",
            "questions": ["q"],
        }
        assert "SECRET" in (
            pack.steps[-1].system.render(pack.values(row))
            if pack.steps[-1].system
            else ""
        )
        assert b"SECRET" not in canonical_json(
            {
                side: t.render(pack.values(row))
                for side, t in pack.exports["sft"]["sft"].items()
            }
        )


def test_two_orders_are_really_two():
    pack = Pack.load("branch_solve_merge")
    row = pack.values(
        {
            "question": "q",
            "first": "ONE",
            "second": "TWO",
            "criterion": "c",
            "history": [],
            "index": 0,
        }
    )
    one, two = (
        next(s for s in pack.steps if s.name == name)
        for name in ("solve", "solve_turned")
    )
    texts = [step.user.render(step.fill(row)) for step in (one, two)]
    assert texts[0].index("ONE") < texts[0].index("TWO")
    assert texts[1].index("ONE") > texts[1].index("TWO")


def test_the_simulated_teacher_walks_packs_of_sums(tmp_path):
    for name in ("star", "right_and_wrong"):
        run = synth.run(
            name,
            make_problems(30, seed=8),
            teacher="simulated/perfect",
            output=tmp_path / name,
        )
        assert run.counts["kept"] >= 30


def test_taint_follows_rows_through_rounds_to_the_student(tmp_path):
    from finetune.data import rows

    first = synth.run(
        "cot",
        make_problems(6, seed=1),
        teacher="simulated/perfect",
        output=tmp_path / "one",
        taint=("gsm8k",),
    )
    assert "may have seen gsm8k" in (first.folder / "README.md").read_text()
    second = synth.run(
        "cot",
        first.folder,
        teacher="simulated/perfect",
        output=tmp_path / "two",
        taint=("svamp",),
    )
    assert second.kept[0]["meta"]["taint"] == ["gsm8k", "svamp"]
    assert rows.taint(second.folder) == ["gsm8k", "svamp"]
    clean = synth.run(
        "cot",
        make_problems(6, seed=1),
        teacher="simulated/perfect",
        output=tmp_path / "three",
    )
    assert rows.taint(clean.folder) == []


def test_an_evaluation_says_when_its_student_is_tainted(tmp_path):
    from finetune.measuring.evaluate import EvaluateConfig, _tainted

    (tmp_path / "train.json").write_text('{"taint": ["gsm8k", "svamp"]}')
    config = EvaluateConfig(
        data="data/GSM8K_test.jsonl", model=str(tmp_path), output=tmp_path
    )
    assert _tainted(config) == ["gsm8k"]
    assert (
        _tainted(
            EvaluateConfig(
                data="data/GSM8K_test.jsonl", model="org/model", output=tmp_path
            )
        )
        == []
    )
