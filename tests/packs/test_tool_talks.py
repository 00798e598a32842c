"""The pack of talks with tools, over rows that it makes itself, against a server that acts."""

from __future__ import annotations

import json

import synth
from synth.exports.base import pack_of
from synth.exports.messages import Messages
from synth.runs.publisher import RunFolder
from tests.conftest import chat, serving
from tests.pipeline.test_tools import calling

# What an errand needs of the tools.
DOES = {
    "borrow emma": ("lend", "emma"),
    "give back ulysses": ("take_back", "ulysses"),
    "reserve dracula": ("reserve", "dracula"),
    "keep middlemarch": ("renew", "middlemarch"),
    "borrow persuasion": ("lend", "persuasion"),
    "ask whether walden": ("look_up", "walden"),
}


def plays(body, *, honest):
    """A reader who says his errand, and an assistant who does it; a dishonest one only says so."""
    first = body["messages"][0]["content"]
    if first.startswith("A reader comes"):
        asked = body["messages"][-1]["content"]
        return chat(f"I want to {asked.partition('wants to ')[2][:40]}")
    if first.startswith("You speak the part of a reader"):
        return chat("<end>")
    wish = body["messages"][1]["content"]
    called = any(m["role"] == "tool" for m in body["messages"])
    if called or not honest:
        return chat("It is done.")
    tool, book = next(do for errand, do in DOES.items() if errand in wish)
    listed = ("list_books", {})
    return calling(listed, (tool, {"book": book}))


def ran(tmp_path, *, honest):
    with serving(lambda body, _: plays(body, honest=honest)) as server:
        return synth.run(
            "tool_talks",
            teacher={"teacher": "openai/m", "asker": "openai/n"},
            api_base=server.url,
            output=tmp_path / "run",
            limit=24,
            same_teacher=True,
        )


def test_every_errand_that_is_done_is_kept(tmp_path):
    run = ran(tmp_path, honest=True)
    assert run.counts["kept"] == 24
    folder = RunFolder(run.folder)
    rows = list(Messages().rows(folder, pack_of(folder)))
    assert len(rows) == 24
    for row in rows:
        roles = [message["role"] for message in row["messages"]]
        assert roles == [
            "system", "user", "assistant", "tool", "tool", "assistant",
        ]  # fmt: skip
        shelf = json.loads(row["messages"][3]["content"])
        assert len(shelf) == 6
        assert len(json.loads(row["tools"])) == 6


def test_what_is_only_said_to_be_done_is_dropped(tmp_path):
    run = ran(tmp_path, honest=False)
    kept = [row["errand"] for row in run.kept]
    # Where nothing was to change, nothing had to be done.
    assert all("walden" in errand for errand in kept)
    assert set(run.counts["dropped"]) == {"not_reached"}
    assert run.counts["dropped"]["not_reached"] >= 15
