"""Schemas are checked as jsonschema checks them, and refer to nothing outside."""

from __future__ import annotations

import json
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import RowFault
from synth.sandbox.schema_inside import Checker, misfit
from tests.tables import cells, table

jsonschema = pytest.importorskip("jsonschema")

SCHEMAS = [
    {},
    True,
    False,
    {"type": "integer"},
    {"type": ["string", "null"]},
    {"enum": [1, "a", None]},
    {"type": "object", "required": ["a"]},
    {"minimum": 3},
    {"type": "array", "items": {"type": "number"}, "maxItems": 2},
    {"properties": {"a": {"type": "string"}}, "additionalProperties": False},
    {"pattern": "^a+$"},
    {"not": {"type": "string"}},
    {
        "$defs": {"n": {"type": "integer"}},
        "properties": {"a": {"$ref": "#/$defs/n"}},
    },
    {"uniqueItems": True},
    {"const": {"a": 1}},
    {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "if": {"type": "integer"},
        "then": {"minimum": 2},
    },
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(st.sampled_from(SCHEMAS), VALUES)
def test_a_value_fits_where_jsonschema_says_so(schema, value):
    kind = jsonschema.validators.validator_for(
        schema, default=jsonschema.Draft202012Validator
    )
    found = misfit(json.dumps(schema), value)
    assert (found == "") == kind(schema).is_valid(value)
    assert len(found) <= 200


def test_a_misfit_is_named_by_its_place():
    schema = '{"properties": {"a": {"items": {"type": "integer"}}}}'
    found = misfit(schema, {"a": [1, "x"]})
    assert found == "$.a[1]: 'x' is not of type 'integer'"


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        *table(
            r"""
'{' | 'Expecting'
'5' | 'found 5'
'null' | 'found None'
'[1]' | 'found [1]'
'"a"' | "found 'a'"
'{"type": "intger"}' | 'intger'
'{"type": "object", "type": "array"}' | 'type'
'{"minimum": "3"}' | '3'
'NaN' | 'NaN'
'{"pattern": "("}' | ''
"""
        ),
        ("[" * 3000, ""),
    ],
)
def test_what_is_no_schema_is_said(schema, found):
    with pytest.raises(RowFault, match="wanted a JSON Schema") as error:
        misfit(schema, {})
    assert found in str(error.value)


@pytest.mark.parametrize(
    "reference",
    cells(
        r"""
'#/$defs/none' | 'http://example.invalid/a.json' | 'file:///etc/passwd' | 'other.json'
"""
    ),
)
def test_a_reference_that_leaves_the_schema_is_refused(reference):
    schema = json.dumps({"$ref": reference})
    with pytest.raises(RowFault, match="references inside the schema"):
        misfit(schema, {})


def test_a_schema_that_refers_to_itself_is_too_deep():
    assert misfit('{"$ref": "#"}', {}) == "nested too deep"
    tree = '{"type": "array", "items": {"$ref": "#"}}'
    assert misfit(tree, [[], [[[]]]]) == ""
    assert misfit(tree, [[5]]).startswith("$[0][0]: 5 is not")


def test_the_checker_answers_and_stops_its_clock():
    checker = Checker(30.0)
    answer = checker.answer({"schema": '{"type": "null"}', "value": "null"})
    assert answer == {"misfit": ""}
    wrong = checker.answer({"schema": "{", "value": "null"})
    assert wrong["error"][0] == "json_schema"
    assert len(wrong["error"]) == 4
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    with pytest.raises(ValueError, match="Expecting"):
        checker.answer({"schema": "{}", "value": "{"})
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
