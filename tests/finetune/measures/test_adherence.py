"""What is highlighted is said, all of it and nothing else: by words, and by a tiny inference model."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measures.adherence import Adherence
from finetune.measuring.evaluate import EvaluateConfig, run
from tests import tiny
from tests.conftest import write

LIGHTS = ["Ann kept the light", "It burnt down"]


def test_what_is_added_and_what_is_missed_are_told_apart():
    whole = {
        "highlights": LIGHTS,
        "reply": "Ann kept the light. It burnt down.",
    }
    more = {**whole, "reply": "Ann kept the light. It burnt down in a storm."}
    less = {**whole, "reply": "Ann kept the light."}
    part = Adherence()
    assert part.of_question([whole]) == 1
    assert part.more([whole]) == {"added": 0.0, "missed": 0.0}
    # Seven of ten words are highlighted, four of seven highlighted ones are said.
    assert part.more([more]) == {"added": 0.3, "missed": 0.0}
    assert part.more([less]) == {"added": 0.0, "missed": 0.4286}
    assert part.of_question([more]) == pytest.approx(2 * 0.7 / 1.7)
    assert part.of_question([whole, less]) == pytest.approx((1 + 8 / 11) / 2)


def test_rows_without_highlights_say_nothing():
    assert Adherence().of_question([{"reply": "so"}]) is None
    assert Adherence().more([{"reply": "so", "highlights": []}]) == {}
    empty = {"highlights": LIGHTS, "reply": None}
    assert Adherence().of_question([empty]) == 0
    assert Adherence(nli="m").of_question([empty]) == 0


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=8))
def test_the_highlights_themselves_adhere(said):
    row = {"highlights": said, "reply": " ".join(said)}
    assert Adherence().of_question([row]) == 1


@pytest.mark.long
def test_sentences_follow_by_an_inference_model():
    # Whatever begins with "a" follows, of these few words.
    row = {"highlights": ["a red pen"], "reply": "a blue pen\nnot old house"}
    part = Adherence(nli=tiny.nli())
    assert part.more([{**row, "reply": "a blue pen"}]) == {
        "added": 0.0,
        "missed": 0.0,
    }
    assert part.more([row])["added"] == 0.5
    plain = {"highlights": ["red pen"], "reply": "a blue pen"}
    assert part.more([plain]) == {"added": 0.0, "missed": 1.0}
    assert part.of_question([plain]) == 0


def test_an_evaluation_keeps_the_highlights(tmp_path):
    rows = [{"prompt": "it", "target": "a", "highlights": ["a red pen"]}]
    config = EvaluateConfig(
        data=str(write(tmp_path / "x.jsonl", rows)),
        model=tiny.causal(),
        output=tmp_path / "e",
        parser="whole:into=answer",
        max_new_tokens=4,
        measures=["adherence"],
    )
    found = run(config)["measures"]["adherence"]
    assert found["questions"] == 1
    (line,) = (tmp_path / "e/predictions.jsonl").read_text().splitlines()
    assert json.loads(line)["highlights"] == ["a red pen"]
