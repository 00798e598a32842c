"""Does a teacher know an evaluation by heart? Four probes of each item, asked through the same door
as any run (arXiv:2412.15255).
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

from synth.answers.equal import canonical
from synth.core.errors import WrongUse
from synth.core.records import Fields, Row
from synth.inputs.seeds import read_rows
from synth.pipeline.run import make
from synth.text.words import count, first, plain, words

PACK = "teacher_probe"
# Words of a continuation that must be the original's own; eight is what contamination filters count
# as the same text.
WORDS = 8


def probes(row: Row, draw: random.Random) -> Iterator[dict[str, str]]:
    """The probes of one item: {kind, shown, wanted}.

    `asked` as it stands, `turned` with its options in another order, `hidden` with a wrong option
    hidden (who fills it in has seen it), `continued` from the first half of its question where that
    is long enough.

    Args:
        row: question, choices (a list of texts), target (the right one's text).
        draw: decides orders and what is hidden.
    """
    question = str(row["question"])
    choices = [str(choice) for choice in row["choices"]]
    target = str(row["target"])
    yield {
        "kind": "asked",
        "shown": _shown(question, choices),
        "wanted": target,
    }
    turned = next(
        order
        for order in iter(lambda: draw.sample(choices, len(choices)), None)
        if order != choices
    )
    yield {
        "kind": "turned",
        "shown": _shown(question, turned),
        "wanted": target,
    }
    hidden = draw.choice([choice for choice in choices if choice != target])
    yield {
        "kind": "hidden",
        "shown": _shown(
            question, ["[HIDDEN]" if c == hidden else c for c in choices]
        ),
        "wanted": hidden,
    }
    if count(question) >= 2 * WORDS:
        shown, wanted = _halves(question)
        yield {"kind": "continued", "shown": shown, "wanted": wanted}


def _halves(question: str) -> tuple[str, str]:
    """A text cut in the middle: between words, or between characters where no spaces part words."""
    spaced = question.split()
    if len(spaced) >= WORDS:
        return " ".join(spaced[: len(spaced) // 2]), " ".join(
            spaced[len(spaced) // 2 :]
        )
    middle = len(question) // 2
    while (
        middle < len(question)
        and unicodedata.category(question[middle])[0] == "M"
    ):
        middle += 1
    return question[:middle], question[middle:]


def _shown(question: str, choices: Sequence[str]) -> str:
    return "\n".join([question, *(f"- {choice}" for choice in choices)])


def hit(kind: str, reply: str, wanted: str) -> bool:
    """Whether a reply is what the item's author wrote.

    >>> hit("asked", "- Iron.", "iron")
    True
    >>> hit("continued", "and they all went home", "and they all fell down")
    False
    """
    if kind == "continued":
        return first(words(reply), WORDS) == first(words(wanted), WORDS)
    bare = reply.strip("-*• \n.")
    if canonical(bare) == canonical(wanted):
        return True
    said = words(reply)
    if said:
        return said == words(wanted)
    # An option of signs alone, such as `+`, has no words to compare.
    return plain(reply) == plain(wanted)


def run(
    source: str,
    *,
    teacher: str,
    output: str | Path,
    limit: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Fields:
    """Asks the probes of each item; the same again resumes.

    Args:
        source: rows with `question`, `choices` (two or more, different) and `target` (one of them).
        teacher: as of `synth.run`.
        output: a run folder.
        limit: only the first N items.
        seed: of orders and hidden options.
        options: of `synth.run`, such as `api_base` or `budget`.

    Returns:
        For each kind {hits, asked, share}; `gap`: {share, low, high}: right as it stands minus
        right when turned, with its 95 % interval (normal, paired); `alarms`: what a teacher that
        never saw the items would hardly do; `stopped` and `exit_code` of the run.

    Raises:
        WrongUse: an item that cannot be probed.
    """
    items = list(read_rows(source))[:limit]
    for number, item in enumerate(items, 1):
        _check(item, f"{source} row {number}")
    draw = random.Random(seed)
    asked = [
        {**probe, "item": number}
        for number, item in enumerate(items)
        for probe in probes(item, draw)
    ]
    made = make(PACK, asked, teacher=teacher, output=output, **options)
    hits = {
        (row["kind"], row["item"]): hit(row["kind"], row["said"], row["wanted"])
        for row in made.kept
    }
    return {
        **judged(hits),
        "stopped": made.stopped,
        "exit_code": made.exit_code,
    }


def judged(hits: Mapping[tuple[str, int], bool]) -> Fields:
    """The figures of `run` from {(kind, item): whether it was a hit}."""
    figures: Fields = {}
    for kind in ("asked", "turned", "hidden", "continued"):
        each = [value for (name, _), value in hits.items() if name == kind]
        figures[kind] = {
            "hits": sum(each),
            "asked": len(each),
            "share": round(sum(each) / len(each), 4) if each else 0.0,
        }
    both = [
        hits["asked", item] - hits["turned", item]
        for kind, item in hits
        if kind == "asked" and ("turned", item) in hits
    ]
    mean = sum(both) / len(both) if both else 0.0
    spread = 1.96 * sqrt(
        sum((value - mean) ** 2 for value in both)
        / max(1, len(both) - 1)
        / max(1, len(both))
    )
    figures["gap"] = {
        "share": round(mean, 4),
        "low": round(mean - spread, 4),
        "high": round(mean + spread, 4),
    }
    figures["alarms"] = list(_alarms(figures))
    return figures


def _alarms(figures: Row) -> Iterator[str]:
    if figures["gap"]["low"] > 0:
        yield "finds answers by the order in which the evaluation prints the options"
    if figures["hidden"]["hits"] >= 3:
        yield "fills in options that it was not shown"
    if figures["continued"]["hits"] >= 3:
        yield "continues questions word for word"


def _check(item: Row, where: str) -> None:
    choices = item.get("choices")
    good = (
        isinstance(choices, list)
        and len({str(c) for c in choices}) == len(choices) >= 2
        and isinstance(item.get("question"), str)
    )
    if not good or str(item.get("target")) not in [
        str(choice) for choice in choices or ()
    ]:
        todo = (
            "Give items with `question`, `choices` (a list of different texts) and `target` "
            "(the text of the right one)."
        )
        raise WrongUse(where, "no such item", "a question with options", todo)
