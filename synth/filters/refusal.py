"""Drops replies in which the model declines to answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import RowFilter

_APOLOGY = (
    r"(?:i(?:'m| am)\s+(?:very |so |truly |really )?sorry|sorry|apologies|i apologi[sz]e"
    r"|my apologies|unfortunately|regrettably)"
)
_CANNOT = (
    r"(?:can(?:'t|not| not)|could(?:n't| not)|won't|will not"
    r"|am (?:not able|unable|not allowed|not permitted)|'m (?:not able|unable|not allowed"
    r"|not permitted))"
)
_DEED = (
    r"(?:help|assist|comply|provide|answer|fulfil+|do that|create|generate|write|continue|discuss"
    r"|engage|support"
    r"|share|offer|give|respond|produce|participate|complete)"
)
_UNABLE = r"\b(?:cannot|can't|unable|not able|don't|do not|not (?:appropriate|allowed))\b"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"^{_APOLOGY}\b[^.!?\n]{{0,60}}\bi\s?(?:{_CANNOT}|don't|do not)\b",
        rf"^{_APOLOGY}[,.!]?\s+(?:but\s+)?(?:this|that|the|your) (?:request|question|prompt)",
        rf"^(?:i|we)\s?{_CANNOT}\s+(?:\w+\s+){{0,3}}{_DEED}\b",
        (
            rf"^as an? (?:\w+ ){{0,2}}(?:ai|artificial intelligence|language model"
            rf"|assistant)\b[^.\n]{{0,80}}{_UNABLE}"
        ),
        (
            rf"^i(?:'m| am) (?:just |only )?an? (?:ai|language model"
            rf"|artificial intelligence)\b[^.\n]{{0,80}}{_UNABLE}"
        ),
        r"^i (?:must|have to|need to) (?:respectfully )?(?:decline|refuse)\b",
        r"^(?:this|that|your) request (?:violates|goes against|is against)",
        r"^i(?:'d| would) (?:prefer|rather) not (?:to )?(?:answer|help|assist|discuss)",
        r"^it (?:is|would be) (?:not appropriate|inappropriate|unethical|illegal) (?:for me )?to\b",
    )
)


@dataclass(frozen=True, kw_only=True)
class Refusal(RowFilter):
    """Looks at the first characters of a reply, where a refusal stands; words such as "sorry"
    further on say nothing.

    Sees: one row. Costs: nothing; some 100,000 rows a CPU-second. English only.

    Args:
        field: the text; the row's raw reply where it lacks the field.
        chars: how many characters from the start are looked at.

    Reasons:
        refusal: the model declines.

    Marks: `said`: the words that tell.

    Example:
        >>> replies = (
        ...     "I'm sorry, but I can't help with that.",
        ...     "He said: I'm sorry, I can't.",
        ...     "As an AI lab grows, so does its bill.",
        ... )
        >>> [Refusal().judge({"reply": text}).keep for text in replies]
        [False, True, True]
    """

    field: str = "rationale"
    chars: int = 200

    reasons: ClassVar[dict[str, str]] = {"refusal": "the model declines"}

    def verdict(self, row: Row) -> Verdict:
        head = (
            field_text(row, self.field)
            .lstrip(" \t\n*#>\"'")[: self.chars]
            .casefold()
            .replace("\u2019", "'")
        )
        match = next(
            (m for pattern in _PATTERNS if (m := pattern.search(head))), None
        )
        if match:
            return Verdict(False, "refusal", {"said": match[0][:100]})
        return Verdict(True)
