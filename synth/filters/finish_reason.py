"""Keeps rows whose reply came to its own end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.core.rows import meta_of
from synth.filters.base import RowFilter


@dataclass(frozen=True, kw_only=True)
class FinishReason(RowFilter):
    """Looks at why the teacher stopped.

    Sees: one row (`finish_reason`, or `meta.finish_reason`). Costs: nothing.

    Args:
        allowed: finish reasons that are kept; a row whose provider gave none is unknown.

    Reasons:
        cut_off: the reply hit its token limit.
        content_filter: the provider held text back.
        other_finish: any other reason outside `allowed`.

    Marks: `finish_reason`, where it was not an allowed one.

    Example:
        >>> FinishReason().judge({"finish_reason": "length"}).reason
        'cut_off'
    """

    allowed: tuple[str, ...] = ("stop", "eos", "end_turn", "tool_calls")

    reasons: ClassVar[dict[str, str]] = {
        "cut_off": "the reply hit its token limit",
        "content_filter": "text was held back",
        "other_finish": "another reason",
    }

    def verdict(self, row: Row) -> Verdict:
        finish_reason = meta_of(row, "finish_reason")
        marks = {"finish_reason": finish_reason}
        if finish_reason in (None, "", "unknown"):
            return Verdict(None, "", marks)
        if finish_reason in self.allowed:
            return Verdict(True)
        return Verdict(
            False,
            {"length": "cut_off", "content_filter": "content_filter"}.get(
                str(finish_reason), "other_finish"
            ),
            marks,
        )
