"""What Python sees of a run's settings: typed arguments, and errors that name them."""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import fields
from types import SimpleNamespace
from typing import get_type_hints

import pytest

import synth
from synth.cli import main
from synth.core.errors import WrongUse
from synth.pipeline.options import RunOptions
from synth.pipeline.prepare import RunConfig
from synth.pipeline.python_words import in_python

ROWS = [{"question": "What is 8 + 5 ?", "target": "13"}]


def test_typed_options_are_the_fields_of_a_run():
    wanted = get_type_hints(RunConfig)
    del wanted["teachers"]
    assert get_type_hints(RunOptions) == wanted


@pytest.mark.parametrize("function", [synth.run, synth.plan_shards])
def test_a_signature_names_every_option_once(function):
    names = [*inspect.signature(function).parameters]
    assert len(names) == len({*names})
    assert {field.name for field in fields(RunConfig)} - {*names} <= {
        "teachers"
    }
    assert "options" not in names


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"api_base": "ftp://x"}, "api_base: found 'ftp://x'"),
        ({}, "teacher=openai/m: found no key"),
        (
            {"endpoints": "http://x/v1", "api_base": "http://y/v1"},
            "in endpoints",
        ),
    ],
)
def test_errors_name_arguments(tmp_path, options, said):
    with pytest.raises(WrongUse) as caught:
        synth.run(
            "cot", ROWS, teacher="openai/m", output=tmp_path / "o", **options
        )
    assert said in str(caught.value)
    assert "--" not in str(caught.value)


def test_every_option_of_the_command_has_an_argument():
    command = main.commands["run"]
    known = {*inspect.signature(synth.run).parameters}
    # What Python says otherwise: how it is shown, and where it runs.
    others = {"quiet", "verbose", "on", "serial"}
    others |= {"workers", "ray_address", "num_gpus"}
    for parameter in command.params:
        for option in parameter.opts:
            if option.startswith("--"):
                name = re.match(r"\w*", in_python(option))[0]
                assert name in known | others, option


class Handle:
    """Stands in for what IPython's `display` returns."""

    def __init__(self):
        self.pages = []

    def update(self, bundle, raw):
        assert raw
        self.pages.append(bundle["text/html"])


def notebook(monkeypatch, handle):
    """Python as it is inside a notebook."""
    shell = SimpleNamespace(kernel=object())
    module = SimpleNamespace(get_ipython=lambda: shell)

    def display(bundle, *, raw, display_id):
        assert raw
        assert display_id
        return handle

    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(
        sys.modules, "IPython.display", SimpleNamespace(display=display)
    )


@pytest.mark.parametrize(("progress", "shown"), [(None, True), (False, False)])
def test_a_notebook_shows_how_far_a_run_is(
    tmp_path, monkeypatch, progress, shown
):
    handle = Handle()
    notebook(monkeypatch, handle)
    synth.run(
        "cot",
        ROWS,
        teacher="simulated/perfect",
        output=tmp_path / "out",
        progress=progress,
    )
    assert bool(handle.pages) is shown
    if shown:
        assert "<td>1 of 1</td>" in handle.pages[-1]


def test_a_script_is_quiet_unless_it_asks(tmp_path, capfd):
    options = {"teacher": "simulated/perfect"}
    synth.run("cot", ROWS, output=tmp_path / "one", **options)
    assert capfd.readouterr() == ("", "")
