"""Tools of a flow's packs are answered by what the user binds when the flow starts."""

from __future__ import annotations

import json

import pytest

from finetune.flows.planning import describe
from finetune.flows.player import check
from synth.core.errors import WrongUse
from tests.conftest import chat, serving, write
from tests.finetune.flows.test_flow import config, play
from tests.finetune.test_train import finetune
from tests.pipeline.test_run import make_pack

FLOW = """
name: places
version: 1
about: Asks where books are.
teachers: {teacher: Asks.}
before:
  - {name: asked, run: find_books, from: input}
"""
PACK = """
name: find_books
version: 1
about: Somebody wants a book.
inputs: {wish: text}
steps:
  - name: ask
    sampling: {max_tokens: 50}
    most_calls: 2
    tools:
      - name: find
        description: Says where a book is.
        parameters:
          type: object
          properties: {title: {type: string}}
          required: [title]
    parser: {name: whole, into: answer}
    filters: [finish_reason]
exports:
  sft:
    prompt: "{{ wish }}"
    completion: "{% for call in ask | called %}{{ call.name }}({{ call.arguments.title }}): {{ call.answer }}. {% endfor %}{{ answer }}"
"""
MODULE = """
import os

def find(title):
    with open(os.environ["TOOL_LOG"], "a") as file:
        file.write(title + "\\n")
    return f"place {len(title)}"

def lost(title):
    return "nowhere"
"""
FUNCTIONS = {"tools": {"find": "books_at:find"}, "plugins": ("books_at",)}


@pytest.fixture
def flow(tmp_path, monkeypatch):
    """(a flow whose pack has a tool, its rows); a module of the user's stands beside."""
    folder = tmp_path / "places"
    folder.mkdir()
    (folder / "flow.yaml").write_text(FLOW)
    files = {"pack.yaml": PACK, "ask.user.j2": "I want {{ wish }}."}
    make_pack(folder / "find_books", files)
    (tmp_path / "books_at.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("TOOL_LOG", str(tmp_path / "log"))
    return folder, write(tmp_path / "rows.jsonl", [{"wish": "Emma"}])


def asks(body, _):
    """A call, and then what it came to; who plays the tool has none."""
    if not body.get("tools"):
        return chat("under the bed")
    last = body["messages"][-1]
    reply = chat(f"It is there: {last['content']}")
    if last["role"] != "tool":
        called = {"name": "find", "arguments": json.dumps({"title": "Emma"})}
        reply["choices"][0]["message"] = {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "a", "type": "function", "function": called}],
        }
    return reply


def completions(done, output):
    folder = output / done["before"]["asked"]["folder"]
    from finetune.data import rows

    return [row["completion"] for row in rows.load(folder)]


def test_functions_and_teachers_answer_and_nothing_is_called_twice(
    tmp_path, flow
):
    folder, source = flow
    out = tmp_path / "out"
    log = tmp_path / "log"
    with serving(asks) as server:
        done = play(folder, out, source, server.url, **FUNCTIONS)
        assert completions(done, out) == [
            "find(Emma): place 4. It is there: place 4"
        ]
        assert log.read_text() == "Emma\n"
        calls = len(server.bodies)
        assert (
            play(folder, out, source, server.url, **FUNCTIONS)["before"]
            == done["before"]
        )
        assert (len(server.bodies), log.read_text()) == (calls, "Emma\n")
        # Another function is another stage.
        other = {"find": "books_at:lost"}
        more = {**FUNCTIONS, "tools": other}
        done = play(folder, out, source, server.url, **more)
        assert completions(done, out) == [
            "find(Emma): nowhere. It is there: nowhere"
        ]
        played = play(
            folder,
            out,
            source,
            server.url,
            tools={"find": "player"},
            teachers={"teacher": "openai/m", "player": "openai/other"},
        )
        assert completions(played, out) == [
            "find(Emma): under the bed. It is there: under the bed"
        ]
        assert server.bodies[-2]["model"] == "other"


UNFIT = [
    ({}, "tool 'find', which nothing answers"),
    ({"tools": {"find": "books_at:find"}}, "--plugin"),
    ({**FUNCTIONS, "tools": {"fnid": "books_at:find"}}, "find"),
    ({"tools": {"find": "player"}}, "none for 'player'"),
]


@pytest.mark.parametrize(("bound", "says"), UNFIT)
def test_what_does_not_fit_is_said_before_anything_is_asked(
    tmp_path, flow, bound, says
):
    folder, source = flow
    with pytest.raises(WrongUse, match=says):
        check(config(folder, tmp_path / "out", source, **bound))


def test_a_plan_counts_those_who_play_tools(tmp_path, flow):
    folder, source = flow
    out = tmp_path / "out"
    alone = describe(config(folder, out, source, "http://a", **FUNCTIONS))
    assert "at most 3 calls" in alone
    said = config(
        folder,
        out,
        source,
        "http://a",
        tools={"find": "player"},
        teachers={"teacher": "openai/m", "player": "openai/other"},
    )
    assert "at most 5 calls" in describe(said)


def test_the_command_binds_tools(tmp_path, flow):
    folder, source = flow
    with serving(asks) as server:
        code, said = finetune(
            *("flow", folder, "--input", source, "--output", tmp_path / "out"),
            *("--teacher", "openai/m", "--api-base", server.url),
            *("--price", "1,2", "--budget", "1", "--plugin", "books_at"),
            *("--tool", "find=books_at:find"),
        )
        assert code == 0, said
        assert (tmp_path / "log").read_text() == "Emma\n"
