"""Every option with a number, of every command: what makes no sense is a usage error that names it,
before rows are read or a model opens.
"""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from finetune.cli import main
from synth.cli.numbers import Number, Whole
from synth.core.registry import MOST


def cases() -> Iterator[tuple[str, str, list[str]]]:
    """(command, option, words that make no sense)."""
    for command, parts in main.commands.items():
        for option in parts.params:
            if isinstance(option, click.Option):
                kinds = getattr(option.type, "types", [option.type])
                for place, kind in enumerate(kinds):
                    for wrong in outside(kind):
                        words = ["1"] * len(kinds)
                        words[place] = wrong
                        yield command, option.opts[0], words


def outside(kind: click.ParamType) -> Iterator[str]:
    """Words that a number of a type cannot be."""
    if isinstance(kind, Number):
        yield from ("1e300", "-1e300", "nan", "many")
    if isinstance(kind, Whole):
        yield from ("1e300", str(MOST**2), "many")
    if isinstance(kind, Number | Whole) and kind.min is not None:
        yield f"{kind.min - 1:g}"
        if kind.min_open:
            yield f"{kind.min:g}"


def test_numbers_are_of_the_types_that_know_their_ends():
    plain = (click.types.IntParamType, click.types.FloatParamType)
    for command, parts in main.commands.items():
        for option in parts.params:
            for kind in getattr(option.type, "types", [option.type]):
                ours = isinstance(kind, Number | Whole)
                assert ours or not isinstance(kind, plain), (command, option)


def test_what_makes_no_sense_is_a_usage_error(monkeypatch):
    def opened(*_, **__):
        raise AssertionError("a command began")

    for parts in main.commands.values():
        monkeypatch.setattr(parts, "callback", opened)
    tried = set()
    for command, option, words in cases():
        done = CliRunner().invoke(main, [command, option, *words])
        assert done.exit_code == 2, (command, option, words, done.output)
        assert option in done.output.replace("\n", " "), done.output
        assert "Invalid value" in done.output, (command, option, words)
        tried.add((command, option))
    assert len(tried) > 150


@pytest.mark.parametrize("value", ["0", "1", "2147483647"])
def test_numbers_inside_pass(value):
    assert Whole(0).convert(value, None, None) == int(value)
    assert Number(0).convert(value, None, None) == float(value)
