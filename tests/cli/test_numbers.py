"""Options that take a number take no `nan`."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from finetune.cli import main as finetune
from synth.calls.budget import Budget
from synth.calls.price import read_price
from synth.cli import main as synth
from synth.cli.numbers import Number
from synth.core.errors import WrongUse


def options(command, context):
    """(option, command that has it) of a command and all below it."""
    for option in command.params:
        yield option, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            yield from options(below, context)


@pytest.mark.parametrize("main", [synth, finetune], ids=["synth", "finetune"])
def test_every_option_of_a_number_refuses_what_is_none(main):
    context = click.Context(main)
    floats = [
        (command.name, option.name, option.type)
        for option, command in options(main, context)
        if isinstance(option.type, type(click.FLOAT))
    ]
    assert len(floats) > 9
    assert [one for one in floats if not isinstance(one[2], Number)] == []


@pytest.mark.parametrize("word", ["nan", "NaN", "-nan"])
def test_a_budget_that_is_no_number_is_refused_before_a_call(tmp_path, word):
    arguments = ["run", "cot", "--input", "none.jsonl", "--output", "out"]
    asked = ["--teacher", "simulated/mixed", "--budget", word]
    done = CliRunner().invoke(synth, [*arguments, *asked])
    assert done.exit_code == 2
    assert "is no number" in done.output


@pytest.mark.parametrize("cap", [float("nan"), -1.0])
def test_a_budget_of_the_library_too(cap):
    with pytest.raises(WrongUse, match="budget"):
        Budget(cap)


@pytest.mark.parametrize("price", ["nan,1", "1,nan", "inf,1", "-1,1"])
def test_a_price_that_is_no_number_is_refused(price):
    with pytest.raises(WrongUse):
        read_price(price, "--price")
