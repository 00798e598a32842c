"""Sampling of local models: penalties by their formula, banned words never said."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.generation.sampling import Penalties, banned_ids, options
from finetune.students.load import load_student
from finetune.students.scratch import build
from tests import tiny


def test_penalties_count_generated_tokens_alone():
    ids = torch.tensor([[1, 2, 3, 3], [1, 1, 0, 2]])
    found = Penalties(0.5, 0.25, start=1)(ids, torch.zeros(2, 5))
    assert found.tolist() == [
        [0, 0, -0.75, -1.0, 0],
        [-0.75, -0.75, -0.75, 0, 0],
    ]


def test_banned_words_are_never_said_and_penalties_change_what_is():
    model, tokenizer = load_student(tiny.causal())
    prompt = tokenizer(
        "What is 3 + 3 ? it is",
        return_tensors="pt",
        return_token_type_ids=False,
    )

    def said(**body):
        given = options(
            {"temperature": 0, "max_tokens": 20, **body},
            tokenizer,
            prompt["input_ids"].shape[1],
        )
        return tokenizer.decode(
            model.generate(**prompt, **given)[0][prompt["input_ids"].shape[1] :]
        ).split()

    free = said()
    word = max(set(free), key=free.count)
    assert word not in said(bad_words=[word])
    assert len(set(said(frequency_penalty=2.0, presence_penalty=2.0))) > len(
        set(free)
    )
    assert (
        options(
            {"temperature": 1, "top_k": 5, "repetition_penalty": 1.2},
            tokenizer,
            1,
        )["top_k"]
        == 5
    )


def test_words_are_banned_as_they_stand_in_texts():
    _, tokenizer = load_student(tiny.causal())
    ids = banned_ids(["what"], tokenizer)
    assert ids
    assert all(isinstance(token, int) for found in ids for token in found)
    assert banned_ids([], tokenizer) == []


@given(
    st.lists(
        st.lists(st.integers(0, 4), min_size=3, max_size=3),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.5, -1.0]),
    st.sampled_from([0.0, 0.25]),
)
def test_a_penalty_is_counted_token_by_token(rows, start, presence, frequency):
    scores = torch.arange(5.0).repeat(len(rows), 1)
    found = Penalties(presence, frequency, start)(torch.tensor(rows), scores)
    for row, values in zip(rows, found.tolist(), strict=True):
        for token, value in enumerate(values):
            count = row[start:].count(token)
            wanted = token - frequency * count - presence * (count > 0)
            assert value == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("body", "made", "absent"),
    [
        (
            {},
            {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0},
            ["stop_strings", "bad_words_ids", "logits_processor"],
        ),
        (
            {"temperature": 0, "top_p": 0.5},
            {"do_sample": False},
            ["temperature", "top_p", "top_k"],
        ),
        ({"temperature": 0.3, "top_p": 0.5}, {"temperature": 0.3}, []),
        ({"max_tokens": 7}, {"max_new_tokens": 7}, []),
        ({"max_tokens": None}, {"max_new_tokens": 512}, []),
        ({"top_k": 5}, {"top_k": 5}, []),
        ({"top_k": None}, {"top_k": 0}, []),
        ({"no_repeat_ngram_size": 0}, {"no_repeat_ngram_size": 0}, []),
        ({"stop": ["a", "b"]}, {}, ["stop_strings"]),
        ({"stop": []}, {}, ["stop_strings"]),
        ({"presence_penalty": 0.0}, {}, ["logits_processor"]),
        ({"frequency_penalty": None}, {}, ["logits_processor"]),
    ],
)
def test_fields_of_a_request_are_arguments_of_generate(body, made, absent):
    _, tokenizer = load_student(tiny.causal())
    found = options(body, tokenizer, 1)
    for name, value in made.items():
        assert found[name] == value
    assert not set(absent) & set(found)


def test_unknown_words_ban_nothing_and_known_ones_with_a_capital_too():
    _, tokenizer = load_student(tiny.causal())
    assert banned_ids(["\U0001f600"], tokenizer) == []
    assert banned_ids([""], tokenizer) == []
    found = banned_ids(["what", "it"], tokenizer)
    what = tokenizer("What", add_special_tokens=False)["input_ids"]
    assert list(what) in found
    assert len({tuple(ids) for ids in found}) == len(found)


def test_generate_looks_for_stops_where_it_can_spell_its_tokens():
    _, tokenizer = build("scratch:tiny", ["a b c d e f stop here"], 0)
    found = options({"stop": ["here"]}, tokenizer, 1)
    assert found["stop_strings"] == ["here"]


def test_a_field_that_is_null_counts_as_missing():
    _, tokenizer = load_student(tiny.causal())
    nothing = options({}, tokenizer, 3)
    null = {"temperature": None, "top_p": None, "max_tokens": None}
    assert options(null, tokenizer, 3) == nothing
    assert nothing["temperature"] == nothing["top_p"] == 1.0
    assert not options({"temperature": 0}, tokenizer, 3)["do_sample"]
