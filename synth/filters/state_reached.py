"""Keeps rows whose simulated environment ends as it should."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from synth.core import strict_json
from synth.core.records import Row, Verdict
from synth.filters.base import RowFilter


@dataclass(frozen=True, kw_only=True)
class StateReached(RowFilter):
    """Holds the state that calls of tools have brought about against the one that was wanted, text
    by text.

    Sees: one row. Costs: nothing.

    Args:
        field: the state in the end, as a step with a `world` writes it.
        wanted: the field with the entries that it must have; null for one that must not be there.
        start: the field with the state in the beginning: what `wanted` does not name must be as
            it was. "" where it may be anything.

    Reasons:
        not_reached: an entry is another one.
        spoiled: an entry that should have stayed has changed.
        no_state: one of the fields is no mapping (unknown).

    Marks: `entry` (the first wrong one), `is`, `wanted`.

    Example:
        >>> part = StateReached(field="after", wanted="goal")
        >>> part.judge({"after": {"door": "shut"}, "goal": {"door": "open"}}).marks
        {'entry': 'door', 'is': 'shut', 'wanted': 'open'}
    """

    field: str = "state"
    wanted: str
    start: str = ""

    reasons: ClassVar[dict[str, str]] = {
        "not_reached": "the state that was wanted is not reached",
        "spoiled": "more has changed than was wanted",
        "no_state": "no state",
    }

    def needs(self) -> tuple[str, ...]:
        """The wanted state, and the first one where it counts."""
        return (self.wanted, self.start) if self.start else (self.wanted,)

    def verdict(self, row: Row) -> Verdict:
        state = _entries(row.get(self.field))
        wanted = _entries(row.get(self.wanted))
        start = _entries(row.get(self.start)) if self.start else {}
        if state is None or wanted is None or start is None:
            return Verdict(None, "no_state")
        for name, text in wanted.items():
            if state.get(name) != text:
                return _wrong("not_reached", name, state.get(name), text)
        for name in {**start, **state} if self.start else ():
            before = start.get(name)
            if name not in wanted and state.get(name) != before:
                return _wrong("spoiled", name, state.get(name), before)
        return Verdict(True)


def _wrong(
    reason: str, name: str, found: str | None, wanted: str | None
) -> Verdict:
    marks = {"entry": name, "is": found, "wanted": wanted}
    shown = {key: _shown(value) for key, value in marks.items()}
    return Verdict(False, reason, shown)


def _shown(value: str | None) -> str | None:
    return None if value is None else value[:200]


def _entries(value: Any) -> dict[str, str | None] | None:
    """Names and texts of a state, None where it is none; in a run's folder it is JSON text."""
    if isinstance(value, str):
        try:
            value = strict_json.loads(value)
        except strict_json.NotStrict:
            return None
    if not isinstance(value, Mapping):
        return None
    return {
        str(name): None if text is None else str(text)
        for name, text in value.items()
    }
