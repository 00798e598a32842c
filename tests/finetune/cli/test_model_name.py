"""Models that options name: what can only be a path and leads nowhere is refused by every command,
before the packages are loaded that would open it.
"""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from finetune.cli import main
from finetune.cli.model_name import MODEL
from synth.core.errors import WrongUse

NAMED = [
    (name, param)
    for name, command in main.commands.items()
    for param in command.params
    if param.type is MODEL
]


def test_most_commands_name_a_model():
    assert len(NAMED) > 30


@pytest.mark.parametrize(
    ("name", "param"), NAMED, ids=[f"{n} {p.name}" for n, p in NAMED]
)
def test_a_path_that_leads_nowhere_is_refused_by_its_option(
    tmp_path, monkeypatch, name, param
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "student").mkdir()
    context = click.Context(main.commands[name], info_name=name)
    words = "./studnet"
    given = (words,) if param.multiple else words
    with pytest.raises(WrongUse, match="Did you mean student") as caught:
        param.type_cast_value(context, given)
    assert str(caught.value).startswith(f"{param.opts[0]} ./studnet: ")


@pytest.mark.parametrize(
    "model",
    [
        *("scratch:tiny", "truncate:runs/big:layers=2", "self:ema=0.9"),
        *("student", "./student", "bm25", "gpt2", "Qwen/Qwen3-0.6B"),
    ],
)
def test_other_names_pass(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "student").mkdir()
    assert MODEL.convert(model, click.Option(["--model"]), None) == model


def test_nothing_heavy_is_loaded_for_it():
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from finetune.cli import main\n"
        "words = ['sft', '--input', 'x', '--model', './x', '--output', 'o']\n"
        "print(CliRunner().invoke(main, words).exit_code)\n"
        "print({'torch', 'transformers', 'trl'} & {*sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["2", "set()"]
