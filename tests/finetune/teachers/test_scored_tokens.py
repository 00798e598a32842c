"""Replies about given tokens are read in the form of each server, and numbers that cannot be are refused."""

from __future__ import annotations

import copy
from math import inf, log, nan

import pytest

from finetune.students.load import load_tokenizer
from finetune.teachers.scored_tokens import (
    Entry,
    Vocabulary,
    Way,
    body_of,
    entries_of,
)
from synth.core.errors import TeacherRefused
from tests import tiny

IDS = [5, 7, 9]
HALF = log(0.5)


def of_vllm():
    def cell(own, other):
        return {
            str(own): {"logprob": HALF, "rank": 2, "decoded_token": "a"},
            str(other): {"logprob": -1.0, "rank": 1, "decoded_token": "b"},
        }

    return {
        "choices": [{"prompt_logprobs": [None, cell(7, 3), cell(9, 4)]}],
        "usage": {"prompt_tokens": 3},
    }


def of_openai():
    said = {
        "tokens": ["x", "y", "z", "more"],
        "token_logprobs": [None, HALF, -3.0, -1.0],
        "top_logprobs": [None, {"y": HALF, "q": -1.0}, {"w": -1.0}, {}],
    }
    return {"choices": [{"logprobs": said}]}


def of_llama():
    tops = [
        {"id": 9, "token": "c", "logprob": HALF},
        {"id": 2, "token": "d", "logprob": -1.0},
    ]
    content = [{"id": 11, "token": "e", "logprob": -4.0, "top_logprobs": tops}]
    return {
        "choices": [{"logprobs": {"content": content}}],
        "usage": {"prompt_tokens": 3},
    }


def of_texts():
    said = {
        "tokens": ["token_id:9"],
        "token_logprobs": [HALF],
        "top_logprobs": [{"token_id:9": HALF, "token_id:2": -1.0}],
    }
    return {"choices": [{"logprobs": said}], "usage": {"prompt_tokens": 3}}


@pytest.mark.parametrize(
    ("way", "reply", "places", "wanted"),
    [
        (
            Way.PROMPT,
            of_vllm(),
            [1, 2],
            [
                [Entry(7, "a", HALF), Entry(3, "b", -1.0)],
                [Entry(9, "a", HALF), Entry(4, "b", -1.0)],
            ],
        ),
        (
            Way.ECHO,
            of_openai(),
            [1, 2],
            [
                [Entry(7, "y", HALF), Entry(None, "q", -1.0)],
                [Entry(9, "z", -3.0), Entry(None, "w", -1.0)],
            ],
        ),
        (
            Way.NEXT,
            of_llama(),
            [3],
            [
                [
                    Entry(11, "e", -4.0),
                    Entry(9, "c", HALF),
                    Entry(2, "d", -1.0),
                ]
            ],
        ),
        (
            Way.NEXT,
            of_texts(),
            [3],
            [[Entry(9, "", HALF), Entry(2, "", -1.0)]],
        ),
    ],
)
def test_each_form_is_read(way, reply, places, wanted):
    assert entries_of(way, reply, IDS, places) == wanted


def changed(reply, path, value):
    """A reply with another value at a path of keys and numbers."""
    reply = copy.deepcopy(reply)
    place = reply
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return reply


