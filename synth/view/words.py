"""Runs in words, for a terminal or a program: rows that meet conditions, what became of a seed, two
runs compared.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from synth.core.errors import WrongUse, did_you_mean
from synth.core.money import dollars
from synth.core.records import Fields, Row
from synth.view.asked import Packs, reply_of
from synth.view.browse import verdict_shown
from synth.view.page import text_of
from synth.view.rows import KINDS, RunRows
from synth.view.seeds import CHANGES, Changes

# Longer signs stand first: `!=` is no `=`.
_CONDITION = re.compile(r"([\w.-]+)(!=|>=|<=|=|~|>|<)(.*)", re.DOTALL)
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
# Seeds that are named of each change, and rows of one seed that are told.
_NAMED = 5
_DRAWS = 1_000
# Rows of each exit that are read for their reasons.
_MOST_COUNTED = 1_000


class Condition(NamedTuple):
    """What a row must meet: a field, a sign, a value."""

    field: str
    sign: str
    value: str

    @classmethod
    def read(cls, text: str) -> Condition:
        """A condition from `FIELD=VALUE`; the signs are `=`, `!=`, `~` (holds the text), `>`, `<`,
        `>=` and `<=` (of numbers).

        Raises:
            WrongUse: it has no sign, or orders something that is no number.

        >>> Condition.read("meta.draw>=2")
        Condition(field='meta.draw', sign='>=', value='2')
        """
        match = _CONDITION.fullmatch(text.strip())
        if match is None:
            raise WrongUse(
                "--where",
                repr(text),
                "FIELD=VALUE, with =, !=, ~, >, <, >= or <=",
                "For example --where reason=wrong_answer.",
            )
        condition = cls(*match.groups())
        if condition.sign in _ORDERS and _number(condition.value) is None:
            raise WrongUse(
                f"--where {text}",
                f"{condition.value!r}",
                "a number",
                "Compare texts with =, != or ~.",
            )
        return condition

    def holds(self, row: Row) -> bool:
        """Whether a row meets it; a field that it lacks equals nothing."""
        value = _at(row, self.field)
        if self.sign in _ORDERS:
            left = _number(value)
            right = _number(self.value)
            if left is None or right is None:
                return False
            order = _ORDERS[self.sign]
            return order(left, right)
        text = "" if value is None else text_of(value)
        if self.sign == "~":
            return self.value.casefold() in text.casefold()
        return (text == self.value) == (self.sign == "=")


def _at(row: Row, path: str) -> Any:
    """The value of a field, or of one inside it by `outer.inner`."""
    if path in row:
        return row[path]
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def fields_of(row: Row, names: Sequence[str]) -> Fields:
    """Some fields of a row; None where it has none."""
    return {name: _at(row, name) for name in names}


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def chosen(
    folder: Path,
    kinds: Sequence[str],
    conditions: Sequence[Condition],
    names: Sequence[str] = (),
) -> Iterator[Fields]:
    """Rows of a run that meet all conditions, with how they left in `exit`.

    Args:
        folder: of the run, or of all its shards.
        kinds: `kept`, `dropped`, `failed`.
        conditions: of their fields.
        names: of fields that are shown.

    Raises:
        WrongUse: the folder is no run's, or a field that no row has.
    """
    rows = RunRows(folder)
    known = {"exit"}
    for kind in kinds:
        count = rows.count(kind)
        known |= {*(rows.row(kind, 0) if count else ())}
    asked = [
        *(("--where", condition.field) for condition in conditions),
        *(("--fields", name) for name in names),
    ]
    for option, name in asked:
        if known != {"exit"} and not {name, name.split(".")[0]} & known:
            raise WrongUse(
                f"{option} {name}",
                f"no field {name!r}",
                "a field of these rows",
                did_you_mean(name, known),
            )
    for kind in kinds:
        for number in range(rows.count(kind)):
            row = {"exit": kind, **rows.row(kind, number)}
            if all(condition.holds(row) for condition in conditions):
                yield row


def exits_of(folder: Path) -> str:
    """How many rows of a run left by each exit, and for which reasons, in one line."""
    rows = RunRows(folder)
    parts = []
    for kind in KINDS:
        count = rows.count(kind)
        reasons = {
            str(rows.row(kind, number).get("reason"))
            for number in range(min(count, _MOST_COUNTED))
        }
        parts.append(f"{count:,} {kind}")
        if kind != "kept" and reasons:
            parts[-1] += f" ({', '.join(sorted(reasons))})"
    return f"{folder} has {', '.join(parts)}"


def became(
    folder: Path,
    seed_id: str,
    *,
    whole: bool = False,
) -> list[Fields]:
    """What became of each draw of a seed, in the order of draws.

    Args:
        folder: of the run, or of all its shards.
        seed_id: the seed's `id`.
        whole: also the messages that were sent and the reply as it came.

    Raises:
        WrongUse: no row has the id.
    """
    rows = RunRows(folder)
    places = rows.same_seed(seed_id, _DRAWS)
    if not places:
        raise WrongUse(
            str(folder),
            f"no row with the id {seed_id!r}",
            "the `id` of a row",
            "Find one with `synth rows DIR`.",
        )
    packs = Packs(rows)
    told = [
        _told(
            rows,
            packs,
            kind,
            number,
            whole=whole,
        )
        for kind, number in places
    ]
    return sorted(
        told,
        key=lambda one: (one["draw"] is None, one["draw"]),
    )


def _told(
    rows: RunRows,
    packs: Packs,
    kind: str,
    number: int,
    *,
    whole: bool,
) -> Fields:
    """A draw; with `whole` what was sent for it, and what came."""
    row = rows.row(kind, number)
    meta = row.get("meta") or {}
    verdicts = meta.get("verdicts") or ()
    told: Fields = {
        "exit": kind,
        "step": meta.get("step"),
        "draw": meta.get("draw"),
        "reason": row.get("reason"),
        "detail": row.get("detail"),
        "verdicts": [verdict_shown(verdict) for verdict in verdicts],
        "reply": row.get("reply"),
    }
    if whole:
        asked = packs.asked(row)
        told["messages"] = list(map(list, asked.messages))
        told["messages_are_exact"] = asked.exact
        reply = reply_of(rows, meta)
        told["raw"] = reply.raw if reply else None
    return told


def story(told: Sequence[Fields]) -> str:
    """What `became` found, as text."""
    lines = []
    for one in told:
        reason = f": {one['reason']}" if one["reason"] else ""
        lines.append(
            f"draw {one['draw']}, step {one['step']}: {one['exit']}{reason}"
        )
        if one["detail"]:
            lines.append(f"  {one['detail']}")
        for verdict in one["verdicts"]:
            marks = ", ".join(
                f"{name} {text_of(value)}"
                for name, value in verdict["marks"].items()
            )
            said = f"  {verdict['filter']} {verdict['says']}"
            lines.append(f"{said} ({marks})" if marks else said)
        for role, text in one.get("messages", ()):
            lines.append(f"  {role}:")
            lines += _indented(text)
        if one["reply"]:
            lines.append("  reply:")
            lines += _indented(str(one["reply"]))
    return "\n".join(lines)


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()]


def compared(before: Path, after: Path) -> Fields:
    """Two runs by seed: how many were gained, lost, fell for another reason, with the first ids of
    each; and what both cost.

    Raises:
        WrongUse: a folder is no run's.
    """
    old = RunRows(before)
    new = RunRows(after)
    changes = Changes(old, new)
    result: Fields = {
        "seeds": {},
        "examples": {},
        "only_before": changes.only_before,
        "only_after": changes.only_after,
    }
    for name in CHANGES:
        change = changes.change(name, 0, _NAMED)
        result["seeds"][name] = change.total
        # Those that fared alike are no news.
        if name not in ("kept in both", "same reason"):
            result["examples"][name] = [
                old.row(*one)["id"] for one, _ in change.pairs
            ]
    for when, rows in (("before", old), ("after", new)):
        cost = rows.run.get("cost", {})
        result[when] = {
            **{kind: rows.count(kind) for kind in KINDS},
            "usd": cost.get("usd"),
        }
    return result


def comparison(result: Row) -> str:
    """What `compared` found, as text."""
    lines = ["| seeds | | for example |", "|---|---:|---|"]
    for name, count in result["seeds"].items():
        ids = ", ".join(map(str, result["examples"].get(name, ())))
        lines.append(f"| {name} | {count:,} | {ids} |")
    lines.append(f"| in the first run alone | {result['only_before']:,} | |")
    lines.append(f"| in the second run alone | {result['only_after']:,} | |")
    for when in ("before", "after"):
        side = result[when]
        rows = ", ".join(f"{side[kind]:,} {kind}" for kind in KINDS)
        lines.append(f"{when}: {rows}, {dollars(side['usd'])}")
    return "\n".join(lines)
