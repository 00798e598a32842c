"""Drops replies that stop before their end, whatever the teacher said about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.core.rows import field_text, meta_of
from synth.filters.base import RowFilter
from synth.text.words import count

# A run of marks, and what stands behind it: a fence that ends a block has nothing there.
_FENCE = re.compile(r"^[^\S\n]{0,3}(`{3,}|~{3,})(.*)$", re.MULTILINE)
# Words and signs after which something must come. Many whole solutions end without a full stop, so
# its absence says nothing.
_HANGING = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "nor",
        "so",
        "of",
        "to",
        "in",
        "on",
        "at",
        "by",
        "for",
        "from",
        "with",
        "as",
        "than",
        "that",
        "which",
        "who",
        "whose",
        "where",
        "when",
        "while",
        "if",
        "because",
        "since",
        "although",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "has",
        "have",
        "had",
        "will",
        "would",
        "could",
        "should",
        "must",
        "may",
        "might",
        "its",
        "their",
        "his",
        "her",
        "my",
        "our",
        "your",
        "this",
        "these",
        "every",
        "equals",
        "plus",
        "minus",
        "into",
        "onto",
        "about",
        "between",
        "therefore",
        "then",
    ]
)
_HANGING_SIGNS = (
    "\uff0c",
    "\u3001",
    "\uff1a",
    "\u060c",
    "\uff08",
    "\u300c",
    "\u300e",
    ",",
    "-",
    "=",
    "+",
    "\u00d7",
    "\u00f7",
    "/",
    "(",
    "[",
    "{",
    "&",
    "\\",
)


@dataclass(frozen=True, kw_only=True)
class Truncation(RowFilter):
    r"""Open code fences, open \boxed, an odd pair of tags, a last line that breaks off.

    Sees: one row. Costs: nothing; some 100,000 rows a CPU-second.

    Args:
        field: the text; the row's raw reply where it lacks the field.
        sentence: whether a last line that ends in a word such as "the", or in a comma or an
            operator, counts.

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
        "hit_the_limit": "finish_reason is length",
        "open_fence": "a code block does not end",
        "open_group": "a group does not end",
        "broken_sentence": "the last line breaks off",
    }

    def verdict(self, row: Row) -> Verdict:
        if meta_of(row, "finish_reason") == "length":
            return Verdict(False, "hit_the_limit")
        text = field_text(row, self.field).rstrip()
        reason = ""
        if _in_code(text):
            reason = "open_fence"
        elif _open(text):
            reason = "open_group"
        if not reason and self.sentence and _breaks_off(text):
            reason = "broken_sentence"
        return Verdict(not reason, reason)


def _in_code(text: str) -> bool:
    """Whether the last code block has no end: a fence of its own sign, as long at least (CommonMark
    0.31, section 4.5).
    """
    opened = ""
    for marks, rest in _FENCE.findall(text):
        if not opened:
            # A text between backticks in one line is no block.
            opened = "" if marks[0] == "`" and "`" in rest else marks
        elif marks.startswith(opened) and not rest.strip():
            opened = ""
    return bool(opened)


def _open(text: str) -> bool:
    at = text.rfind("\\boxed{")
    if at >= 0 and text.count("{", at) > text.count("}", at):
        return True
    tag = text.rfind("<")
    opened = re.findall(r"<([a-z_]{1,30})>", text[-20_000:])
    return bool(
        tag >= 0
        and opened
        and f"</{opened[-1]}>" not in text[text.rfind(f"<{opened[-1]}>") :]
    )


def _breaks_off(text: str) -> bool:
    """Whether the last line ends where something must come."""
    last = text.rpartition("\n")[2].strip()
    if count(last) < 4 or last[:1] in "|>":
        return False
    return last.split()[-1].casefold() in _HANGING or (
        last.endswith(_HANGING_SIGNS) and any(sign.isalpha() for sign in last)
    )
