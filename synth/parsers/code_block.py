"""The program in a reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.parsers.base import Parser
from synth.records import Row
from synth.verifiers.run_python import code_in


@dataclass(frozen=True, kw_only=True)
class CodeBlock(Parser):
    r"""Reads the fenced blocks of a reply, one after the other, as one text field.

    Args:
        fenced: whether a reply without a fence is unreadable; else the whole reply is the program.

    Reasons:
        no_code: no fenced block, or an empty one.

    Example:
        >>> CodeBlock().parse("So:\n```python\nans = 3 * 4\n```", {})
        {'code': 'ans = 3 * 4'}
    """

    fenced: bool = True

    main: ClassVar[str] = "code"
    fields: ClassVar[dict[str, str]] = {"code": "text"}
    reasons: ClassVar[dict[str, str]] = {"no_code": "no fenced block"}

    def read(self, text: str, row: Row) -> dict[str, Any]:  # noqa: ARG002
        """The program."""
        code = code_in(text).strip()
        if not code.strip("`") or (self.fenced and "```" not in text):
            raise Unreadable("no_code", text[-80:])
        return {"code": code}
