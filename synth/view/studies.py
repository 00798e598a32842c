"""Pages about the course of runs, about trainings, and about what students answered."""

from __future__ import annotations

from synth.core.records import Fields
from synth.view.browse import Page, Site, Wanted, missing, whole_number
from synth.view.page import address, render
from synth.view.pictures import line
from synth.view.students import flips

# Questions of a page.
ANSWERS = 20
_SUMS = {
    "usd": "dollars",
    "tokens": "tokens",
    "replies": "replies",
    "no_reply": "calls without a reply",
}


_OF_STEPS = {
    "calls": "replies",
    "prompt_tokens": "tokens in",
    "completion_tokens": "tokens out",
}


def _steps(run: Fields) -> dict[str, list[int]]:
    """What the replies of each step took, reused ones included."""
    steps: dict[str, list[int]] = {}
    for name, sums in (run.get("steps") or {}).items():
        steps[name] = [int(sums.get(column, 0)) for column in _OF_STEPS]
    return steps


def course(site: Site, wanted: Wanted) -> Page:
    """What a run has cost so far; while it goes on, the page loads itself again."""
    run = site.run(int(wanted.place["run"]))
    pictures = []
    sums: Fields = dict.fromkeys(_SUMS, 0)
    rate = 0.0
    is_whole = True
    for pace in run.paces:
        pace.look()
        rate += pace.rate()
        is_whole = is_whole and pace.is_whole
        for name in _SUMS:
            sums[name] += getattr(pace.sums, name)
    if run.paces:
        # Of a run in shards, the course of the first one.
        for name, label in _SUMS.items():
            if not sums[name]:
                continue
            points, across = run.paces[0].curve(name)
            pictures.append(line(points, across, label))
    for faults in run.faults:
        faults.look()
    for kind, points in run.faults[0].curves().items() if run.faults else ():
        label = f"calls a minute without a reply: {kind}"
        pictures.append(line(points, "seconds since the first", label))
    body = render(
        "course.html",
        base=f"/{wanted.place['run']}",
        folder=str(run.folder),
        sums={label: sums[name] for name, label in _SUMS.items()},
        rate=rate,
        is_live=not (is_whole and run.rows.homes),
        columns=list(_OF_STEPS.values()),
        steps=_steps(run.rows.run),
        calls=run.rows.run.get("calls") or {},
        failed=(run.rows.run.get("counts") or {}).get("failed") or {},
        shards=len(run.paces),
        pictures=pictures,
    )
    return Page(body)


def training(site: Site, wanted: Wanted) -> Page:
    """The facts of a training and its curves."""
    number = int(wanted.place["number"])
    if number >= len(site.trainings):
        return missing()
    one = site.trainings[number]
    pictures = [
        (name, line(points, "steps", name))
        for name, points in one.curves().items()
    ]
    body = render(
        "training.html",
        folder=str(one.folder),
        facts=one.facts(),
        pictures=pictures,
    )
    return Page(body)


def answers(site: Site, wanted: Wanted) -> Page:
    """Answers of one student beside the gold."""
    number = int(wanted.place["number"])
    if number >= len(site.evaluations):
        return missing()
    one = site.evaluations[number]
    start = whole_number(wanted.query.get("from"))
    end = start + ANSWERS
    here = f"/answers/{number}"
    following = address(here, **{"from": end}) if end < len(one.rows) else None
    body = render(
        "answers.html",
        folder=str(one.folder),
        figures=one.figures,
        rows=one.rows[start:end],
        total=len(one.rows),
        next=following,
        others=[
            (f"{here}/beside/{place}", str(other.folder))
            for place, other in enumerate(site.evaluations)
            if place != number
        ],
    )
    return Page(body)


def flipped(site: Site, wanted: Wanted) -> Page:
    """Questions that one of two students alone gets right."""
    numbers = [int(wanted.place[name]) for name in ("number", "other")]
    if max(numbers) >= len(site.evaluations):
        return missing()
    first, second = (site.evaluations[number] for number in numbers)
    found = flips(first, second)
    fate = wanted.query.get("fate", "gained")
    if fate not in found:
        return missing()
    start = whole_number(wanted.query.get("from"))
    end = start + ANSWERS
    here = f"/answers/{numbers[0]}/beside/{numbers[1]}"
    following = None
    if end < len(found[fate]):
        following = address(here, fate=fate, **{"from": end})
    body = render(
        "flips.html",
        here=here,
        folders=[str(first.folder), str(second.folder)],
        counts={name: len(listed) for name, listed in found.items()},
        fate=fate,
        pairs=found[fate][start:end],
        next=following,
    )
    return Page(body)
