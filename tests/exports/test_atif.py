"""Trajectories of agents, which the reader of logs brings back as the messages they were."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from synth.exports import Atif, Messages
from synth.exports.atif import steps_of
from synth.exports.base import pack_of
from synth.inputs.made.agent_logs import log_rows
from synth.runs.publisher import RunFolder
from tests.packs.test_tool_talks import ran

TEXT = st.text(max_size=12)
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text("abc", min_size=1, max_size=4),
            "type": st.just("function"),
            "function": st.fixed_dictionaries(
                {
                    "name": st.text("xyz", min_size=1, max_size=4),
                    "arguments": st.dictionaries(TEXT, TEXT | st.integers()).map(json.dumps),
                }
            ),
        }
    ),
    min_size=1,
    max_size=2,
)  # fmt: skip


@st.composite
def conversations(draw):
    """Messages as a run has them: a tool answers right behind the call."""
    messages = [{"role": "user", "content": draw(TEXT)}]
    for _ in range(draw(st.integers(0, 4))):
        calls = draw(st.none() | CALLS)
        said = {"role": "assistant", "content": draw(TEXT)}
        if calls:
            said["tool_calls"] = calls
        messages.append(said)
        messages += [
            {"role": "tool", "content": draw(TEXT), "tool_call_id": call["id"]}
            for call in calls or ()
        ]
        messages.append({"role": "user", "content": draw(TEXT)})
    return messages


@given(conversations())
def test_the_reader_brings_back_what_was_written(tmp_path_factory, messages):
    path = tmp_path_factory.mktemp("logs") / "log.json"
    steps = list(steps_of(messages))
    assert [step["step_id"] for step in steps] == [*range(1, len(steps) + 1)]
    trajectory = {"schema_version": "ATIF-v1.4", "steps": steps}
    path.write_text(json.dumps(trajectory))
    (row,) = log_rows(path)
    assert row["made"]["by"] == "logs: atif"
    assert row["messages"] == messages


def test_a_run_of_tool_talks_round_trips(tmp_path):
    run = ran(tmp_path, honest=True)
    assert run.counts["kept"]
    folder = RunFolder(tmp_path / "run")
    pack = pack_of(folder)
    trajectories = list(Atif().rows(folder, pack))
    written = [row["messages"] for row in Messages().rows(folder, pack)]
    path = tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(t) + "\n" for t in trajectories))
    read = [row["messages"] for row in log_rows(path)]
    # Equal talks are one row.
    once = {json.dumps(talk): talk for talk in written}.values()
    assert [list(map(_plain, talk)) for talk in read] == [
        list(map(_plain, talk)) for talk in once
    ]


def _plain(message):
    """A message whose arguments are values: the reader writes them as text."""
    calls = [
        {**call, "function": {**call["function"], "arguments": _value(call)}}
        for call in message.get("tool_calls", ())
    ]
    return {**message, **({"tool_calls": calls} if calls else {})}


def _value(call):
    arguments = call["function"]["arguments"]
    return json.loads(arguments) if isinstance(arguments, str) else arguments
