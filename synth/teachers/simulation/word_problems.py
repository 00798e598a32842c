"""The word problems of the demo: two or three steps of adding and taking away, values from 0 to 19.

Every number is one word and every step has its cue (first, then, next), in the question and in its
solution alike, so that a student of 100,000 parameters can learn the task from scratch in a minute.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

CUES = ("first", "then", "next")
NAMES = ("Sam", "Ann", "Tom", "Lea", "Max", "Ida", "Ben", "Eva")
THINGS = ("coins", "pens", "cards", "nuts", "keys", "cups")
VERBS = {"+": ("finds", "buys"), "-": ("loses", "sells")}
MOST = 19
_SIGN = {verb: sign for sign, verbs in VERBS.items() for verb in verbs}


@dataclass(frozen=True, slots=True)
class Problem:
    """A question in figures: the start and the signed steps, e.g. 7, (("+", 5), ("-", 3))."""

    start: int
    steps: tuple[tuple[str, int], ...]

    def values(self) -> list[int]:
        """The value after each step."""
        out = []
        value = self.start
        for sign, number in self.steps:
            value += number if sign == "+" else -number
            out.append(value)
        return out


def chain(problem: Problem, results: Sequence[int]) -> str:
    """A solution in words, with the results that somebody computed (each step starts from the one
    before).

    >>> chain(Problem(7, (("+", 5), ("-", 3))), [12, 9])
    'first 7 + 5 = 12 . then 12 - 3 = 9 .'
    """
    parts = []
    value = problem.start
    for cue, (sign, number), result in zip(
        CUES, problem.steps, results, strict=False
    ):
        parts.append(f"{cue} {value} {sign} {number} = {result} .")
        value = result
    return " ".join(parts)


def make_problem(rng: random.Random) -> tuple[str, Problem]:
    """One question and its figures; every value on the way lies between 0 and 19."""
    name = rng.choice(NAMES)
    thing = rng.choice(THINGS)
    value = start = rng.randint(0, MOST)
    steps = []
    words = []
    for cue in CUES[: rng.choice((2, 3))]:
        options = [
            (s, n)
            for s in "+-"
            for n in range(1, 10)
            if 0 <= value + (n if s == "+" else -n) <= MOST
        ]
        sign, number = rng.choice(options)
        value += number if sign == "+" else -number
        steps.append((sign, number))
        words.append(f"{cue} {name} {rng.choice(VERBS[sign])} {number} .")
    question = (
        f"{name} has {start} {thing} . {' '.join(words)} how many {thing} now ?"
    )
    return question, Problem(start, tuple(steps))


def make_problems(
    count: int, seed: int = 0, avoid: frozenset[str] = frozenset()
) -> list[dict[str, str]]:
    """So many different questions with their right answers (`question`, `target`), none of them in
    `avoid`.
    """
    rng = random.Random(seed)
    seen = set(avoid)
    rows: list[dict[str, str]] = []
    while len(rows) < count:
        question, problem = make_problem(rng)
        if question not in seen:
            seen.add(question)
            rows.append(
                {"question": question, "target": str(problem.values()[-1])}
            )
    return rows


_STEP = re.compile(rf"(?:{'|'.join(CUES)}) \w+ ({'|'.join(_SIGN)}) (\d+) \.")
_START = re.compile(r"\w+ has (\d+) \w+ \.")
_SUM = re.compile(r"What is (\d+) ((?:[+-] \d+ ?)+)\?")


def read_problem(text: str) -> Problem | None:
    """The figures of a sample problem somewhere in a prompt; None where there is none.

    >>> read_problem(
    ...     "Solve: Sam has 7 coins . first Sam finds 5 . then Sam loses 3 . how many coins now ?"
    ... )
    Problem(start=7, steps=(('+', 5), ('-', 3)))
    """
    start = _START.search(text)
    if start:
        return Problem(
            int(start.group(1)),
            tuple(
                (_SIGN[verb], int(number))
                for verb, number in _STEP.findall(text, start.end())
            ),
        )
    plain = _SUM.search(text)
    if plain is None:
        return None
    return Problem(
        int(plain.group(1)),
        tuple(
            (s, int(n)) for s, n in re.findall(r"([+-]) (\d+)", plain.group(2))
        ),
    )
