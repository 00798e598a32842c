"""report.html: the funnel of a run, and a random sample of the rows of every exit. One file without
a script, under 5 MB, that opens without a network and prints.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import escape

from synth.core.records import Fields
from synth.inputs.seeds import whole_file
from synth.runs.card import tally_rows
from synth.runs.publisher import RunFolder
from synth.view.funnel import funnel
from synth.view.page import HERE, cut, render, shown, text_of
from synth.view.pictures import bars
from synth.view.rows import RunRows

# Rows of each exit, and characters of a text.
ROWS = 8
_TEXT = 2_000
# Bytes of all rows as HTML; what stands around them is small.
_MOST = 4_500_000
_SEED = 0
_HIDDEN = {"meta", "prompt", "completion"}


class Sample(NamedTuple):
    """Rows that were drawn of one exit.

    Attributes:
        title: the exit and its reason.
        total: how many rows left by it.
        rows: their fields as texts.
    """

    title: str
    total: int
    rows: list[dict[str, str]]


def write_report(folder: str | Path) -> Path:
    """Writes DIR/report.html from what the run published; returns its path."""
    run = RunFolder(folder)
    rows = RunRows(run.folder)
    tally = [
        (f"{kind}: {reason}" if reason else kind, count)
        for kind, reason, count in tally_rows(run.run["counts"])
    ]
    samples, is_cut = _samples(rows)
    css = (HERE / "static" / "view.css").read_text(encoding="utf-8")
    page = render(
        "report.html",
        run=run.run,
        style=css,
        picture=bars(tally),
        stages=funnel(rows),
        samples=samples,
        is_cut=is_cut,
        seed=_SEED,
    )
    path = run.folder / "report.html"
    with whole_file(path) as aside:
        aside.write_text(
            page,
            encoding="utf-8",
            errors="replace",
        )
    return path


def _samples(rows: RunRows) -> tuple[list[Sample], bool]:
    """A sample of each exit, and whether rows were left out for the size of the page."""
    random = np.random.default_rng(_SEED)
    samples = []
    left = _MOST
    is_cut = False
    for kind, reason in _exits(rows):
        among = rows.chosen(kind, reason) if reason is not None else None
        numbers = np.arange(rows.count(kind))
        if among is not None:
            numbers = np.flatnonzero(among)
        size = min(ROWS, len(numbers))
        chosen = random.choice(
            numbers,
            size,
            replace=False,
        )
        drawn = []
        for number in sorted(chosen.tolist()):
            fields = _fields(rows.row(kind, number))
            left -= sum(map(_bytes, [*fields, *fields.values()]))
            if left < 0:
                is_cut = True
                break
            drawn.append(fields)
        title = f"{kind}: {reason}" if reason is not None else kind
        samples.append(Sample(title, len(numbers), drawn))
    return samples, is_cut


def _exits(rows: RunRows) -> list[tuple[str, str | None]]:
    """(kind, reason) of every exit that rows left by."""
    exits: list[tuple[str, str | None]] = [("kept", None)]
    for kind in ("dropped", "failed"):
        codes, _ = rows.codes(kind)
        names = (rows.reasons.names[code] for code in np.unique(codes))
        exits += [(kind, name) for name in sorted(names)]
    return exits


def _fields(row: Fields) -> dict[str, str]:
    return {
        name: cut(text_of(value), _TEXT)
        for name, value in row.items()
        if value is not None and name not in _HIDDEN
    }


def _bytes(text: str) -> int:
    """What a text takes of a page, escaped; 8 bytes stand around it."""
    return len(escape(shown(text)).encode("utf-8", "replace")) + 8
