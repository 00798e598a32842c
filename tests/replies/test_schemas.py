"""What is taken for a schema of replies, what it promises, and what it may cost."""

from __future__ import annotations

import json
import time

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.replies import schemas
from synth.replies.schemas import held, kinds, response_format


def of(**properties):
    return {"type": "object", "properties": properties}


def deep(levels):
    schema = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


WORD = {"type": "string"}
LAUGHS = {
    **of(a={"$ref": "#/$defs/l0"}),
    "$defs": {
        f"l{n}": of(
            **{f"p{k}": {"$ref": f"#/$defs/l{n + 1}"} for k in range(9)}
        )
        for n in range(8)
    }
    | {"l8": WORD},
}
HOSTILE = {
    "a reference to a host": of(a={"$ref": "https://example.org/s.json"}),
    "a reference to a file": of(a={"$ref": "file:///etc/passwd"}),
    "a reference to another schema": of(a={"$ref": "other.json#/a"}),
    "a reference to nothing": of(a={"$ref": "#/$defs/a"}),
    "a schema that holds itself": of(a={"$ref": "#/properties/a"}),
    "a tree": {
        **of(a={"$ref": "#/$defs/t"}),
        "$defs": {"t": of(b={"type": "array", "items": {"$ref": "#/$defs/t"}})},
    },
    "references that multiply": LAUGHS,
    "a schema that is deep": of(a=deep(40)),
    "many properties": of(**{f"p{n}": WORD for n in range(2000)}),
    "a long text": of(a={"type": "string", "description": "x" * 40_000}),
    "a pattern that is huge": of(a={"pattern": "a" * 1000}),
    "a pattern that is none": of(a={"pattern": "("}),
    "a repetition of a repetition": of(a={"pattern": "^(a+)+$"}),
    "the same with a bound below": of(a={"pattern": "(x|a{2,})*b"}),
    "a list of a billion": of(a={"type": "array", "minItems": 10**9}),
    "a bound that is none": of(a={"maxLength": -1}),
    "patterns of names": {**of(a=WORD), "patternProperties": {"(a+)+": WORD}},
    "a new base": of(a={"$id": "https://example.org/", "type": "string"}),
    "a list at the top": {"type": "array", "items": WORD},
    "no property": {"type": "object"},
    "no schema inside": of(a=5),
    "a text": "object",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_schemas_are_refused_at_once(name):
    started = time.process_time()
    with pytest.raises(ValueError, match=r"."):
        held(HOSTILE[name])
    assert time.process_time() - started < 1


def test_what_is_taken_has_no_reference_left():
    schema = {
        **of(one={"$ref": "#/$defs/w", "description": "first"}, two={"$ref": "#/$defs/w"}),
        "$defs": {"w": {"type": "string", "maxLength": 9}},
    }  # fmt: skip
    assert held(schema) == of(
        one={"type": "string", "maxLength": 9, "description": "first"},
        two={"type": "string", "maxLength": 9},
    )


ELEMENT = {
    **of(name=WORD, age={"type": "integer"}),
    "required": ["name", "age"],
}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        (WORD, "text"),
        ({"enum": ["a", "b"]}, "text"),
        ({"const": "a"}, "text"),
        ({"enum": ["a", 1]}, "any"),
        ({"type": "integer"}, "number"),
        ({"type": "boolean"}, "bool"),
        ({"type": ["string", "null"]}, "any"),
        ({"anyOf": [WORD, {"type": "null"}]}, "any"),
        ({"type": "array", "items": WORD}, "list"),
        ({"type": "array", "items": {"type": "number"}}, "numbers"),
        ({"type": "array"}, "any"),
        ({"type": "array", "items": ELEMENT}, {"name": "text", "age": "number"}),
        ({"type": "array", "items": of(name=WORD)}, "any"),
        (of(a=WORD), "any"),
    ],
)  # fmt: skip
def test_kinds_of_needed_properties(schema, kind):
    assert kinds({**of(a=schema), "required": ["a"]}) == {"a": kind}
    assert kinds(of(a=schema)) == {"a": "any"}


def test_strict_only_where_openai_takes_it():
    def is_strict(schema):
        return response_format("s", schema)["json_schema"]["strict"]

    whole = {**of(a=WORD), "required": ["a"], "additionalProperties": False}
    assert is_strict(whole)
    assert not is_strict({**whole, "additionalProperties": True})
    assert not is_strict({**whole, "required": []})
    inner = {
        **of(b=of(c=WORD)),
        "required": ["b"],
        "additionalProperties": False,
    }
    assert not is_strict(inner)


LEAVES = st.sampled_from(
    [WORD, {"type": "integer", "minimum": 0}, {"enum": ["a", "b"]}, {"type": "boolean"}]
)  # fmt: skip
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda one: {"type": "array", "items": one}),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda ones: of(**{f"p{n}": one for n, one in enumerate(ones)})
        ),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda ones: {"anyOf": ones}
        ),
    ),
    max_leaves=8,
)


@given(schema=NESTED)
def test_a_schema_without_references_stays_as_it_is(schema):
    whole = of(a=schema)
    assert held(whole) == whole
    jsonschema.Draft202012Validator.check_schema(whole)
    assert json.loads(schemas.in_words(whole).partition("\n")[2]) == whole


def test_words_for_other_programs_are_left_out():
    schema = {
        "$id": "https://example.org/grade",
        **of(a={"type": "string", "deprecated": True, "writeOnly": True}),
        "discriminator": {"propertyName": "a"},
    }
    assert held(schema) == of(a=WORD)


@pytest.mark.parametrize(
    ("reference", "more"),
    [
        ("#/$defs/a~1b", {"$defs": {"a/b": WORD}}),
        ("#/$defs/a~0b", {"$defs": {"a~b": WORD}}),
        ("#/$defs/a%20b", {"$defs": {"a b": WORD}}),
        ("#/$defs/a/anyOf/1", {"$defs": {"a": {"anyOf": [{}, WORD]}}}),
    ],
)
def test_references_are_json_pointers(reference, more):
    assert held({**of(a={"$ref": reference}), **more}) == of(a=WORD)
    with pytest.raises(ValueError, match="stands nowhere"):
        held({**of(a={"$ref": reference + "/9"}), **more})


def test_a_mistake_of_shape_is_said_as_such():
    for schema, said in (
        ({"type": "object", "properties": ["a"]}, "no mapping of names"),
        (of(a={"anyOf": {}}), "no list of schemas"),
        (of(a={"$ref": "#"}), "holds itself"),
    ):
        with pytest.raises(ValueError, match=said):
            held(schema)


def test_what_a_model_judges_itself_is_left_to_it():
    names = {"type": "object", "propertyNames": WORD, "minProperties": 1}
    schema = of(a=names, b={"type": "string", "pattern": r"^\p{L}+$"})
    with pytest.raises(ValueError, match="propertyNames: a keyword"):
        held(schema)
    assert held(schema, loose=True) == of(a={"type": "object"}, b=WORD)
