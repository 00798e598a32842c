"""Steps whose teacher calls tools: what is sent, what answers, and what is never paid twice."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

import synth
from synth.core.errors import WrongUse
from synth.core.records import Call
from synth.packs.pack import Pack
from synth.packs.tooling import MOST_ANSWER, Misuse, spelled
from synth.pipeline.plan import make_plan
from synth.pipeline.prepare import prepare
from synth.pipeline.preview import describe
from tests.conftest import chat, rest_long, serving, write
from tests.pipeline.killed import asked_until_killed, command, published
from tests.pipeline.test_run import make_pack

PACK = """
name: shelf
version: 1
about: Somebody asks for a book, and an assistant looks for it.
inputs:
  wish: text
  shelf: any
steps:
  - name: ask
    sampling: {max_tokens: 100}
    most_calls: 3
    tools:
      - name: find
        description: Says where a book is.
        parameters:
          type: object
          properties: {title: {type: string}}
          required: [title]
          additionalProperties: false
      - name: lend
        description: Lends a book.
        parameters:
          type: object
          properties: {title: {type: string}, reader: {type: string}}
          required: [title]
          additionalProperties: false
    world:
      start: shelf
      into: after
      rules:
        - {tool: find, answer: "{{ state[arguments.title] | default('nowhere') }}"}
        - tool: lend
          when: "{{ state[arguments.title] | default('') == 'in' }}"
          set: {"{{ arguments.title }}": "lent to {{ arguments.reader or 'somebody' }}"}
          answer: "Lent: {{ state[arguments.title] }}."
        - {tool: lend, answer: "It is not in."}
    parser: {name: whole, into: answer}
    filters: [finish_reason]
exports:
  messages: {system: "", each: ask}
"""
# The same tools without the world.
BARE = yaml.safe_load(PACK)
del BARE["steps"][0]["world"]
BARE["inputs"] = {"wish": "text"}
FILES = {"pack.yaml": PACK, "ask.user.j2": "I want {{ wish }}."}
UNBOUND = {**FILES, "pack.yaml": yaml.dump(BARE)}
ROW = {"id": "a", "wish": "Emma", "shelf": {"Emma": "in", "Ulysses": "lent"}}

MODULE = """
import asyncio, dataclasses, datetime, os, sys, time

def note(name, title):
    with open(os.environ["TOOL_LOG"], "a") as file:
        file.write(f"{name} {title}\\n")

def find(title):
    note("find", title)
    return {"title": title, "place": 3}

async def lend(title, reader=None):
    note("lend", title)
    await asyncio.sleep(0.01)
    return f"lent to {reader}"

def hostile(title, reader=None):
    note("hostile", title)
    return HOW[title]()

def cyclic():
    one = []
    one.append(one)
    return one

def deep():
    one = []
    for _ in range(100_000):
        one = [one]
    return one

def raises(error):
    raise error

def generator():
    while True:
        yield 1

async def asynchronous():
    yield 1
    yield 2

@dataclasses.dataclass
class Book:
    title: str
    at: datetime.date

def positional(title, /, reader=None):
    return title

def narrow(title):
    return title

def eager(title, reader, shelf):
    return title

class Silent(Exception):
    def __str__(self):
        raise ValueError

