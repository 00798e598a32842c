"""A step's `schema`: asked for in each server's words, held to here, mended once."""

from __future__ import annotations

import json
import sys

import pytest
from aiohttp import web

import synth
from synth.calls.journal import Journal
from synth.core.errors import Unreadable, WrongUse
from synth.packs.pack import Pack
from synth.packs.reply_schema import reader
from synth.parsers.json_object import JsonObject
from synth.pipeline.plan import make_plan
from synth.pipeline.prepare import RunConfig, prepare
from tests.conftest import chat, serving
from tests.teachers.test_capacity import (
    LLAMA,
    TRANSFORMERS,
    VLLM,
    saying,
)

SCHEMA = {
    "type": "object",
    "properties": {
        "grade": {"type": "integer", "minimum": 1, "maximum": 5},
        "why": {"type": "string"},
        "note": {"type": "string"},
    },
    "required": ["grade", "why"],
    "additionalProperties": False,
}
ROWS = [{"text": f"Text {n}."} for n in range(6)]
GOOD = '{"grade": 4, "why": "Clear."}'
MODEL = """
from typing import Literal
from pydantic import BaseModel, field_validator

class Part(BaseModel):
    name: str

class Graded(BaseModel):
    grade: Literal[1, 2, 3, 4, 5]
    why: str
    parts: list[Part] = []

    @field_validator("why")
    @classmethod
    def is_a_sentence(cls, text):
        if not text.endswith("."):
            raise ValueError("no sentence")
        return text

class Plain:
    pass
"""


def pack(folder, schema=SCHEMA, **more):
    folder.mkdir(exist_ok=True)
    step = {"name": "grade", "schema": schema, **more}
    spec = {
        "name": "grades",
        "version": 1,
        "about": "Grades of texts.",
        "inputs": {"text": "text"},
        "steps": [step],
        "exports": {"sft": {"prompt": "{{ text }}\n", "completion": "{{ grade }}"}},
    }  # fmt: skip
    (folder / "pack.yaml").write_text(json.dumps(spec))
    (folder / "grade.user.j2").write_text("Grade this: {{ text }}\n")
    return folder


def ran(folder, server, output, rows=ROWS, **options):
    return synth.run(
        folder,
        rows,
        teacher=options.pop("teacher", "openai/m"),
        api_base=server.url,
        api_key_env="",
        output=output,
        **options,
    )


def test_fields_follow_from_the_schema(tmp_path):
    step = Pack.load(pack(tmp_path)).steps[0]
    assert step.produces() == {"grade": "number", "why": "text", "note": "any"}
    assert step.response_format["json_schema"]["schema"] == SCHEMA
    assert step.holds_schema


def test_a_row_has_what_the_schema_names(tmp_path):
    with serving(lambda *_: chat(f"Here:\n```json\n{GOOD}\n```")) as server:
        run = ran(pack(tmp_path / "p"), server, tmp_path / "o")
    assert run.counts["kept"] == len(ROWS)
    row = run.kept[0]
    assert (row["grade"], row["why"], row["note"]) == (4, "Clear.", None)


def test_what_does_not_fit_is_asked_again_once_and_counted(tmp_path):
    def answer(body, _):
        repair = body["messages"][-1]["content"]
        wrong = "Text 1" in body["messages"][0]["content"]
        never = "Text 2" in body["messages"][0]["content"]
        if never or (wrong and "not in the form" not in repair):
            return chat('{"grade": 9, "why": "Good."}')
        return chat(GOOD)

    folder = pack(tmp_path / "p", repairs=1, sampling={"max_tokens": 50})
    config = RunConfig(teachers={"teacher": "openai/m"}, api_base="http://127.0.0.1:1/v1", price="1,1")  # fmt: skip
    plan = make_plan(prepare(folder, ROWS, tmp_path / "plan", config)).summary()
    assert plan["calls"] == 12
    with serving(answer) as server:
        run = ran(folder, server, tmp_path / "o", price="1,1", budget=1.0)
        assert len(server.bodies) == 6 + 2
        repair = next(
            body["messages"][-1]["content"]
            for body in server.bodies
            if len(body["messages"]) > 1
        )
        assert "9 is greater than the maximum of 5" in repair
        again = ran(folder, server, tmp_path / "o", price="1,1", budget=1.0)
        assert len(server.bodies) == 6 + 2
    assert run.counts["kept"] == again.counts["kept"] == 5
    assert run.counts["dropped"] == {"misfit": 1}
    assert Journal(tmp_path / "o" / "journal").totals.replies == 8
    assert plan["usd"] > 8 * 18 / 1e6


