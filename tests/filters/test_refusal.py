"""Refusals of many wordings; answers that speak of refusing stay."""

from __future__ import annotations

import pytest

from synth.filters.refusal import Refusal

DECLINES = [
    "I'm sorry, but I can't assist with that request.", "I\u2019m sorry, but I can\u2019t help with that.", "I cannot provide instructions for that.",
    "As an AI language model, I cannot give medical advice.", "I am unable to fulfill this request.", "Sorry, I can't do that.", "I must decline to answer this.",
    "I won't be able to help with this one.", "Unfortunately, I am not able to provide that information.", "**I'm sorry**, but I cannot answer.".replace("**", ""),
    "I'd rather not discuss this.", "Your request violates the usage policy.", "It would be unethical for me to explain this.", "I apologize, but I can not generate that.",
    "I'm just an AI and I don't have opinions, so I can't answer.", "> I can't help with writing that.", "I'm really sorry, but I don't have that.",
]  # fmt: skip
ANSWERS = [
    "Ann says: I'm sorry, I can't help. So she leaves.", "The word sorry has five letters.", "As an AI lab grows, it needs more power.", "I can help with that: 2 + 2 = 4.",
    "I cannot be 5, since 5 is odd.", "Sorry is what he felt, so he gave back 3 pens.", "It is not possible to divide by 0, so x = 1.", "I'm sorry to hear that; here are 3 ideas.",
    "Unfortunately the train is late by 10 minutes.", "One can't answer without n; n is 4.", "As an assistant, Tom earns 20 dollars an hour.", "",
]  # fmt: skip


@pytest.mark.parametrize("text", DECLINES)
def test_a_refusal_is_found(text):
    assert Refusal().judge({"reply": text}).reason == "refusal"


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_stays(text):
    assert Refusal().judge({"reply": text}).keep


def test_only_the_start_counts():
    assert (
        Refusal()
        .judge({"reply": "Step 1. " * 40 + "I'm sorry, but I can't help."})
        .keep
    )
