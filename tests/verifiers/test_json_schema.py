"""A text fits a schema, or says where it does not."""

from __future__ import annotations

import pytest

from synth.core.errors import RowFault
from synth.verifiers.json_schema import JsonSchema

SCHEMA = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0},
    "maxItems": 3,
}


def test_it_says_where_and_what():
    assert JsonSchema().verify("[1, 2]", SCHEMA)
    assert JsonSchema().why("[1, -2]", SCHEMA) == (
        "misfit",
        "$[1]: -2 is less than the minimum of 0",
    )
    assert JsonSchema().why([1, 2, 3, 4], SCHEMA)[0] == "misfit"
    assert JsonSchema().why('[{"a": 1, "a": 2}]', "true") == (
        "doubled_key",
        "a",
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": 5},
        {"$id": 5},
        {"$ref": "#/nowhere"},
        {"patternProperties": {"[": {}}},
    ],
)
def test_what_is_no_schema_is_a_fault_that_is_named(schema):
    with pytest.raises(RowFault, match="json_schema"):
        JsonSchema().why({"a": 1}, schema)