HOW = {
    "huge": lambda: "x" * 3_000_000,
    "cyclic": cyclic,
    "deep": deep,
    "endless": lambda: time.sleep(600),
    "busy": lambda: [1 for _ in iter(int, 1)],
    "raises": lambda: raises(ValueError("no \\x1b[31m")),
    "silent": lambda: raises(Silent()),
    "exits": lambda: sys.exit(3),
    "dies": lambda: os._exit(1),
    "prints": lambda: print("x" * 100_000),
    "surrogate": lambda: "a\\ud800b",
    "bytes": lambda: b"\\xff",
    "nan": lambda: float("nan"),
    "none": lambda: None,
    "empty": lambda: "",
    "object": lambda: object(),
    "keys": lambda: {(1, 2): 3},
    "interrupt": lambda: raises(KeyboardInterrupt()),
    "closes": lambda: os.close(1),
    "generator": generator,
    "asynchronous": asynchronous,
    "book": lambda: [Book("Emma", datetime.date(1815, 12, 23))],
    "set": lambda: {1, 2},
    "lines": lambda: "a\\n{\\"ready\\": true}\\nb",
}
"""


def calling(*calls: tuple[str, Any], said: str = "") -> dict[str, Any]:
    """A reply that calls tools; arguments that are texts stay as they are."""
    reply = chat(said)
    reply["choices"][0]["finish_reason"] = "tool_calls"
    reply["choices"][0]["message"]["tool_calls"] = [
        {
            "id": f"x{place}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": arguments
                if isinstance(arguments, str)
                else json.dumps(arguments),
            },
        }
        for place, (name, arguments) in enumerate(calls)
    ]
    return reply


def results(body) -> list[str]:
    """What the tools answered so far."""
    return [m["content"] for m in body["messages"] if m["role"] == "tool"]


def asks(tmp_path, answer, files=FILES, rows=(ROW,), out="out", **more):
    folder = make_pack(tmp_path / "pack", files)
    with serving(answer) as server:
        run = synth.run(
            folder,
            list(rows),
            teacher=more.pop("teacher", "openai/m"),
            api_base=server.url,
            output=tmp_path / out,
            same_teacher=True,
            **more,
        )
        return run, server.bodies


def lends(body, count):
    """Finds two books at once, lends the one that is in, and says so."""
    done = len(results(body))
    if not done:
        titles = ("Emma", "Ulysses")
        return calling(*[("find", {"title": title}) for title in titles])
    if done == 2:
        return calling(("lend", {"title": "Emma", "reader": "Ann"}), said="So.")
    return chat(f"<think>hm</think>Done: {results(body)[-1]}")


def test_calls_are_answered_by_the_world_of_the_pack(tmp_path):
    run, bodies = asks(tmp_path, lends)
    (row,) = run.kept
    assert row["answer"] == "Done: Lent: lent to Ann."
    assert json.loads(row["after"]) == {
        "Emma": "lent to Ann",
        "Ulysses": "lent",
    }
    assert len(bodies) == 3
    first, second, third = bodies
    assert [tool["function"]["name"] for tool in first["tools"]] == [
        "find",
        "lend",
    ]
    assert second["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": f"call0000{n}",
                    "type": "function",
                    "function": {
                        "name": "find",
                        "arguments": f'{{"title":"{title}"}}',
                    },
                }
                for n, title in enumerate(("Emma", "Ulysses"))
            ],
        },
        {"role": "tool", "tool_call_id": "call00000", "content": "in"},
        {"role": "tool", "tool_call_id": "call00001", "content": "lent"},
    ]
    assert "tool_choice" not in second
    # All three calls are made: the teacher is told that it may call no more.
    assert third["tool_choice"] == "none"
    assert [turn["role"] for turn in row["ask"]] == [
        "user", "assistant", "tool", "tool", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert run.info["calls"]["asked"] == 3
    again, more = asks(tmp_path, lends)
    assert more == []
    assert list(again.kept) == list(run.kept)


def test_calls_that_a_server_leaves_in_the_text_are_read(tmp_path):
    """Of a server that does not read what Qwen and Hermes write between tags."""

    def answer(body, count):
        reply = lends(body, count)
        message = reply["choices"][0]["message"]
        calls = message.pop("tool_calls", [])
        reply["choices"][0]["finish_reason"] = "stop"
        for call in calls:
            function = call["function"]
            inside = {
                "name": function["name"],
                "arguments": json.loads(function["arguments"]),
            }
            text = f"<tool_call>\n{json.dumps(inside)}\n</tool_call>\n"
            message["content"] += text
        if count == 1:
            message["content"] = (
                "<think>a <tool_call>?</think>" + message["content"]
            )
        return reply

    run, bodies = asks(tmp_path, answer)
    by_field, _ = asks(tmp_path, lends, out="other")
    assert [row["ask"] for row in run.kept] == [
        row["ask"] for row in by_field.kept
    ]
    assert len(bodies) == 3


@pytest.mark.parametrize(
    "written",
    [
        "{call}",
        # Qwen2.5-Coder, whose chat template shows two braces.
        "{{{call}}}",
        "```json\n{call}\n```",
        "[{call}]",
        "[TOOL_CALLS] [{call}]",
        "<|python_tag|>{call}",
        "Let me see.\n[TOOL_CALLS][{call}]</s>",
    ],
)
def test_calls_that_are_the_whole_text_are_read(tmp_path, written):
    call = '{"name": "find", "arguments": {"title": "Emma"}}'

    def answer(body, count):
        return chat("Done." if results(body) else written.format(call=call))

    run, bodies = asks(tmp_path, answer)
    assert len(results(bodies[1])) == 1
    assert not results(bodies[1])[0].startswith("error")
    assert run.kept[0]["answer"] == "Done."


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Emma", "arguments": {"title": "Emma"}}',
        'It is {"name": "find", "arguments": {"title": "Emma"}}.',
        '{"name": "find"}',
        '[{"name": "find", "arguments": {}}, {"name": "Emma", "arguments": {}}]',
    ],
)
def test_json_that_calls_no_declared_tool_is_an_answer(tmp_path, text):
    run, bodies = asks(tmp_path, lambda body, count: chat(text))
    assert len(bodies) == 1
    assert run.kept[0]["answer"] == text


def test_a_tag_without_a_call_is_a_mistake(tmp_path):
    def answer(body, count):
        return chat(
            "Sorry." if results(body) else "<tool_call>{find</tool_call>"
        )

    run, bodies = asks(tmp_path, answer)
    assert results(bodies[1])[0].startswith("error: there is no tool")
    assert run.kept[0]["answer"] == "Sorry."


MISTAKES = [
    (("steal", {}), "there is no tool 'steal'; there is find, lend"),
    (("find\x1b[31m\u202e", {}), "there is no tool"),
    (("find" * 1000, {}), "there is no tool"),
    (("find", "{"), "the arguments are no JSON"),
    (("find", "[1]"), "the arguments are no JSON object"),
    (("find", "NaN"), "the arguments are no JSON"),
    (("find", '{"title": "a", "title": "b"}'), "no JSON: title"),
    (("find", {}), "'title' is a required property"),
    (("find", {"title": 3}), "is not of type 'string'"),
    (("find", {"title": "a", "x": "\x1b[31m"}), "was unexpected"),
    (("find", "[" * 100_000), "arguments of 100,000 characters"),
    (("find", "[" * 60_000), "the arguments are no JSON"),
    (("find", json.dumps({"title": "x" * 70_000})), "at most 65,536"),
]


@pytest.mark.parametrize(("call", "says"), MISTAKES)
def test_a_mistaken_call_is_answered_with_what_is_wrong(tmp_path, call, says):
    def answer(body, count):
        return chat("Sorry.") if results(body) else calling(call)

    run, bodies = asks(tmp_path, answer)
    assert run.counts["kept"] == 1
    (said,) = results(bodies[1])
    assert said.startswith("error: ")
    assert says in said
    assert "\x1b" not in said
    assert len(said) < 400
    function = bodies[1]["messages"][1]["tool_calls"][0]["function"]
    # What goes back is what any provider takes.
    assert function["name"].replace("-", "").replace("_", "").isalnum()
    assert len(function["name"]) <= 64
    assert isinstance(json.loads(function["arguments"]), dict)


@pytest.mark.parametrize("at_once", [1, 2, 5, 1000])
def test_who_calls_without_end_is_stopped(tmp_path, at_once):
    def answer(body, count):
        return calling(*[("find", {"title": "Emma"})] * at_once)

    run, bodies = asks(tmp_path, answer)
    assert run.counts["dropped"] == {"too_many_calls": 1}
    assert 2 <= len(bodies) <= 4
    assert len(results(bodies[-1])) == 3
    assert bodies[-1]["tool_choice"] == "none"


def test_a_repair_and_calls_share_one_loop(tmp_path):
    spec = yaml.safe_load(PACK)
    spec["steps"][0]["repairs"] = 1
    spec["steps"][0]["parser"] = {"name": "tagged", "tags": ["answer"]}
    files = {**FILES, "pack.yaml": yaml.dump(spec)}

    def answer(body, count):
        if not results(body):
            return calling(("find", {"title": "Emma"}))
        if body["messages"][-1]["role"] == "tool":
            return chat("It is in.")
        return chat("<answer>It is in.</answer>")

    run, bodies = asks(tmp_path, answer, files)
    (row,) = run.kept
    assert row["answer"] == "It is in."
    assert len(bodies) == 3
    assert "not in the form" in bodies[2]["messages"][-1]["content"]
    # What could not be read is no part of the conversation.
    assert [turn["role"] for turn in row["ask"]] == [
        "user", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert "asked again" in row["meta"]["mended"]


def test_tools_within_a_talk(tmp_path):
    spec = yaml.safe_load(PACK)
    spec["steps"][0]["talk"] = {"teacher": "asker", "turns": 2}
    files = {
        **FILES,
        "pack.yaml": yaml.dump(spec),
        "ask.second.user.j2": "You want a book.",
    }

    def answer(body, count):
        if "You want" in body["messages"][0]["content"]:
            assert "tools" not in body
            assert all(m["role"] != "tool" for m in body["messages"])
            return chat("And then?")
        if body["messages"][-1]["role"] == "user":
            return calling(("find", {"title": "Emma"}))
        return chat(f"Found {len(results(body))}.")

    teachers = {"teacher": "openai/m", "asker": "openai/n"}
    run, bodies = asks(tmp_path, answer, files, teacher=teachers)
    said = [(t["role"], t["content"]) for t in run.kept[0]["ask"]]
    assert said == [
        ("user", "I want Emma."),
        ("assistant", ""),
        ("tool", "in"),
        ("assistant", "Found 1."),
        ("user", "And then?"),
        ("assistant", ""),
        ("tool", "in"),
        ("assistant", "Found 2."),
    ]
    assert len(bodies) == 5


@pytest.fixture
def tools(tmp_path, monkeypatch) -> Path:
    """A module of the user's, and the log of what was called in it."""
    (tmp_path / "shelf_tools.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setenv("TOOL_LOG", str(log))
    return log


BOUND = {"find": "shelf_tools:find", "lend": "shelf_tools:lend"}


def test_functions_of_the_users_answer_and_are_journaled(tmp_path, tools):
    more = {"files": UNBOUND, "tools": BOUND, "plugins": ["shelf_tools"]}
    run, bodies = asks(tmp_path, lends, **more)
    assert results(bodies[-1]) == [
        '{"title": "Emma", "place": 3}',
        '{"title": "Ulysses", "place": 3}',
        "lent to Ann",
    ]
    called = tools.read_text()
    assert called.splitlines() == ["find Emma", "find Ulysses", "lend Emma"]
    again, more_bodies = asks(tmp_path, lends, **more)
    assert (more_bodies, tools.read_text()) == ([], called)
    assert list(again.kept) == list(run.kept)
    # Another run that reuses the journal calls nothing, either.
    other, none = asks(
        tmp_path, lends, out="other", reuse=[str(tmp_path / "out")], **more
    )
    assert (none, tools.read_text()) == ([], called)
    assert other.counts["kept"] == 1


def test_equal_conversations_call_a_tool_once(tmp_path, tools):
    rows = [{"id": n, "wish": "Emma"} for n in "abc"]
    more = {"files": UNBOUND, "tools": BOUND, "plugins": ["shelf_tools"]}
    run, bodies = asks(tmp_path, lends, rows=rows, **more)
    assert run.counts["kept"] == 3
    assert len(bodies) == 3
    assert len(tools.read_text().splitlines()) == 3


def test_a_role_plays_a_tool(tmp_path):
    def answer(body, count):
        last = body["messages"][-1]["content"]
        if "You play the tool" in last:
            assert "tools" not in body
            return chat("in" if "answered:" not in last else "as before")
        return lends(body, count)

    bound = {"find": "player", "lend": "player"}
    teachers = {"teacher": "openai/m", "player": "openai/n"}
    more = {"files": UNBOUND, "tools": bound, "teacher": teachers}
    run, bodies = asks(tmp_path, answer, **more)
    assert results(bodies[-1]) == ["in", "as before", "as before"]
    assert len(bodies) == 6
    assert run.info["steps"]["ask.tool"]["calls"] == 3
    assert asks(tmp_path, answer, **more)[1] == []


UNFIT = [
    ({}, "tool 'find', which nothing answers"),
    ({"find": "teacher"}, "tool 'lend', which nothing answers"),
    ({"steal": "teacher"}, "tool 'steal'"),
    ({"find": "os:system", "lend": "teacher"}, "import string"),
    ({"find": "shelf_tools:HOW", "lend": "teacher"}, "cannot be called"),
    ({"find": "shelf_tools:nothing", "lend": "teacher"}, "has no nothing"),
    (
        {"find": "shelf_tools:positional", "lend": "teacher"},
        "positional.*takes title by name",
    ),
    (
        {"find": "teacher", "lend": "shelf_tools:narrow"},
        "unexpected keyword argument 'reader'",
    ),
    (
        {"find": "teacher", "lend": "shelf_tools:eager"},
        "missing a required argument",
    ),
    ({"find": "openai/m", "lend": "teacher"}, "a role that plays the tool"),
    ({"find": "player", "lend": "player"}, "none for the role 'player'"),
]


@pytest.mark.parametrize(("bound", "says"), UNFIT)
def test_nothing_is_bound_that_the_user_did_not_bind(
    tmp_path, tools, bound, says
):
    with pytest.raises(WrongUse, match=says):
        asks(
            tmp_path,
            lambda body, count: pytest.fail("asked"),
            UNBOUND,
            tools=bound,
            plugins=["shelf_tools"],
        )


HOSTILE = [
    "huge", "cyclic", "deep", "endless", "busy", "raises", "silent", "exits", "dies", "prints",
    "surrogate", "bytes", "nan", "none", "empty", "object", "keys", "interrupt", "closes", "lines",
    "generator", "asynchronous", "book", "set",
]  # fmt: skip


def test_hostile_functions_cost_their_own_call(tmp_path, tools):
    """Functions that hang, die, raise or return what is no text, each in a row of its own."""
    spec = json.loads(json.dumps(BARE))
    for tool in spec["steps"][0]["tools"]:
        tool["seconds"] = 1
    files = {**UNBOUND, "pack.yaml": yaml.dump(spec)}

    def answer(body, count):
        if results(body):
            return chat(f"It says: {results(body)[-1][:500]}")
        title = body["messages"][-1]["content"].split()[2].strip(".")
        return calling(("find", {"title": title}))

    run, bodies = asks(
        tmp_path,
        answer,
        files,
        rows=[{"id": way, "wish": way} for way in HOSTILE],
        tools={"find": "shelf_tools:hostile", "lend": "teacher"},
        plugins=["shelf_tools"],
    )
    assert run.counts["kept"] == len(HOSTILE)
    said = {row["id"]: row["answer"] for row in run.kept}
    assert all(
        len(results(b)[0]) < MOST_ANSWER + 100 for b in bodies if results(b)
    )
    assert "took more than 1 s, or died" in said["endless"]
    assert "took more than 1 s, or died" in said["busy"]
    assert "took more than 1 s, or died" in said["dies"]
    assert "error: ValueError: no" in said["raises"]
    assert "error: SystemExit: 3" in said["exits"]
    assert "error: ValueError: Circular" in said["cyclic"]
    assert "a object, which is neither text nor JSON" in said["object"]
    assert said["generator"].startswith("It says: [1, 1, 1,")
    assert said["asynchronous"] == said["set"] == "It says: [1, 2]"
    assert said["book"] == 'It says: [{"title": "Emma", "at": "1815-12-23"}]'
    assert "error: " in said["deep"]
    assert said["nan"] == said["none"] == "It says: null"
    assert said["empty"] == "It says: (nothing)"
    assert sorted(tools.read_text().split()[1::2]) == sorted(HOSTILE)
    before = tools.read_text()
    assert before.count("hostile") == len(HOSTILE)


NAMES = st.one_of(st.sampled_from(["find", "lend"]), st.text(max_size=80))
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["title", "reader", "x"]), inner)
    ),
    max_leaves=8,
)
ARGUMENTS = st.one_of(st.text(max_size=60), VALUES.map(json.dumps))


