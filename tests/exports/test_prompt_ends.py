"""The end of an exported prompt is its author's: the border between what is read and what is learnt."""

from __future__ import annotations

import json

import pytest

import synth
from synth.packs.pack import pack_names
from synth.packs.templates import Templates
from synth.teachers.simulation.word_problems import make_problems
from tests.cli.test_cli import synth as command
from tests.shipped import shipped


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ a }}\n", "x\n"),
        ("{{ a }}\n\n", "x\n\n"),
        ("{{ a }} ", "x "),
        ("{{ a }}", "x"),
        (
            "{% if a %}{{ a }}{% endif %}\n",
            "x\n",
        ),  # a line end behind a block would go otherwise
        ("{{ a }}\nAnswer:\n", "x\nAnswer:\n"),
        ("{{ a -}} \n", "x"),  # asked for in the template itself
        ("{% if a %}{{ a }}{% endif -%}\n", "x"),
        (" \n", " \n"),
    ],
)
def test_what_stands_behind_a_prompt_stays(source, text):
    made = Templates().compile(source, "x", keep_tail=True)
    assert made.render({"a": "x"}) == text
    assert made.render({"a": "x"}) == text


def test_a_teachers_prompt_is_what_it_was():
    assert Templates().compile("{{ a }}\n", "x").render({"a": "x"}) == "x"
    assert (
        Templates()
        .compile("{% if a %}{{ a }}{% endif %}\n", "x")
        .render({"a": "x"})
        == "x"
    )


def test_every_packs_prompts_end_as_they_are_written():
    ended = 0
    for name in pack_names():
        pack = shipped(name)
        for kind, tasks in pack.exports.items():
            for sides in tasks.values():
                if "prompt" not in sides or kind == "messages":
                    continue
                source = sides["prompt"].source
                tail = source[len(source.rstrip()) :]
                ended += bool(tail)
                values = dict.fromkeys(sides["prompt"].variables, "x")
                try:
                    text = sides["prompt"].render(values)
                except Exception:  # noqa: BLE001, S112 - a field that is no text; its tail is the same
                    continue
                assert text.endswith(tail)
    assert ended > 40


def test_a_run_and_its_exports_keep_the_line_end(tmp_path):
    run = synth.run(
        "cot",
        make_problems(3, seed=6),
        teacher="simulated/perfect",
        output=tmp_path / "run",
    )
    assert [row["prompt"][-1] for row in run.kept] == ["\n"] * 3
    for to in (
        "sft",
        "multitask",
        'sft:prompt="{{ question }} A: ",completion={{ answer }}',
    ):
        assert (
            command(
                "export",
                tmp_path / "run",
                "--to",
                to,
                "--output",
                tmp_path / "x.jsonl",
            )[0]
            == 0
        )
        rows = [
            json.loads(line)
            for line in (tmp_path / "x.jsonl").read_text().splitlines()
        ]
        assert {row["prompt"][-1] for row in rows} <= {"\n", " "}
