"""A system of equations and what it comes to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

from synth.core.errors import Unreadable
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.parsers.base import Parser
from synth.replies.lists import without_mark
from synth.verifiers import equations as verifier

_LATEX = lazy_pattern(r"\\(?:times|cdot|ast)\b|\\div\b|\\[()\[\]]|\$|\\[,;!]")
# "= 12 pens": words behind a number that do not change it.
_UNIT = lazy_pattern(
    r"(?<=\d)\s+(?!dozen|hundred|thousand|million|billion|percent|half|times|per\b|of\b)"
    r"[^\W\d_]+(?: [^\W\d_]+){0,3}$",
    re.IGNORECASE,
)
_LEAD = lazy_pattern(
    r"(?:let|so|then|thus|now|hence|therefore|and)[, ]+", re.IGNORECASE
)
_NAME_OF_WORDS = lazy_pattern(r"[^\W\d]\w*(?: \w+){1,5}(?= *=)")
_NUMBER = lazy_pattern(r"-?\d[\d,]*(?:\.\d+)?")
_REMARK = lazy_pattern(r"\s+(?:#[^\n]*|\([a-z ]{3,60}\))$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Equations(Parser):
    r"""Reads one equation a line as `equations` and solves them exactly: `answer` is the value of
    the unknown that is asked for.

    Zhu et al., "Distilling Mathematical Reasoning Capabilities into Small Language Models",
    arXiv:2401.11864 (Equation-of-Thought).

    | line | equation |
    |---|---|
    | `1. x = 12`, `- x = 12`, `**x = 12**`, `Equation 1: x = 12` | x = 12 |
    | `$x = 3 \times 4$`, `\[x = 3 \cdot 4\]`, in a fence | x = 3 * 4 |
    | `x = 12  # pens`, `x = 12 (the pens)` | x = 12 |
    | `x = 3 * 4 = 12` | x = 3 * 4, and 12 must be right |
    | `x = 12 pens`, `pens in all = 12` | x = 12, pens_in_all = 12 |
    | a line without an equation | passed over |

    Args:
        asked: the unknown that is the answer; "" for `ans`, `answer` or `result`, else the left
            side of the last equation.

    Reasons:
        no_equation: no line is an equation.
        contradiction: the equations contradict each other.
        open_system: they leave the answer open, or are beyond elimination.

    Example:
        >>> Equations().parse("Let x be the pens.\nx = 3 * 4\nans = x - 2", {})
        {'equations': 'x = 3 * 4\nans = x - 2', 'answer': '10'}
    """

    asked: str = ""

    main: ClassVar[str] = "answer"
    fields: ClassVar[dict[str, str]] = {"equations": "text", "answer": "text"}
    reasons: ClassVar[dict[str, str]] = {
        "no_equation": "no line is an equation",
        "contradiction": "they contradict each other",
        "open_system": "the answer is open",
    }

    def read(self, text: str, row: Row) -> Fields:  # noqa: ARG002
        """The equations and the answer."""
        lines = [
            _plain(line) for line in text.splitlines()[: verifier.MOST_LINES]
        ]
        split = [_parts(line) for line in _one_word_names(lines)]
        whole = [parts for parts in split if verifier.equations_in(parts[0])]
        if not whole:
            raise Unreadable("no_equation", text[-80:])
        lines = [parts[0] for parts in whole]
        system = "\n".join(lines)
        solver = verifier.Equations(asked=self.asked)
        # What a line adds to its equation ("x = 3 * 4 = 12") is checked, and is no part of it.
        solution = solver.solve("\n".join(chain.from_iterable(whole)))
        if solution.status == "contradiction":
            raise Unreadable("contradiction", lines[-1][:80])
        value = solution.values.get(solution.asked)
        if value is None:
            raise Unreadable("open_system", solution.asked)
        return {"equations": system, "answer": str(value)}


def _plain(line: str) -> str:
    """A line without the mark of a list, decoration, LaTeX's signs and a remark in words."""
    if len(line) > verifier.MOST_CHARS:
        return line
    line = _REMARK.sub("", without_mark(line).strip(" `*"))
    if lead := _LEAD.match(line):
        line = line[lead.end() :]
    signs = {"\\times": "*", "\\cdot": "*", "\\ast": "*", "\\div": "/"}
    line = _LATEX.sub(lambda sign: signs.get(sign[0], ""), line).strip(" `*")
    return _UNIT.sub("", line) if "=" in line else line


def _parts(line: str) -> list[str]:
    """`x = 3 * 4 = 12` as `x = 3 * 4` and `x = 12`; any other line as it is."""
    sides = [side.strip() for side in line.split("=")]
    if len(sides) != 3:
        return [line]
    name, formula, value = sides
    if _NUMBER.fullmatch(value) is None:
        return [line]
    return [f"{name} = {formula}", f"{name} = {value}"]


def _one_word_names(lines: list[str]) -> list[str]:
    """Lines in which names of several words ("pens in all = 12") are one word each."""
    names = set()
    for line in lines:
        match = _NAME_OF_WORDS.match(line)
        if match:
            names.add(match[0])
    if not names:
        return lines
    longest_first = sorted(names, key=len, reverse=True)
    either = "|".join(map(re.escape, longest_first))
    anywhere = re.compile(rf"(?<!\w)(?:{either})(?!\w)")
    return [anywhere.sub(_as_one_word, line) for line in lines]


def _as_one_word(name: re.Match[str]) -> str:
    return name[0].replace(" ", "_")