@pytest.mark.parametrize(
    ("says", "fields", "in_words"),
    [
        (LLAMA, {"json_schema"}, False),
        (VLLM, {"response_format", "structured_outputs"}, False),
        (TRANSFORMERS, {"response_format"}, True),
    ],
)
def test_each_server_is_asked_in_its_own_words(
    tmp_path, says, fields, in_words
):
    with saying(says) as server:
        ran(
            pack(tmp_path / "p"),
            server,
            tmp_path / "o",
            ROWS[:1],
            teacher="openai/qwen",
        )
    [body] = server.posted
    found = {
        "response_format",
        "json_schema",
        "structured_outputs",
    } & body.keys()
    assert found == fields
    # Models write the properties in this order.
    spelled = json.dumps(SCHEMA["properties"])
    assert all(spelled in json.dumps(body[name]) for name in found)
    assert ("JSON Schema" in body["messages"][-1]["content"]) is in_words


def test_a_server_that_refuses_schemas_is_told_in_words(tmp_path):
    def answer(body, _):
        if "response_format" in body:
            said = {"error": {"message": "'response_format' is not supported", "code": 400}}  # fmt: skip
            return web.json_response(said, status=400)
        assert body["messages"][-1]["content"].count("JSON Schema") == 1
        return chat(GOOD)

    with serving(answer) as server:
        run = ran(pack(tmp_path / "p"), server, tmp_path / "o", concurrency=1)
        assert run.counts["kept"] == 6
        # One refusal teaches, and a later run knows.
        assert len(server.bodies) == 7
        ran(
            pack(tmp_path / "p"),
            server,
            tmp_path / "o",
            [{"text": "Another."}],
            replace=True,
        )
        assert len(server.bodies) == 8
    adapted = (tmp_path / "o" / "journal" / "adapted.json").read_text()
    assert "JSON Schemas" in adapted


