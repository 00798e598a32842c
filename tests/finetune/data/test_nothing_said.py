"""Rows that have a student say nothing are counted and named, whatever their shape; a file of none
but these is refused.
"""

from __future__ import annotations

import pytest

from finetune.data import rows
from finetune.data.rows import labelled_rows, preference_rows, sft_rows
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.test_train import finetune

CALL = {"function": {"name": "f", "arguments": {}}}
ASKED = {"role": "user", "content": "a"}


def told(text):
    return {"role": "assistant", "content": text}


KINDS = {
    "completion": (sft_rows, lambda text: {"prompt": "a", "completion": text}),
    "messages": (sft_rows, lambda text: {"messages": [ASKED, told(text)]}),
    "text": (sft_rows, lambda text: {"text": text}),
    "labelled": (
        labelled_rows,
        lambda text: {"prompt": "a", "completion": text, "label": True},
    ),
    "chosen": (
        preference_rows,
        lambda text: {"prompt": "a", "chosen": text, "rejected": "other"},
    ),
    "rejected": (
        preference_rows,
        lambda text: {"prompt": "a", "chosen": "other", "rejected": text},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("empty", ["", " \n"])
def test_they_are_counted_with_the_first(tmp_path, capsys, kind, empty):
    read, row = KINDS[kind]
    file = write(tmp_path / "rows.jsonl", [row("b"), row(empty), row(empty)])
    column = "completion" if kind == "labelled" else kind
    assert len(read(file)) == 3
    said = capsys.readouterr().err
    assert f"in 2 of 3 rows nothing is said (the first: row 2 {column})" in said
    write(tmp_path / "rows.jsonl", [row(empty)])
    with pytest.raises(WrongUse, match=f"row 1 {column}: found nothing said"):
        read(file)
    write(tmp_path / "rows.jsonl", [row("b")])
    read(file)
    assert "nothing is said" not in capsys.readouterr().err


def test_a_call_of_a_tool_says_something(capsys):
    made = [{"messages": [ASKED, {**told(""), "tool_calls": [CALL]}]}]
    rows.tell_nothing_said(made, "here")
    assert "nothing is said" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("sft", {}),
        ("dpo", {}),
        ("distill", {}),
        ("codistill", {}),
        ("curriculum", {"hard": 1}),
        ("fade", {"context": "it is so"}),
    ],
)
def test_every_training_says_it_once(tmp_path, command, more):
    answers = ("yes", "", "no", "so")
    sides = ("chosen",) if command == "dpo" else ("completion",)
    write(
        tmp_path / "rows.jsonl",
        [
            {
                "prompt": f"Is it {n} ?",
                "rejected": "maybe",
                **dict.fromkeys(sides, answer),
                **more,
            }
            for n, answer in enumerate(answers)
        ],
    )
    options = {
        "curriculum": ("--by", "hard"),
        "codistill": ("--teacher", tiny.wide()),
        "distill": ("--teacher", tiny.other()),
    }
    code, said = finetune(
        *(command, "--data", tmp_path / "rows.jsonl", "--max-steps", "1"),
        *("--model", tiny.causal(), "--output", tmp_path / "out"),
        *options.get(command, ()),
    )
    assert code == 0, said
    assert said.count("in 1 of 4 rows nothing is said") == 1
