"""Packs: every shipped one keeps the laws; every mistake is found before a call, with its place."""

from __future__ import annotations

import re

import pytest

import synth
from synth.core.errors import WrongUse
from synth.core.strict_yaml import read_yaml
from synth.packs.pack import Pack, pack_names
from synth.packs.templates import Templates
from synth.pipeline.preview import check_cases, describe, render_first
from tests.conftest import write
from tests.pipeline.test_run import STEPS_PACK, make_pack
from tests.shipped import shipped

GOOD = {
    "pack.yaml": "name: p\nversion: 1\nabout: x\ninputs: {question: text, hint: optional}\nsteps:\n  - name: go\n    parser: final_number\n    filters:\n      - length\nexports:\n  sft: {prompt: '{{ question }}', completion: '{{ answer }}'}\n",
    "go.user.j2": "Q {{ question }}{% if hint %}\n{{ hint }}{% endif %}",
}  # fmt: skip


def test_shipped_packs_keep_the_laws():
    assert len(pack_names()) >= 3
    for name in pack_names():
        cases, replies = check_cases(name, {})
        assert cases >= 1
        assert replies >= 2
        assert shipped(name).spec.name == name
        assert name in describe(name, {})


def load(tmp_path, **changes):
    return Pack.load(make_pack(tmp_path, {**GOOD, **changes}))


def test_a_good_pack_loads_and_renders(tmp_path):
    pack = load(tmp_path)
    request = pack.steps[0].request(
        pack.values({"question": "hi"}), model="m", family="openai"
    )
    assert request.messages == ({"role": "user", "content": "Q hi"},)
    assert (
        pack.hash
        != load(tmp_path, **{"go.user.j2": "Q: {{ question }} {{ hint }}"}).hash
    )


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        (
            "version: 1",
            "version: 1\nversion: 2",
            "pack.yaml:3",
            "key 'version' twice",
        ),
        (
            "parser: final_number",
            "parser: final_numbr",
            "pack.yaml:7",
            "Did you mean final_number",
        ),
        (
            "- length",
            "- {name: length, leest: 2}",
            "pack.yaml:9",
            "Did you mean least",
        ),
        ("- length", "- lenght", "pack.yaml:9", "Did you mean length"),
        (
            "    parser",
            "    parsr: x\n    parser",
            "pack.yaml:7",
            "Did you mean parser",
        ),
        (
            "about: x",
            "about: x\npaperr: y",
            "pack.yaml:4",
            "Did you mean paper",
        ),
        ("version: 1", "version: one", "pack.yaml:2", "integer"),
        ("{{ answer }}", "{{ ansver }}", "pack.yaml:1", "Did you mean answer"),
        ("inputs: {", "inputs: {unused: text, ", "pack.yaml:4", "unused"),
        ("about: x", "about: [x", "pack.yaml", "Correct that line"),
        ("about: x", "about: &a x\npaper: *a", "pack.yaml:4", "alias"),
        ("name: p", "name: P 1", "pack.yaml:1", "small letters"),
        ("version: 1\n", "", "pack.yaml:1", "no key 'version'"),
        ("steps:", "step:", "pack.yaml:5", "Did you mean steps"),
        ("  sft:", "  sfft:", "pack.yaml:11", "Did you mean sft"),
        ("'{{ answer }}'", "{{ answer }}", "pack.yaml:11", "needs quotes"),
        (
            "- length",
            "- length: {least: 2}",
            "pack.yaml:9",
            "Write {name: length, least: 2}.",
        ),
        (
            "- length",
            "- length:least=2",
            "pack.yaml:9",
            "Write {name: length, least: 2}.",
        ),
        (
            "- length",
            "- my_module.Mine",
            "pack.yaml:9",
            "my_module:Mine",
        ),
        (
            "parser: final_number",
            "parser: {name: tagged, tags: [answer], allow: {anser: [x]}}",
            "pack.yaml:7",
            "Did you mean answer",
        ),
    ],
)
def test_mistakes_in_pack_yaml_name_their_line(tmp_path, old, new, where, says):
    with pytest.raises(WrongUse) as caught:
        load(tmp_path, **{"pack.yaml": GOOD["pack.yaml"].replace(old, new, 1)})
    assert where in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ question }}\n{{ hint }}\n{{ questoin }}", "go.user.j2:3"),
        ("{{ question }} {{ hint", "go.user.j2:1"),
        ("{{ question }}{{ hint }}{% include 'nowhere.j2' %}", "nowhere.j2"),
        ("{{ question }}{{ hint }}{% include '../secret.txt' %}", "secret.txt"),
        ("{{ question }}{{ hint }}{% include 'link.j2' %}", "link.j2"),
    ],
)
def test_mistakes_in_templates_name_their_line(tmp_path, template, says):
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "link.j2").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(WrongUse, match=says):
        load(folder, **{"go.user.j2": template})


