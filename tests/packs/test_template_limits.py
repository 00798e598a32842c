"""Templates of strangers: whatever they build, time and memory have an end, and ordinary ones pay nothing for it."""

from __future__ import annotations

import datetime as dt
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import StrictUndefined
from jinja2.runtime import Context

import synth
from synth.core.errors import RowFault, WrongUse
from synth.packs import template_box, templates
from synth.packs.pack import Pack, pack_names
from synth.packs.template_box import MOST_CHARS, Compiled, TooLong
from synth.packs.templates import Templates
from synth.pipeline.preview import describe, render_first
from tests.conftest import chat, serving, write
from tests.packs.test_pack import GOOD
from tests.pipeline.test_run import make_pack
from tests.shipped import shipped

SECONDS = 0.3
LONG = "a" * 100
LOOPS = "{% for i in range(1000) %}{% for j in range(1000) %}BODY{% endfor %}{% endfor %}"
NS = "{% set ns = namespace(x=START) %}{% for i in range(60) %}{% set ns.x = STEP %}{% endfor %}"


def grow(start, step, shown):
    return NS.replace("START", start).replace("STEP", step) + shown


BOMBS = {
    "plus": grow("'aaaa'", "ns.x + ns.x", "{{ ns.x|length }}"),
    "tilde": grow("'aaaa'", "ns.x ~ ns.x", "{{ ns.x|length }}"),
    "lists": grow("[1]", "ns.x + ns.x", "{{ ns.x|length }}"),
    "numbers": grow("3", "ns.x * ns.x", "{{ ns.x > 1 }}"),
    "shared lists as JSON": grow("[1]", "[ns.x, ns.x]", "{{ ns.x|tojson|length }}"),
    "shared lists as text": grow("[1]", "[ns.x, ns.x]", "{{ ns.x }}"),
    "shared tuples hashed": grow("(1,)", "(ns.x, ns.x)", "{{ {ns.x: 1}|length }}"),
    "shared dicts": grow("{'a': 1}", "dict(a=ns.x, b=ns.x)", "{{ ns.x|string|length }}"),
    "joined": "{% set a = range(1000)|join(range(1000)|join(',')) %}{{ (range(500)|join(a))|length }}",
    "joined at once": "{{ (range(1000)|join(range(1000)|join(range(1000)|join(','))))|length }}",
    "joined by a method": "{% set a = ','.join(range(1000)|map('string')) %}{{ a.join(range(1000)|map('string')).join(a.split(','))|length }}",
    "replaced": "{{ 'a'" + "|replace('a', 'aaaaaaaaaa')" * 9 + " }}",
    "replaced in nothing": "{{ text|replace('', text) }}",
    "captured": "{% set x %}" + LOOPS.replace("BODY", LONG * 9) + "{% endset %}{{ x|length }}",
    "captured by a filter": "{% filter upper %}" + LOOPS.replace("BODY", LONG * 9) + "{% endfilter %}",
    "captured by a call": "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}" + "{% call m() %}" * 30 + LONG + "{% endcall %}" * 30,
    "macros": "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(40) }}",
    "macros without end": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "loops": "{% for i in range(1000) %}{% for j in range(1000) %}{% for k in range(1000) %}{% endfor %}{% endfor %}{% endfor %}",
    "loops over inputs": "{% for a in text %}{% for b in text %}{% for c in text %}{% endfor %}{% endfor %}{% endfor %}",
    "loops with tests": "{% for i in range(1000) if range(1000)|map('string')|join in text %}{% endfor %}" * 9,
    "loops that print": LOOPS.replace("BODY", "{{ i }}"),
    "loops that compare": LOOPS.replace("BODY", "{% if text ~ i == text ~ j %}{% endif %}"),
    "recursive loops": "{% for i in range(1000) recursive %}{{ loop(range(1000)) }}{% endfor %}",
    "blocks": "{% block a %}" + LOOPS.replace("BODY", "{% for k in range(1000) %}{% endfor %}") + "{% endblock %}",
    "with": "{% with a=text %}" + "{% with a=a~a %}" * 20 + "{{ a|length }}" + "{% endwith %}" * 21,
    "rounded": "{{ 1.5|round(1000000000, 'floor') }}",
    "rounded in a list": "{{ [1.5]|map('round', 1000000000, 'floor')|list }}",
    "quoted": "{{ '\"'" + "|tojson" * 40 + " }}",
    "translated": "{{ text.translate({97: text}) }}",
    "formatted": "{{ '{0:1000000000}'.format(1) }}",
    "formatted by a filter": "{{ '%1000000000d'|format(1) }}",
    "padded": "{{ text.ljust(1000000000) }}",
    "multiplied": "{{ 'a' * 10**9 }}",
    "powers": "{{ 9**9**9 }}",
    "wide": "{{ text ~ " + "text ~ " * 3000 + "text }}",
    "long": "{{ text }}" * 20_000,
    "digits": "{{ " + "9" * 200_000 + " }}",
}  # fmt: skip
VALUES = {
    "text": "abc " * 25_000,
    "lists": [[n] for n in range(5000)],
    "x": "x",
}


