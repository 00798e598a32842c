"""Calls of tools held against those that were due."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from finetune.measures.base import Measure, reply_of
from synth.core.records import Fields, Row, canonical_json
from synth.replies.calls import calls_in

# A name, or one argument of a call of that name.
Item = tuple[str, ...]
Read = list[tuple[str, Fields]]


@dataclass(frozen=True, kw_only=True)
class Calls(Measure):
    """Harmonic mean of precision and recall of the names and arguments of calls; where none is due,
    whether none is made.

    A call is its name, and each argument with its value. The target holds calls as JSON: a list of
    `name` and `arguments`, as `synth export --to calls` writes it. The order plays no part.

    Example:
        >>> due = '[{"name": "find", "arguments": {"title": "Emma"}}]'
        >>> said = '<tool_call>{"name": "find", "arguments": {"title": "emma"}}</tool_call>'
        >>> Calls().of_question([{"reply": said, "target": due}])
        0.5
    """

    def of_question(self, draws: Sequence[Row]) -> float | None:
        values = []
        for row in draws:
            said, due = _both(row)
            values.append(_f1(_items(said), _items(due)))
        return fmean(values)

    def more(self, predictions: Sequence[Row]) -> dict[str, float | int]:
        """`names`: the mean F1 of names alone. `whole`: the share of rows whose calls are all
        right. `idle`: rows where none was due, and `restraint`: the share of them without a call.
        """
        names = []
        whole = []
        idle = []
        for row in predictions:
            said, due = _both(row)
            names.append(_f1(_names(said), _names(due)))
            whole.append(_items(said) == _items(due))
            if not due:
                idle.append(not said)
        return {
            "names": _mean(names),
            "whole": _mean(whole),
            "idle": len(idle),
            "restraint": _mean(idle),
        }


def _mean(values: Sequence[float]) -> float:
    if not values:
        return 0.0
    return round(fmean(values), 4)


def _both(row: Row) -> tuple[Read, Read]:
    """The calls that are made, and those that are due."""
    due = row.get("target")
    if not isinstance(due, str):
        due = json.dumps(due)
    said = reply_of(row)
    return calls_in(said), calls_in(due)


def _names(calls: Read) -> Counter[Item]:
    names: Counter[Item] = Counter()
    for name, _ in calls:
        names[(name,)] += 1
    return names


def _items(calls: Read) -> Counter[Item]:
    """The names and arguments of calls, each as often as it stands there."""
    items = _names(calls)
    for name, arguments in calls:
        for key, value in arguments.items():
            text = canonical_json(value).decode()
            item = (name, key, text)
            items[item] += 1
    return items


def _f1(
    said: Counter[Item],
    due: Counter[Item],
) -> float:
    if not said or not due:
        return float(said == due)
    both = said & due
    shared = both.total()
    total = said.total() + due.total()
    return 2 * shared / total
