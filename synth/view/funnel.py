"""How many rows reached each step of a run, and for which reasons they left there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from synth.view.rows import KINDS, RunRows


class Leaving(NamedTuple):
    """Rows that left at a step for a reason."""

    kind: str
    reason: str
    rows: int


class Stage(NamedTuple):
    """A step of a run.

    Attributes:
        step: its name; empty for rows that left before any step.
        reached: rows that came so far.
        leaving: those that left here, most first.
    """

    step: str
    reached: int
    leaving: list[Leaving]


def funnel(rows: RunRows) -> list[Stage]:
    """The steps in the order in which the run took them; all rows that left and those that are kept
    add up to what reached the first one.
    """
    if (only := rows.only_step()) is not None and len(rows.homes) == 1:
        return [_only(rows, only)]
    leaving = _leaving(rows)
    order = list(rows.run.get("steps") or ())
    order = [name for name in order if name in leaving]
    order += sorted(leaving.keys() - {*order, ""})
    stages = []
    reached = sum(map(rows.count, KINDS))
    for step in [
        "",
        *order,
    ]:
        groups = leaving.get(step, [])
        if step or groups:
            stages.append(
                Stage(
                    step,
                    reached,
                    groups,
                )
            )
        reached -= sum(group.rows for group in groups)
    return stages


def _only(rows: RunRows, step: str) -> Stage:
    """The one step of a run, by the counts that the run itself wrote: no row is read."""
    counts = rows.run["counts"]
    groups = [
        Leaving(
            kind,
            reason,
            count,
        )
        for kind in ("dropped", "failed")
        for reason, count in counts[kind].items()
    ]
    return Stage(
        step,
        counts["asked"],
        _most_first(groups),
    )


def _leaving(rows: RunRows) -> dict[str, list[Leaving]]:
    """Rows that left, by the step at which they did; steps that only kept rows passed are there,
    too.
    """
    groups: dict[str, list[Leaving]] = {}
    for kind in KINDS:
        reasons, steps = rows.codes(kind)
        pairs = np.stack(
            [
                steps,
                reasons,
            ]
        ).astype(np.int64)
        found, counts = np.unique(
            pairs,
            axis=1,
            return_counts=True,
        )
        for (step, reason), count in zip(
            found.T,
            counts,
            strict=True,
        ):
            here = groups.setdefault(rows.steps.names[step], [])
            if kind != "kept":
                name = rows.reasons.names[reason]
                here.append(
                    Leaving(
                        kind,
                        name,
                        int(count),
                    )
                )
    return {step: _most_first(here) for step, here in groups.items()}


def _most_first(groups: list[Leaving]) -> list[Leaving]:
    return sorted(
        groups,
        key=lambda group: -group.rows,
    )