FIRST = ("choices", 0)
CELL = (*FIRST, "prompt_logprobs", 1)
SAID = (*FIRST, "logprobs")
WRONG = [
    (Way.PROMPT, of_vllm(), (*CELL, "7", "logprob"), nan, "no log-prob"),
    (Way.PROMPT, of_vllm(), (*CELL, "7", "logprob"), inf, "no log-prob"),
    (Way.PROMPT, of_vllm(), (*CELL, "7", "logprob"), 2.5, "no log-prob"),
    (Way.PROMPT, of_vllm(), (*CELL, "7", "logprob"), "0", "no number"),
    (Way.PROMPT, of_vllm(), (*CELL, "7", "logprob"), True, "no number"),
    (Way.PROMPT, of_vllm(), (*CELL, "3", "logprob"), -0.1, "add up to 1.4"),
    (Way.PROMPT, of_vllm(), CELL, None, "the token itself"),
    (Way.PROMPT, of_vllm(), CELL, {}, "the token itself"),
    (Way.PROMPT, of_vllm(), (*CELL, "x"), {"logprob": -1}, "no token's id"),
    (Way.PROMPT, of_vllm(), CELL[:-1], [None, {}], "2 tokens in the reply"),
    (Way.ECHO, of_openai(), (*SAID, "tokens"), ["x"] * 3, r"lists of \[3, 4"),
    (Way.ECHO, of_openai(), (*SAID, "token_logprobs", 1), nan, "no log-prob"),
    (Way.ECHO, of_openai(), (*SAID, "top_logprobs", 1), None, "no table"),
    (
        Way.ECHO,
        of_openai(),
        SAID,
        {
            "tokens": ["x"] * 5,
            "token_logprobs": [None] * 5,
            "top_logprobs": [{}] * 5,
        },
        "5 tokens in the reply where 3",
    ),
    (Way.ECHO, of_openai(), (*SAID, "tokens", 1), "token_id:8", "for 7"),
    (Way.NEXT, of_llama(), ("usage", "prompt_tokens"), 4, "4 tokens in"),
    (
        Way.NEXT,
        of_llama(),
        (*SAID, "content", 0, "top_logprobs", 0),
        7,
        "no token",
    ),
]


@pytest.mark.parametrize(("way", "reply", "path", "value", "word"), WRONG)
def test_numbers_that_cannot_be_are_refused(way, reply, path, value, word):
    places = [3] if way is Way.NEXT else [1, 2]
    with pytest.raises(TeacherRefused, match=word) as caught:
        entries_of(way, changed(reply, path, value), IDS, places)
    assert caught.value.kind == "invalid_scores"


@pytest.mark.parametrize(
    ("way", "reply"),
    [
        (Way.PROMPT, {}),
        (Way.PROMPT, {"choices": []}),
        (Way.PROMPT, of_llama()),
        (Way.ECHO, of_vllm()),
        (Way.ECHO, of_texts()),
        (Way.ECHO, of_llama()),
        (Way.NEXT, of_vllm()),
        (Way.NEXT, {"choices": [{"logprobs": {"content": [{}]}}]}),
    ],
)
def test_a_server_that_passes_a_question_over_is_told_apart(way, reply):
    with pytest.raises(TeacherRefused) as caught:
        entries_of(way, reply, IDS, [3] if way is Way.NEXT else [1, 2])
    assert caught.value.kind == "not_scored"


@pytest.mark.parametrize("least", [None, -inf, -9999.0, -3.4e38])
def test_what_is_impossible_is_known_as_such(least):
    reply = changed(of_vllm(), (*CELL, "3", "logprob"), least)
    (first, _) = entries_of(Way.PROMPT, reply, IDS, [1, 2])
    assert first[1] == Entry(3, "b", None)


def test_requests_ask_for_plain_probabilities():
    for way in Way:
        body = body_of(way, "m", IDS, 8)
        assert body["prompt"] == IDS
        assert body["max_tokens"] == body["temperature"] == body["top_p"] == 1
    assert body_of(Way.PROMPT, "m", IDS, 8)["top_k"] == 0
    assert body_of(Way.NEXT, "m", IDS, 8)["ignore_eos"] is True


@pytest.fixture(scope="module")
def words():
    return Vocabulary(load_tokenizer(tiny.causal()))


def test_texts_name_tokens_that_no_other_text_does(words):
    house = words.tokenizer("house", add_special_tokens=False)["input_ids"]
    assert len(house) == 1
    table = [
        Entry(None, "house", -1.0),
        Entry(None, "no such word", -1.0),
        Entry(words.size + 3, "", -1.0),
        Entry(4, "", None),
    ]
    assert words.known(table) == {house[0]: -1.0}


def test_other_texts_of_the_same_tokens_are_seen(words):
    own = [Entry(n, words.spelt[n][0], -9.0) for n in range(words.size)]
    assert words.differing(own) == ""
    assert words.differing([Entry(None, "any", -1.0), Entry(7, "", 0.0)]) == ""
    other = [*own[:9], Entry(9, "quite else", -1.0)]
    assert "quite else" in words.differing(other)
    assert "beyond" in words.differing([Entry(words.size, "word", -1.0)])
