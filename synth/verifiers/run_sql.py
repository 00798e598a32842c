"""Whether a query returns what the gold query returns, run where it can harm nobody."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.core.errors import RowFault
from synth.core.records import Fields
from synth.sandbox import jail, sqlite_inside
from synth.verifiers.run_python import RunPython

# A database, and the databases of all cases that share a process.
MOST_BYTES = 32 << 20
MOST_CASES = 200


@dataclass(frozen=True, kw_only=True)
class RunSql:
    """Runs queries, read only, on a copy in memory of a SQLite database, confined as by
    `run_python`.

    Rows are compared as a bag, in order where the gold query has ORDER BY; numbers to six decimals.

    Args:
        seconds: for one query; beyond them the answer is unknown.
        megabytes: of address space.
        unsafe_exec: run without confinement where none is to be had; the limits inside SQLite stay.

    Example:
        >>> setup = "CREATE TABLE pens (n INT); INSERT INTO pens VALUES (3), (4);"
        >>> queries = ("SELECT sum(n) FROM pens", "DROP TABLE pens")
        >>> [RunSql().verify(query, "SELECT 7", setup=setup) for query in queries]
        [True, False]
    """

    seconds: float = 2.0
    megabytes: int = jail.MEGABYTES
    unsafe_exec: bool = False

    def verify(
        self,
        query: str,
        gold: str | Sequence[Sequence[Any]],
        *,
        setup: str = "",
        database: str | Path | None = None,
    ) -> bool | None:
        """Whether the rows are the same: False where the query fails, None where it took too long.

        Args:
            query: one statement.
            gold: the right statement, or its rows.
            setup: statements that make and fill the tables.
            database: a SQLite file; it is copied, never changed.

        Raises:
            WrongUse: the gold query fails, the file is no database, or this machine cannot confine.
        """
        case = {
            "query": query,
            "gold": gold,
            "setup": setup,
            "database": database,
        }
        outcome = self.run([case])[0]
        if outcome["status"] == "gold_error":
            todo = "Correct the gold query, the setup or the database."
            raise RowFault(
                "run_sql",
                outcome["error"],
                "a gold query that runs",
                todo,
            )
        return {"same": True, "timeout": None}.get(outcome["status"], False)

    def run(self, cases: Sequence[Fields]) -> list[Fields]:
        """{status, error, rows, wanted} of each case.

        Several share a process; one that breaks it is `timeout` or `error` by itself. A database
        that cannot be read is a `gold_error`.
        """
        done: list[Fields] = []
        while len(done) < len(cases):
            part, fault = _part(cases[len(done) :])
            if not part:
                done.append({"status": "gold_error", "error": fault})
                continue
            seconds = min(
                jail.MOST_SECONDS, max(1, round(self.seconds * len(part)))
            )
            limits = {"seconds": seconds, "megabytes": self.megabytes}
            runner = RunPython(**limits, unsafe_exec=self.unsafe_exec)
            source = Path(sqlite_inside.__file__).read_text(encoding="utf-8")
            given = f"CASES = json.loads({json.dumps(json.dumps(part))})"
            outcome = runner.run(
                f"{source}\n{given}\nSECONDS = {self.seconds!r}\nmain()\n"
            )
            whole = [
                line
                for line in outcome.output.splitlines()
                if line[:1] + line[-1:] == "{}"
            ]
            done += [json.loads(line) for line in whole[: len(part)]]
            if len(whole) < len(part):
                silent = (
                    outcome.status in ("timeout", "failed")
                    and not outcome.error
                )
                error = outcome.error or "the process had to be ended"
                done.append(
                    {"status": "timeout" if silent else "error", "error": error}
                )
        return done


def _part(cases: Sequence[Fields]) -> tuple[list[Fields], str]:
    """The next cases that share a process, with their databases; none, and why, for a bad file."""
    part: list[Fields] = []
    size = 0
    fault = ""
    for case in cases[:MOST_CASES]:
        try:
            database = _read(case.get("database"))
        except (OSError, TypeError, ValueError) as error:
            fault = str(error)
            break
        size += len(database)
        if part and size > MOST_BYTES:
            break
        part.append({**case, "database": database})
    return part, fault


def _read(path: str | Path | None) -> str:
    """The bytes of a database file as base64, "" for none; ValueError for what is none."""
    if not path:
        return ""
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{path}: no such file")
    size = file.stat().st_size
    if not 0 < size <= MOST_BYTES:
        raise ValueError(f"{path}: {size:,} bytes; wanted 1 to {MOST_BYTES:,}")
    return base64.b64encode(file.read_bytes()).decode()
