"""What a reasoning model thought, and what it then said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.parsers.base import Parser
from synth.parsers.boxed import Boxed
from synth.parsers.final_number import FinalNumber
from synth.records import Row

_OPEN, _CLOSE = "<think>", "</think>"


@dataclass(frozen=True, kw_only=True)
class Think(Parser):
    r"""Reads `thinking` (between the tags, or as the provider sends it apart), `solution` (all behind) and `answer` (boxed, or announced).

    Reasons:
        no_thinking: no thinking, or one that does not end (a cut-off reply).
        no_answer: nothing behind it is boxed or announced.

    Example:
        >>> Think().parse(r"<think>Half of 8 is 4.</think>It is \boxed{4}.", {})
        {'thinking': 'Half of 8 is 4.', 'solution': 'It is \\boxed{4}.', 'answer': '4'}
    """

    main: ClassVar[str] = "answer"
    fields: ClassVar[dict[str, str]] = {"thinking": "text", "solution": "text", "answer": "text"}
    reasons: ClassVar[dict[str, str]] = {"no_thinking": "no thinking that ends", "no_answer": "nothing boxed or announced"}
    thinks: ClassVar[bool] = True

    def read(self, text: str, row: Row) -> dict[str, Any]:
        """Fields of one reply."""
        head, closed, solution = text.rpartition(_CLOSE)
        thinking = head.rpartition(_OPEN)[2].strip()
        if not closed or not thinking:
            raise Unreadable("no_thinking", text[:80])
        for reader in (Boxed(), FinalNumber()):
            try:
                return {"thinking": thinking, "solution": solution.strip(), "answer": reader.read(solution, row)["answer"]}
            except Unreadable:
                continue
        raise Unreadable("no_answer", solution[-80:])