@settings(max_examples=100, deadline=None)
@given(NAMES, ARGUMENTS)
def test_100_hostile_calls_are_read_or_said_to_be_mistaken(
    tmp_path_factory, name, arguments
):
    tooling = _tooling(tmp_path_factory)
    try:
        tool, read = tooling.read(Call(name, arguments))
    except Misuse as misuse:
        assert str(misuse).startswith("error: ")
        assert misuse.reason in ("unknown_tool", "bad_arguments")
        assert len(str(misuse)) < 800
    else:
        assert isinstance(read["title"], str)
        state, said = tooling.world.act(
            {"a": "in"},
            tool.name,
            {"reader": None, **read},
            {},
        )
        assert isinstance(said, str)
        assert all(isinstance(text, str) for text in state.values())
    fit = spelled(Call(name, arguments))
    assert isinstance(json.loads(fit.arguments), dict)
    assert 0 < len(fit.name) <= 64


_LOADED: list[Any] = []


def _tooling(tmp_path_factory):
    if not _LOADED:
        folder = make_pack(tmp_path_factory.mktemp("pack") / "shelf", FILES)
        _LOADED.append(Pack.load(folder).steps[0].tooling)
    return _LOADED[0]


@pytest.mark.parametrize("kill_at", rest_long([2, 3]))
def test_a_killed_run_pays_nothing_twice_and_repeats_no_call(
    tmp_path, tools, kill_at
):
    folder = make_pack(tmp_path / "pack", UNBOUND)
    # One row: its teacher is asked again when its tools have answered, and no tool of another row
    # is at work then.
    source = write(tmp_path / "rows.jsonl", [{"id": "t", "wish": "book"}])
    words = ["--teacher", "openai/m", "--concurrency", "1"]
    words += ["--plugin", "shelf_tools"]
    for name, target in BOUND.items():
        words += ["--tool", f"{name}={target}"]
    whole = command(folder, source, tmp_path / "whole", *words)
    broken = command(folder, source, tmp_path / "broken", *words)
    all_bodies = asked_until_killed(lends, whole, 0)
    assert len(all_bodies) == 3
    all_calls = tools.read_text()
    tools.write_text("")
    before = asked_until_killed(lends, broken, kill_at)
    after = asked_until_killed(lends, broken, 0)
    assert sorted(map(json.dumps, before[:-1] + after)) == sorted(
        map(json.dumps, all_bodies)
    )
    # The tools had answered when the run was killed: none is called again.
    assert sorted(tools.read_text().split("\n")) == sorted(
        all_calls.split("\n")
    )
    assert published(tmp_path / "broken") == published(tmp_path / "whole")


