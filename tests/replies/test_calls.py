"""Calls of tools that servers leave in the text of a reply."""

from __future__ import annotations

import time

import pytest

from synth.core.records import Call
from synth.replies.calls import written_out

TOOLS = {
    "weather": {
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}
    },
    "now": {"properties": {}},
}
OBJECT = '{"name": "weather", "arguments": {"city": "Rome"}}'
WEATHER = Call("weather", '{"city": "Rome"}')


@pytest.mark.parametrize(
    "reply",
    [
        f"<tool_call>\n{OBJECT}\n</tool_call>",
        f"{OBJECT}\n</tool_call>",
        f"{OBJECT}<|eom_id|>",
        f"<|tool_call|>[{OBJECT}]<|/tool_call|>",
        f"<function_call> {OBJECT}",
        f"functools[{OBJECT}]",
        f"[TOOL_CALLS] [{OBJECT}]",
        f"```json\n<tool_call>\n{OBJECT}\n</tool_call>\n```",
        f"```tool_call\n{OBJECT}\n```",
        f'{{"tool_calls": [{OBJECT}]}}',
    ],
)
def test_each_form_is_one_call_that_says_nothing(reply):
    assert written_out(reply, TOOLS) == ("", (WEATHER,))


def test_calls_on_lines_of_their_own_are_all_read():
    _, calls = written_out(
        f'{OBJECT}\n{{"name": "now", "arguments": {{}}}}', TOOLS
    )
    assert calls == (WEATHER, Call("now", "{}"))


@pytest.mark.parametrize("arguments", ["[1]", "3", '"Rome"', "true"])
def test_a_call_that_cannot_be_read_is_not_lost_beside_others(arguments):
    other = f'{{"name": "now", "arguments": {arguments}}}'
    reply = f"<tool_call>{OBJECT}</tool_call><tool_call>{other}</tool_call>"
    assert written_out(reply, TOOLS) == ("", (WEATHER, Call("?", "")))
    # What is said besides is no call.
    said = '<tool_response>{"name": "Ann"}</tool_response>'
    reply = f"<tool_call>{OBJECT}</tool_call>{said}"
    assert written_out(reply, TOOLS) == ("", (WEATHER,))


@pytest.mark.parametrize(
    "reply",
    [
        '{"answer": 4}',
        f'[{OBJECT}, {{"answer": 4}}]',
        f'{{"answer": "so"}} {OBJECT}',
        '{"tool_calls": []}',
        '{"tool_calls": [], "name": "now"}',
        f'{{"content": "Rain.", "tool_calls": [{OBJECT}]}}',
        f"The call would be {OBJECT}.",
        '{"name": "Ann", "arguments": {"city": "Rome"}}',
        "{2, 3}",
    ],
)
def test_a_reply_that_holds_more_than_calls_is_an_answer(reply):
    assert written_out(reply, TOOLS) == (reply, ())


@pytest.mark.parametrize(
    "part",
    ["{", "[", "{}", "} ", "``` ", "</tool_call> ", "<|a|>", '{"a":"', "\n"],
)
def test_a_reply_of_a_megabyte_takes_no_longer_than_its_length(part):
    reply = "{" + part * (1_000_000 // len(part)) + "}x"
    start = time.process_time()
    assert written_out(reply, TOOLS) == (reply, ())
    assert time.process_time() - start < 3
