"""What is wrong with a body is told by the kind that it is nearest to; what is null is not said."""

from __future__ import annotations

import json

import pytest

from finetune.answering.protocol import ChatBody, Refused, TextBody, read

ASKED = {"messages": [{"role": "user", "content": "it"}]}


def with_parts(*parts):
    return {"messages": [{"role": "user", "content": [*parts]}]}


@pytest.mark.parametrize(
    ("kind", "body", "param", "says"),
    [
        (
            ChatBody,
            with_parts({"type": "text", "text": "a"}, {"type": "image_url"}),
            "messages.0.content.1.type",
            "'text'",
        ),
        (ChatBody, {**ASKED, "stop": [""]}, "stop.0", "at least 1 character"),
        (ChatBody, {**ASKED, "stop": ""}, "stop", "at least 1 character"),
        (ChatBody, {**ASKED, "stop": 5}, "stop", "valid string"),
        (TextBody, {"prompt": []}, "prompt", "at least 1 item"),
        (TextBody, {"prompt": [-1]}, "prompt.0", "greater than or equal to 0"),
        (TextBody, {"prompt": 5}, "prompt", "valid string"),
        (TextBody, {"prompt": None}, "prompt", "required"),
        (ChatBody, {**ASKED, "n": 0}, "n", "greater than or equal to 1"),
        (ChatBody, {**ASKED, "tools": []}, "tools", "does not know it"),
    ],
)
def test_the_fault_of_the_nearest_kind_is_told(kind, body, param, says):
    with pytest.raises(Refused) as refused:
        read(kind, json.dumps(body).encode())
    error = refused.value.body["error"]
    assert error["param"] == param
    assert says in error["message"]


def test_a_field_that_is_null_counts_as_missing():
    null = dict.fromkeys(("tools", "logit_bias", "stop", "n", "temperature"))
    raw = json.dumps({**ASKED, **null}).encode()
    plain = read(ChatBody, json.dumps(ASKED).encode())
    assert read(ChatBody, raw).bodies(8) == plain.bodies(8)
