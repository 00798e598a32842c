"""Packs for documents and instructions hold what they promise, with teachers that do not."""

from __future__ import annotations

import json
import re

import pytest

import synth
from synth.exports.base import render
from synth.exports.preference import Preference
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder
from tests.conftest import chat, serving

TEXT = "The mill at Orle was built in 1820. A flood broke its wheel in 1911."


def ran(pack, rows, server, folder, **options):
    roles = Pack.load(pack).roles
    return synth.run(
        pack,
        rows,
        teacher=dict.fromkeys(roles, "openai/m"),
        api_base=server.url,
        output=folder,
        keep_going=True,
        **options,
    )


def asks_for(body):
    """The properties of the schema that a request asks for."""
    form = body.get("response_format")
    return set(form["json_schema"]["schema"]["properties"]) if form else set()


def made(**fields):
    return chat(json.dumps(fields))


@pytest.mark.parametrize(
    ("low", "kept"), [(None, 3), ("faithful", 0), ("relevant", 0), ("answerable", 0)]
)  # fmt: skip
def test_each_check_of_a_question_counts(tmp_path, low, kept):
    def answer(body, _):
        if "quote" in asks_for(body):
            return made(question="When was the mill at Orle built?", answer="In 1820.", quote="built in 1820")  # fmt: skip
        grades = dict.fromkeys(("faithful", "relevant", "answerable"), 5)
        return made(why="so", **{**grades, **({low: 3} if low else {})})

    with serving(answer) as server:
        run = ran("passage_questions", [{"text": TEXT}], server, tmp_path)
    assert run.counts["kept"] == kept


def test_words_that_the_passage_lacks_are_never_paid_a_check(tmp_path):
    with serving(lambda *_: made(question="When was it all built?", answer="In 1820.", quote="was built in May 1820")) as server:  # fmt: skip
        run = ran("passage_questions", [{"text": TEXT}], server, tmp_path)
        assert run.counts["dropped"] == {"not_mentioned": 3}
        assert len(server.bodies) == 3


@pytest.mark.parametrize("alone", [0, 1])
def test_a_question_that_one_piece_answers_falls_away(tmp_path, alone):
    chunks = ["Ann Lund kept the light.", "The light belongs to Orle.", "Fog."]

    def answer(body, _):
        wanted = asks_for(body)
        if "pieces" in wanted:
            return made(pieces=[1, 2], question="To which town belongs what Ann Lund kept?", answer="Orle", steps=["a", "b"])  # fmt: skip
        if "enough" in wanted:
            is_second = "belongs to Orle" in body["messages"][-1]["content"]
            return made(says="x", enough=alone if is_second else 0)
        return made(why="so", supported=5)

    with serving(answer) as server:
        run = ran("linked_questions", [{"chunks": chunks}], server, tmp_path)
    assert run.counts["kept"] == 1 - alone


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_a_needle_stands_in_its_context_once_at_every_depth(count):
    pack = Pack.load("needles")
    pair = pack.exports["sft"]["sft"]
    chunks = [f"Piece {n}." for n in range(count)]
    places = []
    for depth in pack.spec.constants["depths"]:
        row = {"chunks": chunks, "depth": depth, "needle": "NEEDLE.", "question": "Q?", "answer": "A"}  # fmt: skip
        text = render(pair, pack.values(row))["prompt"]
        said = re.findall(r"Piece \d|NEEDLE", text)
        assert said.count("NEEDLE") == 1
        assert len(said) == count + 1
        places.append(said.index("NEEDLE"))
    assert places == sorted(places)
    if count > 2:
        assert len(set(places)) == 3


def test_the_answer_of_a_shortened_chain_stays_right(tmp_path):
    def answer(body, _):
        if asks_for(body):
            return made(missing="none", follows=5)
        right = "Tom" in body["messages"][-1]["content"]
        return chat(f"12 - 2 is what it is.\n#### {10 if right else 9}")

    rows = [
        {"question": f"{name} has 12 and eats 2?", "rationale": "Well. 12 - 2 = 10.", "answer": "10"}
        for name in ("Tom", "Ann")
    ]  # fmt: skip
    with serving(answer) as server:
        run = ran("shorter_reasoning", rows, server, tmp_path)
    assert [row["question"] for row in run.kept] == ["Tom has 12 and eats 2?"]
    assert run.counts["dropped"]["wrong_answer"] == 2


def test_persons_of_a_pack_come_from_itself(tmp_path):
    def answer(body, _):
        return chat("How many grams of flour go into bread for nine guests tonight, please?")  # fmt: skip

    with serving(answer) as server:
        run = ran("persona_tasks", None, server, tmp_path, limit=12)
    assert run.counts["asked"] == 12
    assert {row["made"].count("recipe") for row in run.kept} == {1}


def test_answers_are_paired_by_their_overall_grade(tmp_path):
    pack = Pack.load("aspect_preferences")
    rows = [pack.cases()[0]["inputs"]]
    teacher = dict.fromkeys(pack.roles, "rehearsed/aspect_preferences")
    run = synth.run("aspect_preferences", rows, teacher=teacher, output=tmp_path)  # fmt: skip
    export = Preference(by="row.overall", least=2)
    [pair] = export.rows(RunFolder(run.folder), pack)
    assert pair["chosen"].startswith("Red, green")
    assert pair["margin"] == 8
    assert list(Preference(by="row.critique").rows(RunFolder(run.folder), pack)) == []  # fmt: skip
