"""Schemas of our own, of a file, of each row; hostile JSON and hostile schemas."""

from __future__ import annotations

import json

import pytest

from synth.errors import WrongUse
from synth.filters.json_schema import JsonSchema

SCHEMA = {"type": "object", "required": ["head"], "properties": {"head": {"type": "string"}}, "additionalProperties": False}
HOSTILE = [
    "[" * 100_000, "{" * 100_000, '{"a":' * 50_000, "1" * 300_000, "9" * 5000, '{"head": "\\ud800"}', '{"head": NaN}', '{"head": 1e999}', '{"head": "a", "head": "b"}', "\x00",
    '{"__proto__": 1}', '{"head": Infinity}', "nul", '"' + "a" * 200_000, '{"head": "a"} {"head": "b"}', "[" + "0," * 100_000 + "0]", '{"head": -Infinity}', "'head'", "",
]  # fmt: skip


def test_a_file_and_a_column_serve(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    rows = [
        {"json": '{"head": "rain"}', "own": json.dumps(SCHEMA)},
        {"json": '```json\n{"tail": 1}\n```', "own": json.dumps({"type": "object"})},
    ]
    assert [len(part) for part in JsonSchema(schema=str(path)).split(rows)] == [1, 1]
    assert [len(part) for part in JsonSchema(schema="own").split(rows)] == [2, 0]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_json_is_dropped(text):
    assert JsonSchema(schema=SCHEMA).judge({"reply": text}).keep is False


@pytest.mark.parametrize("schema", [{"type": "objekt"}, {"required": "head"}])
def test_a_schema_that_is_none_is_the_users_mistake(schema):
    with pytest.raises(WrongUse, match="json_schema"):
        JsonSchema(schema=schema).judge({"json": "{}"})


@pytest.mark.parametrize("ref", ["file:///etc/passwd", "http://127.0.0.1:9/x.json"])
def test_a_reference_reaches_nothing_outside(ref):
    with pytest.raises(Exception, match=r"Unresolvable|resolv"):
        JsonSchema(schema={"$ref": ref}).judge({"json": "{}"})
