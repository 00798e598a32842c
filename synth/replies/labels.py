"""One of a few labels, in the words that models put around it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from synth.core.patterns import lazy_pattern

_MOST = 300
_DENIES = lazy_pattern(
    r"[.;!?]\s|\b(?:not|never|neither|nor|cannot|without|hardly|unsure|unclear)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
# A label by halves is another one: "mostly true", "true, but only in part".
_HALF = (
    r"(?:mostly|half|partly|partially|partial|barely|somewhat|semi|nearly"
    r"|almost(?!\s+certainly)|far\s+from|less\s+than|in\s+part)\b"
)
_HALVES = lazy_pattern(rf"\b{_HALF}", re.IGNORECASE)
_HALVED = lazy_pattern(
    rf"[\s,(\u2013\u2014-]*(?:but\s+)?(?:only\s+)?{_HALF}"
    r"(?!\s+(?:because|since|due|for|as)\b)",
    re.IGNORECASE,
)
# "4/5", "4 out of 5": the scale is no second label.
_SCALE = lazy_pattern(r"(?<=\d)\s?(?:/|out\s+of)\s?\d+\b", re.IGNORECASE)
_ENDS = lazy_pattern(
    r"\s*(?:$|[.,:\u2013\u2014](?!\d)|-(?!\w)|[;!()\[\]]|(?:because|since|as|for|but)\b)",
    re.IGNORECASE,
)
_ENDS_NAME = lazy_pattern(
    r"\s*(?:one|answer|reply|response|passage|option|candidate|text|document|is|are|was|wins?"
    r"|answers)\b",
    re.IGNORECASE,
)
_JOINED = lazy_pattern(
    r"[\s,/|()\u2013-]*(?:(?:or|and|to)\b)?\s*", re.IGNORECASE
)
_MOST_LEAD = 5


@cache
def _folded(allowed: tuple[str, ...]) -> frozenset[str]:
    return frozenset(label.casefold() for label in allowed)


@cache
def _labels(allowed: tuple[str, ...]) -> re.Pattern[str]:
    names = "|".join(
        re.escape(label) for label in sorted(allowed, key=len, reverse=True)
    )
    return re.compile(
        rf"(?<![\w'\u2019])(?:{names})(?![\w'\u2019])", re.IGNORECASE
    )


def label_in(text: str, allowed: Sequence[str]) -> str | None:
    """The one label that a text gives, in small letters; None where it gives none or is in two
    minds.

    The first label counts at the start of a text, behind at most five words that deny nothing and
    halve nothing, where it ends a thought. A label of other words than yes and no may also go on
    with a noun or a verb ("the first one", "K is better").

    >>> [
    ...     label_in(text, ["k", "m", "tie"])
    ...     for text in (
    ...         "Reply K",
    ...         "**M**, because K is wrong",
    ...         "It is a tie.",
    ...         "K or M",
    ...         "not K",
    ...         "mostly K",
    ...     )
    ... ]
    ['k', 'm', 'tie', None, None, None]
    """
    line = text.strip(" \t\n.!\"'*_`").casefold()
    if line in _folded(tuple(allowed)):
        return line
    line = _SCALE.sub(
        "", re.sub(r"[*_`\"\u201c\u201d]", " ", text[:_MOST]).strip()
    )
    matches = list(_labels(tuple(allowed)).finditer(line))
    if not matches:
        return None
    label = _own(matches[0][0], allowed)
    lead = line[: matches[0].start()]
    if (
        len(lead.split()) > _MOST_LEAD
        or _DENIES.search(lead)
        or _HALVES.search(lead)
        or _HALVED.match(line, matches[0].end())
        or not _ends(line, matches[0], label)
    ):
        return None
    rival = next(
        (other for other in matches if _own(other[0], allowed) != label), None
    )
    if rival and _JOINED.fullmatch(line, matches[0].end(), rival.start()):
        return None
    return label


def _own(written: str, allowed: Sequence[str]) -> str:
    """The label that a text is, in small letters; "I" with a dot is "i" for a pattern alone."""
    low = written.casefold()
    if low in _folded(tuple(allowed)):
        return low
    return next(
        label.casefold()
        for label in allowed
        if re.fullmatch(re.escape(label), written, re.IGNORECASE)
    )


def _ends(line: str, match: re.Match[str], label: str) -> bool:
    if _ENDS.match(line, match.end()):
        return True
    return (
        label not in ("yes", "no")
        and _ENDS_NAME.match(line, match.end()) is not None
    )
