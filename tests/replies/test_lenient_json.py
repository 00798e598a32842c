"""What lenient JSON reads is what Python's literals, PyYAML's flow style or strict JSON say."""

from __future__ import annotations

import ast
import json
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from synth.replies.lenient_json import keep_backslashes, lenient
from tests.tables import cells, table

TEXTS = st.text(
    st.characters(
        codec="utf-8",
        exclude_categories=["Cc"],
        exclude_characters="\\'\"\u201c\u201d",
    ),
    max_size=6,
).filter(str.isprintable)
KEYS = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True).filter(
    lambda key: (
        key not in ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)


def read(text: str, at: int = 0) -> object:
    """The object at a place, and what was changed."""
    found = lenient(text, at)
    assert found is not None
    return json.loads(found[0]), found[1], found[2]


@given(OBJECTS, st.text("ab \n", max_size=5))
def test_literals_of_python_are_read(value, behind):
    text = repr(value)
    assert read(text + behind)[:2] == (value, len(text))
    assert ast.literal_eval(text) == value


@given(OBJECTS)
def test_strict_json_is_left_as_it_is(value):
    for indent in (None, 2):
        text = json.dumps(value, indent=indent)
        assert lenient("so " + text, 3) == (text, len(text) + 3, [])


@given(
    st.dictionaries(
        KEYS,
        st.integers() | st.booleans() | st.lists(st.integers()),
        min_size=1,
    )
)
def test_bare_keys_and_last_commas_are_read_as_yaml_reads_them(value):
    text = json.dumps(value).replace('"', "").replace("]", ",]")
    text = text.replace("[,]", "[]")[:-1] + ",}"
    found, end, changed = read(text)
    assert found == value == yaml.safe_load(text)
    assert end == len(text)
    assert {"a trailing comma", "keys without quotation marks"} <= {*changed}


@given(OBJECTS.filter(bool))
def test_remarks_between_the_lines_are_left_out(value):
    lines = json.dumps(value, indent=1).split("\n")
    lines[0] += " // so"
    lines.insert(1, "# what {a: 1} is")
    lines[-1] = "/* the\nend } */" + lines[-1]
    found, _, changed = read("\n".join(lines))
    assert found == value
    assert changed == ["comments"]


@pytest.mark.parametrize(
    ("text", "value"),
    table(
        r"""
"{'it''s': 1}" | {"it''s": 1}
"{'a': 'it's so'}" | {'a': "it's so"}
'{\u201ca\u201d: \u201cb "c"\u201d}' | {'a': 'b "c"'}
'{"a": "b\nc\td"}' | {'a': 'b\nc\td'}
"{'a': 'b\\'c'}" | {'a': "b'c"}
'{"a": "b\\\'c"}' | {'a': "b'c"}
'{\'a\': \'say "b"\'}' | {'a': 'say "b"'}
'{a: None, b: True}' | {'a': None, 'b': True}
'{"a": "http://b.c"}' | {'a': 'http://b.c'}
'{"a": "# no // remark"}' | {'a': '# no // remark'}
'{}' | {}
'{,}' | {}
'{"a": 1,, "b": 2}' | None
'{"a" 1}' | None
'{"a": }' | None
'{"a": 1' | None
'{"a": "b}' | None
'{"a": [1, 2}' | None
'{"a": Yes}' | None
'{"a": 1 "b": 2}' | None
"{'a: 1}" | None
'{"a": (1)}' | None
'{"True": True}' | {'True': True}
'{True: 1}' | {'True': 1}
'{$x: 1}' | {'$x': 1}
"""
    ),
)
def test_nothing_is_invented(text, value):
    found = lenient(text, 0)
    if value is not None:
        assert json.loads(found[0]) == value
    elif found is not None:
        with pytest.raises(ValueError, match="line 1"):
            json.loads(found[0])


@given(st.text("{}[]\",:'\\ab1 \n/*#", max_size=25))
def test_any_text_is_read_to_its_end_or_not_at_all(text):
    found = lenient("{" + text, 0)
    if found is not None:
        made, end, changed = found
        assert 0 < end <= len(text) + 1
        assert changed == sorted(set(changed))
        assert made[0] == "{"


COMMANDS = cells(
    r"""
'\\frac{1}{2}' | '\\times' | '\\nabla' | '\\rho' | '\\theta' | '\\beta' | '\\text{a}'
'\\sqrt{2}' | '\\(x\\)' | '\\neq' | '\\alpha' | '\\pi' | '\\{' | '\\%' | '\\right)'
"""
)


@given(st.lists(st.sampled_from(COMMANDS), max_size=5))
def test_commands_of_latex_keep_their_backslash(commands):
    said = " + ".join(commands)
    text = '{"a": "$' + said + '$"}'
    kept = keep_backslashes(text)
    assert json.loads(kept) == {"a": f"${said}$"}
    assert keep_backslashes(kept) == kept


@given(st.text(st.characters(codec="utf-8"), max_size=12))
def test_escapes_of_json_stay(text):
    written = json.dumps(text.replace("\b", "").replace("\f", ""))
    if "\\n" in written or "\\t" in written or "\\r" in written:
        return
    assert keep_backslashes(written) == written


@pytest.mark.parametrize(
    ("text", "kept"),
    table(
        r"""
'a\\nb' | 'a\\nb'
'\\nu' | '\\\\nu'
'\\nu s' | '\\nu s'
'$\\nu s' | '$\\\\nu s'
'\\u00e9' | '\\u00e9'
'\\upsilon' | '\\\\upsilon'
'\\\\times' | '\\\\times'
'\\"' | '\\"'
'\\/' | '\\/'
"\\'" | "\\'"
'\\' | '\\'
'\\b' | '\\b'
'\\beta' | '\\\\beta'
'\\to go' | '\\to go'
'x \\to y' | 'x \\\\to y'
'\\xy' | '\\\\xy'
"""
    ),
)
def test_which_backslashes_are_doubled(text, kept):
    assert keep_backslashes(text) == kept


@pytest.mark.parametrize(
    "unit", ["'", " 'x", "x'", "\\'", '\\"', "\u201c", "/*", "/* *", "#", "{a:"]
)
@pytest.mark.parametrize("start", ['{"a": 1', '{"a": ', '{"a": [1, '])
def test_a_reply_that_repeats_itself_is_read_in_a_second(start, unit):
    """Each sign was once looked at up to the end of the reply: minutes for 200,000 of them."""
    began = time.process_time()
    lenient(start + unit * (100_000 // len(unit)), 0)
    assert time.process_time() - began < 3
