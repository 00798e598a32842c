"""What can be seen of a rationale without asking anyone: agreement, steps, use of the question's
numbers, shape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import log10
from typing import Any

from synth.answers.equal import canonical, number
from synth.answers.expression import scan
from synth.core.records import Row
from synth.core.rows import field_text
from synth.text.words import count
from synth.verifiers.arithmetic_steps import ArithmeticSteps

_LARGE = Fraction(10**6 - 1)
NAMES = (
    "agreement",
    "lead",
    "answered",
    "steps",
    "wrong_steps",
    "has_steps",
    "ends_in_answer",
    "question_numbers",
    "known_operands",
    "words",
    "whole",
    "size",
)


def features(rows: Sequence[Row]) -> list[list[float]]:
    """NAMES of each draw of one question; no gold is looked at."""
    votes = [
        None if row.get("answer") is None else canonical(str(row["answer"]))
        for row in rows
    ]
    counts = Counter(vote for vote in votes if vote is not None)
    return [
        [*_agreement(vote, counts, len(rows)), *_chain(row), *_answer(row)]
        for row, vote in zip(rows, votes, strict=True)
    ]


def _agreement(
    vote: str | None, counts: Counter[str], draws: int
) -> tuple[float, float, float]:
    mine = counts[vote] if vote is not None else 0
    others = max((n for other, n in counts.items() if other != vote), default=0)
    return mine / draws, (mine - others) / draws, float(vote is not None)


def _chain(row: Row) -> tuple[float, ...]:
    """Of the rationale: steps, wrong ones, whether it ends in the answer, how it uses the
    question's numbers, words.
    """
    text = field_text(row, "rationale")
    equations = ArithmeticSteps().equations(text)
    wrong = sum(not e.right for e in equations)
    asked = numbers(str(row.get("question", "")))
    used = numbers(text)
    answer = number(str(row.get("answer")))
    ends = (
        bool(equations)
        and answer is not None
        and _last(equations[-1].text) == answer
    )
    results = {_last(e.text) for e in equations}
    share_explained = sum(n in asked or n in results for n in used) / max(
        1, len(used)
    )
    seen = set(used)
    hits = sum(number in seen for number in asked)
    covered = hits / max(1, len(asked))
    return (
        min(len(equations), 10) / 10,
        min(wrong, 3),
        float(bool(equations)),
        float(ends),
        covered,
        share_explained,
        min(count(text), 200) / 100,
    )


def _last(equation: str) -> Fraction | None:
    return number(equation.rpartition("=")[2])


def _answer(row: Row) -> tuple[float, float]:
    value = number(str(row.get("answer")))
    if value is None:
        return 0.0, 0.0
    whole = float(value.denominator == 1)
    # Larger ones count alike, and a float may not hold them.
    size = min(abs(value), _LARGE)
    return whole, log10(1 + size)


def numbers(text: str) -> list[Fraction]:
    """Values of the numbers in a text, in order."""
    values: list[Any] = [
        number(token.text)
        for token in scan(text[:20_000])
        if token.kind == "number"
    ]
    return [value for value in values if value is not None]
