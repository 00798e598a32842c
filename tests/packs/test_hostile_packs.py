"""Packs and files of strangers: no code, no file outside, no endless work; a clean refusal or a bounded text."""

from __future__ import annotations

import time

import pytest

from synth.core.errors import WrongUse
from synth.inputs.seeds import read_rows
from synth.packs.pack import Pack
from synth.packs.templates import Templates
from tests import test_hostile
from tests.filters.test_json_schema import HOSTILE as JSON
from tests.packs.test_pack import GOOD
from tests.pipeline.test_run import make_pack
from tests.verifiers.test_algebra import PATHOLOGICAL
from tests.verifiers.test_run_python import ATTACKS
from tests.verifiers.test_run_sql import HOSTILE as SQL

CODE = [
    "{{ ''.__class__.__mro__ }}", "{{ ''|attr('__class__') }}", "{{ [].__class__.__base__.__subclasses__() }}", "{{ self.__init__.__globals__ }}", "{{ x.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}", "{{ joiner.__init__ }}", "{{ namespace.__init__ }}", "{{ ''.format.__self__ }}", "{{ '{0.__class__}'.format(1) }}",
    "{{ '%s'.__mod__ }}", "{{ dict.__base__ }}", "{{ (1).__class__ }}", "{{ ().__class__.__bases__[0] }}", "{{ x.mro() }}", "{% import 'os' as os %}", "{{ config }}", "{{ request }}",
    "{% include '/etc/passwd' %}", "{% include '../../etc/passwd' %}", "{% include ['/etc/passwd'] %}", "{% extends '/etc/passwd' %}", "{% from '/etc/passwd' import x %}",
    "{{ x|map(attribute='__class__')|join }}", "{{ x|sum(attribute='__class__') }}", "{{ ''['__class__'] }}",
    "{{ x['__init__']['__globals__'] }}", "{{ lipsum.__globals__['os'] }}", "{{ url_for.__globals__ }}", "{% set y = x.append(1) %}", "{{ x.clear() }}", "{% for k in {}.__dir__() %}{% endfor %}",
]  # fmt: skip
WORK = [
    "{{ 'A' * 10**9 }}", "{{ '%0999999999d' % 1 }}", "{{ '%0999999999d'|format(1) }}", "{{ 'a'.ljust(10**9) }}", "{{ 'a'.rjust(10**9) }}", "{{ 'a'.zfill(10**9) }}", "{{ 'a'.center(10**9) }}",
    "{{ 'a'|center(10**9) }}", "{{ 'a'|indent(10**9) }}", "{{ 'a'|wordwrap(1) }}" * 3, "{{ [1]|batch(10**9)|list }}", "{{ 9 ** 9 ** 9 }}", "{{ 2 ** 10**8 }}", "{{ 'a'.replace('a', 'b' * 10**9) }}",
    "{% for i in range(10**9) %}x{% endfor %}", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ x|list|random }}",
    "{{ ('a' * 1000000) }}", "{{ [0] * 10**9 }}", "{{ (1, ) * 10**9 }}", "{{ range(10**9)|list }}", "{{ range(10**9)|join }}", "{{ 'a'.expandtabs(10**9) }}", "{{ '\t'.expandtabs(10**9) }}",
    "{{ 'x'.encode('rot13') }}", "{{ 10**10**10 }}", "{{ 1 << 10**9 }}", "{{ '{:>999999999}'.format(1) }}", "{{ 'a'|tojson(indent=10**9) }}", "{{ x|pprint }}", "{{ 'a'|xmlattr }}", "{{" * 5000, "{%" * 5000,
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "{{ " + "-" * 20_000 + "1 }}", "{{ " + "not " * 5000 + "1 }}", "{% if 1 %}" * 500 + "{% endif %}" * 500, "{{ " + "1+" * 20_000 + "1 }}", "{# " * 5000,
    "{% raw %}" * 2000, "{{ 'a'.join(['b'] * 10**8) }}",
]  # fmt: skip
FILES = [
    b"\x00" * 4096, b"\xff\xfe\x00\x00", b"[" * 100_000, b'{"question": ' * 50_000, b'{"question": "a"', b"not json", b'{"question": "a", "question": "b"}', b'{"question": 1e999}', b'{"question": NaN}',
    b'"a"\n[1]\n', b'{"question": "\\ud800"}\n', b"9" * 5000, b"\x1f\x8b\x08\x00garbage", b"PK\x03\x04garbage", b"PAR1garbagePAR1", b"\x80\x04\x95cposix\nsystem\n", b"a" * 3_000_000, b"\n" * 100_000,
    b'{"question": ' + b"9" * 10_000 + b"}", b"<html></html>", b"question\n\"unclosed", b"{}{}{}", b'{"' + b"a" * 100_000 + b'": 1}', b"\xef\xbb\xbf{}",
]  # fmt: skip
YAML = [
    "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "!!python/object/apply:os.system ['id']", "!!python/name:os.system", "a: !!binary x", "? [a]\n: b", "{a: " * 3000, "- " * 5000, "a: b\na: c", "\x00",
    "a: " + "b" * 400_000, "%YAML 9.9\n---\na: b", "--- a\n--- b", "a: *missing", "<<: {a: b}", "a: 2024-99-99", "[" * 2000, "a: " + ":".join(["59"] * 30_000), "a: " + "1:" * 30_000 + "1.5", "a: " + "9" * 600, "name: p\nversion: " + "9" * 5000, "\t- a",
]  # fmt: skip


def test_three_hundred_hostile_inputs_are_tried():
    tried = [
        CODE,
        WORK,
        FILES,
        YAML,
        JSON,
        SQL,
        ATTACKS,
        PATHOLOGICAL,
        test_hostile.ESCAPES,
        test_hostile.PAGES,
        test_hostile.CELLS,
        test_hostile.BOMBS,
    ]
    assert sum(map(len, tried)) >= 300


@pytest.mark.parametrize("source", CODE, ids=range(len(CODE)))
def test_no_template_reaches_code_or_files(source):
    with pytest.raises(WrongUse):
        Templates().compile(source, "here").render({"x": ["y"]})


@pytest.mark.parametrize("source", WORK, ids=range(len(WORK)))
def test_no_template_works_without_end(source):
    started = time.process_time()
    try:
        text = Templates().compile(source, "here").render({"x": ["y"]})
    except WrongUse:
        text = ""
    assert len(text) <= 2 << 20
    assert time.process_time() - started < 5


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
@pytest.mark.parametrize("content", FILES, ids=range(len(FILES)))
def test_no_file_of_seeds_breaks_the_reader(tmp_path, content, suffix):
    path = tmp_path / f"seeds{suffix}"
    path.write_bytes(content)
    started = time.process_time()
    try:
        rows = list(read_rows(str(path)))
    except WrongUse as error:
        assert "seeds" in str(error)
    else:
        assert all(isinstance(row, dict) for row in rows)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("content", YAML, ids=range(len(YAML)))
def test_no_pack_file_runs_or_breaks_anything(tmp_path, content):
    folder = make_pack(tmp_path, {**GOOD, "pack.yaml": ""})
    (folder / "pack.yaml").write_text(content, encoding="utf-8")
    started = time.process_time()
    with pytest.raises(WrongUse, match=r"pack\.yaml"):
        Pack.load(folder)
    assert time.process_time() - started < 5


def test_a_link_inside_a_pack_reaches_nothing_outside(tmp_path):
    folder = make_pack(tmp_path, GOOD)
    (folder / "stolen.j2").symlink_to("/etc/hostname")
    (folder / "go.user.j2").write_text(
        "{% include 'stolen.j2' %}{{ question }}{{ hint }}"
    )
    with pytest.raises(WrongUse):
        Pack.load(folder)
