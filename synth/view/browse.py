"""Which page an address means: folders, the funnel of a run, lists of its rows, one row whole."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import orjson

from synth.calls.fault_log import NAME as FAULTS
from synth.core.records import Fields, Row
from synth.runs.shard_plan import run_folders
from synth.view.asked import Asked, Packs, reply_of
from synth.view.funnel import funnel
from synth.view.labels import Labels
from synth.view.pace import Faults, Pace
from synth.view.page import address, render, text_of
from synth.view.rows import KINDS, Found, RunRows
from synth.view.students import Evaluation, Training

# Rows of a list. The rows of a rare reason stand in as many row groups, of 3 ms each.
PAGE = 20
# Draws of a seed that stand side by side.
DRAWS = 12
# Columns that hold what others hold, or what the page shows under its own heading.
_SHOWN_APART = {"meta", "prompt", "completion", "reply", "reason", "detail"}


class Wanted(NamedTuple):
    """A request, as pages see it; `place` is what its path names: the run, the kind, the row."""

    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    method: str = "GET"
    place: Mapping[str, str] = MappingProxyType({})


class Page(NamedTuple):
    """What goes back: a body, or another address."""

    body: str
    status: int = 200
    kind: str = "text/html"
    moved: str = ""


# What a page is made of.
_WANTED = "a folder that `synth run`, `finetune evaluate` or a training wrote"


class Run:
    """A run as it is now; it is read again once the run publishes anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stamp = self._stamped()
        self.rows = RunRows(folder, _WANTED)
        self.packs = Packs(self.rows)
        self.paces = [
            Pace(home / "journal" / "replies.log")
            for home in run_folders(folder)
        ]
        self.faults = [
            Faults(home / "journal" / FAULTS) for home in run_folders(folder)
        ]

    def _stamped(self) -> tuple[int, ...]:
        paths = sorted(
            [
                *self.folder.glob("run.json"),
                *self.folder.glob("shards/*/run.json"),
            ]
        )
        return tuple(path.stat().st_mtime_ns for path in paths)

    def fresh(self) -> Run:
        """This run, or the run that took its place."""
        return self if self._stamped() == self._stamp else Run(self.folder)


@dataclass
class Site:
    """What is shown.

    Raises:
        WrongUse: a folder that nothing can be shown of.
    """

    folders: Sequence[Path]
    labels: Labels | None = None
    others: Sequence[Labels] = ()
    runs: list[Run] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in self.folders:
            if Evaluation.is_here(folder):
                self.evaluations.append(Evaluation(folder))
            elif Training.is_here(folder):
                self.trainings.append(Training(folder))
            else:
                self.runs.append(Run(folder))

    def run(self, number: int) -> Run:
        """A run by its place on the command line, counted from 0."""
        self.runs[number] = self.runs[number].fresh()
        return self.runs[number]

    def read_ahead(self) -> None:
        """Reads what the pages behind the first one need."""
        for run in self.runs:
            run.rows.read_ahead()


def missing() -> Page:
    """The page of an address that means nothing."""
    return Page(
        render(
            "message.html",
            text="There is no such page.",
        ),
        404,
    )


def home(site: Site, wanted: Wanted) -> Page:  # noqa: ARG001
    """All folders; a single one at once."""
    if len(site.folders) == len(site.runs) == 1:
        return Page(
            "",
            moved="/0/",
        )
    listed = [
        (number, str(run.folder), _counts(run))
        for number, run in enumerate(site.runs)
    ]
    return Page(
        render(
            "home.html",
            folders=listed,
            evaluations=[str(one.folder) for one in site.evaluations],
            trainings=[str(one.folder) for one in site.trainings],
        )
    )


def _counts(run: Run) -> dict[str, int]:
    return {kind: run.rows.count(kind) for kind in KINDS}


def overview(site: Site, wanted: Wanted) -> Page:
    """A run's funnel: each number is a link to its rows."""
    number = int(wanted.place["run"])
    run = site.run(number)
    body = render(
        "run.html",
        base=f"/{number}",
        folder=str(run.folder),
        run=run.rows.run,
        counts=_counts(run),
        stages=funnel(run.rows),
        can_label=site.labels is not None,
        others=[
            (place, str(other.folder))
            for place, other in enumerate(site.runs)
            if place != number
        ],
    )
    return Page(body)


def listed(site: Site, wanted: Wanted) -> Page:
    """Rows of one kind, reason and step, or those that a search meets."""
    run = site.run(int(wanted.place["run"]))
    kind = wanted.place["kind"]
    query = wanted.query
    start = whole_number(query.get("from"))
    word = query.get("word") or None
    among = run.rows.chosen(
        kind,
        query.get("reason"),
        query.get("step"),
    )
    if word:
        met = run.rows.search(
            kind,
            word,
            start,
            PAGE,
            among,
        )
    else:
        met = _page_of(
            run.rows.count(kind),
            start,
            among,
        )
    columns = run.rows.preview_columns()
    extra = (
        [
            "reason",
            "detail",
        ]
        if kind == "dropped"
        else []
    )
    rows = run.rows.rows(
        kind,
        met.numbers,
        [
            *columns,
            *extra,
        ],
    )
    base = f"/{wanted.place['run']}"
    given = {name: query.get(name) for name in ("reason", "step", "word")}
    here = f"{base}/rows/{kind}"
    total = run.rows.count(kind) if among is None else int(among.sum())
    body = render(
        "rows.html",
        base=base,
        folder=str(run.folder),
        kind=kind,
        columns=[name for name in columns if name != "id"],
        rows=list(
            zip(
                met.numbers,
                rows,
                strict=True,
            )
        ),
        given=given,
        total=total,
        start=start,
        searched=met.next if word and met.next is not None else None,
        count=run.rows.count(kind),
        here=here,
        first=address(
            here,
            **given,
        )
        if start
        else None,
        next=_next(
            here,
            given,
            met,
        ),
    )
    return Page(body)


