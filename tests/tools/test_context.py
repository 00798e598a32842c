"""What an agent should manage: the words are on its two pages, and the command that they lead to runs."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

import finetune.cli
import synth.cli
from synth.core import registry
from synth.packs.pack import pack_names
from synth.tools.context import EXIT_CODES, as_text, context
from tests.conftest import ROOT, write
from tests.test_docs import SHOWN

SKILL = (ROOT / "docs" / "skill.md").read_text()
PROGRAMS = {"synth": synth.cli.main, "finetune": finetune.cli.main}
# (the task, words of the pages that lead to the command, the command, its exit code).
TASKS = [
    ("what packs are there", ["synth list packs"], "synth list packs", 0),
    ("what a filter takes", ["synth list filters NAME"], "synth list filters length", 0),
    ("everything for a program", ["synth context --json"], "synth context --json", 0),
    ("prompts of a pack", ["synth show PACK"], "synth show cot --input {rows}", 0),
    ("is my input fit", ["synth check PACK"], "synth check cot --input {rows}", 0),
    ("what would it cost", ["synth plan PACK"], "synth plan cot --input {rows} --teacher openai/gpt-4o-mini", 0),
    ("sums for a script", ["synth plan PACK"], "synth plan cot --input {rows} --teacher simulated/slips --json", 0),
    ("a run without a model", ["simulated/slips", "synth run PACK"], "synth run cot --input {rows} --teacher simulated/slips --output {run}", 0),
    ("the same command goes on", ["the same command again"], "synth run cot --input {rows} --teacher simulated/slips --output {run}", 0),
    ("dropped rows", ["synth rows DIR --kind dropped"], "synth rows {run} --kind dropped", 0),
    ("what became of a seed", ["synth why DIR ID"], "synth why {run} p1", 0),
    ("two runs", ["synth diff DIR DIR"], "synth diff {run} {run}", 0),
    ("a page about a run", ["synth report DIR"], "synth report {run}", 0),
    ("filter a file", ["synth filter --input FILE"], "synth filter --input {rows} --output {out}.jsonl --filter length:field=question", 0),
    ("training rows", ["synth export DIR --to sft"], "synth export {run} --to sft --output {out}.rows.jsonl", 0),
    ("a pack of my own", ["synth init pack NAME"], "synth init pack {out}_pack", 0),
    ("describe rows", ["synth card DIR --license ID"], "synth card {run} --license cc-by-4.0", 0),
    ("what a push would send", ["--dry-run"], "synth push {run} me/rows --dry-run", 0),
    ("a misspelt pack says what to do", ["| 2 |", "four parts"], "synth check cott", 2),
    ("a missing student is named", ["finetune export STUDENT --to vllm"], "finetune export {out} --to vllm --output {out}.x", 2),
    ("a card without a training", ["finetune card STUDENT"], "finetune card {out}", 2),
]  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Paths that the commands name, and a run to look at."""
    from synth.teachers.simulation.word_problems import make_problems

    folder = tmp_path_factory.mktemp("agent")
    rows = [
        {**row, "id": f"p{n}"}
        for n, row in enumerate(make_problems(12, seed=3))
    ]
    found = {
        "rows": write(folder / "rows.jsonl", rows),
        "run": folder / "run",
        "out": folder / "out",
    }
    synth.run("cot", rows, teacher="simulated/slips", output=found["run"])
    return found


@pytest.fixture(scope="module")
def page():
    return as_text(context())


@pytest.mark.parametrize(
    ("words", "command", "code"),
    [pytest.param(*rest, id=task) for task, *rest in TASKS],
)
def test_an_agent_finds_the_command_and_it_runs(
    places, page, words, command, code
):
    assert all(word in SKILL for word in words)
    program, name, *_ = command.split()
    assert f"- {program} {name}: " in page
    given = [word.format(**places) for word in command.split()[1:]]
    done = CliRunner().invoke(PROGRAMS[program], given)
    assert done.exit_code == code, done.output
    if code == 2:
        assert re.search(r": found .*; wanted .*\. \S", done.output)


def test_there_are_twenty_tasks_and_more():
    assert len({task for task, *_ in TASKS}) == len(TASKS) >= 20


def test_the_page_names_every_command_and_part(page):
    told = context()
    for program, group in PROGRAMS.items():
        names = {name for name, one in group.commands.items() if not one.hidden}
        listed = set().union(*told["commands"][program].values())
        assert listed == names
        for name in names:
            assert f"- {program} {name}: " in page
    assert set(pack_names()) <= {*told["packs"]}
    for kind in ("filters", "parsers", "exports"):
        assert set(registry.built_in(f"synth.{kind}")) <= {*told[kind]}
    assert "- length(" in page
    assert json.loads(json.dumps(told, default=str))["exit_codes"]["2"]


def test_exit_codes_are_those_of_the_pages():
    for text in (SHOWN["docs/quickstart.md"], SKILL):
        rows = re.findall(r"^\| ([\d, ]+) \| ", text, re.MULTILINE)
        codes = {int(code) for row in rows for code in row.split(",")}
        assert {*EXIT_CODES} <= codes


def test_commands_of_the_skill_name_options_that_exist():
    for program, name, rest in re.findall(
        r"`(synth|finetune) ([a-z]+)([^`]*)`", SKILL
    ):
        command = PROGRAMS[program].commands[name]
        known = {option for one in command.params for option in one.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, (name, rest)