def test_a_plan_and_a_budget_know_the_calls(tmp_path):
    folder = make_pack(tmp_path / "pack", UNBOUND)
    source = write(tmp_path / "rows.jsonl", [{"wish": "a"}, {"wish": "b"}])
    bound = {"find": "player", "lend": "player"}

    def planned(**more):
        config = synth.RunConfig(
            teachers={"teacher": "openai/m", "player": "openai/n"},
            budget=1.0,
            price="1,1",
            tools=bound,
            **more,
        )
        return make_plan(prepare(folder, source, tmp_path / "none", config))

    asking, playing = planned().steps
    assert (asking.name, asking.calls) == ("ask", 2 * 4)
    assert (playing.name, playing.calls) == ("ask.tool", 2 * 3)
    more = planned(overrides={"ask.most_calls": 7, "ask.repairs": 1}).steps
    assert more[0].calls == 2 * 8 * 2
    assert more[0].prompt_tokens > asking.prompt_tokens + 100
    assert "tools: find, lend, at most 3 calls" in describe(str(folder), {})


def test_a_budget_ends_a_conversation(tmp_path):
    run, bodies = asks(
        tmp_path,
        lends,
        rows=[{**ROW, "id": n, "wish": str(n)} for n in range(20)],
        budget=0.004,
        price="1,10",
        concurrency=1,
    )
    assert run.exit_code == 4
    assert 0 < len(bodies) < 60
    assert run.info["cost"]["usd"] <= 0.004


