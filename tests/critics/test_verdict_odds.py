"""Verdicts weighed with the probabilities of their token, whatever a server writes beside it."""

from __future__ import annotations

from math import inf, log, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.critics.verdict_odds import expected

SCALE = {"yes": 1.0, "no": 0.0}
GRADES = {str(n): (n - 1) / 4 for n in range(1, 6)}


def token(text, logprob, *options):
    top = [{"token": word, "logprob": odds} for word, odds in options]
    return {"token": text, "logprob": logprob, "top_logprobs": top}


@given(
    st.dictionaries(st.sampled_from("12345"), st.floats(1e-4, 1), min_size=1),
    st.sampled_from("12345"),
)
def test_the_worth_is_the_mean_over_the_grades_that_could_have_stood(
    chances, said
):
    chances.setdefault(said, 0.5)
    options = [(grade, log(chance)) for grade, chance in chances.items()]
    found = expected([token(said, log(chances[said]), *options)], said, GRADES)
    total = sum(chances.values())
    wanted = sum(GRADES[grade] * share for grade, share in chances.items())
    assert found == pytest.approx(wanted / total)


@given(st.floats(0.01, 0.99), st.floats(0, 0.9))
def test_words_outside_the_scale_shift_nothing(yes, other):
    left = 1 - other
    chances = [("yes", log(yes * left)), ("no", log((1 - yes) * left))]
    if other:
        chances.append(("maybe", log(other)))
    found = expected([token("yes", chances[0][1], *chances)], "yes", SCALE)
    assert found == pytest.approx(yes)


def test_spellings_and_marks_of_tokenizers_are_one_word():
    options = [
        ("ĠYes", log(0.3)),
        ("▁yes", log(0.2)),
        ("**YES**", log(0.1)),
        ("No.", log(0.4)),
    ]
    found = expected([token("ĠYes", log(0.3), *options)], "yes", SCALE)
    assert found == pytest.approx(0.6)


def test_a_first_part_of_a_verdict_stands_for_it():
    scale = {"entailment": 1.0, "contradiction": 0.0}
    options = [("ent", log(0.75)), ("contra", log(0.25))]
    found = expected([token("ent", log(0.75), *options)], "entailment", scale)
    assert found == pytest.approx(0.75)


def test_a_verdict_quoted_in_the_critique_says_nothing():
    early = token("yes", log(0.9), ("yes", log(0.9)), ("no", log(0.1)))
    late = token("yes", log(0.6), ("yes", log(0.6)), ("no", log(0.4)))
    other = token("</", -0.01, ("</", -0.01))
    found = expected([early, token("so", -0.1), late, other], "yes", SCALE)
    assert found == pytest.approx(0.6)


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [None],
        ["yes"],
        [{"token": "yes"}],
        [{"token": "yes", "logprob": None}],
        [{"token": "yes", "logprob": "-0.1"}],
        [{"token": "yes", "logprob": nan}],
        [{"token": "yes", "logprob": inf}],
        [{"token": "", "logprob": -0.1}],
        [{"logprob": -0.1}],
        [{"token": "maybe", "logprob": -0.1}],
        [{"token": 7, "logprob": -0.1}],
    ],
)
def test_tokens_that_tell_nothing_leave_the_verdict_as_it_was_said(tokens):
    assert expected(tokens, "yes", SCALE) == 1.0
    assert expected(tokens, "no", SCALE) == 0.0
    assert expected(tokens, "unheard of", SCALE) == 0.0


@pytest.mark.parametrize("logprob", [-9999.0, -inf])
def test_a_verdict_that_had_no_likelihood_counts_as_it_was_said(logprob):
    said = token("yes", logprob, ("maybe", -0.01))
    assert expected([said], "yes", SCALE) == 1.0
    assert expected([token("no", logprob, ("maybe", -0.01))], "no", SCALE) == 0


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "no",
        {"token": "no"},
        {"token": "no", "logprob": None},
        {"token": "no", "logprob": nan},
        {"token": "no", "logprob": 900.0},
    ],
)
def test_an_option_without_a_probability_is_passed_over(odd):
    said = {"token": "yes", "logprob": log(0.8)}
    said["top_logprobs"] = [odd, {"token": "no", "logprob": log(0.2)}]
    if isinstance(odd, dict):
        said["top_logprobs"].reverse()
        said["top_logprobs"][0]["token"] = "No"
    assert expected([said], "yes", SCALE) == pytest.approx(0.8)


@given(st.lists(st.tuples(st.text(max_size=4), st.floats(-30, 0)), max_size=5))
def test_the_worth_of_any_options_is_within_the_scale(options):
    found = expected([token("yes", -0.5, *options)], "yes", SCALE)
    assert 0 <= found <= 1 + 1e-12
