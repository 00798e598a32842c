"""Pages that compare: labels of people, two runs, kept rows beside dropped ones."""

from __future__ import annotations

from collections.abc import Mapping

from synth.core.records import Fields
from synth.view.browse import Page, Run, Site, Wanted, missing, whole_number
from synth.view.labels import WORDS, Place, agreement, drawn
from synth.view.page import address, render
from synth.view.rows import RunRows
from synth.view.seeds import CHANGES, Pair, Spot, beside, changes

# Pairs of a page.
PAIRS = 10
# Fields that say nothing about a row's worth, or give its verdict away.
_HIDDEN = {"id", "meta", "prompt", "completion", "reason", "detail"}


def label(site: Site, wanted: Wanted) -> Page:
    """The next row to label, without its verdict; a form brings what somebody says of it."""
    run = site.run(int(wanted.place["run"]))
    base = f"/{wanted.place['run']}"
    if site.labels is None:
        text = "No file was given for labels: `synth view DIR --labels FILE`."
        return Page(render("message.html", text=text), 404)
    places = drawn(run.rows)
    named = {place.name: place for place in places}
    asked_for = named.get(wanted.query.get("row", ""))
    if wanted.method == "POST":
        place = named.get(wanted.form.get("row", ""))
        word = wanted.form.get("word", "")
        if place is None or word not in WORDS:
            return Page(render("message.html", text="No such row."), 400)
        site.labels.say(run.rows, place, word)
        return Page("", moved=f"{base}/label")
    place = asked_for or site.labels.next(places)
    others = [
        (other.path, agreement(site.labels, other)) for other in site.others
    ]
    body = render(
        "label.html",
        base=base,
        folder=str(run.folder),
        place=place,
        fields=_fields(run, place) if place else {},
        shares=site.labels.shares(run.rows),
        done=len(site.labels.rows),
        drawn=len(places),
        path=str(site.labels.path),
        last=next(reversed(site.labels.rows), None),
        others=others,
    )
    return Page(body)


def _fields(run: Run, place: Place) -> Fields:
    row = run.rows.row(place.kind, place.number)
    return {
        name: value
        for name, value in row.items()
        if name not in _HIDDEN and value is not None
    }


def against(site: Site, wanted: Wanted) -> Page:
    """Two runs by seed."""
    numbers = [int(wanted.place[name]) for name in ("run", "other")]
    if max(numbers) >= len(site.runs):
        return missing()
    one, two = (site.run(number) for number in numbers)
    name = wanted.query.get("fate", CHANGES[0])
    if name not in CHANGES:
        return missing()
    start = whole_number(wanted.query.get("from"))
    here = f"/{numbers[0]}/against/{numbers[1]}"
    compared = changes(one.rows, two.rows)
    change = compared.change(name, start, PAIRS)
    counts = {other: int(mask.sum()) for other, mask in compared.masks.items()}
    body = render(
        "against.html",
        here=here,
        runs=[str(run.folder) for run in (one, two)],
        costs=[_costs(run.rows) for run in (one, two)],
        counts=counts,
        only=(compared.only_before, compared.only_after),
        change=change,
        pairs=_shown((one, two), numbers, change.pairs),
        next=_next(here, {"fate": name}, start, change.total),
    )
    return Page(body)


def _costs(rows: RunRows) -> Fields:
    cost = rows.run.get("cost") or {}
    names = ("usd", "prompt_tokens", "completion_tokens")
    found = {name: cost.get(name) or 0 for name in names}
    found["kept"] = rows.count("kept")
    return found


def kept_beside(site: Site, wanted: Wanted) -> Page:
    """Dropped rows of one reason, each beside a kept row of the same question."""
    number = int(wanted.place["run"])
    run = site.run(number)
    reason = wanted.query.get("reason", "")
    start = whole_number(wanted.query.get("from"))
    change = beside(
        run.rows,
        reason,
        start,
        PAIRS,
    )
    here = f"/{number}/beside"
    body = render(
        "beside.html",
        base=f"/{number}",
        folder=str(run.folder),
        change=change,
        pairs=_shown((run, run), (number, number), change.pairs),
        next=_next(here, {"reason": reason}, start, change.total),
    )
    return Page(body)


def _next(
    here: str,
    query: Mapping[str, str],
    start: int,
    count: int,
) -> str | None:
    following = start + PAIRS
    if following >= count:
        return None
    return address(here, **query, **{"from": following})


def _shown(
    runs: tuple[Run, Run],
    numbers: list[int] | tuple[int, int],
    pairs: list[Pair],
) -> list[list[Fields]]:
    """What a page shows of pairs: both rows with a link."""
    shown = []
    for pair in pairs:
        both = zip(runs, numbers, pair, strict=True)
        sides = [_side(run, number, place) for run, number, place in both]
        shown.append(sides)
    return shown


def _side(run: Run, number: int, place: Spot) -> Fields:
    kind, row_number = place
    columns = [*run.rows.preview_columns(), "reason", "detail"]
    row = run.rows.rows(kind, [row_number], columns)[0]
    question = run.rows.preview_columns()[1:2]
    return {
        "link": f"/{number}/row/{kind}/{row_number}",
        "kind": kind,
        "number": row_number,
        "reason": row.get("reason"),
        "detail": row.get("detail"),
        "question": row.get(question[0]) if question else "",
        "reply": row.get("reply"),
    }
