"""Whether a query returns what the gold query returns, run where it can harm nobody."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.errors import RowFault
from synth.verifiers import _jail, _sql
from synth.verifiers.run_python import RunPython

MOST_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class RunSql:
    """Runs queries on a copy in memory of a SQLite database, read only, in the confined process of `run_python`.

    Rows are compared as a bag, in order where the gold query has ORDER BY; numbers to six decimals.

    Args:
        seconds: for one query; beyond them the answer is unknown.
        megabytes: of address space.
        unsafe_exec: run without confinement where none is to be had; the limits inside SQLite stay.

    Example:
        >>> setup = "CREATE TABLE pens (colour TEXT, n INT); INSERT INTO pens VALUES ('red', 3), ('blue', 4);"
        >>> sql = RunSql()
        >>> sql.verify("SELECT sum(n) FROM pens", "SELECT 7", setup=setup), sql.verify("DROP TABLE pens", "SELECT 7", setup=setup)
        (True, False)
    """

    seconds: float = 2.0
    megabytes: int = _jail.MEGABYTES
    unsafe_exec: bool = False

    def verify(
        self, query: str, gold: str | Sequence[Sequence[Any]], *, setup: str = "", database: str | Path | None = None
    ) -> bool | None:
        """True where the rows are the same, False where they are not or the query fails, None where it took too long.

        Args:
            query: one statement.
            gold: the right statement, or its rows.
            setup: statements that make and fill the tables.
            database: a SQLite file; it is copied, never changed.

        Raises:
            WrongUse: the gold query fails, the file is no database, or this machine cannot confine.
        """
        found = self.run([{"query": query, "gold": gold, "setup": setup, "database": database}])[0]
        if found["status"] == "gold_error":
            raise RowFault("run_sql", found["error"], "a gold query that runs", "Correct the gold query, the setup or the database.")
        return {"same": True, "timeout": None}.get(found["status"], False)

    def run(self, cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """{status, error, rows, wanted} of each case: several share a process; one that breaks it is `timeout` or `error` by itself."""
        todo = [{**case, "database": _read(case.get("database"))} for case in cases]
        done: list[dict[str, Any]] = []
        while len(done) < len(todo):
            part = todo[len(done) : len(done) + 200]
            seconds = min(_jail.MOST_SECONDS, max(1, round(self.seconds * len(part))))
            limits = {"seconds": seconds, "megabytes": self.megabytes}
            runner = RunPython(**limits, unsafe_exec=self.unsafe_exec)
            source = Path(_sql.__file__).read_text(encoding="utf-8")
            outcome = runner.run(f"{source}\nCASES = json.loads({json.dumps(json.dumps(part))})\nSECONDS = {self.seconds!r}\nmain()\n")
            said = [json.loads(line) for line in outcome.output.splitlines() if line.startswith("{") and line.endswith("}")][: len(part)]
            done += said
            if len(said) < len(part):
                kind = "timeout" if outcome.status in ("timeout", "failed") and not outcome.error else "error"
                done.append({"status": kind, "error": outcome.error or "the process had to be ended"})
        return done


def _read(path: str | Path | None) -> str:
    """The bytes of a database file as base64, "" for none."""
    if not path:
        return ""
    file = Path(path)
    size = file.stat().st_size if file.is_file() else -1
    if not 0 < size <= MOST_BYTES:
        found = "no such file" if size < 0 else f"{size:,} bytes"
        raise RowFault(str(path), found, f"a SQLite file of at most {MOST_BYTES >> 20} MiB", "Correct the path in the row.")
    return base64.b64encode(file.read_bytes()).decode()
