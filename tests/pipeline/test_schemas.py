"""Steps that read JSON send their schema where the user says so, and it asks for what is read."""

from __future__ import annotations

import jsonschema
import pytest

import synth
from synth.core.errors import Unreadable
from synth.packs.pack import pack_names
from synth.parsers.json_object import JsonObject
from tests.conftest import chat
from tests.shipped import shipped

ROWS = [{"text": f"Ann went to Rome in 19{n:02}."} for n in range(4)]
REPLY = '{"entities": [{"entity": "Ann", "type": "person"}]}'


def only(kept, schema):
    """A recorded object without the keys that nobody asked for."""
    if schema.get("type") == "array":
        return [only(element, schema["items"]) for element in kept]
    if schema.get("type") != "object":
        return kept
    return {
        key: only(kept[key], inner)
        for key, inner in schema["properties"].items()
    }


def test_what_a_step_reads_fits_its_schema():
    steps = [
        (pack, step.parsers[0][1])
        for pack in map(shipped, pack_names())
        for step in pack.steps
        if isinstance(step.parsers[0][1], JsonObject)
    ]
    assert len(steps) > 3
    for pack, parser in steps:
        schema = parser.schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        seen = 0
        for case in pack.cases():
            for reply in case.get("replies", ()):
                try:
                    fields = parser.parse(reply["text"], {})
                except Unreadable:
                    continue
                jsonschema.validate(only(fields, schema), schema)
                seen += 1
        assert seen, pack.name


def test_a_schema_refuses_what_the_parser_does_not_read():
    parser = JsonObject(keys={"score": "number", "names": {"name": "text"}})
    for text in (
        {"score": "4", "names": []},
        {"names": []},
        {"score": 4, "names": [{}]},
        {"score": 4, "names": [], "why": "x"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(text, parser.schema())


def test_schemas_are_sent_only_where_the_user_says_so(tmp_path, serve):
    def ran(folder, **options):
        return synth.run(
            "entity_types",
            ROWS,
            teacher="openai/m",
            api_base=server.url,
            api_key_env="",
            output=tmp_path / folder,
            **options,
        )

    with serve(lambda body, count: chat(REPLY)) as server:
        ran("without")
        assert all("response_format" not in body for body in server.bodies)
        before = len(server.bodies)
        run = ran("with", schemas=True)
        [schema] = {
            body["response_format"]["json_schema"]["name"]
            for body in server.bodies[before:]
        }
        assert schema == "find"
        assert run.counts["kept"] == len(ROWS)
        assert len(server.bodies) == before + len(ROWS)
        # The same command asks nothing; without the flag it is another question.
        ran("with", schemas=True)
        assert len(server.bodies) == before + len(ROWS)
        sent = server.bodies[-1]["response_format"]["json_schema"]["schema"]
        assert sent["required"] == ["entities"]


def test_a_format_of_the_packs_own_stays(tmp_path, serve):
    own = {"type": "json_object"}
    with serve(lambda body, count: chat(REPLY)) as server:
        synth.run(
            "entity_types",
            ROWS,
            teacher="openai/m",
            api_base=server.url,
            api_key_env="",
            output=tmp_path,
            schemas=True,
            overrides={"find.response_format": own},
        )
        assert {body["response_format"]["type"] for body in server.bodies} == {
            "json_object"
        }


def test_steps_that_read_no_json_send_nothing(tmp_path, serve):
    with serve(lambda body, count: chat("2 + 2 = 4\n#### 4")) as server:
        synth.run(
            "cot",
            [{"question": "What is 2 + 2?", "target": "4"}],
            teacher="openai/m",
            api_base=server.url,
            api_key_env="",
            output=tmp_path,
            schemas=True,
        )
        assert all("response_format" not in body for body in server.bodies)
