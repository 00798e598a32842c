"""One group of lines for each text of a list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from synth.errors import Unreadable
from synth.parsers.base import Parser, between
from synth.records import Row

_LINE = re.compile(r"^[^\S\n]*+[-*•]\s*+(\S[^\n]*)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Groups(Parser):
    r"""Reads blocks `<s> ... </s>` with one `- line` each element; there must be as many blocks as texts.

    Args:
        of: the field with the list of texts.
        tag: the blocks' name.

    Reasons:
        other_count: more or fewer blocks than texts.
        empty_group: a block without a line.

    Example:
        >>> Groups(of="sentences").parse("<s>\n- a is b.\n- a is c.\n</s><s>\n- d\n</s>", {"sentences": ["x", "y"]})
        {'groups': ['a is b.\na is c.', 'd']}
    """

    of: str = "sentences"
    tag: str = "s"

    main: ClassVar[str] = "groups"
    fields: ClassVar[dict[str, str]] = {"groups": "list"}
    reasons: ClassVar[dict[str, str]] = {"other_count": "another number of blocks", "empty_group": "a block without a line"}

    def read(self, text: str, row: Row) -> dict[str, Any]:
        """The lines of each block, one text a block."""
        blocks = [text[slice(*place)] for place in between(*self._marks, text)]
        count = len(row.get(self.of) or [])
        if len(blocks) != count:
            raise Unreadable("other_count", f"{len(blocks)} blocks for {count}")
        lines = [[line.rstrip() for line in _LINE.findall(block)] for block in blocks]
        if not all(lines):
            raise Unreadable("empty_group", blocks[lines.index([])][:80])
        return {"groups": ["\n".join(group) for group in lines]}

    @cached_property
    def _marks(self) -> tuple[re.Pattern[str], re.Pattern[str]]:
        return re.compile(f"<{re.escape(self.tag)}>"), re.compile(f"</{re.escape(self.tag)}>")