WRONG = [
    ("tools: [{name: 'a b', description: x}]", "letters, digits and _, the first no digit"),
    ("tools: [{name: a, description: x}, {name: a, description: y}]", "tool 'a' twice"),
    ("tools: [{name: a, description: x, seconds: 60}]", "at most 10 seconds"),
    ("tools: [{name: a, description: x, url: 'http://x'}]", "url"),
    ("tools: [{name: a, description: x, parameters: {type: object, properties: {x: {$ref: 'http://x'}}}}]", "a reference outside"),
    ("tools: [{name: a, description: x, parameters: {type: array}}]", "the top of a schema"),
    ("most_calls: 0", "greater than or equal to 1"),
    ("most_calls: 65", "less than or equal to 64"),
    ("world: {start: nothing, rules: [{tool: find, answer: x}]}", "variable 'nothing'"),
    ("world: {start: shelf, rules: []}", "at least 1 item"),
    ("world: {start: shelf, rules: [{tool: fnd, answer: x}]}", "Did you mean find?"),
    ("world: {start: shelf, rules: [{tool: find, answer: '{{ stat }}'}]}", "Did you mean state?"),
    ("world: {start: {a: [1]}, rules: [{tool: find, answer: x}]}", "world"),
    ("{tools: [], world: {start: shelf, rules: [{tool: find, answer: x}]}}", "a world without `tools`"),
    ("parser: {name: whole, into: ask}", "a parser that writes ask"),
    ("each: {shelf: book}", "tools with `each`"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "says"), WRONG)
