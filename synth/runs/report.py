"""report.html: the tally of a run, and rows of every exit to read. One file, no script, nothing
from elsewhere.
"""

from __future__ import annotations

import html
from collections import defaultdict
from itertools import islice
from pathlib import Path

from synth.core.errors import printable
from synth.core.records import Fields
from synth.inputs.seeds import whole_file
from synth.runs.card import tally_rows
from synth.runs.publisher import RunFolder

ROWS = 5
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 "
    "1rem;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;border-bottom:1px solid "
    "#ddd;text-align:left}"
    "pre{background:#f6f6f4;padding:.6rem;white-space:pre-wrap;overflow-wrap:anywhere}"
    "td:last-child{text-align:right}"
)


def _shown(text: str) -> str:
    """A text as HTML that shows it: no markup, nothing that acts or hides."""
    return html.escape(printable(text))


def write_report(folder: str | Path) -> Path:
    """Writes DIR/report.html from what the run published; returns its path."""
    run = RunFolder(folder)
    kept = list(islice(run.rows(), ROWS))
    dropped: dict[str, list[Fields]] = defaultdict(list)
    for row in run.rows("dropped"):
        if len(dropped[row["reason"]]) < ROWS:
            dropped[row["reason"]].append(row)
    name = _shown(run.run["pack"]["name"])
    parts = [
        f"<h1>{name}</h1><p>{_shown(run.run['pack']['about'])}</p>",
        _tally(run.run["counts"]),
        _section("kept", kept),
    ]
    parts += [
        _section(f"dropped: {reason}", rows)
        for reason, rows in sorted(dropped.items())
    ]
    policy = (
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src "
        "'unsafe-inline'\">"
    )
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8>{policy}"
        f"<title>{name}</title><style>{_STYLE}</style>{''.join(parts)}</html>\n"
    )
    path = run.folder / "report.html"
    with whole_file(path) as aside:
        aside.write_text(page, encoding="utf-8", errors="replace")
    return path


def _tally(counts: Fields) -> str:
    cells = "".join(
        f"<tr><td>{kind}<td>{_shown(reason)}<td>{n:,}"
        for kind, reason, n in tally_rows(counts)
    )
    return f"<table><tr><th>exit<th>reason<th>rows{cells}</table>"


def _section(title: str, rows: list[Fields]) -> str:
    shown = "".join(_row(row) for row in rows) or "<p>none"
    return f"<h2>{_shown(title)}</h2>{shown}"


def _row(row: Fields) -> str:
    fields = {
        k: v
        for k, v in row.items()
        if v is not None and k not in ("meta", "prompt", "completion")
    }
    return (
        "<pre>"
        + "\n".join(
            f"<b>{_shown(str(k))}</b> {_shown(str(v))}"
            for k, v in fields.items()
        )
        + "</pre>"
    )
