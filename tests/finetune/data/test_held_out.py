"""What is asked of rows held out, what fields follow, and which rows stand on both sides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.held_out import (
    ALONE,
    MEASURES,
    HeldOut,
    apart,
    read_tokens,
)
from finetune.data.trainer_fields import HOLD_OUT, OF_HELD_OUT, obeyed, refused
from synth.core.errors import WrongUse


def row(prompt, answer):
    """Ids of a prompt and an answer, of which the answer is learnt."""
    return {
        "input_ids": [*prompt, *answer],
        "labels": [-100] * len(prompt) + list(answer),
    }


IDS = st.lists(st.integers(0, 3), min_size=2, max_size=3)


@given(st.lists(st.tuples(IDS, IDS), min_size=1), st.lists(st.tuples(IDS, IDS)))
def test_rows_of_one_prompt_are_counted_whatever_their_answers(held, learnt):
    known = [prompt for prompt, _ in learnt]
    twice = sum(prompt in known for prompt, _ in held)
    sides = [[row(*pair) for pair in side] for side in (held, learnt)]
    if twice == len(held):
        with pytest.raises(WrongUse, match="belongs to one side"):
            apart("h", *sides)
    else:
        assert apart("h", *sides).twice == twice


def test_texts_without_a_prompt_are_compared_whole():
    # Of the second row a start token alone is not learnt.
    for labels in ([1, 2, 3], [-100, 2, 3]):
        text = {"input_ids": [1, 2, 3], "labels": labels}
        assert read_tokens(text) == (1, 2, 3)


def test_what_stands_on_both_sides_is_said(capsys):
    held = [row([1, 2], [3]), row([4, 5], [6])]
    found = apart("h", held, [row([1, 2], [9])])
    assert found.record() == {
        "held_out": {"data": "h", "rows": 2, "in_training": 1}
    }
    assert "1 of 2 rows held out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "given", "fields"),
    [
        ({}, {}, {"eval_strategy": "epoch"}),
        ({}, {"eval_steps": 0.1}, {"eval_strategy": "steps"}),
        (
            {"patience": 2},
            {},
            {
                "eval_strategy": "epoch",
                "metric_for_best_model": "loss",
                "greater_is_better": False,
            },
        ),
        (
            {"keep_best": "exact_match"},
            {"save_strategy": "epoch"},
            {
                "eval_strategy": "epoch",
                "metric_for_best_model": "exact_match",
                "greater_is_better": True,
                "load_best_model_at_end": True,
            },
        ),
        (
            {"keep_best": "kl"},
            {"eval_steps": 5},
            {
                "eval_strategy": "steps",
                "metric_for_best_model": "kl",
                "greater_is_better": False,
                "load_best_model_at_end": True,
                "save_strategy": "best",
                "save_only_model": True,
                "save_total_limit": 1,
            },
        ),
    ],
)
def test_fields_of_the_trainer_follow(settings, given, fields):
    assert HeldOut(data="h", **settings).fields(given) == fields


def test_answers_are_generated_where_a_measure_wants_them():
    assert not HeldOut(data="h", keep_best="loss").answers
    assert HeldOut(data="h", keep_best="exact_match").answers
    assert HeldOut(data="h", measure="exact_match").answers


@pytest.mark.parametrize("measure", [*MEASURES, "accuracy"])
def test_a_training_takes_its_own_measures_alone(measure):
    held = HeldOut(data="h", keep_best=measure)
    for measures in (MEASURES, ALONE):
        if measure in measures:
            held.check(measures)
        else:
            with pytest.raises(WrongUse, match="no measure of this training"):
                held.check(measures)


def test_where_nothing_is_chosen_any_training_measures():
    HeldOut(data="h").check(["kl"])
    with pytest.raises(WrongUse, match="--keep-best loss, --patience 2"):
        HeldOut(data="h", patience=2).check(["kl"])


@pytest.mark.parametrize("command", HOLD_OUT)
def test_fields_of_a_measurement_are_obeyed_where_rows_are_held_out(command):
    assert set(refused(command)) >= OF_HELD_OUT
    assert obeyed(command, held_out=True) >= OF_HELD_OUT
    assert not OF_HELD_OUT & set(refused(command, held_out=True))
    assert "load_best_model_at_end" in refused(command, held_out=True)
