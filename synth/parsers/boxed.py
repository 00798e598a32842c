"""The answer inside the last box of LaTeX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from synth.core.errors import Unreadable
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.parsers.base import Parser
from synth.parsers.final_number import before_box

_OPEN = lazy_pattern(r"\\\\?(?:boxed|fbox|framebox)\s?\{")
_BRACE = lazy_pattern(r"\\[{}]|[{}]")
_MOST = 50


@dataclass(frozen=True, kw_only=True)
class Boxed(Parser):
    r"""Reads `rationale` (all before the box) and `answer` (its content, braces balanced).

    | spelling | answer |
    |---|---|
    | `\boxed{\frac{1}{2}}`, `$$\boxed{...}$$`, `\[\boxed{...}\]`, `\fbox{...}` | `\frac{1}{2}` |
    | `\boxed{3}`, or rather `\boxed{4}` | 4: the last |
    | `\boxed{\boxed{4}}` | 4: the innermost |
    | `\boxed{4}`, as asked in a `\boxed{}` | 4: one that is not empty |
    | `\boxed{\{1, 2\}}` | `\{1, 2\}` |

    Reasons:
        no_box: no box in the reply, or empty ones.
        open_box: the last box is never closed (a cut-off reply).

    Example:
        >>> Boxed().parse(r"Half of one is \boxed{\frac{1}{2}}.", {})
        {'rationale': 'Half of one is', 'answer': '\\frac{1}{2}'}
    """

    main: ClassVar[str] = "answer"
    fields: ClassVar[dict[str, str]] = {"rationale": "text", "answer": "text"}
    reasons: ClassVar[dict[str, str]] = {
        "no_box": "no box in the reply",
        "open_box": "the last box is never closed",
    }

    def read(self, text: str, row: Row) -> Fields:  # noqa: ARG002
        starts = list(_OPEN.finditer(text))[-_MOST:]
        for number, start in enumerate(reversed(starts)):
            end = _closing(text, start.end())
            if end < 0 and not number:
                raise Unreadable("open_box", text[start.start() :][:80])
            if end < 0:  # all before it stand in a box that never ends
                break
            if answer := text[start.end() : end].strip(" \t\n."):
                return {
                    "rationale": before_box(text[: start.start()]),
                    "answer": answer,
                }
        raise Unreadable("no_box", text[-80:])


def _closing(text: str, at: int) -> int:
    """Where the brace is that closes a box whose content begins at a place; -1 for none."""
    depth = 1
    for brace in _BRACE.finditer(text, at):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if not depth:
            return brace.start()
    return -1
