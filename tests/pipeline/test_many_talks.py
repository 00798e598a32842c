"""Many talks of two speakers, one of them with a tool, in a run that is killed again and again."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter

import pytest
import yaml

from synth.calls.journal import records
from synth.runs.publisher import RunFolder
from tests.conftest import chat, write
from tests.pipeline.killed import asked_until_killed, command
from tests.pipeline.test_run import make_pack
from tests.pipeline.test_talk import FILES, PACK, is_asker
from tests.pipeline.test_tools import calling

MODULE = """
import os

def look(topic):
    with open(os.environ["TOOL_LOG"], "a") as file:
        file.write(f"{topic}\\n")
    return f"seen {topic}"
"""
LOOK = {
    "name": "look",
    "description": "Looks a topic up.",
    "parameters": {
        "type": "object",
        "properties": {"topic": {"type": "string"}},
        "required": ["topic"],
    },
}


def digest(body) -> str:
    text = json.dumps(body, sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def replying(body, count):
    """Each reply names what it answers, so that the journal shows what was answered."""
    said = f"[{digest(body)}]"
    if is_asker(body):
        return chat(f"And then? {said}")
    if not any(m["role"] == "tool" for m in body["messages"]):
        topic = body["messages"][1]["content"].split()[-1].strip(".")
        return calling(("look", {"topic": topic}), said=said)
    return chat(f"Well. {said}")


@pytest.mark.long
@pytest.mark.parametrize(("talks", "kills"), [(12, 2), (1000, 6)])
def test_no_turn_is_lost_or_paid_twice_and_no_call_repeated(
    tmp_path, monkeypatch, talks, kills
):
    (tmp_path / "look_tools.py").write_text(MODULE)
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("TOOL_LOG", str(log))
    spec = yaml.safe_load(PACK)
    spec["steps"][0]["tools"] = [LOOK]
    files = {**FILES, "pack.yaml": yaml.dump(spec)}
    folder = make_pack(tmp_path / "pack", files)
    rows = [{"id": f"t{n}", "topic": f"jam{n}"} for n in range(talks)]
    source = write(tmp_path / "rows.jsonl", rows)
    output = tmp_path / "out"
    words = ["--teacher", "teacher=openai/m", "--teacher", "asker=openai/n"]
    words += ["--plugin", "look_tools", "--tool", "look=look_tools:look"]
    words += ["--patience", "600", "--quiet"]
    run = command(folder, source, output, *words)
    chance = random.Random(talks)
    answered: set[str] = set()
    looked: Counter[str] = Counter()
    asked = 0
    for round_ in range(kills + 1):
        is_last = round_ == kills
        # Four replies of the teacher with the call, two of the asker.
        moment = 0 if is_last else chance.randint(1, 6 * talks // (2 * kills))
        bodies = asked_until_killed(replying, run, moment)
        asked += len(bodies)
        again = {digest(body) for body in bodies} & answered
        assert not again, "asked for a reply that the journal holds"
        counts = Counter(log.read_text().split())
        for topic in looked:
            assert counts[topic] == looked[topic], "a call was repeated"
        replies = [raw.decode() for _, raw in records(output / "journal")]
        answered = set(re.findall(r"\[([0-9a-f]{16})\]", " ".join(replies)))
        seen = re.findall(r"seen (jam\d+)", " ".join(replies))
        looked = Counter({topic: counts[topic] for topic in seen})
    assert len(answered) == 6 * talks
    # What was under way at a kill is asked again: at most all that were in flight.
    assert asked <= 6 * talks + kills * 64
    kept = list(RunFolder(output).rows())
    assert len(kept) == talks
    for row in kept:
        assert [turn["role"] for turn in row["chat"]] == [
            "user", "assistant", "tool",
            *["assistant", "user"] * 2, "assistant",
        ]  # fmt: skip
