"""One group of lines for each text of a list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from synth.core.errors import Unreadable
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Row
from synth.parsers.base import Parser
from synth.replies.lists import items_in

# The line of a text's number, with the text again or without: "1.", "**2)** Ann.", "Sentence 3:"
_NUMBERED = lazy_pattern(
    r"^[^\S\n]*(?:[#>]{1,6}[^\S\n]+)?(?:\*\*)?(?:(?:sentence|text)[^\S\n]#?)?"
    r"(?P<number>\d{1,4})(?:[.):](?!\d)|(?:\*\*)?\r?$)",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Groups(Parser):
    r"""Reads a block for each text of a list: the text's number on a line, then one `- line` each
    element. There must be as many blocks as texts.

    | spelling | a block's lines |
    |---|---|
    | `1.`, `2) The text again.`, `**Sentence 3:**`, in order; bullets behind each | the bullets |
    | `<s>`, lines, `</s>`; tags in any case, with attributes | the lines between the tags |
    | `<s>` and lines without `</s>` | the lines up to the next block |
    | `<s> The sentence again. </s>`, lines | the lines behind it |
    | bullets and numbers of every kind that `synth.replies.lists` names | without them |

    Args:
        of: the field with the list of texts.
        tag: the name of blocks between tags.

    Reasons:
        other_count: more or fewer blocks than texts.
        empty_group: a block without a line.

    Example:
        >>> Groups(of="sentences").parse(
        ...     "1. x\n- a is b.\n- a is c.\n2. y\n- d", {"sentences": ["x", "y"]}
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

    def read(self, text: str, row: Row) -> Fields:
        """The lines of each block, one text a block."""
        blocks = _between(text, [*self._begin.finditer(text)])
        if not blocks:
            blocks = _numbered(text)
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


def _between(text: str, heads: list[re.Match[str]]) -> list[str]:
    """What stands behind each head, up to the next one."""
    blocks = []
    end = len(text)
    for head in reversed(heads):
        blocks.append(text[head.end() : end])
        end = head.start()
    blocks.reverse()
    return blocks


def _numbered(text: str) -> list[str]:
    """The blocks under numbers from 1 on; none where numbers stand in another order, since
    elements may be numbered too.
    """
    heads = [*_NUMBERED.finditer(text)]
    for expected, head in enumerate(heads, 1):
        number = head["number"]
        if int(number) != expected:
            detail = f"number {number} in place of {expected}"
            raise Unreadable("other_count", detail)
    # The rest of a head's line is the text again.
    return [block.partition("\n")[2] for block in _between(text, heads)]
