"""Schemas of our own, of a file, of each row; hostile JSON and hostile schemas."""

from __future__ import annotations

import json
import time

import pytest

from synth.core import registry
from synth.core.errors import RowFault, WrongUse
from synth.filters.json_schema import JsonSchema
from synth.verifiers import json_schema as verifier

SCHEMA = {
    "type": "object",
    "required": ["head"],
    "properties": {"head": {"type": "string"}},
    "additionalProperties": False,
}
HOSTILE = [
    "[" * 100_000, "{" * 100_000, '{"a":' * 50_000, "1" * 300_000, "9" * 5000, '{"head": "\\ud800"}', '{"head": NaN}', '{"head": 1e999}', '{"head": "a", "head": "b"}', "\x00",
    '{"__proto__": 1}', '{"head": Infinity}', "nul", '"' + "a" * 200_000, '{"head": "a"} {"head": "b"}', "[" + "0," * 100_000 + "0]", '{"head": -Infinity}', "'head'", "",
]  # fmt: skip


def test_a_file_and_a_column_serve(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    rows = [
        {"json": '{"head": "rain"}', "own": json.dumps(SCHEMA)},
        {
            "json": '```json\n{"tail": 1}\n```',
            "own": json.dumps({"type": "object"}),
        },
    ]
    assert [len(part) for part in JsonSchema(schema=str(path)).split(rows)] == [
        1,
        1,
    ]
    assert [len(part) for part in JsonSchema(schema="own").split(rows)] == [
        2,
        0,
    ]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_json_is_dropped(text):
    assert JsonSchema(schema=SCHEMA).judge({"reply": text}).keep is False


@pytest.mark.parametrize("schema", [{"type": "objekt"}, {"required": "head"}])
def test_a_schema_that_is_none_is_the_users_mistake(schema):
    with pytest.raises(WrongUse, match="json_schema"):
        JsonSchema(schema=schema).judge({"json": "{}"})


@pytest.mark.parametrize(
    "ref", ["file:///etc/passwd", "http://127.0.0.1:9/x.json"]
)
def test_a_reference_reaches_nothing_outside(ref):
    with pytest.raises(Exception, match=r"Unresolvable|resolv"):
        JsonSchema(schema={"$ref": ref}).judge({"json": "{}"})


DOUBLED = {
    "$defs": {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2}
        for n in range(60)
    }
    | {"d60": {}},
    "$ref": "#/$defs/d0",
}
ENDLESS = {
    "pattern": ({"pattern": "^(a+)+$"}, "a" * 40 + "!"),
    "two stars": ({"pattern": "^(a|a)*$"}, "a" * 60 + "!"),
    "long text": ({"pattern": "a*a*a*a*b$"}, "a" * 20_000),
    "names": ({"patternProperties": {"^(a+)+$": {}}}, {"a" * 40 + "!": 1}),
    "escaped": ('{"\\u0070attern": "^(a+)+$"}', "a" * 40 + "!"),
    "references that double": (DOUBLED, 1),
    "all with all": ({"uniqueItems": True}, [{"n": n} for n in range(9000)]),
    "wide": ({"items": {"allOf": [{"type": "array"}] * 3000}}, [[]] * 4000),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.long] if place % 2 else [])
        for place, name in enumerate(ENDLESS)
    ],
)
def test_no_schema_checks_without_end(name, monkeypatch):
    monkeypatch.setattr(verifier, "SECONDS", 0.3)
    verifier._process.cache_clear()
    schema, value = ENDLESS[name]
    rows = [{"json": json.dumps(value), "own": schema}] * 9
    started = time.monotonic()
    try:
        kept, dropped = JsonSchema(
            schema=schema if isinstance(schema, dict) else "own"
        ).split(rows)
        assert not kept
        assert "more than 0.3 s" in dropped[-1]["marks"]["json_schema"]["error"]
    except WrongUse:
        assert name == "references that double"
    assert time.monotonic() - started < 6
    verifier._process.cache_clear()


def test_schemas_with_patterns_still_judge():
    schema = {
        "type": "object",
        "properties": {"day": {"pattern": r"^\d{4}$"}, "next": {"$ref": "#"}},
        "required": ["day"],
    }
    rows = [
        {"json": json.dumps(value)}
        for value in (
            {"day": "2026"},
            {"day": "26"},
            {"day": "2026", "next": {"day": "1"}},
            {"day": "2026", "next": {"day": "1999"}},
        )
    ]
    kept, dropped = JsonSchema(schema=schema).split(rows)
    assert (len(kept), len(dropped)) == (2, 2)
    with pytest.raises(WrongUse, match="regex"):
        JsonSchema(schema={"pattern": "("}).judge({"json": '"a"'})


def test_a_column_of_schemas_that_is_not_there_is_named():
    part = JsonSchema(schema="shape", field="text")
    assert part.unknown_field({"text", "shapes"})[0] == "shape"
    assert part.unknown_field({"text", "shape"}) is None
    with pytest.raises(RowFault, match="a row without it"):
        part.judge({"text": "{}"})
    for schema in (None, ["a"], True):
        with pytest.raises(WrongUse, match=r"json_schema\.schema: found"):
            registry.build(
                "synth.filters", {"name": "json_schema", "schema": schema}
            )