def _next(
    here: str,
    given: Mapping[str, str | None],
    met: Found,
) -> str | None:
    if met.next is None:
        return None
    return address(
        here,
        **given,
        **{"from": met.next},
    )


def whole_number(text: str | None) -> int:
    """A whole number from 0 on; 0 for anything else."""
    return (
        int(text)
        if text
        and re.fullmatch(
            r"\d{1,12}",
            text,
            re.ASCII,
        )
        else 0
    )


def _page_of(
    count: int,
    start: int,
    among: Any | None,
) -> Found:
    """The rows of a page; `start` is a row's number."""
    if among is None:
        end = min(start + PAGE, count)
        following = end if end < count else None
        return Found(list(range(start, end)), following)
    numbers = np.flatnonzero(among[start:])[: PAGE + 1] + start
    after = int(numbers[PAGE]) if len(numbers) > PAGE else None
    return Found(numbers[:PAGE].tolist(), after)


def whole_row(site: Site, wanted: Wanted) -> Page:
    """One row: seed, messages, reply, what was read, verdicts, cost, and the draws beside it."""
    run = site.run(int(wanted.place["run"]))
    kind = wanted.place["kind"]
    number = int(wanted.place["row"])
    if number >= run.rows.count(kind):
        return missing()
    row = run.rows.row(kind, number)
    meta = row.get("meta") or {}
    produced = run.packs.produced()
    fields = {
        name: text_of(value)
        for name, value in row.items()
        if name not in _SHOWN_APART and value is not None
    }
    base = f"/{wanted.place['run']}"
    body = render(
        "row.html",
        base=base,
        here=f"{base}/row/{kind}/{number}",
        folder=str(run.folder),
        kind=kind,
        number=number,
        row=row,
        seed={name: fields[name] for name in fields if name not in produced},
        read={name: fields[name] for name in fields if name in produced},
        meta={
            name: value
            for name, value in meta.items()
            if name != "verdicts" and value is not None
        },
        verdicts=[verdict_shown(one) for one in meta.get("verdicts") or ()],
        asked=_asked(run, row),
        is_reading=run.rows.is_reading,
        answered=reply_of(run.rows, meta),
        draws=_draws(
            run,
            row,
            kind,
            number,
        ),
        previous=f"{base}/row/{kind}/{number - 1}" if number else None,
        next=f"{base}/row/{kind}/{number + 1}"
        if number + 1 < run.rows.count(kind)
        else None,
    )
    return Page(body)


def _asked(run: Run, row: Row) -> Asked:
    return run.packs.asked(row)


def verdict_shown(verdict: Row) -> Fields:
    """A verdict with its marks by name."""
    words = {
        True: "keeps",
        False: "drops",
        None: "cannot judge",
    }
    marks: Any = verdict.get("marks")
    try:
        read = orjson.loads(marks) if marks else {}
    except ValueError:
        read = {"marks": marks}
    return {
        "filter": verdict.get("filter"),
        "says": words.get(verdict.get("keep"), "cannot judge"),
        "reason": verdict.get("reason"),
        "marks": read if isinstance(read, dict) else {"marks": read},
    }


def _draws(
    run: Run,
    row: Row,
    kind: str,
    number: int,
) -> list[Fields]:
    """The rows of the same seed, this one among them; none where it stands alone."""
    places = run.rows.same_seed(str(row.get("id")), DRAWS)
    if len(places) < 2:
        return []
    draws = []
    for other, place in places:
        beside = run.rows.row(other, place)
        meta = beside.get("meta") or {}
        draws.append(
            {
                "kind": other,
                "number": place,
                "is_this": (other, place) == (kind, number),
                "draw": meta.get("draw"),
                "reason": beside.get("reason"),
                "reply": beside.get("reply"),
            }
        )
    return sorted(
        draws,
        key=lambda one: (one["draw"] is None, one["draw"]),
    )


def whole_text(site: Site, wanted: Wanted) -> Page:
    """A field of a row, or its raw reply, as plain text of any length."""
    run = site.run(int(wanted.place["run"]))
    kind = wanted.place["kind"]
    number = int(wanted.place["row"])
    if number >= run.rows.count(kind):
        return missing()
    row = run.rows.row(kind, number)
    name = wanted.query.get("name", "")
    if name == "raw reply":
        reply = reply_of(run.rows, row.get("meta") or {})
        return Page(
            reply.raw if reply else "",
            kind="text/plain",
        )
    if name not in row:
        return missing()
    return Page(
        text_of(row[name]),
        kind="text/plain",
    )