def test_a_format_that_nobody_checks_is_never_told_in_words(tmp_path):
    folder = pack(tmp_path / "p")
    spec = json.loads((folder / "pack.yaml").read_text())
    step = spec["steps"][0]
    step |= {"parser": {"name": "whole", "into": "said"}, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": step.pop("schema")}}}  # fmt: skip
    (folder / "pack.yaml").write_text(json.dumps(spec).replace("{{ grade }}", "{{ text }}"))  # fmt: skip

    def answer(body, _):
        said = {"error": {"message": "'response_format' is not supported"}}
        return web.json_response(said, status=400)

    with serving(answer) as server:
        run = ran(folder, server, tmp_path / "o")
    assert run.exit_code == 5
    assert "takes no response_format" in str(run.stopped)


def test_a_file_of_the_pack(tmp_path):
    folder = pack(tmp_path / "p", "grade.json")
    (folder / "grade.json").write_text(json.dumps(SCHEMA))
    assert "grade" in Pack.load(folder).steps[0].produces()
    for name in ("../grade.json", "/etc/x.json", "none.json"):
        with pytest.raises(WrongUse):
            Pack.load(pack(folder, name))
    (folder / "grade.json").unlink()
    (folder / "grade.json").symlink_to("/etc/hostname")
    with pytest.raises(WrongUse, match="link"):
        Pack.load(pack(folder, "grade.json"))


@pytest.fixture
def models(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("my_models", None)


def test_a_pydantic_model_that_the_user_allows(tmp_path, models):
    folder = pack(tmp_path / "p", "my_models:Graded")
    with pytest.raises(WrongUse, match="--plugin my_models"):
        Pack.load(folder)
    step = Pack.load(folder, plugins=["my_models"]).steps[0]
    assert step.produces()["grade"] == "number"
    assert step.produces()["parts"] == "any"
    assert "$ref" not in json.dumps(step.response_format)
    replies = [
        GOOD,
        '{"grade": 4, "why": "no stop"}',
        '{"grade": 7, "why": "x."}',
    ]

    def answer(body, _):
        number = int(body["messages"][0]["content"].split("Text ")[1][0])
        return chat(replies[number % 3])

    with serving(answer) as server:
        run = ran(folder, server, tmp_path / "o", plugins=["my_models"])
    assert run.counts["kept"] == 2
    details = {row["detail"] for row in run.dropped}
    assert any("no sentence" in detail for detail in details)


@pytest.mark.parametrize(
    "schema", ["my_models:Plain", "my_models:Missing", "words", "a:b:c"]
)
def test_what_is_no_model_says_so(tmp_path, models, schema):
    with pytest.raises(WrongUse, match=r"pack.yaml:\d"):
        Pack.load(pack(tmp_path / "p", schema), plugins=["my_models"])


@pytest.mark.parametrize(
    "more",
    [
        {"parser": "whole"},
        {"response_format": {"type": "json_object"}},
        {
            "schema": {
                "type": "object",
                "properties": {"a": {"$ref": "http://x"}},
            }
        },
        {
            "schema": {
                "type": "object",
                "properties": {"id": {"type": "string"}},
            }
        },
        {"schema": {"type": "object", "properties": {"a": {"type": "no"}}}},
        {"schema": {"type": "object", "properties": {"a": {}}, "required": 5}},
        {"schema": None},
    ],
)
def test_mistakes_are_said_with_their_line(tmp_path, more):
    with pytest.raises(WrongUse, match=r"pack.yaml:\d"):
        Pack.load(pack(tmp_path, more.get("schema", SCHEMA), **{k: v for k, v in more.items() if k != "schema"}))  # fmt: skip


def test_a_slow_pattern_costs_seconds_and_ends(tmp_path):
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a|a)*$"}}, "required": ["a"]}  # fmt: skip
    folder = pack(tmp_path, schema)
    text = (folder / "pack.yaml").read_text()
    (folder / "pack.yaml").write_text(text.replace("{{ grade }}", "{{ a }}"))
    parser = Pack.load(folder).steps[0].parsers[0][1]
    with pytest.raises(Unreadable, match="misfit"):
        parser.parse(json.dumps({"a": "a" * 40 + "b"}), {})


MODELS = """
import sys
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Literal, Optional, Union

from pydantic import BaseModel, Field, field_validator

class Color(Enum):
    RED = "red"

class Cat(BaseModel):
    kind: Literal["cat"]

class Dog(BaseModel):
    kind: Literal["dog"]
    name: Optional[str] = None

class Pet(BaseModel):
    pet: Union[Cat, Dog] = Field(discriminator="kind")
    shades: dict[Color, int] = {}
    word: Annotated[str, Field(pattern=r"^\\p{L}+$")]

class Called(BaseModel):
    of: Callable[[int], int]

class Open(BaseModel):
    of: "Missing"

class Raising(BaseModel):
    a: int

    @field_validator("a")
    @classmethod
    def judge(cls, value):
        if value == 1:
            raise TypeError("one")
        if value == 2:
            sys.exit(3)
        return value
"""


@pytest.fixture
def reading(tmp_path, monkeypatch):
    """What reads a model of MODELS by its name."""
    name = f"models_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODELS)
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda model: reader(f"{name}:{model}", tmp_path, "here", (name,))
    sys.modules.pop(name, None)


def test_models_with_unions_enums_and_patterns_of_rust(reading):
    pets = reading("Pet")
    good = {"pet": {"kind": "dog"}, "shades": {"red": 2}, "word": "ab"}
    assert not pets.misfit(good)
    assert "word" in pets.misfit({**good, "word": "a1"})
    assert "shades" in pets.misfit({**good, "shades": {"green": 2}})
    assert "pet" in pets.misfit({**good, "pet": {"kind": "cow"}})


@pytest.mark.parametrize("name", ["Called", "Open"])
def test_a_model_without_a_schema_is_named(reading, name):
    with pytest.raises(WrongUse, match=f"{name}: .*wanted a schema"):
        reading(name)


def test_a_validator_that_raises_costs_its_own_reply(reading):
    raising = reading("Raising")
    assert not raising.misfit({"a": 3})
    assert raising.misfit({"a": 1}) == "$: Raising raised TypeError: one"
    assert raising.misfit({"a": 2}) == "$: Raising raised SystemExit: 3"


@pytest.mark.parametrize("number", ["1" * 400, "NaN", "1e999"])
def test_a_number_that_no_schema_measures_is_a_misfit(number):
    tenths = {"type": "number", "multipleOf": 0.1}
    parser = JsonObject(fits={"type": "object", "properties": {"a": tenths}})
    with pytest.raises(Unreadable, match="misfit"):
        parser.parse(f'{{"a": {number}}}', {})
