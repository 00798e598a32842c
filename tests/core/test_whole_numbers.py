"""Every whole number that a part of the catalogue takes: whatever it is, the part works or the number
is refused, within a second.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import pytest

from synth.core import registry
from synth.core.errors import Unreadable, WrongUse
from tests.exports.test_shapes import exported
from tests.filters import test_laws as filters
from tests.parsers import test_laws as parsers

NUMBERS = (0, -1, 1, 10**9, 2**31 - 1, 10**30)
ROOMS = (
    "synth.filters",
    "synth.parsers",
    "synth.verifiers",
    "synth.exports",
    "finetune.measures",
    "finetune.losses",
    "finetune.list_losses",
)
ANSWERS = {
    "run_python": ("x = 1", "assert x == 1"),
    "run_sql": ("SELECT 1", "SELECT 1"),
    "algebra": ("x + x", "2 x"),
    "arithmetic_steps": ("2 + 2 = 4",),
}
# Processes start, and models of language are opened.
PATIENCE = 30
QUICK = 1


def whole_numbers() -> Iterator[tuple[str, str, str]]:
    """(room, part, parameter) of each parameter that is a whole number."""
    for room in ROOMS:
        for name in registry.names(room):
            part = registry.find(room, name)
            hints = registry.types_of(part)
            for key in registry.parameters(part):
                if int in (hints[key], *get_args(hints[key])):
                    yield room, name, key


FOUND = list(whole_numbers())


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Ends what takes longer."""

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def work(room: str, name: str, more: dict[str, object]) -> None:
    """Builds a part with a parameter, and has it work on the case of the laws."""
    kind = room.split(".")[1]
    if kind == "filters":
        filters.build(name, **more).split(filters.CASES[name][1])
        return
    if kind == "parsers":
        made = parsers.SPECS.get(name, {})
        part = registry.build(room, {"name": name, **made, **more})
        for text in parsers.CASES[name]:
            try:
                part.parse(text, parsers.ROW)
            except Unreadable:
                continue
        return
    part = registry.build(room, {"name": name, **more})
    if kind == "verifiers":
        part.verify(*ANSWERS[name])
    if name in ("triplets", "ranked", "margins"):
        module = __import__(f"synth.exports.{name}", fromlist=[name])
        exported(module, part, [({"a": 1.0, "b": 0.0}, False, "")])


def test_there_are_some():
    assert len(FOUND) >= 45


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(("room", "name", "key"), FOUND)
def test_a_number_works_or_is_refused(room, name, key, number):
    try:
        with within(PATIENCE):
            work(room, name, {key: number})
    except (WrongUse, ValueError) as error:
        assert str(error)


@pytest.mark.parametrize(("room", "name", "key"), FOUND)
def test_a_number_of_thirty_digits_is_refused_by_name(room, name, key):
    with (
        within(QUICK),
        pytest.raises(
            WrongUse, match=rf"{name}.{key}: .*at most 2,147,483,647"
        ),
    ):
        work(room, name, {key: 10**30})
