"""Which page an address means."""

from __future__ import annotations

import re
from collections.abc import Callable

from synth.view import browse, judging, studies
from synth.view.browse import Page, Site, Wanted, missing
from synth.view.rows import KINDS

View = Callable[[Site, Wanted], Page]
_RUN = r"/(?P<run>\d{1,4})"
_KIND = f"(?P<kind>{'|'.join(KINDS)})"
_ROW = rf"{_RUN}/row/{_KIND}/(?P<row>\d{{1,12}})"
VIEWS: list[tuple[str, View]] = [
    ("/", browse.home),
    (f"{_RUN}/", browse.overview),
    (f"{_RUN}/rows/{_KIND}", browse.listed),
    (_ROW, browse.whole_row),
    (f"{_ROW}/text", browse.whole_text),
    (f"{_RUN}/label", judging.label),
    (rf"{_RUN}/against/(?P<other>\d{{1,4}})", judging.against),
    (f"{_RUN}/beside", judging.kept_beside),
    (f"{_RUN}/course", studies.course),
    (r"/training/(?P<number>\d{1,4})", studies.training),
    (r"/answers/(?P<number>\d{1,4})", studies.answers),
    (
        r"/answers/(?P<number>\d{1,4})/beside/(?P<other>\d{1,4})",
        studies.flipped,
    ),
]


def answer(site: Site, wanted: Wanted) -> Page:
    """The page of an address."""
    for pattern, view in VIEWS:
        found = re.fullmatch(
            pattern,
            wanted.path,
            re.ASCII,
        )
        if found:
            place = found.groupdict()
            number = place.get("run")
            if number is None or int(number) < len(site.runs):
                return view(site, wanted._replace(place=place))
    return missing()
