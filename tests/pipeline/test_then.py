"""`then`: fields that templates write once a reply is read, before the filters."""

from __future__ import annotations

import pytest

import synth
from synth.core.errors import WrongUse
from synth.packs.pack import Pack
from tests.conftest import chat, serving
from tests.pipeline.test_run import make_pack

PACK = """
name: graded
version: 1
about: Grades by several judges, added up.
inputs: {text: text, judges: list}
constants: {scale: [0, 10]}
steps:
  - name: grade
    each: {judges: judge}
    parser: {name: tagged, tags: [points]}
    then:
      total: "{{ grade | map(attribute='points') | map('int') | sum }}"
      verdict: "{{ 'good' if total | int > 5 else 'bad' }}"
    filters: [{name: bounds, fields: [total], least: 2}]
  - name: say
    parser: {name: whole, into: said}
    then: {line: "{{ verdict }}: {{ said }}"}
exports:
  sft: {prompt: "{{ text }}\\n", completion: "{{ line }}"}
"""
FILES = {
    "pack.yaml": PACK,
    "grade.user.j2": "{{ judge }} grades {{ text }}",
    "say.user.j2": "Why is {{ text }} {{ verdict }} with {{ total }}?",
}


def ran(tmp_path, points, pack=PACK, **options):
    folder = make_pack(tmp_path / "pack", {**FILES, "pack.yaml": pack})

    def answer(body, _):
        asked = body["messages"][-1]["content"]
        if asked.startswith("Why"):
            return chat("It is.")
        return chat(f"<points>{points[asked.split()[-1]]}</points>")

    rows = [
        {"id": text, "text": text, "judges": ["Ann", "Ben"]} for text in points
    ]
    with serving(answer) as server:
        run = synth.run(
            folder,
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "out",
            **options,
        )
        asked = [body["messages"][-1]["content"] for body in server.bodies]
    return run, asked


def test_fields_are_written_behind_the_last_reply_and_before_the_filters(
    tmp_path,
):
    run, asked = ran(tmp_path, {"one": 4, "two": 2, "three": 0})
    assert {row["text"]: row["line"] for row in run.kept} == {
        "one": "good: It is.",
        "two": "bad: It is.",
    }
    assert {row["text"]: row["completion"] for row in run.kept} == {
        "one": "good: It is.",
        "two": "bad: It is.",
    }
    [dropped] = run.dropped
    assert (dropped["total"], dropped["reason"]) == ("0", "too_low")
    assert "Why is one good with 8?" in asked
    assert len(asked) == 3 * 2 + 2
    assert Pack.load(tmp_path / "pack").steps[0].produces()["total"] == "text"


def test_a_template_that_fails_drops_the_row_with_its_reply(tmp_path):
    broken = PACK.replace("{{ verdict }}: {{ said }}", "{{ 1 // (said | length - 6) }}")  # fmt: skip
    run, asked = ran(tmp_path, {"one": 4}, broken)
    [dropped] = run.dropped
    assert dropped["reason"] == "unrenderable"
    assert dropped["said"] == "It is."
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ('{line: "{{ nowhere }}"}', "nowhere"),
        ('{text: "{{ said }}"}', "an input too"),
        ('{meta: "{{ said }}"}', "no row has by itself"),
        ('{fence: "{{ said }}"}', "a word of templates too"),
        ('{scale: "{{ said }}"}', "a constant too"),
        # Lists keep their kind, for the column that holds them.
        ('{grade: "{{ grade | length }}"}', "as no text"),
        # The element of a walk is gone once the walk is over.
        ('{line: "{{ judge }}"}', "judge"),
    ],
)
def test_what_it_cannot_write_is_refused_before_a_call(
    tmp_path, written, wrong
):
    pack = PACK.replace('{line: "{{ verdict }}: {{ said }}"}', written)
    pack = pack.replace("{{ line }}", "{{ said }}")
    with pytest.raises(WrongUse, match=wrong):
        Pack.load(make_pack(tmp_path / "pack", {**FILES, "pack.yaml": pack}))


@pytest.mark.parametrize(
    "way",
    [
        "parser: {name: whole, into: NAME}",
        "set: {NAME: so}\n    parser: {name: whole, into: said}",
    ],
)
def test_no_field_of_a_step_hides_behind_a_constant(tmp_path, way):
    step = f"  - name: say\n    {way.replace('NAME', 'scale')}\nexports:\n"
    pack = PACK[: PACK.index("  - name: say")] + step
    pack += '  sft: {prompt: "{{ text }}", completion: "{{ scale }}"}\n'
    with pytest.raises(WrongUse, match="a constant too"):
        Pack.load(make_pack(tmp_path / "pack", {**FILES, "pack.yaml": pack}))


def test_the_list_of_a_walk_is_not_written_over(tmp_path):
    pack = PACK.replace("      total:", "      grade: '9'\n      total:")
    with pytest.raises(WrongUse, match=r"pack.yaml:\d+: found field 'grade'"):
        Pack.load(make_pack(tmp_path / "pack", {**FILES, "pack.yaml": pack}))


def test_another_template_finds_every_reply_in_the_journal(tmp_path):
    ran(tmp_path, {"one": 4, "two": 2})
    told = PACK.replace("{{ verdict }}: {{ said }}", "{{ said }} So {{ verdict }}.")  # fmt: skip
    run, asked = ran(tmp_path, {"one": 4, "two": 2}, told, same_teacher=True)
    assert not asked
    assert [row["completion"] for row in run.kept] == ["It is. So good.", "It is. So bad."]  # fmt: skip