def test_tools_that_cannot_be_are_found_when_the_pack_is_read(
    tmp_path, keys, says
):
    spec = yaml.safe_load(PACK)
    more = yaml.safe_load(keys)
    step = spec["steps"][0]
    if "tools" in more and "world" not in more:
        del step["world"]
    step |= more
    files = {**FILES, "pack.yaml": yaml.dump(spec)}
    with pytest.raises(WrongUse) as caught:
        Pack.load(make_pack(tmp_path / "pack", files))
    assert says in str(caught.value), str(caught.value)
    assert "pack.yaml:" in str(caught.value)


@pytest.mark.parametrize("field", ["tool_choice", "tools"])
def test_a_server_that_refuses_a_field(tmp_path, field):
    """Without `tool_choice` a conversation is the same; without `tools` it would be another."""

    def answer(body, count):
        if field in body:
            said = f"Unsupported parameter: '{field}'."
            error = {
                "message": said,
                "param": field,
                "code": "unsupported_parameter",
            }
            return web.json_response({"error": error}, status=400)
        return lends(body, count)

    run, bodies = asks(tmp_path, answer)
    assert run.counts["kept"] == (field == "tool_choice")
    if field == "tools":
        assert "takes no tools" in run.info["stopped"]
        assert len(bodies) == 1


