"""Keeps rows whose query returns what the gold query returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from synth.core.records import Fields, Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import WorkFilter
from synth.replies.fences import code_in
from synth.sandbox import jail
from synth.verifiers import run_sql as verifier
from synth.verifiers.run_python import check_limit


@dataclass(frozen=True, kw_only=True)
class RunSql(WorkFilter):
    """Runs each row's query, read only, on a copy in memory of its SQLite database, in a confined
    process.

    Sees: one row. Costs: some 2,000 short queries a CPU-second; 30 ms for the process, which up to
    200 rows share.

    Args:
        field: the field that holds the query, fenced or bare; the raw reply where a row lacks it.
        gold: the field with the right query, or with its rows.
        setup: the field with statements that make the tables; may be missing where `database` is
            there.
        database: the field with the path of a SQLite file; may be missing.
        seconds: for one query.
        unsafe_exec: run without confinement where none is to be had.

    Reasons:
        other_rows: it returns other rows.
        query_fails: it is no query that runs here, or wants to do more than read.
        timeout: it did not end in time (unknown).
        no_gold: the row has no gold, or a gold or a database that fails (unknown).

    Marks: `status`, `error`.

    Example:
        >>> setup = "CREATE TABLE pens (n INT); INSERT INTO pens VALUES (3), (4);"
        >>> rows = [
        ...     {"sql": q, "target_sql": "SELECT 7", "setup": setup}
        ...     for q in ("SELECT sum(n) FROM pens", "SELECT n FROM pens")
        ... ]
        >>> kept, dropped = RunSql().split(rows)
        >>> len(kept), dropped[0]["reason"]
        (1, 'other_rows')
    """

    field: str = "sql"
    gold: str = "target_sql"
    setup: str = "setup"
    database: str = "database"
    seconds: float = 2.0
    unsafe_exec: bool = False
    unknown: Literal["keep", "drop"] = "drop"

    reasons: ClassVar[dict[str, str]] = {
        "other_rows": "other rows",
        "query_fails": "it does not run or does more than read",
        "timeout": "no end in time",
        "no_gold": "nothing to compare with",
    }

    def __post_init__(self) -> None:
        check_limit("run_sql, seconds", self.seconds, jail.MOST_SECONDS)

    def needs(self) -> tuple[str, ...]:
        """The gold query."""
        return (self.gold,)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """One verdict a row, all in one process."""
        places = [n for n, row in enumerate(rows) if row.get(self.gold)]
        runner = verifier.RunSql(
            seconds=self.seconds, unsafe_exec=self.unsafe_exec
        )
        outcomes = dict(
            zip(
                places,
                runner.run([self._case(rows[n]) for n in places]),
                strict=True,
            )
        )
        return [
            _verdict(outcomes.get(n, {"status": "no_gold"}))
            for n in range(len(rows))
        ]

    def _case(self, row: Row) -> Fields:
        query = code_in(field_text(row, self.field))
        return {
            "query": query,
            "gold": row[self.gold],
            "setup": row.get(self.setup) or "",
            "database": row.get(self.database),
        }


def _verdict(outcome: Fields) -> Verdict:
    marks = {"status": outcome["status"], "error": outcome.get("error", "")}
    if outcome["status"] in ("same", "timeout"):
        same = outcome["status"] == "same"
        return Verdict(True if same else None, "" if same else "timeout", marks)
    if outcome["status"] in ("no_gold", "gold_error"):
        return Verdict(None, "no_gold", marks)
    return Verdict(
        False,
        "other_rows" if outcome["status"] == "other" else "query_fails",
        marks,
    )