@pytest.fixture(scope="module", autouse=True)
def short():
    """A third of a second is what these tests wait for."""
    before, template_box.SECONDS = template_box.SECONDS, SECONDS
    templates._process.cache_clear()
    yield
    template_box.SECONDS = before
    templates._process.cache_clear()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.long] if place % 3 else [])
        for place, name in enumerate(BOMBS)
    ],
)
def test_no_template_outgrows_its_limits(name):
    Templates().compile("{% set x = 1 %}{{ x }}", "warm").render(
        {}
    )  # a process is there
    tracemalloc.start()
    started = time.monotonic()
    try:
        text = Templates().compile(BOMBS[name], "here").render(VALUES)
    except WrongUse as error:
        assert len(str(error)) < 1000
        text = ""
    took, peak = time.monotonic() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(text) <= MOST_CHARS
    assert took < 10 * SECONDS
    assert peak < 64 << 20


def test_a_template_that_took_too_long_twice_is_not_waited_for_again():
    found = Templates().compile(
        "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(40) }}{{ x }}",
        "here",
    )
    started = time.monotonic()
    for _ in range(100):
        with pytest.raises(TooLong, match="here"):
            found.render(VALUES)
    assert time.monotonic() - started < 8 * SECONDS


EVERYDAY = {
    "{% set ns = namespace(n=0) %}{% for a in xs %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}": "3",
    "{% macro tag(t) %}<{{ t }}>{% endmacro %}{% for a in xs %}{{ tag(a) }}{% endfor %}": "<a><b><c>",
    "{% set head = xs[0] %}{{ head|upper }}": "A",
    "{% filter upper %}{{ xs|join }}{% endfilter %}": "ABC",
    "{% for a in xs %}{{ loop.index }}/{{ loop.length }}{{ '' if loop.last else ' ' }}{% endfor %}": "1/3 2/3 3/3",
    "{% for a in xs|map('upper') %}{{ loop.revindex }}{{ a }}{% endfor %}": "3A2B1C",
    "{% for a in xs if a != 'b' %}{{ loop.length }}{{ a }}{% else %}none{% endfor %}": "2a2c",
    "{% for k, v in map.items() %}{{ k }}={{ v }} {% endfor %}": "b=1 a=2 ",
    "{% set d = map %}{% for k in d %}{{ k }}{% endfor %}": "ba",
    "{% for a in [] %}{{ a }}{% else %}none{% endfor %}": "none",
    "{{ xs|join(', ') }} {{ xs|join(',', attribute=0) }} {{ 'aXbX'|replace('X', '--', 1) }}": "a, b, c a,b,c a--bX",
    "{% set day = when %}{{ day }}": "2026-01-02",
    "{% block a %}{{ xs[0] }}{% endblock %}": "a",
    "{% set n = 1 %}{% block a %}{{ n }}{% endblock %}": "1",
    "{% set n = large %}{{ n }}{{ odd }}": f"{10**30}\ud800",
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "text"), EVERYDAY.items(), ids=range(len(EVERYDAY))
)
def test_everyday_templates_say_what_jinja_says(source, text):
    values = {
        "xs": ["a", "b", "c"],
        "map": {"b": 1, "a": 2},
        "when": dt.date(2026, 1, 2),
        "large": 10**30,
        "odd": "\ud800",
    }
    assert Templates().compile(source, "here").render(values) == text


