"""MCP servers of the user's answer tools of a pack: journaled, bounded, and with no key of a teacher's."""

from __future__ import annotations

import json
import shlex
import sys
import time
from pathlib import Path

import pytest
import yaml

from synth.core.errors import WrongUse
from synth.packs.tooling import MOST_ANSWER
from tests.conftest import chat
from tests.pipeline.test_tools import BARE, UNBOUND, asks, calling, results

SERVER = Path(__file__).with_name("mcp_server.py")


def server(log, way=""):
    return shlex.join([sys.executable, str(SERVER), str(log), way])


def calls_in(log):
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().splitlines()]


def finds_and_lends(body, count):
    done = results(body)
    title = body["messages"][-1]["content"].split()[2].strip(".") if not done else ""  # fmt: skip
    if not done:
        return calling(("find", {"title": title}), ("lend", {"title": title}))
    return chat(f"It says: {' '.join(done)[:600]}")


def test_a_server_answers_and_no_call_is_made_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-teacher")
    log = tmp_path / "log"
    rows = [{"id": "a", "wish": "Emma"}, {"id": "b", "wish": "Ulysses"}]
    more = {"files": UNBOUND, "rows": rows, "mcp": [server(log)]}
    run, bodies = asks(tmp_path, finds_and_lends, **more)
    assert run.counts["kept"] == 2
    assert all("call" in row["answer"] for row in run.kept)
    calls = calls_in(log)
    assert sorted((c["tool"], c["title"]) for c in calls) == [
        ("find", "Emma"),
        ("find", "Ulysses"),
        ("lend", "Emma"),
        ("lend", "Ulysses"),
    ]
    # One server for all, with its state, and without the keys of this process.
    assert len({c["pid"] for c in calls}) == 1
    assert all(c["keys"] == [] for c in calls)
    again, bodies = asks(tmp_path, finds_and_lends, **more)
    assert (again.counts["kept"], bodies, len(calls_in(log))) == (2, [], 4)
    gone = Path(f"/proc/{calls[0]['pid']}")
    deadline = time.monotonic() + 10
    while gone.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not gone.exists()


HOSTILE = ["hangs", "dies", "ill", "asks", "huge", "endless", "fails", "refuses", "empty", "odd", "parts", "values"]  # fmt: skip


def test_hostile_servers_cost_their_own_call(tmp_path):
    """Twelve ways to misbehave, each in a row of its own; the server is started again where it must be."""
    spec = json.loads(json.dumps(BARE))
    for tool in spec["steps"][0]["tools"]:
        tool["seconds"] = 2
    files = {**UNBOUND, "pack.yaml": yaml.dump(spec)}
    log = tmp_path / "log"

    def answer(body, count):
        if results(body):
            return chat(f"It says: {results(body)[-1][:600]}")
        title = body["messages"][-1]["content"].split()[2].strip(".")
        return calling(("find", {"title": title}))

    run, bodies = asks(
        tmp_path,
        answer,
        files,
        rows=[{"id": way, "wish": way} for way in HOSTILE],
        mcp=[server(log)],
    )
    assert run.counts["kept"] == len(HOSTILE)
    said = {row["id"]: row["answer"] for row in run.kept}
    answers = [results(body)[0] for body in bodies if results(body)]
    assert all(len(text) < MOST_ANSWER + 100 for text in answers)
    assert "took more than 2 s, or died" in said["hangs"]
    assert "took more than 2 s, or died" in said["endless"] or "too long" in said["endless"]  # fmt: skip
    assert "the server is gone" in said["dies"]
    assert said["ill"].endswith(": ill")
    assert said["asks"].endswith(": asks")
    assert "error: it is burnt" in said["fails"]
    assert "error: no" in said["refuses"]
    assert "no result" in said["odd"]
    assert said["parts"] == "It says: [image]\ntold"
    assert said["values"] == 'It says: {"place": 3}'


def test_a_server_must_be_there_and_have_what_is_wanted(tmp_path):
    def refused(says, *commands, files=UNBOUND, **more):
        with pytest.raises(WrongUse, match=says):
            asks(
                tmp_path,
                lambda body, count: pytest.fail("asked"),
                files,
                mcp=commands,
                **more,
            )

    log = tmp_path / "log"
    refused("no command", " ")
    refused("no command", "'open")
    refused("no server that answers", "/no/such/server")
    refused("no server that answers", f"{sys.executable} -c pass")
    refused("which mcp://.* has as well", server(log), server(log, "ill"))
    bound = {"find": "teacher", "lend": "teacher"}
    refused("one that has a tool", server(log), tools=bound)
    assert calls_in(log) == []


def test_a_pack_binds_no_server(tmp_path):
    """Without --mcp nothing answers, whatever the pack says."""
    spec = json.loads(json.dumps(BARE))
    spec["steps"][0]["mcp"] = [server(tmp_path / "log")]
    with pytest.raises(WrongUse, match="mcp"):
        asks(tmp_path, finds_and_lends, {**UNBOUND, "pack.yaml": yaml.dump(spec)})  # fmt: skip
    with pytest.raises(WrongUse, match="which nothing answers"):
        asks(tmp_path, finds_and_lends, UNBOUND)
