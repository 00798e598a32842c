"""Drops replies that stop before their end, whatever the teacher said about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from synth.filters.base import RowFilter, meta_of, text_of
from synth.records import Row, Verdict

_FENCE = re.compile(r"^\s{0,3}(```|~~~)", re.MULTILINE)
_ENDS = (
    ".",
    "!",
    "?",
    "\u2026",
    "\u3002",
    "\uff01",
    "\uff1f",
    ")",
    "]",
    "}",
    '"',
    "'",
    "\u201d",
    "\u2019",
    "\u00bb",
    "`",
    "*",
    "|",
    ">",
    "$",
    "%",
    ":",
    ";",
)


@dataclass(frozen=True, kw_only=True)
class Truncation(RowFilter):
    r"""Open code fences, open \boxed, an odd pair of tags, a sentence that breaks off.

    Sees: one row. Costs: nothing; some 100,000 rows a CPU-second.

    Args:
        field: the text; the row's raw reply where it lacks the field.
        sentence: whether the text must end a sentence, a list, a formula or a number; titles and keywords do not.

    Reasons:
        hit_the_limit: the teacher's own finish_reason says so.
        open_fence: a code block does not end.
        open_group: \boxed{ or a tag such as <answer> does not end.
        broken_sentence: the last line breaks off.

    Marks: none.

    Example:
        >>> replies = ("So it is 4.", "```python\nx = 1", "So \\boxed{4", "So the next one is the")
        >>> [Truncation().judge({"reply": text}).reason for text in replies]
        ['', 'open_fence', 'open_group', 'broken_sentence']
    """

    field: str = "completion"
    sentence: bool = True

    reasons: ClassVar[dict[str, str]] = {
        "hit_the_limit": "finish_reason is length", "open_fence": "a code block does not end", "open_group": "a group does not end",
        "broken_sentence": "the last line breaks off",
    }  # fmt: skip

    def verdict(self, row: Row) -> Verdict:
        """The verdict on one row."""
        if meta_of(row, "finish_reason") == "length":
            return Verdict(False, "hit_the_limit")
        text = str(row.get(self.field) or text_of(row)).rstrip()
        reason = "open_fence" if len(_FENCE.findall(text)) % 2 else "open_group" if _open(text) else ""
        if not reason and self.sentence and _breaks_off(text):
            reason = "broken_sentence"
        return Verdict(not reason, reason)


def _open(text: str) -> bool:
    at = text.rfind("\\boxed{")
    if at >= 0 and text.count("{", at) > text.count("}", at):
        return True
    tag = text.rfind("<")
    opened = re.findall(r"<([a-z_]{1,30})>", text[-20_000:])
    return bool(tag >= 0 and opened and f"</{opened[-1]}>" not in text[text.rfind(f"<{opened[-1]}>") :])


def _breaks_off(text: str) -> bool:
    """Whether the last line is prose of several words without an end."""
    last = text.rpartition("\n")[2].strip()
    return len(last.split()) >= 4 and not last.endswith(_ENDS) and not last[-1].isdigit() and last[:1] not in "#-*|>0123456789"
