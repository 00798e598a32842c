"""Worked turns that go before a question: made of a row, and checked by the step's own parser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synth.core.errors import RowFault, Unreadable, WrongUse
from synth.core.records import Fields, Row
from synth.packs.step import Demonstration, Step
from synth.parsers.base import Reply

if TYPE_CHECKING:
    from synth.packs.templates import Template

# What templates see around a row: where it says nothing, and whatever it says.
Around = tuple[Fields, Fields]
# Rows of which a pack's own file or list of demonstrations may consist.
MOST_SHOWN = 1024


def demonstration(
    step: Step, row: Row, around: Around, reply: Template | str
) -> Demonstration:
    """A worked turn of a step.

    Args:
        step: the step whose templates ask.
        row: what they see.
        around: what they see besides.
        reply: what the assistant answers, or the template of it.

    Raises:
        RowFault: the row lacks what a template reads.
    """
    before, behind = around
    values: Fields = {**before, **row, **behind}
    if step.each:
        values = {"history": [], "index": 0, **values}
    values |= step.with_sets(values)
    text = reply if isinstance(reply, str) else reply.render(values)
    return Demonstration(values, text)


def check_shown(step: Step, shown: Demonstration, where: str) -> None:
    """Raises WrongUse where a worked turn does not render, or its reply is not read as it is."""
    try:
        step.showing([shown]).turns("")
    except RowFault as error:
        raise not_rendered(where, error) from error
    try:
        reply = Reply(shown.reply)
        step.parser_for(shown.values).parse_reply(reply, shown.values)
        fault = ", ".join(reply.mended)
    except Unreadable as error:
        fault = f"{error.reason}: {error.detail}"
    if fault:
        raise WrongUse(
            where,
            f"a reply that the step's parser does not read as it is ({fault})",
            "one in the form that teachers shall keep to",
            "Correct `reply`.",
        )


def not_rendered(where: str, error: RowFault) -> WrongUse:
    """What to say of a demonstration that lacks what a template reads."""
    return WrongUse(
        where,
        f"`given` over which the step does not render: {error}",
        "a value for every name that the step's templates read",
        "Add it to `given`.",
    )