def test_shipped_packs_render_in_this_process():
    """Their rows pay for no second process."""
    for name in pack_names():
        pack = shipped(name)
        own = [
            part
            for step in pack.steps
            for part in (
                step.user,
                step.system,
                step.until,
                *(made for _, made in step.sets),
            )
            if part
        ]
        own += [
            side
            for tasks in pack.exports.values()
            for sides in tasks.values()
            for side in sides.values()
        ]
        assert all(isinstance(part._compiled, Compiled) for part in own), name


PIECES = st.sampled_from(
    ["{{ text|upper }}", "{{ text|replace('a', text[:50]) }}", "{{ range(900)|join(text[:99]) }}", "{{ xs|tojson }}", "{{ xs|map('upper')|list }}",
     "{{ (xs + xs)|length }}", "{{ text ~ text ~ text }}", "{{ text.split(' ')|sort|unique|list }}", "{{ ns.x }}", "{% set ns.x = ns.x ~ text %}",
     "{% set ns.x = [ns.x, ns.x] %}", "{{ m(text) }}", "{{ xs|sum(start='') }}", "{% if text in text ~ text %}y{% endif %}", "{{ text|e|e }}"]
)  # fmt: skip


def wrapped(inner):
    wraps = [
        "{% for i in range(999) %}X{% endfor %}", "{% for c in text %}X{% endfor %}", "{% set v %}X{% endset %}{{ v|length }}",
        "{% if text %}X{% endif %}", "{% filter lower %}X{% endfilter %}", "{% with w = ns.x %}X{% endwith %}",
    ]  # fmt: skip
    return st.builds(
        lambda wrap, parts: wrap.replace("X", "".join(parts)),
        st.sampled_from(wraps),
        st.lists(inner, min_size=1, max_size=3),
    )


@settings(max_examples=12)
@given(st.recursive(PIECES, wrapped, max_leaves=8), st.booleans())
def test_any_nesting_of_what_builds_has_an_end(source, set_too):
    head = (
        "{% set ns = namespace(x='') %}{% macro m(t) %}{{ t }}{{ t }}{% endmacro %}"
        if set_too
        else ""
    )
    started = time.monotonic()
    try:
        text = (
            Templates()
            .compile(head + source, "here")
            .render({**VALUES, "xs": ["a"] * 500, "ns": {"x": "y"}, "m": "z"})
        )
    except WrongUse:
        text = ""
    assert len(text) <= MOST_CHARS
    assert time.monotonic() - started < 10 * SECONDS


@pytest.mark.parametrize("name", ["loops", "macros", "captured"])
def test_a_bomb_is_found_before_anything_is_asked(tmp_path, name):
    folder = make_pack(
        tmp_path / "pack",
        {**GOOD, "go.user.j2": BOMBS[name] + "{{ question }}{{ hint }}"},
    )
    seeds = [{"question": f"q{n}"} for n in range(40)]
    assert "inputs" in describe(str(folder), {})
    with pytest.raises(WrongUse, match=r"go\.user\.j2"):
        render_first(
            str(folder), str(write(tmp_path / "seeds.jsonl", seeds)), {}
        )
    with serving(lambda body, count: chat("4")) as server:
        with pytest.raises(WrongUse, match=r"go\.user\.j2"):
            synth.run(
                folder,
                seeds,
                teacher="openai/m",
                api_base=server.url,
                output=tmp_path / "out",
            )
        assert not server.bodies


