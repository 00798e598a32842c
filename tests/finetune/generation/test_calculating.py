"""A calculator writes the results of sums, token by token, and lets everything else be."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from finetune.generation.calculating import Calculator
from finetune.generation.ways import Ways, written
from finetune.students import scratch
from synth.answers.expression import decimal_text, evaluate
from synth.core.errors import WrongUse
from synth.verifiers.arithmetic_steps import open_sum

SUMS = {
    "so 12 + 30 =": " 42",
    "so 12+30=": "42",
    "10 / 4 =": " 2.5",
    "it is 3 * ( 4 - 6 ) =": " -6",
    "<<48/2=": "24",
    "cost 2 * $3 = $": "6",
}
LEFT_ALONE = ["so x + 2 =", "4 / 0 =", "the answer is 4 =", "12 + 30", "a = b"]


def by_bytes():
    """Every byte a token, and some numbers too."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {sign: place for place, sign in enumerate(alphabet)}
    for piece in ("42", "\u01204", "\u012042", "2.", "24"):
        vocabulary[piece] = len(vocabulary)
    merges = [
        ("4", "2"),
        ("\u0120", "4"),
        ("\u0120", "42"),
        ("2", "."),
        ("2", "4"),
    ]
    made = Tokenizer(models.BPE(vocabulary, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made)


def by_words():
    texts = [*SUMS, *SUMS.values(), "0 1 2 3 4 5 6 7 8 9 . -"]
    return scratch.build("scratch:tiny", texts, 0)[1]


TOKENIZERS = {"bytes": by_bytes(), "words": by_words()}


def goes_on(tokenizer, text, steps):
    """What a student writes that likes every token alike, but digits most."""
    calculator = Calculator(tokenizer)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    start = len(tokenizer.decode(ids))
    for _ in range(steps):
        scores = calculator.digits[None].float()
        scores = calculator(torch.tensor([ids]), scores)
        ids.append(int(scores[0].argmax()))
    return tokenizer.decode(ids)[start:]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("text", SUMS)
def test_the_result_is_written_and_no_digit_goes_on_with_it(kind, text):
    tokenizer = TOKENIZERS[kind]
    wanted = SUMS[text].strip()
    made = goes_on(tokenizer, text, len(wanted) + 1)
    assert made.strip().startswith(wanted)
    assert not made.strip()[len(wanted) :].strip()[:1].isdigit()


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_is_no_sum_is_left_to_the_student(kind, text):
    tokenizer = TOKENIZERS[kind]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    scores = torch.randn(1, len(tokenizer))
    after = Calculator(tokenizer)(torch.tensor([ids]), scores.clone())
    assert torch.equal(after, scores)


@given(st.integers(-999, 999), st.sampled_from("+-*/"), st.integers(1, 99))
def test_any_sum_is_written_digit_by_digit(left, sign, right):
    text = f"{left} {sign} {right} ="
    value = evaluate(text[:-1])
    assert open_sum(f"It is so. {text}") == value
    wanted = decimal_text(value)
    made = goes_on(TOKENIZERS["bytes"], text, len(wanted) + 2).strip()
    assert made.startswith(wanted)
    assert not made[len(wanted) :][:1].isdigit()


@given(st.fractions(), st.integers(0, 8))
def test_decimals_are_exact_where_they_end(value, most):
    shown = Fraction(decimal_text(value, most))
    scaled = value * 10**most
    if scaled.denominator == 1:
        assert shown == value
    else:
        assert abs(shown - value) <= Fraction(1, 200)


def test_a_student_writes_with_it_and_not_with_a_contrast():
    texts = [*SUMS, "4 5 6 7 8 9 42"]
    model, tokenizer = scratch.build("scratch:tiny", texts, 0)
    ids = tokenizer("so 12 + 30 =", add_special_tokens=False)["input_ids"]
    for ways in (Ways(calculator=True), Ways()):
        made = written(
            model.eval(),
            tokenizer,
            [ids, ids[1:]],
            ways=ways,
            max_new_tokens=2,
            do_sample=False,
        )
        said = [tokenizer.decode([*ids, *row]) for row in made.tolist()]
        assert all("= 42" in text for text in said) == ways.calculator
    with pytest.raises(WrongUse, match="--contrast"):
        Ways(calculator=True, contrast="2 + 2 = 5").check(model)
