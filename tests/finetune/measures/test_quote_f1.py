"""Quotes of a reply, by their words, and whether they stand in the text."""

from __future__ import annotations

from finetune.measures.quote_f1 import QuoteF1

PROMPT = "The mill was built in 1820.\n It burnt  down in 1901."


def test_words_of_all_quotes_count_together():
    row = {
        "prompt": PROMPT,
        "reply": "I think <quote>built in 1820</quote> and <q>It burnt down</q>.",
        "target": ["built in 1820", "burnt down"],
    }
    # Six words against five, five of them shared.
    assert QuoteF1().of_question([row]) == 10 / 11
    assert QuoteF1().more([row]) == {"quotes": 2, "verbatim": 1.0}


def test_made_up_quotes_are_counted():
    row = {
        "prompt": PROMPT,
        "reply": "<quote>built in 1821</quote>",
        "target": "x",
    }
    assert QuoteF1().more([row]) == {"quotes": 1, "verbatim": 0.0}
    assert QuoteF1().more([]) == {"quotes": 0, "verbatim": 0.0}


def test_an_empty_reply_quotes_nothing():
    for reply in ("", None, "<quote> </quote>"):
        row = {"prompt": PROMPT, "reply": reply, "target": ["built"]}
        assert QuoteF1().of_question([row]) == 0
        assert QuoteF1().more([row]) == {"quotes": 0, "verbatim": 0.0}


def test_the_marks_of_the_pack_are_read_too():
    said = (
        "##begin_quote## built in 1820 ##end_quote##\n"
        "##begin_quote## It burnt down ##end_quote##\n"
    )
    row = {"prompt": PROMPT, "reply": said, "target": said.replace("It ", "")}
    assert QuoteF1().of_question([row]) == 10 / 11
    assert QuoteF1().more([row]) == {"quotes": 2, "verbatim": 1.0}
