"""A system of equations and what it comes to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from synth.core.errors import Unreadable
from synth.core.records import Row
from synth.parsers.base import Parser
from synth.replies.lists import without_mark
from synth.verifiers import equations as verifier

_LATEX = re.compile(r"\\(?:times|cdot|ast)\b|\\div\b|\\[()\[\]]|\$|\\[,;!]")
_REMARK = re.compile(r"\s+(?:#[^\n]*|\([a-z ]{3,60}\))$", re.IGNORECASE)


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

    def read(self, text: str, row: Row) -> dict[str, Any]:  # noqa: ARG002
        """The equations and the answer."""
        cleaned = map(_plain, text.splitlines()[: verifier.MOST_LINES])
        lines = [line for line in cleaned if verifier.equations_in(line)]
        if not lines:
            raise Unreadable("no_equation", text[-80:])
        system = "\n".join(lines)
        solver = verifier.Equations(asked=self.asked)
        solution = solver.solve(system)
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
    signs = {"\\times": "*", "\\cdot": "*", "\\ast": "*", "\\div": "/"}
    return _LATEX.sub(lambda sign: signs.get(sign[0], ""), line).strip(" `*")
