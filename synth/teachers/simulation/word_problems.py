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
VERBS = {
    "+": ("finds", "buys"),
    "-": ("loses", "sells"),
}
MOST = 19
_SIGN = {
    "finds": "+",
    "buys": "+",
    "loses": "-",
    "sells": "-",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """A question in figures: the start and the signed steps, e.g. 7, (("+", 5), ("-", 3))."""

    start: int
    steps: tuple[tuple[str, int], ...]

    def values(self) -> list[int]:
        """The value after each step."""
        values = []
        value = self.start
        for sign, number in self.steps:
            value += _change(sign, number)
            values.append(value)
        return values


def chain(problem: Problem, results: Sequence[int]) -> str:
    """A solution in words, with the results that somebody computed (each step starts from the one
    before).

    >>> chain(Problem(7, (("+", 5), ("-", 3))), [12, 9])
    'first 7 + 5 = 12 . then 12 - 3 = 9 .'
    """
    parts = []
    value = problem.start
    worked = zip(CUES, problem.steps, results, strict=False)
    for cue, step, result in worked:
        sign, number = step
        parts.append(f"{cue} {value} {sign} {number} = {result} .")
        value = result
    return " ".join(parts)


def make_problem(rng: random.Random) -> tuple[str, Problem]:
    """One question and its figures; every value on the way lies between 0 and 19."""
    name = rng.choice(NAMES)
    thing = rng.choice(THINGS)
    start = rng.randint(0, MOST)
    value = start
    steps = []
    sentences = []
    count = rng.choice((2, 3))
    for cue in CUES[:count]:
        sign, number = _draw_step(rng, value)
        value += _change(sign, number)
        steps.append((sign, number))
        verb = rng.choice(VERBS[sign])
        sentences.append(f"{cue} {name} {verb} {number} .")
    story = " ".join(sentences)
    question = f"{name} has {start} {thing} . {story} how many {thing} now ?"
    return question, Problem(start, tuple(steps))


def _draw_step(rng: random.Random, value: int) -> tuple[str, int]:
    """A step that leads to a value from 0 to 19."""
    options = []
    for sign in VERBS:
        for number in range(1, 10):
            after = value + _change(sign, number)
            if 0 <= after <= MOST:
                options.append((sign, number))
    return rng.choice(options)


def _change(sign: str, number: int) -> int:
    return number if sign == "+" else -number


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
            last = problem.values()[-1]
            target = str(last)
            rows.append({"question": question, "target": target})
    return rows


_CUE = "|".join(CUES)
_VERB = "|".join(_SIGN)
_STEP = re.compile(rf"(?:{_CUE}) \w+ ({_VERB}) (\d+) \.")
_START = re.compile(r"\w+ has (\d+) \w+ \.")
_SIGNED = re.compile(r"([+-]) (\d+)")
_SUM = re.compile(r"What is (\d+) ((?:[+-] \d+ ?)+)\?")


def read_problem(text: str) -> Problem | None:
    """The figures of a sample problem somewhere in a prompt; None where there is none.

    >>> read_problem(
    ...     "Solve: Sam has 7 coins . first Sam finds 5 . then Sam loses 3 . how many coins now ?"
    ... )
    Problem(start=7, steps=(('+', 5), ('-', 3)))
    """
    if start := _START.search(text):
        cues = _STEP.findall(text, start.end())
        steps = [(_SIGN[verb], number) for verb, number in cues]
        return _problem(start[1], steps)
    if plain := _SUM.search(text):
        steps = _SIGNED.findall(plain[2])
        return _problem(plain[1], steps)
    return None


def _problem(start: str, steps: Sequence[tuple[str, str]]) -> Problem:
    signed = tuple((sign, int(number)) for sign, number in steps)
    return Problem(int(start), signed)
