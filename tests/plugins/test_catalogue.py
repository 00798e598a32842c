"""`synth list`: what there is, and what a docstring says of it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from synth.cli import parts
from synth.tools import catalogue
from tests.plugins.test_parts import command


def test_the_command_knows_every_kind():
    assert set(parts.KINDS) == set(catalogue.KINDS)


@pytest.mark.parametrize("kind", catalogue.KINDS)
def test_every_kind_is_listed_with_a_sentence_a_part(kind):
    done = command("list", kind, "--json")
    assert done.exit_code == 0
    rows = json.loads(done.output)
    assert len(rows) >= 6
    for row in rows:
        assert row["from"] == "built in"
        assert row["about"], row
        assert "\n" not in row["about"]
    assert len(command("list", kind).output.splitlines()) == len(rows)


def test_a_list_imports_nothing_heavy():
    code = (
        "import sys; from synth.tools.catalogue import listed; "
        "[listed(kind) for kind in ('losses', 'list_losses', 'filters', 'teachers')]; "
        "print([m for m in ('torch', 'transformers', 'litellm', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("kind", "name", "about", "origin"),
    [
        ("filters", "no_shouting", "Drops rows that shout.", "stills 1.2"),
        ("parsers", "last_word", "Reads the last word.", "stills 1.2"),
        ("verifiers", "same_length", "Says yes where both", "stills 1.2"),
        ("exports", "cards", "Writes flash cards.", "stills 1.2"),
        ("teachers", "parrot", "Says the question again.", "stills 1.2"),
        ("losses", "twice_kl", "Twice the reverse KL.", "stills 1.2"),
        ("list_losses", "hinge", "The first text is to", "stills 1.2"),
        ("packs", "questions", "Asks what is asked.", "stills 1.2"),
    ],
)
def test_a_part_of_the_users_is_listed_and_described(
    site, kind, name, about, origin
):
    rows = {
        row["name"]: row
        for row in catalogue.listed(kind)
        if row["from"] == origin
    }
    assert rows[name]["about"].startswith(about)
    one = catalogue.described(kind, name)
    assert one["about"].startswith(about)
    assert one["from"] == origin


def test_a_part_says_its_parameters_costs_and_reasons(site):
    found = json.loads(
        command("list", "filters", "no_shouting", "--json").output
    )
    assert found["costs"] == "nothing at all, and no call."
    assert found["reasons"] == {"shouting": "more capitals than `most`."}
    by_name = {row["name"]: row for row in found["parameters"]}
    assert by_name["most"] == {
        "name": "most",
        "default": 3,
        "about": "capitals that are allowed.",
    }
    # Of the base of all filters.
    assert by_name["unknown"]["default"] == "keep"
    assert by_name["unknown"]["about"]
    text = command("list", "filters", "stills.parts:NoShouting").output
    assert "most = 3: capitals that are allowed." in text


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("filters", "run_python"),
        ("parsers", "tagged"),
        ("verifiers", "math_equal"),
        ("exports", "sft"),
        ("teachers", "openai"),
        ("packs", "cot"),
        ("losses", "skew_kl"),
        ("list_losses", "list_net"),
    ],
)
def test_a_built_in_part_is_described(kind, name):
    done = command("list", kind, name)
    assert done.exit_code == 0
    assert done.output.startswith(f"{name}: ")
    assert "parameters:" in done.output


def test_a_wrong_name_is_corrected():
    assert "Did you mean length" in command("list", "filters", "lenght").output
    assert "Did you mean cot" in command("list", "packs", "cott").output
    assert command("list", "filter").exit_code == 2
