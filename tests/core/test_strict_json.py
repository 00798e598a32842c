"""Strict JSON is what orjson reads, without doubled keys, at a cost that grows with the length."""

from __future__ import annotations

import json
import math
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core.strict_json import MOST_CHARS, NotStrict, decoder, loads
from tests.tables import table

SIGNS = '{}[]",:0123456789.-+eE \n\t\\u/truefalsn\u00e9'
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | FLOATS
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def outcome(text: str) -> object:
    """The value of a text as JSON, or the reason why it has none."""
    try:
        return json.dumps(loads(text), sort_keys=True)
    except NotStrict as error:
        return error.reason


@given(VALUES, st.sampled_from([None, 2]), st.booleans())
def test_every_value_is_read_back(value, indent, plain):
    text = json.dumps(value, indent=indent, ensure_ascii=plain)
    assert loads(text) == value
    assert loads(f" {text}\n") == value


@given(st.text(st.sampled_from(SIGNS), max_size=14))
def test_what_orjson_refuses_is_refused(text):
    try:
        wanted = json.dumps(orjson.loads(text), sort_keys=True)
    except orjson.JSONDecodeError:
        wanted = "no_json"
    found = outcome(text)
    if found != "doubled_key":
        assert found == wanted


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        *table(
            r"""
'' | 'no_json' | 'Expecting value'
'{' | 'no_json' | 'Expecting'
'[1,]' | 'no_json' | ''
"{'a': 1}" | 'no_json' | ''
'NaN' | 'no_json' | 'NaN'
'[Infinity]' | 'no_json' | 'Infinity'
'-Infinity' | 'no_json' | '-Infinity'
'1e999' | 'no_json' | '1e999'
'-1e999' | 'no_json' | '-1e999'
'"\\ud800"' | 'no_json' | 'surrogates'
'{"\\udfff": 1}' | 'no_json' | 'surrogates'
'"\\ud800\\u0041"' | 'no_json' | 'surrogates'
'1 2' | 'no_json' | 'Extra data'
'"a\nb"' | 'no_json' | 'control character'
'{"a": 1, "a": 1}' | 'doubled_key' | 'a'
'{"a": 1, "\\u0061": 2}' | 'doubled_key' | 'a'
'[{"b": {"x": 1, "x": 2}}]' | 'doubled_key' | 'x'
'{"b": 1, "a": 1, "b": 2, "a": 3}' | 'doubled_key' | 'a, b'
"""
        ),
        ("[" * 100_000, "no_json", ""),
        ("1" * 5000, "no_json", "digits"),
        ("1" * (MOST_CHARS + 1), "no_json", "262,145 characters"),
    ],
)
def test_what_is_wrong_is_said(text, reason, detail):
    with pytest.raises(NotStrict) as error:
        loads(text)
    assert error.value.reason == reason
    assert detail in str(error.value)
    assert len(str(error.value)) <= 120


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *table(
            r"""
'"\\ud83d\\ude00"' | '\U0001f600'
'1e308' | 1e+308
'-0' | 0
'1E2' | 100.0
'{"": {"": 1}}' | {'': {'': 1}}
'{"a": 1, "A": 2}' | {'a': 1, 'A': 2}
'1e-999' | 0.0
'"\\u0000"' | '\x00'
'"\u2028"' | '\u2028'
"""
        ),
        ("9" * 400, int("9" * 400)),
    ],
)
def test_what_is_odd_and_right_is_read(text, value):
    assert loads(text) == value


def test_many_keys_of_which_one_stands_twice_cost_little():
    keys = [f'"k{number:05d}":1' for number in range(18_000)]
    text = "{" + ",".join([*keys, '"k00007":2']) + "}"
    started = time.process_time()
    assert outcome(text) == "doubled_key"
    with pytest.raises(NotStrict, match="k00007"):
        decoder().raw_decode(text)
    assert time.process_time() - started < 2


def test_the_decoder_is_pythons_but_for_twins():
    value, end = decoder().raw_decode('{"a": NaN} so')
    assert (math.isnan(value["a"]), end) == (True, 10)
    assert decoder().raw_decode("[1] so") == ([1], 3)
    with pytest.raises(ValueError, match="Expecting"):
        decoder().decode("so")
