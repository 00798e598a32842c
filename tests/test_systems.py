"""The table of systems: each row comes from a folder, its papers are papers, its packs are planned, and its commands exist."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise

import click
import pytest

from examples.systems import files, systems
from finetune.cli import main as finetune
from finetune.data.declared_fields import of_command
from finetune.data.trainer_fields import OF_COMMANDS
from finetune.flows.loading import flow_names
from synth.cli import main as synth
from synth.core import registry
from synth.packs.files import BESIDE, digest
from synth.packs.pack import Pack, built_in, pack_names
from tests.conftest import write

ROWS = systems()
# Losses of sentence-transformers, and those that a trainer of their own knows.
THEIRS = {
    "margin_mse",
    "splade",
    "mse",
    "token_alignment",
    "maml_align",
    "vmsst",
    "binary_cross_entropy",
}
COMMANDS = {"finetune": finetune, "synth": synth}


def named(row):
    """Every command of a row, as words: `finetune sft --lora` -> [finetune, sft, --lora]."""
    for span in re.findall(
        r"`((?:finetune|synth) [^`]+)`", f"{row.data} {row.training}"
    ):
        yield shlex.split(span)


def test_every_folder_of_a_pack_or_a_flow_says_what_it_serves():
    told = {path.parent.name for path in files()}
    text = " ".join(f"{row.data} {row.training}" for row in ROWS)
    for name in {*pack_names(), *flow_names()} - told:
        part = name.startswith(("critic_", "judge_"))
        assert part or f"`{name}" in text, name
    assert len(ROWS) >= 85


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.system)
def test_papers_stand_once_and_are_numbers_of_arxiv(row):
    for paper in row.papers:
        assert re.fullmatch(r"\d{4}\.\d{4,5}", paper), paper
    assert len(set(row.papers)) == len(row.papers)


def test_the_table_is_in_the_order_of_its_papers():
    firsts = [row.papers[0] for row in ROWS if row.papers]
    assert firsts == sorted(firsts)
    assert all(not row.papers for row in ROWS[len(firsts) :])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.system)
def test_the_commands_of_a_row_parse(row):
    for program, name, *words in named(row):
        command = COMMANDS[program].commands[name]
        known = {
            opt
            for option in command.params
            if isinstance(option, click.Option)
            for opt in option.opts
        }
        takes_fields = command.context_settings.get("ignore_unknown_options")
        # Trainings of several stages take the fields of `sft`.
        source = name if name in OF_COMMANDS else "sft"
        fields = of_command(source)[1] if takes_fields else {}
        for word in words:
            flag = word.partition("=")[0]
            if not flag.startswith("--"):
                continue
            field = flag.removeprefix("--").replace("-", "_")
            assert flag in known or field in fields, word
        for flag, value in pairwise(words):
            if flag == "--loss" and value != "...":
                rooms = ("finetune.losses", "finetune.list_losses")
                part = value.partition(":")[0]
                assert part in THEIRS or any(
                    part in registry.names(room) for room in rooms
                ), value


@pytest.mark.parametrize("name", sorted(flow_names()))
def test_every_flow_has_a_row_that_says_its_command(name):
    said = [row for row in ROWS if f"finetune flow {name}" in row.training]
    assert said or name == "star", name


@pytest.mark.parametrize("name", pack_names())
def test_every_pack_is_planned_with_the_rows_of_its_cases(name, tmp_path):
    from click.testing import CliRunner

    pack = Pack.load(name)
    (case, *_) = pack.cases()
    rows = write(tmp_path / "rows.jsonl", [case["inputs"]])
    words = ["plan", name, "--input", str(rows)]
    for role in sorted(pack.roles):
        words += ["--teacher", f"{role}=openai/gpt-4o-mini"]
    done = CliRunner().invoke(synth, words)
    assert done.exit_code == 0, done.output


def test_what_is_said_of_a_pack_is_no_part_of_what_it_asks(tmp_path):
    import shutil

    folder = tmp_path / "cot"
    shutil.copytree(built_in() / "cot", folder)
    before = digest(folder, b"")
    for name in BESIDE:
        (folder / name).write_text("systems: []")
    assert digest(folder, b"") == before
    (folder / "other.yaml").write_text("a: 1")
    assert digest(folder, b"") != before
