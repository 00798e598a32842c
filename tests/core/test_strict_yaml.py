"""YAML is read as its version 1.2 says, with the line of each value, and without its surprises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from synth.core.bare_words import BareWord
from synth.core.errors import WrongUse
from synth.core.strict_yaml import (
    MOST_BYTES,
    line_of,
    parse_value,
    parse_yaml,
    read_text,
    read_yaml,
)
from synth.packs.pack import built_in
from tests.tables import table

FILE = Path("pack.yaml")
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6
)
SCALARS = (
    NAMES
    | st.booleans()
    | st.none()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=5)


@given(
    DOCUMENTS.filter(lambda one: not re.search(r"\d[eE]\d", repr(one))),
    st.booleans(),
)
def test_what_pyyaml_writes_is_read_back(document, flow):
    text = yaml.safe_dump(document, default_flow_style=flow, allow_unicode=True)
    value, lines = parse_yaml(text, FILE)
    assert value == document
    assert lines[()] == 1


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}x", fullmatch=True),
        st.integers(0, 99),
        min_size=1,
        max_size=9,
    )
)
def test_every_path_knows_its_line(fields):
    text = ""
    wanted = {}
    for name, number in fields.items():
        text += f"# about {name}\n{name}:\n  inner:\n    - {number}\n"
        top = text.count("\n") - 2
        wanted[(name,)] = top
        wanted[(name, "inner")] = top + 1
        wanted[(name, "inner", 0)] = top + 2
    _, lines = parse_yaml(text, FILE)
    assert {at: lines[at] for at in wanted} == wanted
    first = next(iter(fields))
    assert line_of(lines, (first, "inner", 5, "z")) == wanted[(first, "inner")]
    assert line_of(lines, ("nowhere",)) == lines[()] == 2
    assert line_of({}, ("a", "b")) == 1


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        *table(
            r"""
'a: 1\nb: 2\na: 3\n' | 3 | "key 'a' twice (first on line 1)"
'x:\n  a: 1\n  a: 2\n' | 3 | "key 'a' twice (first on line 2)"
"a: 1\n'a': 2\n" | 2 | 'twice'
'1: a\n0x1: b\n' | 2 | 'key 1 twice'
'a: &x 1\nb: *x\n' | 2 | 'alias'
'a: &x {c: 1}\nb:\n  <<: {d: 2}\n' | 3 | 'a merge (<<)'
'a: [1\nb: 2\n' | 2 | ''
'a: {{ name }}\n' | 1 | 'needs quotes'
'? [1, 2]\n: 3\n' | 1 | 'as a key'
'a: !!python/object:os.x 1\n' | 1 | 'tag'
'a: !mine 1\n' | 1 | 'tag'
'a: 1\n---\nb: 2\n' | 2 | ''
"a: 'x\n" | 2 | ''
'\tb: 1\n' | 1 | '\\t'
'a: b: c\n' | 1 | 'mapping values'
"""
        ),
        ("n: " + "9" * 400 + "\n", 1, "without end"),
        ("n: 0b" + "1" * 2000 + "\n", 1, "without end"),
    ],
)
def test_mistakes_are_named_with_their_line(text, line, found):
    with pytest.raises(WrongUse) as error:
        parse_yaml(text, FILE)
    message = str(error.value)
    assert message.startswith(f"pack.yaml:{line}: found ")
    assert found in message
    assert "wanted plain YAML, each key once. Correct that line." in message


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *table(
            r"""
'' | 'NoneType'
'# nothing\n' | 'NoneType'
'- a\n' | 'list'
'a' | 'str'
'5' | 'int'
'a: \x00' | 'ReaderError'
'a: !!binary x\n' | 'base64'
"""
        ),
        ("[" * 1200, "maximum nesting"),
    ],
)
def test_what_is_no_mapping_is_refused(text, found):
    with pytest.raises(WrongUse, match="wanted") as error:
        parse_yaml(text, FILE)
    assert found in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12:30", "12:30"),
        ("190:20:30.15", "190:20:30.15"),
        ("010", "010"),
        ("0o17", "0o17"),
        ("2020-01-01", "2020-01-01"),
        ("2024-13-45", "2024-13-45"),
        ("!!timestamp 2020-01-01", "2020-01-01"),
        ("1e3", 1000.0),
        ("-1.5E-3", -0.0015),
        ("1.0e+12", 1e12),
        ("0x1F", 31),
        ("-0b11", -3),
        ("+5", 5),
        ("5.", 5.0),
        ("-.inf", float("-inf")),
        ("TRUE", True),
        ("no", "no"),
        ("On", "On"),
        ("y", "y"),
        ("1_000", "1_000"),
        ("~", None),
        ("", None),
        ("[no, 12:30, {off: 010}]", ["no", "12:30", {"off": "010"}]),
    ],
)
def test_scalars_are_what_was_written(text, value):
    read = parse_yaml(f"a: {text}\n", FILE)[0]["a"]
    assert read == value
    assert type(read) in (type(value), BareWord)
    assert parse_value(text) == value


def test_a_bare_word_has_another_reading_and_a_quoted_one_has_none():
    read, _ = parse_yaml("a: no\nb: 'no'\nc: 1_000\nd: '1_000'\n", FILE)
    assert (read["a"].flag, read["c"].number) == (False, 1000)
    assert type(read["b"]) is type(read["d"]) is str


def test_an_octal_number_is_refused_where_a_tag_wants_one():
    with pytest.raises(WrongUse, match="'010' as a whole number"):
        parse_yaml("a: !!int 010\n", FILE)


def test_files_that_ship_say_what_they_said():
    files = sorted(built_in().rglob("*.yaml"))
    assert len(files) > 200
    for file in files:
        text = file.read_text(encoding="utf-8")
        before = yaml.load(text, yaml.CSafeLoader)
        assert repr(read_yaml(file)[0]) == repr(before), file


def test_files_are_read_whole_or_refused(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("a: \u00e9\n", encoding="utf-8")
    assert read_yaml(file) == ({"a": "\u00e9"}, {(): 1, ("a",): 1})
    file.write_bytes(b"a: \xff\n")
    with pytest.raises(WrongUse, match="a UTF-8 text file"):
        read_yaml(file)
    file.write_text("a" * (MOST_BYTES + 1))
    with pytest.raises(WrongUse, match="262145 bytes; wanted at most 262144"):
        read_text(file)
    file.write_text("#" * MOST_BYTES)
    assert len(read_text(file)) == MOST_BYTES
    for missing in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(WrongUse, match="Check the path"):
            read_text(missing)


def test_windows_line_ends_and_a_mark_of_byte_order_change_nothing(tmp_path):
    text = "a: 1\nb:\n  - c\n  - 'd'\n"
    value, lines = parse_yaml(text, FILE)
    assert parse_yaml(text.replace("\n", "\r\n"), FILE) == (value, lines)
    assert parse_yaml("\ufeff" + text, FILE)[0] == value


def test_a_file_that_holds_nothing_names_the_command_that_writes_a_pack():
    with pytest.raises(WrongUse, match="synth init pack NAME"):
        parse_yaml("", FILE)