def test_a_missing_template_and_a_missing_pack(tmp_path):
    (make_pack(tmp_path, GOOD) / "go.user.j2").unlink()
    with pytest.raises(WrongUse, match=r"go\.user\.j2"):
        Pack.load(tmp_path)
    with pytest.raises(WrongUse, match="Did you mean critic_faithful"):
        Pack.load("critic_faithfull")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}", "{{ 'A' * 10**9 }}", "{{ '%0999999999d' % 1 }}", "{{ 'a'.ljust(10**9) }}", "{{ 'a' | center(10**9) }}",
        "{% for i in range(10**9) %}x{% endfor %}", "{{ 9 ** 9 ** 9 }}", "{{ lipsum() }}", "{{ 'a'.replace('a', 'b' * 10**9) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)  # fmt: skip
def test_hostile_templates_are_refused(source):
    with pytest.raises(WrongUse):
        Templates().compile(source, "here").render({})


def test_runaway_text_is_cut_short():
    loop = "{% for i in range(999) %}{% for j in range(999) %}0123456789{% endfor %}{% endfor %}"
    with pytest.raises(WrongUse, match="characters"):
        Templates().compile(loop, "here").render({})


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("rationle.draws", "Did you mean rationale"),
        ("rationale.drawz", "Did you mean draws"),
        ("rationale.sampling.temperature", "less than or equal"),
    ],
)
def test_overrides_are_checked_like_the_file(path, says, tmp_path):
    with pytest.raises(WrongUse, match=says):
        synth.run(
            "cot",
            [{"question": "x"}],
            teacher="simulated/slips",
            output=tmp_path,
            overrides={path: 9},
        )


def test_steps_see_only_earlier_fields(tmp_path):
    files = {**STEPS_PACK, "split.user.j2": "SPLIT {{ question }} {{ answer }}"}
    with pytest.raises(WrongUse, match=r"split\.user\.j2:1.*variable 'answer'"):
        Pack.load(make_pack(tmp_path, files))


@pytest.mark.parametrize("name", pack_names())
def test_the_first_question_of_every_pack_can_be_shown(name, tmp_path):
    pack = shipped(name)
    case = read_yaml(pack.folder / "cases.yaml")[0]["cases"][0]
    shown = render_first(
        name,
        str(write(tmp_path / "rows.jsonl", [case["inputs"]])),
        case.get("set", {}),
    )
    assert "--- user ---" in shown


def test_what_is_no_pack_is_named_for_what_it_is(tmp_path):
    folder = make_pack(tmp_path / "p", GOOD)
    (tmp_path / "empty").mkdir()
    for path, says in (
        (folder / "pack.yaml", f"Name its folder: {folder}."),
        (tmp_path / "empty", "a folder without pack.yaml"),
        (tmp_path / "gone", "no such pack"),
    ):
        with pytest.raises(WrongUse, match=re.escape(says)):
            Pack.load(path)
