"""Packs with other words, how many rows each keeps, and which of them is rewritten next."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from synth.core.records import Fields, Row
from synth.runs.batches import rows_of
from synth.runs.result import Run


@dataclass(frozen=True)
class Candidate:
    """A pack with other words.

    Attributes:
        number: 0 is the pack as it is.
        folder: of the pack.
        parent: number of the candidate that was rewritten.
        file: the template that was.
        scores: share of kept draws, by row that was looked at; none where it never ran.
        fault: why it was not run; empty where it was.
    """

    number: int
    folder: Path
    parent: int = 0
    file: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    fault: str = ""

    @property
    def score(self) -> float:
        """The mean share, 0 to 1."""
        return sum(self.scores.values()) / max(1, len(self.scores))


@dataclass(frozen=True)
class Tuned:
    """What a search came to.

    Attributes:
        candidates: all, the pack as it is first.
        best: the one with the highest score on the rows that were looked at.
        before, after: mean shares of kept draws on the rows held out, 0 to 1.
        interval: of the gain, 95 % over those rows.
        rows: how many were looked at and how many held out.
        usd: dollars of all runs; None where a price is not known.
    """

    candidates: tuple[Candidate, ...]
    best: Candidate
    before: float
    after: float
    interval: tuple[float, float]
    rows: tuple[int, int]
    usd: float | None

    @property
    def gain(self) -> float:
        """Of the shares, on the rows held out."""
        return self.after - self.before

    def report(self) -> Fields:
        """For scripts."""
        return {
            "best": self.best.number,
            "pack": str(self.best.folder),
            "before": self.before,
            "after": self.after,
            "gain": self.gain,
            "interval": list(self.interval),
            "rows": {"looked_at": self.rows[0], "held_out": self.rows[1]},
            "usd": self.usd,
            "candidates": [
                {
                    "number": one.number,
                    "parent": one.parent,
                    "file": one.file,
                    "score": one.score if one.scores else None,
                    "fault": one.fault,
                }
                for one in self.candidates
            ],
        }


def shares(run: Run, rows: Iterable[Row]) -> dict[str, float]:
    """Row -> share of its draws that were kept, 0 to 1; a row that left by no exit counts as 0."""
    kept = Counter(row["id"] for row in rows_of(run.folder / "data", ["id"]))
    lost = Counter(row["id"] for row in rows_of(run.folder / "dropped", ["id"]))
    ids = [row["id"] for row in rows]
    return {name: kept[name] / max(1, kept[name] + lost[name]) for name in ids}


def drawn_parent(pool: Sequence[Candidate], draw: random.Random) -> Candidate:
    """A candidate, with the weight of the rows on which none is better (GEPA, section 3.3). Rows
    on which all are alike say nothing.
    """
    ran = [one for one in pool if not one.fault]
    weights: dict[int, int] = defaultdict(int)
    for name in ran[0].scores:
        scores = {one.number: one.scores[name] for one in ran}
        most = max(scores.values())
        if min(scores.values()) == most:
            continue
        for number, score in scores.items():
            weights[number] += score == most
    if not weights:
        return ran[-1]
    return draw.choices(ran, [weights[one.number] for one in ran])[0]
