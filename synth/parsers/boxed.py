"""The answer inside the last box of LaTeX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.parsers.base import Parser
from synth.records import Row

_OPEN = "\\boxed{"


@dataclass(frozen=True, kw_only=True)
class Boxed(Parser):
    r"""Reads `rationale` (all before the box) and `answer` (its content, braces balanced).

    Reasons:
        no_box: no \boxed{ in the reply.
        open_box: the last box is never closed (a cut-off reply).

    Example:
        >>> Boxed().parse(r"Half of one is \boxed{\frac{1}{2}}.", {})
        {'rationale': 'Half of one is', 'answer': '\\frac{1}{2}'}
    """

    main: ClassVar[str] = "answer"
    fields: ClassVar[dict[str, str]] = {"rationale": "text", "answer": "text"}
    reasons: ClassVar[dict[str, str]] = {"no_box": "no box in the reply", "open_box": "the last box is never closed"}

    def read(self, text: str, row: Row) -> dict[str, Any]:  # noqa: ARG002
        """Fields of one reply."""
        start = text.rfind(_OPEN)
        if start < 0:
            raise Unreadable("no_box", text[-80:])
        depth, position = 1, start + len(_OPEN)
        while position < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            position += 1
        if depth:
            raise Unreadable("open_box", text[start:][:80])
        before = text[:start].rstrip().removesuffix("$").rstrip()
        return {"rationale": before, "answer": text[start + len(_OPEN) : position - 1].strip()}
