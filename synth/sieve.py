"""`synth filter`: any file of rows through filters, to a file of kept rows and one of dropped ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synth import registry
from synth.errors import Unreadable, WrongUse, did_you_mean
from synth.filters.base import Filter, run_async, split_rows
from synth.parsers.base import Parser
from synth.seeds import read_rows, write_jsonl


def sieve(source: str, output: Path, filters: Sequence[str], *, parser: str = "final_number", group: str = "question") -> dict[str, Any]:
    """Sends the rows of a file through filters; returns the counts.

    Args:
        source: anything that seeds are read from.
        output: a .jsonl file for kept rows, unchanged but for `marks`; dropped ones go to `<stem>.dropped.jsonl` beside it.
        filters: NAME[:key=value,...] in order.
        parser: reads `completion` (or `reply`) of rows that have no `answer`.
        group: the column that draws of one seed share.
    """
    if output.suffix != ".jsonl":
        raise WrongUse("--output", str(output), "a file ending in .jsonl", "Name the file so.")
    parts: list[Filter] = [registry.build("synth.filters", spec, "--filter") for spec in filters]
    reader: Parser = registry.build("synth.parsers", parser, "--parser")
    rows = list(read_rows(source))
    _check(rows, parts, group, source)
    read = [_read(row, reader) for row in rows]
    ready = [row for row in read if "reason" not in row["__read"]]
    kept, dropped = run_async(split_rows(parts, [_with_read(row) for row in ready], group=group))
    unread = [{**_own(row), **row["__read"]} for row in read if "reason" in row["__read"]]
    write_jsonl(output, (_own(row) for row in kept))
    dropped_rows = [*(_own(row) for row in dropped), *unread]
    write_jsonl(output.with_name(f"{output.stem}.dropped.jsonl"), dropped_rows)
    reasons = Counter(str(row["reason"]) for row in dropped_rows)
    return {"asked": len(rows), "kept": len(kept), "dropped": dict(reasons), "failed": {}}


def _check(rows: list[dict[str, Any]], parts: Sequence[Filter], group: str, source: str) -> None:
    columns = {name for row in rows for name in row}
    if not rows:
        raise WrongUse(source, "no rows", "at least one row", "Check the file.")
    if not columns & {"completion", "reply", "answer", "rationale"}:
        todo = "Name the text `completion`, or give rows with ready fields such as `answer`."
        raise WrongUse(source, f"columns {', '.join(sorted(columns))}", "`completion` or ready fields", todo)
    if any(part.group for part in parts) and group not in columns:
        raise WrongUse("--group", f"no column {group!r}", "the column that draws of one seed share", did_you_mean(group, columns))


def _read(row: dict[str, Any], reader: Parser) -> dict[str, Any]:
    """The row with what the parser read under `__read`: fields, or a reason."""
    text = row.get("reply") or row.get("completion")
    if row.get("answer") is not None or not isinstance(text, str):
        return {**row, "__read": {}}
    try:
        return {**row, "__read": reader.parse(text, row)}
    except Unreadable as error:
        return {**row, "__read": {"reason": error.reason, "detail": error.detail}}


def _with_read(row: dict[str, Any]) -> dict[str, Any]:
    return {**row["__read"], **row}


def _own(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "__read"}
