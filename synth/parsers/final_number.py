"""A rationale that ends in a number or an arithmetic expression."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from synth.answers.expression import PLAIN
from synth.answers.numerals import HAN, NUMBER_WORD
from synth.answers.reading import read
from synth.answers.spelling import boxed
from synth.answers.units import ALSO_WORDS, SIGNS
from synth.core.errors import Unreadable
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.parsers.base import Parser, cut_invented

# How answers are announced: "#### 9", "the answer is 9", "Answer: 9", a last line "A: 9",
# "\boxed{9}".
ANNOUNCED = (
    r"####|\b(?:final\s+)?answer\s+is\s*:?|\b(?:final\s+)?answer\s*(?:\*+\s*)?:\**"
    r"|^[^\S\n]*A\s*:"
)
_MARKER = lazy_pattern(
    rf"\\boxed\s*\{{|{ANNOUNCED}", re.IGNORECASE | re.MULTILINE
)
_LEADING = lazy_pattern(
    r"(?:^|(?<=\s))\**(?:(?:so|thus|therefore|hence)\b,?)?\s*(?:\b(?:the|my)\b(?:\s*(?:correct"
    r"|right|best)\b)?)?\s*(?:\bfinal\b)?\s*\**\s*$",
    re.IGNORECASE,
)
_LEAD = 40
_OPENS = ("$", "(", "[", "{")
# A sign behind a digit is money: "it costs 54$".
_FORMULA = lazy_pattern(
    r"(?:(?<![\d$])\$\$?|\\\(|\\\[|\\\\?(?:boxed|fbox|text|mathbf)\s?\{)$"
)
# An answer stands close behind its marker, and the last markers decide: no reply makes a parser
# look long.
NEAR = 1000
LAST_MARKERS = 50
END = 100_000
_LAST_WORDS = 20_000
# How much of a line is looked at, in signs; behind how many signs of words a number may stand that
# is the answer; how long it may be.
_MOST_LINE = 300
_MOST_LEAD = 30
_MOST_ANSWER = 200
_BOLD = lazy_pattern(r"(?<!\d)\*\*(?=\S)|\*\*(?!\s*[\d(])")
_SIGNED = rf"[-+\u2212\u2013]?\s*[{re.escape(SIGNS)}]?\s*[-+\u2212\u2013]?"
_HALF = (
    r"\b(?:an?\s+)?(?:half|dozen|quarter|hundred|thousand|million)\b|\b(?:minus"
    r"|negative)\s+(?=[a-z])"
)
_START = lazy_pattern(
    rf"{_SIGNED}(?:\.?\d|[(\u00bc-\u00be\u2150-\u215e\u221a\u221e]|\\[dtc]?frac|\\sqrt|\\text"
    rf"|\\\$|{HAN.pattern})|\\\(|\$\\"
    rf"|{_HALF}|{NUMBER_WORD.pattern}|\b[A-Z]{{2,3}}\s?[$\d]",
    re.IGNORECASE,
)
_SENTENCE = lazy_pattern(r"[.!?;](?=\s|$)|,(?=\s+[^\W\d_])|\s\((?=[^\W\d_]{2})")
_WORD = lazy_pattern(r"\S+")
# A number anywhere in a text, with its sign where no operand stands before that.
_LAST = lazy_pattern(
    rf"(?:(?<![\w)\s])|(?<!\S))[-\u2212]?[{re.escape(SIGNS)}]?\d+(?:[.,'\u2019\u00a0\u202f]\d+)*"
    r"|\d+(?:[.,'\u2019]\d+)*"
)
_DIGIT = lazy_pattern(r"\d")
_PUNCTUATION = " .,;:!?*"
# What makes the number before it a part of something longer: an operator with its operand, a second
# number.
_GOES_ON = lazy_pattern(
    r"\s*[-+*/^\u00d7\u00f7\u00b7\u2212\u2013\u2044]\s*(?:[\d($\\]|[a-z](?![a-z]))"
    r"|\s*[\^_{\u00b1]|\s*\\(?![)\]%])|[(:'\u2019,]\d|\s*=\s*[a-z](?![a-z])"
    r"|\s*(?:or|and|to|and/or|through|versus|vs\.?)\s+[-$\u20ac\u00a3]?\d"
    r"|\s*,\s*\d+(?:[.,]\d+)?\s*(?:[,.]|and\b|or\b|$)|[^\W\d_]",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class FinalNumber(Parser):
    r"""Reads `rationale` and `answer` of a chain of thought whose answer is announced by a marker.

    The answer stays as written (`(84 / 2)`, `$1,200`): verifiers compare by value. Questions that
    the teacher invented after its answer are cut off first. The last announced answer counts.

    Args:
        fallback: what to read where no marker stands: `none` (unreadable) or `last_number` of the
            reply.

    Reasons:
        no_answer_marker: nothing announces an answer (a cut-off or off-format reply).
        no_number: an answer is announced and is no number.

    Example:
        >>> FinalNumber().parse(
        ...     "7 + 5 = 12. So the answer is (7 + 5).\n\nQ: Next?\nA: The answer is 3.", {}
        ... )
        {'rationale': '7 + 5 = 12.', 'answer': '(7 + 5)'}
    """

    fallback: Literal["none", "last_number"] = "none"

    main: ClassVar[str] = "answer"
    fields: ClassVar[dict[str, str]] = {"rationale": "text", "answer": "text"}
    reasons: ClassVar[dict[str, str]] = {
        "no_answer_marker": "no answer is announced",
        "no_number": "the answer is no number",
    }

    def read(self, text: str, row: Row) -> Fields:  # noqa: ARG002
        text = cut_invented(text)
        # The last hash marker usually decides; looking at the whole text for all markers costs ten
        # times as much.
        last = text.rfind("####")
        fields = self._announced(text, last) if last >= 0 else None
        if fields is None or not fields["answer"]:
            fields = self._announced(text, max(0, len(text) - END))
        if fields is None:
            return self._without_marker(text)
        if not fields["answer"]:
            raise Unreadable("no_number", text[-80:])
        return fields

    @staticmethod
    def _announced(text: str, start: int) -> dict[str, str] | None:
        """The answer behind the last marker that a number stands behind; "" where it is none, None
        without a marker.
        """
        markers = list(_MARKER.finditer(text, start))
        for marker in markers[: -LAST_MARKERS - 1 : -1]:
            behind = announced(text, marker)
            answer = leading_expression(behind)
            if answer:
                return {
                    "rationale": before_marker(text[: marker.start()]),
                    "answer": answer,
                }
            if _DIGIT.search(behind.lstrip().split("\n", 1)[0][:_MOST_LINE]):
                return {"rationale": "", "answer": ""}
        return {"rationale": "", "answer": ""} if markers else None

    def _without_marker(self, text: str) -> Fields:
        numbers = (
            list(_LAST.finditer(text[-_LAST_WORDS:]))
            if self.fallback != "none"
            else []
        )
        answer = (
            leading_expression(text[-_LAST_WORDS:][numbers[-1].start() :])
            if numbers
            else ""
        )
        if not answer:
            raise Unreadable("no_answer_marker", text[-80:])
        return {"rationale": text.strip(), "answer": answer}


def announced(text: str, marker: re.Match[str]) -> str:
    """What stands behind a marker, or in it where it is a box; "" for a box that is empty or
    open.
    """
    if marker[0].startswith("\\"):
        return boxed(text[marker.start() : marker.end() + NEAR]) or ""
    return text[marker.end() : marker.end() + NEAR]


def leading_expression(text: str) -> str:
    r"""The number, quantity or expression at the start of a text, behind at most one line of words;
    "" where there is none.

    Its unit and its scale belong to it, what is counted does not. It is never a part of a longer
    number or expression.

    >>> leading_expression(" (102 * 11) - 8. The")
    '(102 * 11) - 8'
    >>> leading_expression(" $18 per day")
    '$18'
    >>> leading_expression(" unknown")
    ''
    >>> leading_expression("1.2 million people")
    '1.2 million'
    >>> leading_expression("18 eggs")
    '18'
    >>> leading_expression("5 or 6")
    ''
    >>> leading_expression("2^n")
    ''
    """
    line = text.lstrip(" \t\n:*=").split("\n", 1)[0][:_MOST_LINE].rstrip()
    if PLAIN.fullmatch(line):
        return line
    line = _BOLD.sub("", line)
    start = _START.search(line)
    if (
        start is None
        or start.start() > _MOST_LEAD
        or any(token in line[: start.start()] for token in ".;")
    ):
        return ""
    line = line[start.start() :].lstrip()
    expression = _longest_value(
        line[: end.start()] if (end := _SENTENCE.search(line)) else line
    )
    expression = expression.rstrip(_PUNCTUATION)
    return "" if _GOES_ON.match(line[len(expression) :]) else expression


def _longest_value(line: str) -> str:
    """The longest start of a line, whole words, of which each changes the value."""
    longest = ""
    value = None
    for word in _WORD.finditer(line[:_MOST_ANSWER]):
        start = line[: word.end()]
        if word[0].casefold() in ALSO_WORDS and word.end() < len(line):
            continue
        reading = read(start)
        if reading.number is None or reading.nouns:
            continue
        if (
            value is None
            or _DIGIT.search(word[0])
            or (reading.number, reading.unit) != value
        ):
            longest = start
            value = (reading.number, reading.unit)
    return longest


def before_box(text: str) -> str:
    r"""The text before a box, without the signs that open a formula or another box around it.

    >>> before_box(r"So it is 4. $$"), before_box(r"So \[ \boxed{")
    ('So it is 4.', 'So')
    """
    text = text.strip()
    while (
        text[-1:] in _OPENS
        and (shorter := _FORMULA.sub("", text[-_LEAD:])) != text[-_LEAD:]
    ):
        text = (text[:-_LEAD] + shorter).rstrip()
    return text


def before_marker(text: str) -> str:
    """The rationale before an answer marker, without the words that lead to it.

    >>> before_marker("She has 26 eggs. So the ")
    'She has 26 eggs.'
    """
    text = before_box(text)
    if not text[-1:].isalpha() and not text.endswith(("*", ",")):
        return text
    head = text[:-_LEAD]
    tail = text[-_LEAD:]
    return (head + _LEADING.sub("", tail)).strip()
