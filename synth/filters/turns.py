"""Keeps rows of which every turn of a conversation passes another filter."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from synth.core import strict_json
from synth.core.records import Fields, Row, Verdict
from synth.filters.base import RowFilter

# What a turn has of its own.
_OF_A_TURN = frozenset({"role", "content", "tool_calls", "tool_call_id"})


@dataclass(frozen=True, kw_only=True)
class Turns(RowFilter):
    """Shows each turn of a talk to another filter, as a row that has the fields of the turn before
    those of the whole row. The first turn that it drops drops the row.

    Sees: one row. Costs: what the other filter costs for each turn.

    Args:
        field: the list of turns, as a step with `talk` or `tools` writes it.
        filter: the other filter, by its name or with parameters; the text of a turn is its field
            `content`.
        role: whose turns are looked at: `user`, `assistant`, `tool`, or "" for all. Turns that
            only call tools say nothing, and are passed over.
        least: fewest such turns.

    Reasons:
        bad_turn: the other filter drops a turn.
        too_few_turns: fewer turns than `least`.
        no_turns: the field is no list of turns (unknown).

    Marks: `turn` (its place among all, from 0), `why` and the marks of the other filter.

    Example:
        >>> from synth.filters.length import Length
        >>> part = Turns(field="chat", filter=Length(field="content", least=2), role="user")
        >>> chat = [{"role": "user", "content": text} for text in ("How are you?", "Well.")]
        >>> verdict = part.judge({"chat": chat})
        >>> verdict.reason, verdict.marks["turn"], verdict.marks["why"]
        ('bad_turn', 1, 'too_short')
    """

    field: str
    filter: RowFilter
    role: str = ""
    least: int = 1

    reasons: ClassVar[dict[str, str]] = {
        "bad_turn": "a turn does not pass",
        "too_few_turns": "too few turns",
        "no_turns": "no turns",
    }

    def needs(self) -> tuple[str, ...]:
        """The turns, and what the other filter needs of the row itself."""
        others = [
            name for name in self.filter.needs() if name not in _OF_A_TURN
        ]
        return (self.field, *others)

    def unknown_field(self, names: Collection[str]) -> tuple[str, str] | None:
        """Of this filter, then of the other one."""
        inner = {*names, *_OF_A_TURN}
        found = super().unknown_field(names)
        return found or self.filter.unknown_field(inner)

    def verdict(self, row: Row) -> Verdict:
        turns = _turns(row.get(self.field))
        if turns is None:
            return Verdict(None, "no_turns")
        looked_at = 0
        for place, turn in enumerate(turns):
            if self.role and turn.get("role") != self.role:
                continue
            if not turn.get("content") and turn.get("tool_calls"):
                continue
            looked_at += 1
            verdict = self.filter.judge({**row, **turn})
            if not self.filter.keeps(verdict):
                why = self.filter.why(verdict)
                marks: Fields = {"turn": place, "why": why, **verdict.marks}
                return Verdict(False, "bad_turn", marks)
        if looked_at < self.least:
            return Verdict(False, "too_few_turns", {"turn": looked_at})
        return Verdict(True)


def _turns(value: Any) -> Sequence[Fields] | None:
    """A list of mappings, or its JSON; None where it is none."""
    if isinstance(value, str):
        try:
            value = strict_json.loads(value)
        except strict_json.NotStrict:
            return None
    if not isinstance(value, list):
        return None
    return value if all(isinstance(turn, dict) for turn in value) else None
