"""One group of lines for each text of a list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from synth.core.errors import Unreadable
from synth.core.records import Row
from synth.parsers.base import Parser
from synth.replies.lists import items_in


@dataclass(frozen=True, kw_only=True)
class Groups(Parser):
    r"""Reads blocks `<s> ... </s>` with one `- line` each element; there must be as many blocks as
    texts.

    | spelling | a block's lines |
    |---|---|
    | `<s>`, lines, `</s>`; tags in any case, with attributes | the lines between the tags |
    | `<s>` and lines without `</s>` | the lines up to the next block |
    | `<s> The sentence again. </s>`, lines | the lines behind it |
    | bullets and numbers of every kind that `synth.replies.lists` names | without them |

    Args:
        of: the field with the list of texts.
        tag: the blocks' name.

    Reasons:
        other_count: more or fewer blocks than texts.
        empty_group: a block without a line.

    Example:
        >>> Groups(of="sentences").parse(
        ...     "<s>\n- a is b.\n- a is c.\n</s><s>\n- d\n</s>", {"sentences": ["x", "y"]}
        ... )
        {'groups': ['a is b.\na is c.', 'd']}
    """

    of: str = "sentences"
    tag: str = "s"

    main: ClassVar[str] = "groups"
    fields: ClassVar[dict[str, str]] = {"groups": "list"}
    reasons: ClassVar[dict[str, str]] = {
        "other_count": "another number of blocks",
        "empty_group": "a block without a line",
    }

    def read(self, text: str, row: Row) -> dict[str, Any]:
        """The lines of each block, one text a block."""
        starts = [mark.end() for mark in self._begin.finditer(text)]
        ends = [mark.start() for mark in self._begin.finditer(text)]
        blocks = (
            [
                text[start:end]
                for start, end in zip(
                    starts, [*ends[1:], len(text)], strict=True
                )
            ]
            if starts
            else []
        )
        count = len(row.get(self.of) or [])
        if len(blocks) != count:
            raise Unreadable("other_count", f"{len(blocks)} blocks for {count}")
        lines = [items_in(self._end.sub("\n", block)) for block in blocks]
        if not all(lines):
            raise Unreadable("empty_group", blocks[lines.index([])][:80])
        return {"groups": ["\n".join(group) for group in lines]}

    @cached_property
    def _begin(self) -> re.Pattern[str]:
        return re.compile(
            rf"<{re.escape(self.tag)}(?:\s[^<>\n]{{0,200}})?>", re.IGNORECASE
        )

    @cached_property
    def _end(self) -> re.Pattern[str]:
        return re.compile(rf"</{re.escape(self.tag)}\s?>", re.IGNORECASE)
