"""The contract of a parser: text in, named fields out, or Unreadable with a reason code."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.records import Row

# Where a completion-style teacher stops answering and invents the next question of its few-shot prompt.
INVENTED = re.compile(r"\n\s*(?:Q|Question|Problem|Premise|###\s*(?:Question|Instruction|Problem))\s*:", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Parser(ABC):
    """Base of all parsers.

    Args:
        into: name of the main field, where the pack wants another one than the parser's own.
    """

    into: str | None = None

    main: ClassVar[str] = ""
    fields: ClassVar[Mapping[str, str]] = {}
    reads: ClassVar[tuple[str, ...]] = ()
    # Whether the parser also wants what a reasoning model thought, which some providers send apart from the reply.
    thinks: ClassVar[bool] = False
    reasons: ClassVar[Mapping[str, str]] = {}

    def parse(self, text: str, row: Row) -> dict[str, Any]:
        """Fields of one reply.

        Raises:
            Unreadable: with one of the class's reasons.
        """
        if not text.strip():
            raise Unreadable("empty_reply")
        return self.rename(self.read(text, row))

    @abstractmethod
    def read(self, text: str, row: Row) -> dict[str, Any]:
        """The fields under the parser's own names; `text` is not blank."""

    def produces(self) -> dict[str, Any]:
        """Names and kinds (text, number, bool, list, any; the kinds of its fields for a list of objects) of what every reading brings."""
        return self.rename(dict(self.fields))

    def rename(self, found: dict[str, Any]) -> dict[str, Any]:
        """The main field under the pack's name for it."""
        if self.into is None or self.main not in found:
            return found
        return {(self.into if name == self.main else name): value for name, value in found.items()}


def cut_invented(text: str) -> str:
    r"""The reply without questions that the teacher invented after its answer.

    >>> cut_invented("3 + 4 = 7. The answer is 7.\n\nQ: Ann has 2 pens.\nA: The answer is 2.")
    '3 + 4 = 7. The answer is 7.'
    """
    found = INVENTED.search(text, len(text) - len(text.lstrip()))
    return text[: found.start()].rstrip() if found else text.rstrip()
