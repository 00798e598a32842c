"""A rationale that ends in a number or an arithmetic expression."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from synth.errors import Unreadable
from synth.parsers.base import Parser, cut_invented
from synth.records import Row
from synth.verifiers._expression import PLAIN, scan
from synth.verifiers.math_equal import number

# How answers are announced: "#### 9", "the answer is 9", "Answer: 9", a last line "A: 9", "\boxed{9}".
ANNOUNCED = r"####|\b(?:final\s+)?answer\s+is\s*:?|\b(?:final\s+)?answer\s*(?:\*+\s*)?:\**|^[^\S\n]*A\s*:"
_MARKER = re.compile(rf"\\boxed\s*\{{|{ANNOUNCED}", re.IGNORECASE | re.MULTILINE)
_LEADING = re.compile(
    r"(?:^|(?<=\s))\**(?:(?:so|thus|therefore|hence)\b,?)?\s*(?:\b(?:the|my)\b)?\s*(?:\bfinal\b)?\s*\**\s*$", re.IGNORECASE
)
_LEAD = 40
# An answer stands close behind its marker, and the last markers decide: no reply makes a parser look long.
NEAR, LAST_MARKERS, END = 1000, 50, 100_000
_LAST_WORDS = 20_000
_EXPRESSION = {"number", "op", "open", "close", "money", "percent"}
_STARTS = {"number", "open", "money"}


@dataclass(frozen=True, kw_only=True)
class FinalNumber(Parser):
    r"""Reads `rationale` and `answer` of a chain of thought whose answer is announced by a marker.

    The answer stays as written (`(84 / 2)`, `$1,200`): verifiers compare by value. Questions that the
    teacher invented after its answer are cut off first. The last announced answer counts.

    Args:
        fallback: what to read where no marker stands: `none` (unreadable) or `last_number` of the reply.

    Reasons:
        no_answer_marker: nothing announces an answer (a cut-off or off-format reply).
        no_number: an answer is announced and is no number.

    Example:
        >>> FinalNumber().parse("7 + 5 = 12. So the answer is (7 + 5).\n\nQ: Next?\nA: The answer is 3.", {})
        {'rationale': '7 + 5 = 12.', 'answer': '(7 + 5)'}
    """

    fallback: Literal["none", "last_number"] = "none"

    main: ClassVar[str] = "answer"
    fields: ClassVar[dict[str, str]] = {"rationale": "text", "answer": "text"}
    reasons: ClassVar[dict[str, str]] = {
        "no_answer_marker": "no answer is announced",
        "no_number": "the answer is no number",
    }

    def read(self, text: str, row: Row) -> dict[str, Any]:  # noqa: ARG002
        """Fields of one reply."""
        text = cut_invented(text)
        # The last hash marker usually decides; looking at the whole text for all markers costs ten times as much.
        last = text.rfind("####")
        found = self._announced(text, last) if last >= 0 else None
        if found is None or not found["answer"]:
            found = self._announced(text, max(0, len(text) - END))
        if found is None:
            return self._without_marker(text)
        if not found["answer"]:
            raise Unreadable("no_number", text[-80:])
        return found

    @staticmethod
    def _announced(text: str, start: int) -> dict[str, str] | None:
        """The last readable answer behind a marker from `start` on; "" where none is readable, None without a marker."""
        markers = list(_MARKER.finditer(text, start))
        for marker in markers[: -LAST_MARKERS - 1 : -1]:
            answer = leading_expression(text[marker.end() : marker.end() + NEAR])
            if answer:
                return {"rationale": before_marker(text[: marker.start()]), "answer": answer}
        return {"rationale": "", "answer": ""} if markers else None

    def _without_marker(self, text: str) -> dict[str, Any]:
        numbers = [] if self.fallback == "none" else [t for t in scan(text[-_LAST_WORDS:]) if t.kind == "number"]
        if not numbers:
            raise Unreadable("no_answer_marker", text[-80:])
        return {"rationale": text.strip(), "answer": numbers[-1].text}


def leading_expression(text: str) -> str:
    """The number or expression at the start of a text, behind at most one line of words; "" where there is none.

    >>> leading_expression(" (102 * 11) - 8. The"), leading_expression(" $18 per day"), leading_expression(" unknown")
    ('(102 * 11) - 8', '$18', '')
    """
    line = text.lstrip(" \t\n:*=").split("\n", 1)[0][:300]
    if PLAIN.fullmatch(line.rstrip()):
        return line.rstrip()
    tokens = scan(line)
    start = next((i for i, t in enumerate(tokens) if t.kind in _STARTS or (t.kind == "op" and t.text == "-")), None)
    if start is None or any(t.kind == "other" and t.text in ".;" for t in tokens[:start]):
        return ""
    end = start
    while end < len(tokens) and tokens[end].kind in _EXPRESSION:
        end += 1
    hangs = end < len(tokens) and tokens[end].kind == "other" and (tokens[end].text.isalpha() and tokens[end - 1].kind in {"op", "open"})
    return "" if hangs else _longest_value(line, tokens[start:end])


def _longest_value(line: str, tokens: list[Any]) -> str:
    """The longest prefix of tokens that has a value."""
    for end in range(len(tokens), 0, -1):
        found = line[tokens[0].start : tokens[end - 1].end]
        if number(found) is not None:
            return found.strip()
    return ""


def before_marker(text: str) -> str:
    """The rationale before an answer marker, without the words that lead to it.

    >>> before_marker("She has 26 eggs. So the ")
    'She has 26 eggs.'
    """
    text = text.strip()
    if not text[-1:].isalpha() and not text.endswith(("*", ",")):
        return text
    head, tail = text[:-_LEAD], text[-_LEAD:]
    return (head + _LEADING.sub("", tail)).strip()
