"""The rows of a seed, drawn or spread, joined before a step that asks about all of them."""

from __future__ import annotations

import json

import pytest
import yaml

import synth
from synth.core.errors import WrongUse
from synth.exports.base import pack_of
from synth.exports.multitask import Multitask
from synth.packs.pack import Pack
from synth.pipeline.plan import make_plan
from synth.pipeline.prepare import prepare
from synth.pipeline.preview import describe
from synth.runs.publisher import RunFolder
from tests.conftest import chat, serving, write
from tests.pipeline.test_run import make_pack

PACK = """
name: views
version: 1
about: Aspects of a text, opinions of each, and a summary of all of them.
inputs: {text: text}
steps:
  - name: aspects
    sampling: {max_tokens: 30}
    parser: {name: json_object, keys: {aspects: list}}
  - name: opine
    spread: {aspects: aspect}
    draws: 2
    sampling: {max_tokens: 20}
    parser: {name: json_object, keys: {opinion: text, score: number}}
    filters: [{name: bounds, fields: [score], least: 0, most: 9}]
  - name: join
    gather: opinions
    sampling: {max_tokens: 40}
    parser: {name: whole, into: summary}
exports:
  multitask:
    summary: {prompt: "{{ text }}\\n", completion: "{{ summary }}"}
    opinion:
      each: opinions
      when: "{{ score >= 2 }}"
      prompt: "{{ text }}: {{ aspect }} ({{ index }})\\n"
      completion: "{{ opinion }}"
"""
FILES = {
    "pack.yaml": PACK,
    "aspects.user.j2": "ASPECTS {{ text }}",
    "opine.user.j2": "OPINE {{ aspect }} of {{ text }}",
    "join.user.j2": "JOIN {% for o in opinions %}{{ o.aspect }}={{ o.opinion }}({{ o.score | int }}) {% endfor %}of {{ aspects | length }}",
}


def teacher():
    opined = []

    def answer(body, count):
        text = body["messages"][-1]["content"]
        if text.startswith("ASPECTS"):
            return chat(json.dumps({"aspects": ["plot", "cast"]}))
        if text.startswith("OPINE"):
            opined.append(text)
            number = opined.count(text)
            bad = "bad" in text or ("odd" in text and "cast" in text)
            score = 99 if bad else number
            return chat(json.dumps({"opinion": f"v{number}", "score": score}))
        return chat(f"Sum: {text.removeprefix('JOIN ')}")

    return answer


def gathered(tmp_path, texts, files=FILES, **more):
    folder = make_pack(tmp_path / "pack", files)
    with serving(teacher()) as server:
        run = synth.run(
            folder,
            [{"id": text, "text": text} for text in texts],
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "out",
            concurrency=1,
            same_teacher=True,
            **more,
        )
        return run, [body["messages"][-1]["content"] for body in server.bodies]


def test_one_reply_is_asked_for_over_all_rows_of_a_seed(tmp_path):
    run, asked = gathered(tmp_path, ["book", "odd one", "bad one"])
    joins = [text for text in asked if text.startswith("JOIN")]
    assert sorted(joins) == [
        "JOIN plot=v1(1) plot=v2(2) cast=v1(1) cast=v2(2) of 2",
        "JOIN plot=v1(1) plot=v2(2) of 2",
    ]
    # Of the third text nothing is left; of the second, the cast is lost.
    assert run.counts == {
        "asked": 8,
        "kept": 2,
        "dropped": {"too_high": 6},
        "failed": {},
    }
    book = run.kept[0]
    assert book["aspects"] == ["plot", "cast"]
    assert book["opinions"][0] == {
        "aspects": ["plot", "cast"],
        "aspect": "plot",
        "opinion": "v1",
        "score": 1.0,
    }
    assert book["summary"].startswith("Sum: plot=v1(1)")
    assert book["opinion"] is None
    again, more = gathered(tmp_path, ["book", "odd one", "bad one"])
    assert more == []
    assert again.counts == run.counts


def test_a_task_has_a_row_for_each_element(tmp_path):
    run, _ = gathered(tmp_path, ["book"])
    folder = RunFolder(run.folder)
    rows = list(Multitask().rows(folder, pack_of(folder)))
    assert [(row["task"], row["prompt"]) for row in rows] == [
        ("summary", "book\n"),
        ("opinion", "book: plot (1)\n"),
        ("opinion", "book: cast (3)\n"),
    ]
    assert rows[1]["completion"] == "v2"
    assert set(rows[1]) == {"id", "task", "prompt", "completion"}
    one = list(Multitask(tasks=("opinion",)).rows(folder, pack_of(folder)))
    assert one == rows[1:]


def test_one_draw_is_gathered_too(tmp_path):
    run, asked = gathered(tmp_path, ["book"], draws={"opine": 1})
    assert asked[-1] == "JOIN plot=v1(1) cast=v1(1) of 2"
    assert run.counts["kept"] == 1


def test_a_plan_counts_one_question_a_seed(tmp_path):
    folder = make_pack(tmp_path / "pack", FILES)
    rows = write(tmp_path / "rows.jsonl", [{"text": "a"}, {"text": "b"}])
    config = synth.RunConfig(teachers={"teacher": "openai/m"})
    plan = make_plan(prepare(folder, rows, tmp_path / "none", config))
    # A list of which nobody knows the length is taken for one of four.
    assert [step.calls for step in plan.steps] == [2, 16, 2]
    assert "    gather: the rows of a seed as opinions" in describe(
        str(folder), {}
    )


@pytest.mark.parametrize(
    ("step", "change", "says"),
    [
        (0, {"gather": "all"}, "before the first step"),
        (2, {"gather": "text"}, "whose name is taken"),
        (2, {"gather": "aspects"}, "whose name is taken"),
        (2, {"rescues": "opine"}, "of a step that rescues"),
        (2, {"set": {"one": "{{ opinion }}"}}, "Did you mean opinions?"),
        (2, {"gather": "two words"}, "small letters"),
    ],
)
def test_a_join_that_cannot_be_is_found_when_the_pack_is_read(
    tmp_path, step, change, says
):
    spec = yaml.safe_load(PACK)
    spec["steps"][step] |= change
    folder = make_pack(
        tmp_path / "pack", {**FILES, "pack.yaml": yaml.dump(spec)}
    )
    with pytest.raises(WrongUse) as caught:
        Pack.load(folder)
    assert says in str(caught.value), str(caught.value)
    assert "pack.yaml:" in str(caught.value)


def test_a_task_reads_elements_that_the_list_has(tmp_path):
    changed = PACK.replace("{{ opinion }}", "{{ opinoin }}")
    folder = make_pack(tmp_path / "pack", {**FILES, "pack.yaml": changed})
    with pytest.raises(WrongUse, match="Did you mean opinion"):
        Pack.load(folder)
