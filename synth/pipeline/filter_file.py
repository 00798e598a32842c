"""`synth filter`: any file of rows through filters, to a file of kept rows and one of dropped
ones.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from synth.core import registry
from synth.core.aio import run_async
from synth.core.errors import (
    PotstillError,
    Unreadable,
    WrongUse,
    did_you_mean,
    fault_of,
)
from synth.core.plugins import check_allowed
from synth.core.records import Fields, Row
from synth.critics.calibration import card_lines, promised, promises_of
from synth.filters.base import Filter, split_rows
from synth.inputs.seeds import read_rows, whole_file, write_jsonl
from synth.parsers.base import Parser
from synth.statistics.curves import plot as picture
from synth.statistics.thresholds import NotEnoughEvidence

# Where a row stood in its file, and why no parser read it, while it is among the filters.
_PLACE = "__place__"
_UNREAD = "__unread__"
# Reads what filters need of a completion where no parser is named.
DEFAULT_PARSER = "final_number"
# Columns of a reply as it came.
_TEXTS = {"completion", "reply"}


def sieve(
    source: str,
    output: Path,
    filters: Sequence[str | Row],
    *,
    parser: str | None = None,
    group: str = "question",
    plugins: Sequence[str] = (),
) -> Fields:
    """Sends the rows of a file through filters; returns the counts, and as `parser` what read the
    completions, None where nothing did.

    Args:
        source: anything that seeds are read from.
        output: a .jsonl file for kept rows, unchanged but for `marks` (what the parser read stands
            in `marks.read`); dropped ones go to `<stem>.dropped.jsonl` beside it.
        filters: NAME[:key=value,...] in order, or mappings with `name` and parameters.
        parser: reads `completion` of rows that have no `answer`; without one `final_number` does,
            where a filter needs what it finds and the rows lack it.
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
    rows = list(read_rows(source))
    reader: Parser = registry.build(
        "synth.parsers",
        parser or DEFAULT_PARSER,
        "--parser",
        allowed,
    )
    columns = _columns(rows, source)
    reads = parser or _lacking(columns, parts) & {*reader.produces()}
    _check_group(columns, parts, group)
    _check_fields(columns, parts, reader if reads else None)
    _check_columns(columns, parts, source)
    views = []
    for index, row in enumerate(rows):
        view = _view(row, reader) if reads else {**row, "marks": {}}
        views.append({**view, _PLACE: index})
    kept, dropped = _split(
        parts, [view for view in views if _UNREAD not in view], group
    )
    leaving = sorted(
        [*dropped, *(_unread(view) for view in views if _UNREAD in view)],
        key=lambda view: int(view[_PLACE]),
    )
    measured = promises_of(parts)
    if measured:
        lines = [
            f"# {output.name}",
            "",
            *card_lines(measured),
            "",
        ]
        card = output.with_suffix(".md")
        _write(card, "\n".join(lines))
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
        "parser": (parser or DEFAULT_PARSER) if reads else None,
    }


def _split(
    parts: Sequence[Filter], rows: Sequence[Row], group: str
) -> tuple[list[Fields], list[Fields]]:
    """Kept and dropped rows.

    Raises:
        WrongUse: a filter breaks.
    """
    try:
        return run_async(split_rows(parts, rows, group=group))
    except PotstillError:
        raise
    except Exception as error:
        raise WrongUse(
            f"--filter {', '.join(part.name for part in parts)}",
            fault_of(error),
            "a verdict on every row",
            "Mend the filter; nothing was written.",
        ) from error


def _columns(rows: list[Fields], source: str) -> set[str]:
    """Names that any row has.

    Raises:
        WrongUse: there is no row.
    """
    if not rows:
        raise WrongUse(source, "no rows", "at least one row", "Check the file.")
    return {name for row in rows for name in row}


def _check_columns(
    columns: set[str], parts: Sequence[Filter], source: str
) -> None:
    """Raises WrongUse where the rows have nothing that a filter reads."""
    for part in parts if not columns & _TEXTS else ():
        # A row with one of these has been read; what else a filter needs may be absent.
        needed = [] if columns & {"answer", "rationale"} else part.needs()
        field = getattr(part, "field", None)
        texts = [field] if isinstance(field, str) else []
        missing = [n for n in (*needed, *texts) if n not in columns]
        if missing:
            raise WrongUse(
                f"{source}, which filter {part.name} reads",
                f"columns {', '.join(sorted(columns))}",
                f"{' and '.join(missing)}, or the text of a reply as `completion`",
                "Rename the column, or name yours in the filter, as in "
                f"{part.name}:field=COLUMN.",
            )


def _lacking(columns: set[str], parts: Sequence[Filter]) -> set[str]:
    """Fields that filters need, or that the user named, and that no row has."""
    wanted: set[str] = set()
    for part in parts:
        wanted.update(part.needs())
        wanted.update(part.named_fields())
    answers = {"answer"} if _answers_are_golds(columns) else set()
    return wanted - (columns - answers)


def _answers_are_golds(columns: Collection[str]) -> bool:
    """Whether a row with these columns, which has a `completion`, has the gold as its `answer`."""
    return "reply" not in columns and "target" not in columns


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
    columns = _columns(rows, source)
    _check_group(columns, [part], group)
    _check_columns(columns, [part], source)
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
    calibrated = {
        **given,
        "least": promise["least"],
        "promise": promise,
    }
    _write(output, json.dumps(calibrated, indent=2) + "\n")
    if plot:
        bins = promise["bins"]
        drawn = picture(
            bins["before"],
            bins["after"],
            promise["least"],
        )
        _write(plot, drawn)
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


def _write(path: Path, text: str) -> None:
    """Writes a text into a file whose folder may be new."""
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _check_fields(
    columns: set[str], parts: Sequence[Filter], reader: Parser | None
) -> None:
    names = {*columns, "completion", "reply", "target"}
    if reader:
        names.update(reader.produces())
    for part in parts:
        unknown = part.unknown_field(names)
        if unknown:
            name, hint = unknown
            raise WrongUse(
                f"filter {part.name}",
                f"field {name!r}",
                "a column of the rows",
                hint,
            )


def _check_group(
    columns: set[str], parts: Sequence[Filter], group: str
) -> None:
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
    gold = row.get("answer") if _answers_are_golds(row) else None
    ready = row.get("answer") is not None and gold is None
    if not isinstance(text, str) or ready:
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
