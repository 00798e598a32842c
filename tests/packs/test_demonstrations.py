"""Demonstrations: turns before the question, rendered by the step's own template, read by its own
parser.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth
from examples.real.study_packs import inputs_of
from synth.core.errors import WrongUse
from synth.packs.choosing import Asking
from synth.packs.demonstrations import check_shown, demonstration
from synth.packs.library import Library
from synth.packs.pack import Pack, pack_names
from synth.pipeline.preview import describe
from tests.conftest import chat, serving
from tests.pipeline.test_run import make_pack
from tests.shipped import shipped

PACK = """
name: answers
version: 1
about: Short answers.
inputs: {question: text, hint: optional}
constants: {language: English}
steps:
  - name: go
    demonstrations:
      - given: {question: How many legs has an ant}
        reply: <said>six</said>
    parser: {name: tagged, tags: [said]}
exports:
  sft: {prompt: "{{ question }}", completion: "{{ said }}"}
"""
FILES = {
    "pack.yaml": PACK,
    "go.user.j2": "=== {{ fence }}\n{{ question }}? In {{ language }}."
    "{% if hint %} {{ hint }}{% endif %} === {{ fence }}",
}


def asked(pack: Pack, **row: str) -> list[dict[str, str]]:
    values = pack.values(row)
    request = pack.steps[0].request(values, model="m", family="openai")
    return list(request.messages)


def test_show_counts_demonstrations(tmp_path):
    make_pack(tmp_path, FILES)
    assert "    demonstrations: 1\n" in describe(str(tmp_path), {})


def test_turns_stand_before_the_question_behind_its_fence(tmp_path):
    pack = Pack.load(make_pack(tmp_path, FILES))
    shown, reply, question = asked(pack, question="Who", hint="Guess.")
    fence = question["content"].split()[1]
    assert len(fence) == 16
    assert shown["content"] == (
        f"=== {fence}\nHow many legs has an ant? In English. === {fence}"
    )
    assert reply == {"role": "assistant", "content": "<said>six</said>"}
    assert question["content"] == (
        f"=== {fence}\nWho? In English. Guess. === {fence}"
    )
    assert [m["role"] for m in (shown, reply, question)] == [
        "user",
        "assistant",
        "user",
    ]


# YAML folds what it takes for the end of a line.
_CHARACTERS = st.characters(
    exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029"
)


@given(text=st.text(_CHARACTERS, min_size=1))
def test_what_is_given_is_shown_as_it_is(tmp_path_factory, text):
    given_text = json.dumps(text, ensure_ascii=False)
    files = {
        **FILES,
        "pack.yaml": PACK.replace("How many legs has an ant", given_text),
        "go.user.j2": "[{{ question }}]{{ hint or '' }}",
    }
    folder = tmp_path_factory.mktemp("pack")
    (folder / "pack.yaml").write_text(files["pack.yaml"], encoding="utf-8")
    (folder / "go.user.j2").write_text(files["go.user.j2"])
    try:
        pack = Pack.load(folder)
    except WrongUse as error:
        # YAML has no such character.
        assert "plain YAML" in str(error)
        return
    assert asked(pack, question="q")[0]["content"] == f"[{text}]"


def test_a_teacher_is_sent_the_turns_and_another_one_asks_anew(tmp_path):
    seen = []

    def answer(body, count):
        seen.append(body["messages"])
        return chat("<said>four</said>")

    with serving(answer) as server:
        for number, legs in enumerate(("six", "seven")):
            folder = make_pack(
                tmp_path / f"pack{number}",
                {**FILES, "pack.yaml": PACK.replace("six", legs)},
            )
            run = synth.run(
                str(folder),
                [{"question": "How many"}],
                teacher="openai/m",
                api_base=server.url,
                output=tmp_path / f"out{number}",
                reuse=[tmp_path / "out0"] if number else [],
            )
            assert run.counts["kept"] == 1
    assert [m[1]["content"] for m in seen] == [
        "<said>six</said>",
        "<said>seven</said>",
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("{question: How", "{qestion: How", "Did you mean question?"),
        ("{question: How many legs has an ant}", "{}", "'question'"),
        ("<said>six</said>", "six legs, I am sure of it", "missing_tag"),
        # Teachers shall not be shown what is only just read.
        ("<said>six</said>", "six", "a reply of a few words"),
        ("<said>six</said>", "<said></said>", "missing_tag"),
    ],
)
def test_a_demonstration_that_misleads_is_found_when_the_pack_is_read(
    tmp_path, old, new, says
):
    assert old in PACK
    folder = make_pack(tmp_path, {**FILES, "pack.yaml": PACK.replace(old, new)})
    with pytest.raises(WrongUse) as caught:
        Pack.load(folder)
    message = str(caught.value)
    assert "pack.yaml:10" in message
    assert says in message, message


def test_steps_that_walk_a_list_show_the_element(tmp_path):
    steps = PACK.replace("- name: go\n", "- name: go\n    each: {hint: part}\n")
    files = {
        "pack.yaml": steps.replace(
            "an ant}", "an ant, part: legs, history: [{said: none}], index: 1}"
        ).replace('"{{ said }}"', '"{{ go | length }}"'),
        "go.user.j2": "{{ index }} {{ part }} of {{ question }}"
        "{% for h in history %} after {{ h.said }}{% endfor %}",
    }
    step = Pack.load(make_pack(tmp_path, files)).steps[0]
    assert step.turns("")[0]["content"] == (
        "1 legs of How many legs has an ant after none"
    )


def _texts(value: object) -> set[str]:
    if isinstance(value, dict):
        return set().union(*(_texts(v) for v in value.values()))
    if isinstance(value, list):
        return set().union(*(_texts(v) for v in value))
    return {str(value)} if len(str(value)) > 20 else set()


def test_no_study_asks_about_what_a_pack_demonstrates():
    packs = [pack for pack in map(shipped, pack_names()) if pack.demonstrates]
    assert len(packs) > 20
    for pack in packs:
        shown = [
            _texts(dict(demonstration.values))
            for step in pack.steps
            for demonstration in step.demonstrations
        ]
        constants = _texts(pack.spec.constants)
        rows = _texts(inputs_of(pack.name)) - constants
        assert set().union(*shown) & rows == set(), pack.name


def test_no_filter_of_a_step_drops_what_it_demonstrates():
    steps = [step for name in pack_names() for step in shipped(name).steps]
    for step in steps:
        for values, reply in step.demonstrations:
            fields = step.parser_for(values).parse(reply, values)
            row = {**values, **fields, "reply": reply}
            if step.each:
                row[step.name] = [fields]
            for part in step.filters:
                # A judge also shows what it refuses.
                judges = part.name in ("subset", "bounds")
                if judges or part.asks or part.group is not None:
                    continue
                assert part.judge(row).keep is not False, (step.name, reply)


def test_every_row_that_a_pack_may_show_is_read_by_its_own_parser():
    shown = Counter()
    for pack in map(shipped, pack_names()):
        for step in pack.steps:
            listed = step.chosen and pack.spec.constants[step.chosen.spec.of]
            for row in listed or ():
                made = demonstration(
                    step, row, pack.spec.around, step.chosen.reply
                )
                check_shown(step, made, str(row))
                shown[pack.name] += 1
    assert min(shown.values()) >= 5


def test_tails_are_shown_after_examples_of_their_own_relation():
    pack = shipped("symbolic_tails")
    (step,) = pack.steps
    library = Library(pack)
    for relation, beginning in pack.spec.constants["frames"].items():
        row = pack.values({"head": "PersonX sleeps until noon"})
        values = {**row, "relation": relation}
        seen = [
            library.showing(step, values, Asking("a", draw, (relation,)))
            for draw in range(6)
        ]
        texts = [[turn["content"] for turn in one.turns("")] for one in seen]
        # Of the five of a relation, the row's own event is none.
        assert all(len(one) == 8 for one in texts)
        assert len({tuple(one) for one in texts}) > 1
        before = beginning.partition("{name}")[0]
        questions = [text for one in texts for text in one[::2]]
        assert all(before.strip() in text for text in questions)
        assert not any("until noon" in text for text in questions)
        assert not any("PersonX" in text for one in texts for text in one)


def test_heads_are_asked_for_after_ten_events_in_another_order_each_time(
    tmp_path,
):
    events = [f"PersonX does number {n:02}" for n in range(14)]
    with serving(lambda body, count: chat(f"PersonX tries it {count}")) as s:
        synth.run(
            "symbolic_heads",
            [{"events": events}],
            teacher="openai/m",
            api_base=s.url,
            output=tmp_path / "out",
            keep_going=True,
        )
        asked = [body["messages"][-1]["content"] for body in s.bodies]
    assert len(asked) == 20
    assert all(text.count("PersonX does number") == 10 for text in asked)
    assert all(text.endswith("11.") for text in asked)
    assert len(set(asked)) == 20
