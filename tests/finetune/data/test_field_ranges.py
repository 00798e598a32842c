"""Numbers of trainer fields that make no sense are refused with their field, whatever the command."""

from __future__ import annotations

import re

import pytest

from finetune.data.declared_fields import of_command
from finetune.data.field_ranges import RANGES, Range, check_range
from finetune.data.trainer_fields import OF_COMMANDS, obeyed
from finetune.settings import check_fields
from synth.core.errors import WrongUse

COMMANDS = sorted(set(OF_COMMANDS) - {"stages"})
# What no field of a range can be, and none that is bounded on one side alone.
WRONG = (-1e300, 1e300, -7)
# Fields whose sign is free.
SIGNED = {
    name for name, numbers in RANGES.items() if numbers == Range(-1e38, 1e38)
}


def numeric(command: str) -> list[str]:
    """The fields with numbers that a command obeys."""
    fields = of_command(command)[1]
    known = obeyed(command) | obeyed(command, held_out=True)
    return sorted(
        name
        for name, field in fields.items()
        if name in known
        and {"int", "float"} & {*re.findall(r"\w+", field.kind)}
    )


def test_every_field_with_a_number_has_its_range():
    found = {name for command in COMMANDS for name in numeric(command)}
    assert len(found) > 75
    assert found == set(RANGES)


@pytest.mark.parametrize("command", COMMANDS)
def test_numbers_that_make_no_sense_are_refused_before_a_trainer_is_loaded(
    command,
):
    tried = 0
    for name in set(numeric(command)) & obeyed(command):
        for value in WRONG:
            if value == -7 and name in SIGNED:
                continue
            with pytest.raises(WrongUse, match=f"trainer field '{name}'"):
                check_fields(command, {name: value})
            tried += 1
    assert tried > 50


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("per_device_train_batch_size", 0, "found 0"),
        ("max_steps", 0, "from 1 on, or -1 for none"),
        ("gradient_accumulation_steps", 0, "from 1 on"),
        ("learning_rate", -1, "from 0 on, at most 1000000"),
        ("learning_rate_mapping", {"body": 1e-5, "head": -2.0}, "found -2"),
        ("loss_weights", [1.0, -0.5], "found -0.5"),
        ("adam_beta1", 1, "below 1"),
        ("seed", 2**32, "at most 4294967295"),
        ("top_p", 0, "above 0"),
        ("learning_rate", float("nan"), "found nan"),
    ],
)
def test_it_says_the_number_and_the_range(name, value, found):
    with pytest.raises(WrongUse, match=found):
        check_range(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0),
        ("max_steps", -1),
        ("pad_to_multiple_of", "auto"),
        ("seed", 2**32 - 1),
        ("loss_weights", [1.0, 0]),
        ("bf16", True),
        ("data_seed", None),
    ],
)
def test_what_makes_sense_passes(name, value):
    check_range(name, value)