def test_a_row_without_a_state_leaves(tmp_path):
    shelves = [["Emma"], "no JSON", {"Emma": ["in"]}, json.dumps(ROW["shelf"])]
    rows = [
        {**ROW, "id": str(place), "shelf": shelf}
        for place, shelf in enumerate(shelves)
    ]
    run, _ = asks(tmp_path, lends, rows=rows)
    assert run.counts["dropped"] == {"unrenderable": 3}
    # A column of texts holds a state as its JSON.
    assert run.counts["kept"] == 1


@pytest.mark.long
def test_kills_at_random_moments(tmp_path, tools):
    """A run with tools ends as if it had never been killed, wherever it is."""
    chance = random.Random(7)
    folder = make_pack(tmp_path / "pack", UNBOUND)
    rows = [{"id": f"t{n}", "wish": f"book {n}"} for n in range(4)]
    source = write(tmp_path / "rows.jsonl", rows)
    words = ["--teacher", "openai/m", "--plugin", "shelf_tools"]
    for name, target in BOUND.items():
        words += ["--tool", f"{name}={target}"]
    broken = command(folder, source, tmp_path / "broken", *words)
    bodies: list[Any] = []
    for _ in range(2):
        bodies += asked_until_killed(lends, broken, chance.randint(1, 3))
    bodies += asked_until_killed(lends, broken, 0)
    # Asked twice is at most what was under way at a kill: four conversations.
    texts = [json.dumps(body) for body in bodies]
    assert len(set(texts)) == 12
    assert len(texts) <= 12 + 2 * 4
    rows_kept = published(tmp_path / "broken")
    assert rows_kept


def test_a_shard_asks_with_the_tools_of_the_plan(tmp_path):
    folder = make_pack(tmp_path / "pack", UNBOUND)
    rows = write(tmp_path / "rows.jsonl", [{"wish": "a"}, {"wish": "b"}])
    said = {"teacher": "simulated/slips", "output": tmp_path / "out"}
    bound = {"find": "teacher", "lend": "teacher"}
    synth.plan_shards(folder, rows, **said, shards=2, tools=bound)
    other = {"find": "teacher", "lend": "os:system"}
    with pytest.raises(WrongUse, match=r"tools|wanted"):
        synth.run(
            folder, rows, **said, shards=2, shard=0, tools=other, plugins=["os"]
        )
