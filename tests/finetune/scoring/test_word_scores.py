"""A language model's answer as a score: the logits behind its prompt, by hand."""

from __future__ import annotations

import pytest
import torch

from finetune.measuring.likelihoods import surprises
from finetune.scoring.word_scores import (
    WordScorer,
    check_template,
    read_template,
)
from finetune.students.load import load_student
from synth.core.errors import WrongUse
from tests import tiny

TEMPLATE = "What is {query} ? it is a {document}"
WORDS = ("red", "old")
PAIRS = [("red pen", "tall tree"), ("big", "dog"), ("old house", "a red hat")]


def test_a_score_is_the_difference_of_two_logits():
    judge = WordScorer(model=tiny.causal(), template=TEMPLATE, words=WORDS)
    found = judge.scores(PAIRS)
    states = judge.states(PAIRS)
    model, tokenizer = load_student(tiny.causal())
    for (query, text), score, state in zip(PAIRS, found, states, strict=True):
        prompt = TEMPLATE.format(query=query, document=text)
        batch = tokenizer(prompt, return_tensors="pt")
        with torch.no_grad():
            said = model(**batch, output_hidden_states=True)
        yes, no = (tokenizer.encode(w, add_special_tokens=False) for w in WORDS)
        logits = said.logits[0, -1]
        wanted = float(logits[yes[0]] - logits[no[0]])
        assert score == pytest.approx(wanted, abs=1e-4)
        assert torch.allclose(state, said.hidden_states[-1][0, -1], atol=1e-4)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"template": "is it {query}"}, "no {document}"),
        ({"words": ("red", "red pen")}, "the same token"),
        ({"words": ("", "red")}, "a word without a token"),
    ],
)
def test_what_cannot_be_asked_is_refused(more, says):
    given = {"template": TEMPLATE, "words": WORDS, **more}
    with pytest.raises(WrongUse) as caught:
        WordScorer(model=tiny.causal(), **given)
    assert says in str(caught.value)


def test_a_template_that_is_not_there_is_said(tmp_path):
    with pytest.raises(WrongUse, match="a text file with a question"):
        read_template(str(tmp_path / "none.txt"))


def test_a_long_text_does_not_push_the_question_out(monkeypatch):
    """The end of the prompt is read, whatever stands before it."""
    judge = WordScorer(
        model=tiny.causal(), template="{document} {query}", words=WORDS
    )
    monkeypatch.setattr(judge.opened, "limit", 8)
    tail = "red pen old house blue pen it is"
    assert len(judge.opened.tokenizer(tail)["input_ids"]) >= 8
    short, longer, other = judge.scores(
        [(tail, "big"), (tail, "small dog " * 40), (f"{tail} a", "big")]
    )
    assert short == pytest.approx(longer, abs=1e-5)
    assert short != pytest.approx(other, abs=1e-3)


@pytest.mark.parametrize("place", ["{answer}", "{Query}", "{document_2}"])
def test_a_place_that_nothing_fills_is_refused(place):
    with pytest.raises(WrongUse, match="which nothing fills"):
        check_template(f"{TEMPLATE} {place}")
    check_template(TEMPLATE + ' {"a": 1} {} { x }')


def test_only_a_decoder_says_how_likely_a_word_is():
    with pytest.raises(WrongUse, match="which writes no text"):
        WordScorer(model=tiny.encoder("mlm"), template=TEMPLATE, words=WORDS)
    with pytest.raises(WrongUse, match="which writes no text"):
        surprises(tiny.encoder("mlm"), ["red"], ["pen"])
