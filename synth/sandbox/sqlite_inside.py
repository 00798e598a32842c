"""The part of `run_sql` that runs inside the confined process: standard library only, sent there as
text.

Reads `CASES` (a list of {query, gold, setup, database}), prints one JSON line a case.
"""

from __future__ import annotations

import base64
import json
import re
import signal
import sqlite3
import time
from typing import Any

CASES: list[dict[str, Any]] = []
SECONDS = 2.0
MOST_ROWS = 10_000
_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
# These build texts of any size in one step, where no deadline is looked at, or reach outside.
_NEVER = {
    "printf",
    "format",
    "randomblob",
    "zeroblob",
    "load_extension",
    "readfile",
    "writefile",
    "edit",
    "fts3_tokenizer",
    "replace",
    "hex",
    "quote",
}
_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 1_000_000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 20_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 200,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 20,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 500,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 20,
}


def allowed(action: int, _: str | None, second: str | None, *__: Any) -> int:
    """Reading only, and no function that grows texts."""
    if action == sqlite3.SQLITE_FUNCTION:
        if (second or "").lower() in _NEVER:
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY


def opened(case: dict[str, Any]) -> sqlite3.Connection:
    """A database in memory: a copy of the given one, then its setup."""
    database = sqlite3.connect(":memory:")
    if case.get("database"):
        database.deserialize(base64.b64decode(case["database"]))
    if case.get("setup"):
        database.executescript(case["setup"])
    for limit, most in _LIMITS.items():
        database.setlimit(limit, most)
    deadline = time.monotonic() + SECONDS / 2
    database.set_progress_handler(lambda: time.monotonic() > deadline, 1000)
    database.set_authorizer(allowed)
    return database


def rows_of(database: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    """All rows of one statement."""
    rows = database.execute(query.strip().rstrip(";")).fetchmany(MOST_ROWS + 1)
    if len(rows) > MOST_ROWS:
        raise sqlite3.OperationalError(f"more than {MOST_ROWS} rows")
    return [tuple(map(_rounded, row)) for row in rows]


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def judged(case: dict[str, Any]) -> dict[str, Any]:
    """`same`, `other`, `error` or `timeout`; `gold_error` where the gold query itself fails."""
    try:
        database = opened(case)
        wanted = (
            rows_of(database, case["gold"])
            if isinstance(case["gold"], str)
            else [tuple(row) for row in case["gold"]]
        )
    except (
        sqlite3.Error,
        sqlite3.Warning,
        TypeError,
        ValueError,
        MemoryError,
    ) as error:
        return {"status": "gold_error", "error": str(error)[:200]}
    try:
        result = rows_of(database, case["query"])
    except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError) as error:
        return {
            "status": "timeout" if str(error) == "interrupted" else "error",
            "error": str(error)[:200],
        }
    if not (isinstance(case["gold"], str) and _ORDER.search(case["gold"])):
        result = sorted(result, key=repr)
        wanted = sorted(wanted, key=repr)
    return {
        "status": "same" if result == wanted else "other",
        "rows": len(result),
        "wanted": len(wanted),
    }


def main() -> None:
    """One line a case; a case that hangs ends the process by the default action of its alarm."""
    for case in CASES:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        print(json.dumps(judged(case)), flush=True)  # noqa: T201 - the way out of the process
        signal.setitimer(signal.ITIMER_REAL, 0)
