"""`synth filter`: any file of rows through filters, to a file of kept rows and one of dropped
ones.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from synth.core import registry
from synth.core.aio import run_async
from synth.core.errors import Unreadable, WrongUse, did_you_mean
from synth.core.plugins import check_allowed
from synth.core.records import Fields
from synth.critics.calibration import card_lines, promised, promises_of
from synth.filters.base import Filter, split_rows
from synth.inputs.seeds import read_rows, write_jsonl
from synth.parsers.base import Parser
from synth.statistics.curves import plot as picture
from synth.statistics.thresholds import NotEnoughEvidence

# Where a row stood in its file, and why no parser read it, while it is among the filters.
_PLACE = "__place__"
_UNREAD = "__unread__"


def sieve(
    source: str,
    output: Path,
    filters: Sequence[str],
    *,
    parser: str = "final_number",
    group: str = "question",
    plugins: Sequence[str] = (),
) -> Fields:
    """Sends the rows of a file through filters; returns the counts.

    Args:
        source: anything that seeds are read from.
        output: a .jsonl file for kept rows, unchanged but for `marks` (what the parser read stands
            in `marks.read`); dropped ones go to `<stem>.dropped.jsonl` beside it.
        filters: NAME[:key=value,...] in order.
        parser: reads `completion` (or `reply`) of rows that have no `answer`.
        group: the column that draws of one seed share.
        plugins: modules of the user's that a .json file of a filter may name.
    """
    allowed = check_allowed(plugins)
    if output.suffix != ".jsonl":
        raise WrongUse(
            "--output",
            str(output),
            "a file ending in .jsonl",
            "Name the file so.",
        )
    parts: Sequence[Filter] = [
        registry.build("synth.filters", spec, "--filter", allowed)
        for spec in filters
    ]
    reader: Parser = registry.build(
        "synth.parsers", parser, "--parser", allowed
    )
    rows = list(read_rows(source))
    _check(rows, parts, group, source)
    _check_fields(rows, parts, reader)
    views = [
        {**_view(row, reader), _PLACE: index} for index, row in enumerate(rows)
    ]
    kept, dropped = run_async(
        split_rows(
            parts, [view for view in views if _UNREAD not in view], group=group
        )
    )
    leaving = sorted(
        [*dropped, *(_unread(view) for view in views if _UNREAD in view)],
        key=lambda view: int(view[_PLACE]),
    )
    measured = promises_of(parts)
    if measured:
        output.with_suffix(".md").write_text(
            "\n".join([f"# {output.name}", "", *card_lines(measured), ""]),
            encoding="utf-8",
        )
    write_jsonl(
        output,
        ({**rows[view[_PLACE]], "marks": view["marks"]} for view in kept),
    )
    write_jsonl(
        output.with_name(f"{output.stem}.dropped.jsonl"),
        (_leave(rows[view[_PLACE]], view) for view in leaving),
    )
    reasons = Counter(str(view["reason"]) for view in leaving)
    return {
        "asked": len(rows),
        "kept": len(kept),
        "dropped": dict(reasons),
        "failed": {},
    }


def calibrate_file(
    spec: str,
    source: str,
    output: Path,
    plot: Path | None = None,
    *,
    target_precision: float,
    confidence: float,
    label: str,
    group: str,
) -> str:
    """Writes the filter `spec` with the threshold that the labelled rows of `source` promise;
    returns what to say of it.

    Raises:
        WrongUse: no such filter or file, rows without labels, or labels that promise nothing.
    """
    part: Filter = registry.build("synth.filters", spec, "NAME")
    rows = list(read_rows(source))
    _check(rows, [part], group, source)
    try:
        promise = promised(
            part,
            rows,
            label=label,
            group=group,
            target_precision=target_precision,
            confidence=confidence,
        )
    except NotEnoughEvidence as error:
        raise WrongUse(
            source,
            str(error),
            "labels that promise this precision",
            "Label more rows, or lower --target-precision.",
        ) from error
    given = registry.parse_spec(spec)
    output.write_text(
        json.dumps(
            {**given, "least": promise["least"], "promise": promise}, indent=2
        )
        + "\n",
        encoding="utf-8",
    )
    if plot:
        plot.write_text(
            picture(
                promise["bins"]["before"],
                promise["bins"]["after"],
                promise["least"],
            ),
            encoding="utf-8",
        )
    error_line = (
        f"calibration error {promise['error']['before']:.3f}, "
        f"{promise['error']['after']:.3f} with the curve ({promise['curve']['kind']})"
    )
    return "\n".join(
        [
            *card_lines([(part.name, promise)]),
            f"- {error_line}",
            f"filter -> {output}",
        ]
    )


def _check_fields(
    rows: list[Fields], parts: Sequence[Filter], reader: Parser
) -> None:
    names = {name for row in rows for name in row} | {
        "completion",
        "reply",
        "target",
        *reader.produces(),
    }
    for part in parts:
        for name in part.named_fields():
            if name not in names:
                raise WrongUse(
                    f"filter {part.name}",
                    f"field {name!r}",
                    "a column of the rows",
                    did_you_mean(name, names),
                )


def _check(
    rows: list[Fields], parts: Sequence[Filter], group: str, source: str
) -> None:
    columns = {name for row in rows for name in row}
    if not rows:
        raise WrongUse(source, "no rows", "at least one row", "Check the file.")
    ready = {"completion", "reply", "answer", "rationale"}
    if not columns & ready and not all(
        part.needs() and set(part.needs()) <= columns for part in parts
    ):
        todo = "Name the text `completion`, or give rows with ready fields such as `answer`."
        raise WrongUse(
            source,
            f"columns {', '.join(sorted(columns))}",
            "`completion` or ready fields",
            todo,
        )
    if any(part.group == "draws" for part in parts) and group not in columns:
        raise WrongUse(
            "--group",
            f"no column {group!r}",
            "the column that draws of one seed share",
            did_you_mean(group, columns),
        )


def _view(row: Fields, reader: Parser) -> Fields:
    """What filters see of a row: itself where its answer is ready, else with what the parser read
    of its completion.

    A row with a `completion` and an `answer` but no `target` comes from a file whose `answer` is
    the gold.
    """
    text = row.get("completion")
    gold = (
        row.get("answer")
        if "reply" not in row and "target" not in row
        else None
    )
    if not isinstance(text, str) or (
        row.get("answer") is not None and gold is None
    ):
        return {**row, "marks": {}}
    base = row if gold is None else {**row, "target": gold, "answer": None}
    try:
        read = reader.parse(text, base)
    except Unreadable as error:
        return {**base, "marks": {}, _UNREAD: error}
    return {**base, **read, "marks": {"read": read}}


def _unread(view: Fields) -> Fields:
    return {
        **view,
        "reason": view[_UNREAD].reason,
        "detail": view[_UNREAD].detail,
    }


def _leave(row: Fields, view: Fields) -> Fields:
    detail = {"detail": view["detail"]} if _UNREAD in view else {}
    return {**row, "marks": view["marks"], "reason": view["reason"], **detail}
