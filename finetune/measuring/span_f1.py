"""Span F1 for replies that list entities, with replies that are no list counted apart."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable

from synth.core.records import Row

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces.

    >>> normalised("The  Harbour-Light!")
    'harbourlight'
    """
    return " ".join(
        _ARTICLES.sub(" ", text.casefold().translate(_PUNCTUATION)).split()
    )


def spans(reply: str) -> set[str] | None:
    """The entities of a JSON list, normalised; None where the reply is no list of texts.

    >>> spans('["Ann Lund"]'), spans("Ann Lund"), spans("[]")
    ({'ann lund'}, None, set())
    """
    start = reply.find("[")
    end = reply.rfind("]")
    try:
        listed = json.loads(reply[start : end + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(listed, list) or not all(
        isinstance(value, str) for value in listed
    ):
        return None
    return {normalised(value) for value in listed} - {""}


def score(
    rows: Iterable[Row],
    said: str = "reply",
    wanted: str = "target",
) -> dict[str, float]:
    """Micro precision, recall and F1 over sets of spans (Zhou et al., UniversalNER,
    arXiv:2308.03279).

    Its scorer takes a reply that cannot be read for an empty list; so does this, but says how many
    there were.

    Returns:
        precision, recall, f1, format_errors (share of the rows), rows; all 0 where there is nothing
        to divide by.

    >>> score(
    ...     [{"reply": '["Ann", "Bo"]', "target": '["Ann"]'}, {"reply": "none", "target": "[]"}]
    ... )
    {'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666, 'format_errors': 0.5, 'rows': 2}
    """
    right = made = gold = broken = count = 0
    for row in rows:
        predicted = spans(str(row[said]))
        true = spans(str(row[wanted])) or set()
        count = count + 1
        broken = broken + (predicted is None)
        right = right + len((predicted or set()) & true)
        made = made + len(predicted or ())
        gold = gold + len(true)
    precision = right / max(1, made)
    recall = right / max(1, gold)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "format_errors": broken / max(1, count),
        "rows": count,
    }
