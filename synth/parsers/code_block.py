"""The program in a reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from synth.core.errors import Unreadable
from synth.core.records import Fields, Row
from synth.parsers.base import Parser
from synth.replies.fences import program_in


@dataclass(frozen=True, kw_only=True)
class CodeBlock(Parser):
    r"""Reads the program in the fenced blocks of a reply as one text field.

    `synth.replies.fences` says which spellings of a fence are read and which of several blocks
    count.

    Args:
        fenced: whether a reply without a fence is unreadable; else the whole reply is the program.

    Reasons:
        no_code: no fenced block that holds a program.

    Example:
        >>> CodeBlock().parse("So:\n```python\nans = 3 * 4\n```", {})
        {'code': 'ans = 3 * 4'}
    """

    fenced: bool = True

    main: ClassVar[str] = "code"
    fields: ClassVar[dict[str, str]] = {"code": "text"}
    reasons: ClassVar[dict[str, str]] = {"no_code": "no fenced block"}

    def read(self, text: str, row: Row) -> Fields:  # noqa: ARG002
        code = program_in(text).strip("\n")
        if (
            not code
            and not self.fenced
            and "```" not in text
            and "~~~" not in text
        ):
            code = text.strip()
        if not code:
            raise Unreadable("no_code", text[-80:])
        return {"code": code}