@pytest.mark.parametrize("place", ["set", "until", "exports", "show"])
def test_every_template_of_a_pack_is_held(tmp_path, place):
    bomb = BOMBS["tilde"]
    text = GOOD["pack.yaml"].replace(
        "{{ answer }}", "{{ answer }}" + (bomb if place == "exports" else "")
    )
    text = (
        text.replace("- name: go\n", f'- name: go\n    set: {{a: "{bomb}"}}\n')
        if place == "set"
        else text
    )
    text = (
        text.replace(
            "- name: go\n",
            f'- name: go\n    each: {{parts: part}}\n    until: "{bomb}"\n',
        )
        if place == "until"
        else text
    )
    text = (
        text.replace("question: text", "question: text, parts: list")
        if place == "until"
        else text
    )
    text += (
        f'retrieve: {{file: rows.jsonl, query: question, field: text, show: "{bomb}"}}\n'
        if place == "show"
        else ""
    )
    extra = {
        "set": "{{ a }}",
        "until": "{{ part }}",
        "show": "{{ retrieved }}",
    }.get(place, "")
    folder = make_pack(
        tmp_path / "pack",
        {
            **GOOD,
            "pack.yaml": text,
            "go.user.j2": "{{ question }}{{ hint }}" + extra,
        },
    )
    write(folder / "rows.jsonl", [{"text": "near"}])
    started = time.monotonic()
    try:
        synth.run(
            folder,
            [{"question": "q", "parts": ["a"]}],
            teacher="simulated/perfect",
            output=tmp_path / "out",
        )
    except WrongUse as error:
        assert "pack.yaml" in str(error) or "retrieve" in str(error)
    assert time.monotonic() - started < 20 * SECONDS


def test_includes_that_double_are_refused(tmp_path):
    for n in range(40):
        (tmp_path / f"p{n}.j2").write_text(f"{{% include 'p{n + 1}.j2' %}}" * 2)
    (tmp_path / "p40.j2").write_text("x")
    started = time.monotonic()
    with pytest.raises(WrongUse):
        Templates(tmp_path).compile("{% include 'p0.j2' %}", "here").render({})
    assert time.monotonic() - started < 10 * SECONDS
    with pytest.raises(WrongUse):
        Templates(tmp_path).compile("{% include 'me.j2' %}", "here")
    (tmp_path / "me.j2").write_text("{% include 'me.j2' %}")
    with pytest.raises(WrongUse):
        Templates(tmp_path).compile("{% include 'me.j2' %}", "here")


def test_imports_reach_the_folder_and_no_further(tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "m.j2").write_text(
        "{% macro tag(t) %}<{{ t }}>{% endmacro %}"
    )
    (tmp_path / "secret.j2").write_text(
        "{% macro tag(t) %}secret{% endmacro %}"
    )
    (tmp_path / "pack" / "link.j2").symlink_to("../secret.j2")
    assert (
        Templates(tmp_path / "pack")
        .compile("{% from 'm.j2' import tag %}{{ tag(x) }}", "here")
        .render({"x": 1})
        == "<1>"
    )
    for name in ("../secret.j2", "link.j2", str(tmp_path / "secret.j2")):
        with pytest.raises(WrongUse):
            Templates(tmp_path / "pack").compile(
                f"{{% from '{name}' import tag %}}{{{{ tag(x) }}}}", "here"
            ).render({"x": 1})


def test_a_text_that_was_met_before_has_the_files_and_the_name_of_its_own_place(
    tmp_path,
):
    texts = []
    for name in ("ann", "bob"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "head.j2").write_text(f"{name} asks: ")
        template = Templates(folder).compile(
            "{% include 'head.j2' %}{{ row.question }}", f"{name}.j2"
        )
        texts.append(template.render({"row": {"question": "Why?"}}))
        with pytest.raises(RowFault, match=f"{name}.j2"):
            template.render({"row": {}})
    assert texts == ["ann asks: Why?", "bob asks: Why?"]
    (tmp_path / "bob" / "head.j2").write_text("Bob wonders: ")
    again = Templates(tmp_path / "bob").compile(
        "{% include 'head.j2' %}{{ row.question }}", "bob.j2"
    )
    assert again.render({"row": {"question": "Why?"}}) == "Bob wonders: Why?"
    for name in ("ann", "bob"):
        with pytest.raises(WrongUse, match=f"{name}.j2"):
            Templates(tmp_path / name).compile("{% if %}", f"{name}.j2")


