"""What a reasoning model thought, and what it then said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from synth.core.errors import Unreadable
from synth.core.records import Fields, Row
from synth.parsers.base import Parser, Reply
from synth.parsers.boxed import Boxed
from synth.parsers.final_number import FinalNumber
from synth.replies.thoughts import split_thoughts


@dataclass(frozen=True, kw_only=True)
class Think(Parser):
    r"""Reads `thinking` (in any spelling of `synth.replies.thoughts`, or as the provider sends it
    apart), `solution` (all else) and `answer`.

    Reasons:
        no_thinking: no thinking, or one that does not end (a cut-off reply).
        no_answer: nothing stands behind the thinking, or nothing of it is boxed or announced.

    Example:
        >>> Think().parse(r"<think>Half of 8 is 4.</think>It is \boxed{4}.", {})
        {'thinking': 'Half of 8 is 4.', 'solution': 'It is \\boxed{4}.', 'answer': '4'}
    """

    main: ClassVar[str] = "answer"
    fields: ClassVar[dict[str, str]] = {
        "thinking": "text",
        "solution": "text",
        "answer": "text",
    }
    reasons: ClassVar[dict[str, str]] = {
        "no_thinking": "no thinking that ends",
        "no_answer": "no answer behind the thinking, boxed or announced",
    }
    thinks: ClassVar[bool] = True

    def read(self, text: str, row: Row) -> Fields:
        """Fields of a reply whose thoughts stand in it."""
        return self.read_reply(Reply(text), row)

    def read_reply(self, reply: Reply, row: Row) -> Fields:
        if not reply.thoughts or not reply.said:
            raise Unreadable(_lack(reply), (reply.thoughts or reply.said)[:80])
        for reader in (Boxed(), FinalNumber()):
            try:
                answer = reader.read(reply.said, row)["answer"]
            except Unreadable:
                continue
            return {
                "thinking": reply.thoughts,
                "solution": reply.said,
                "answer": answer,
            }
        raise Unreadable("no_answer", reply.said[-80:])


def _lack(reply: Reply) -> str:
    """What a reply lacks that has no thoughts, or nothing else."""
    split = split_thoughts(reply.said)
    has_ended = split.thoughts and not split.is_open
    return "no_answer" if reply.thoughts or has_ended else "no_thinking"
