"""A filter for each turn of a conversation."""

from __future__ import annotations

import json

import pytest
import yaml

import synth
from synth.core import registry
from synth.core.errors import WrongUse
from synth.filters.length import Length
from synth.packs.pack import Pack
from synth.pipeline.prepare import RunConfig, prepare
from tests.conftest import chat, serving
from tests.pipeline.test_run import make_pack
from tests.pipeline.test_talk import FILES, PACK, is_asker

LONG = Length(field="content", least=2)
CHAT = [
    {"role": "user", "content": "Is it in?"},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "a"}]},
    {"role": "tool", "content": "in"},
    {"role": "assistant", "content": "It is in."},
]
CASE = (
    {"field": "chat", "filter": LONG, "role": "assistant", "unknown": "drop"},
    [
        {"chat": CHAT},
        {"chat": [*CHAT, {"role": "assistant", "content": "Yes"}]},
        {"chat": CHAT[:1]},
        {"chat": None},
    ],
)
DATA = ("field", "filter", "role", "least")


@pytest.mark.parametrize(
    ("chat", "role", "least", "reason", "turn"),
    [
        (CHAT, "", 1, "bad_turn", 2),
        (CHAT, "tool", 1, "bad_turn", 2),
        (CHAT, "assistant", 1, "", None),
        (CHAT, "assistant", 2, "too_few_turns", 1),
        (json.dumps(CHAT), "user", 1, "", None),
        ([], "", 0, "", None),
        ([], "", 1, "too_few_turns", 0),
        ("no JSON", "", 0, "no_turns", None),
        ([["a"]], "", 0, "no_turns", None),
    ],
)
def test_each_turn_is_judged(chat, role, least, reason, turn):
    name = {"name": "length", "field": "content", "least": 2}
    spec = {"name": "turns", "field": "chat", "filter": name}
    more = {"role": role, "least": least}
    part = registry.build("synth.filters", {**spec, **more})
    verdict = part.judge({"chat": chat})
    assert (verdict.reason, verdict.marks.get("turn")) == (reason, turn)
    if reason == "bad_turn":
        assert verdict.marks["why"] == "too_short"


def pack_with(tmp_path, inner):
    spec = yaml.safe_load(PACK)
    part = {"name": "turns", "field": "chat", "role": "user", "filter": inner}
    spec["steps"][0]["filters"] = [part]
    files = {**FILES, "pack.yaml": yaml.dump(spec)}
    return make_pack(tmp_path / "pack", files)


def test_a_talk_is_kept_where_all_its_turns_pass(tmp_path):
    folder = pack_with(
        tmp_path, {"name": "length", "field": "content", "most": 5}
    )

    def answer(body, count):
        if is_asker(body) and "jam" in str(body):
            return chat("Then tell me all that there is to know.")
        return chat("Well then.")

    with serving(answer) as server:
        run = synth.run(
            folder,
            [{"topic": "tea"}, {"topic": "jam"}],
            teacher={"teacher": "openai/m", "asker": "openai/n"},
            api_base=server.url,
            output=tmp_path / "out",
            same_teacher=True,
        )
    assert [row["topic"] for row in run.kept] == ["tea"]
    assert run.counts["dropped"] == {"bad_turn": 1}


def test_names_of_fields_and_rights_hold_inside(tmp_path):
    config = RunConfig(teachers={"teacher": "openai/m", "asker": "openai/m"})
    wrong = pack_with(tmp_path, {"name": "length", "field": "contents"})
    with pytest.raises(WrongUse, match="Did you mean content"):
        prepare(wrong, [{"topic": "tea"}], tmp_path / "none", config)
    reaching = {"name": "contamination", "against": "/etc/passwd"}
    with pytest.raises(WrongUse):
        Pack.load(pack_with(tmp_path / "other", reaching))