def test_a_text_is_compiled_once_however_often_its_pack_is_read(monkeypatch):
    Pack.load("cot")
    made = []
    real = Templates._from_tree
    monkeypatch.setattr(
        Templates,
        "_from_tree",
        lambda *args: made.append(args) or real(*args),
    )
    Pack.load("cot")
    assert not made


def test_a_context_has_all_that_jinjas_own_has():
    env = template_box.Sandbox()
    jinjas = Context(env, {"a": 1}, "t", {})
    whole = template_box._Context(env, {"a": 1}, "t", {})
    template = Compiled(env, env.parse("{{ a }}"))
    plain = template._context(template_box._Names(a=1))
    assert type(plain) is not type(whole)
    for name in vars(jinjas).keys() - {"eval_ctx"}:
        assert getattr(whole, name) == getattr(jinjas, name)
        if name != "name":
            assert getattr(plain, name) == getattr(jinjas, name)


_NAMES = st.sampled_from("abcd")
_SHOWN = st.one_of(
    _NAMES.map("{{{{ {0} }}}}".format),
    _NAMES.map("{{{{ {0}|default('-') }}}}".format),
    _NAMES.map("{{{{ [{0}, {0}]|map('upper')|join(b|default('+')) }}}}".format),
)


def _around(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Statements that set, look up and hide names, around other ones."""
    forms = (
        "{{% if {0} is defined %}}{2}{{% endif %}}",
        "{{% for {0} in [{1}|default(1), 2] %}}{2}{{% endfor %}}",
        "{{% for x in 'xy' if {0} is defined %}}{2}{{% else %}}{{{{ {1} }}}}{{% endfor %}}",
        "{{% with {0} = {1} %}}{2}{{% endwith %}}",
        "{{% set {0} %}}{2}{{% endset %}}{{{{ {0} }}}}",
        "{{% set {0} = {1}|default('s') %}}{2}{{{{ {0} }}}}",
        "{{% macro {0}(x={1}) %}}{2}{{{{ caller() if caller }}}}{{% endmacro %}}{{{{ {0}() }}}}",
        "{{% macro m() %}}{{{{ caller() }}}}{{% endmacro %}}{{% call m() %}}{2}{{% endcall %}}",
        "{{% filter upper %}}{2}{{% endfilter %}}{{{{ {0} }}}}",
    )
    return st.builds(str.format, st.sampled_from(forms), _NAMES, _NAMES, inner)


@settings(max_examples=300)
@given(
    pieces=st.lists(
        st.recursive(_SHOWN, _around, max_leaves=6), min_size=1, max_size=4
    ),
    values=st.dictionaries(_NAMES, st.sampled_from(["A", "q", ""])),
)
def test_texts_are_those_of_jinjas_own_contexts(pieces, values):
    env = template_box.Sandbox(undefined=StrictUndefined)
    source = "".join(pieces)
    own, jinjas = (Compiled(env, env.parse(source)) for _ in range(2))
    jinjas._context = lambda names: Context(env, dict(names), None, {})

    def outcome(compiled):
        try:
            return compiled.text(values, "t")
        except RowFault as error:
            return str(error)

    for _ in range(2):
        assert outcome(own) == outcome(jinjas)


def test_a_text_that_fails_amid_autoescape_leaves_the_next_as_it_is():
    source = "{% autoescape true %}{{ a }}{{ b.c }}{% endautoescape %} {{ a }}"
    template = Templates().compile(source, "t")
    whole = {"a": "<", "b": {"c": "&"}}
    assert template.render(whole) == "&lt;&amp; <"
    for _ in range(3):
        with pytest.raises(RowFault):
            template.render({"a": "<", "b": None})
        assert template.render(whole) == "&lt;&amp; <"
