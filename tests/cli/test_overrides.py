"""What `--set` says: as YAML reads it, or as it was typed where a text is wanted."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from finetune.cli import main as finetune
from synth.cli import main
from synth.cli.overrides import Sets, as_wanted, of_pack, sets
from synth.core.errors import WrongUse
from synth.packs.pack import Pack

TYPED = [
    "4", "1.50", "1e3", "0x1F", "12:30", "1_000", "true", "yes", "No", "off", "null", "~", "", "2020-01-01", "2020-01-01 10:00:00", "-.inf",
]  # fmt: skip


def said(*values):
    return sets(None, None, values)


@pytest.mark.parametrize("text", TYPED)
def test_a_template_is_what_was_typed(text):
    found = of_pack("cot", said(f"rationale.then.note={text}"))
    assert found == {"rationale.then.note": text}
    step = Pack.load("cot", found).spec.steps[0]
    assert step.then == {"note": text}


@pytest.mark.parametrize("text", ["yes", "null", "2020-01-01", "true"])
def test_so_is_a_word_of_a_filter(text):
    filters = "rationale.filters=[{name: critic}]"
    word = f"rationale.filters.critic.accept={text}"
    found = of_pack("cot", said(filters, word))
    assert found["rationale.filters.critic.accept"] == text


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("rationale.sampling.temperature", "0.5", 0.5),
        ("rationale.draws", "4", 4),
        ("rationale.sampling.max_tokens", "null", None),
        ("constants.limit", "5", 5),
        ("rationale.filters", "[]", []),
    ],
)
def test_what_is_wanted_otherwise_stays_so(key, text, value):
    assert of_pack("cot", said(f"{key}={text}")) == {key: value}


def test_lists_of_texts_are_what_was_typed():
    filters = "rationale.filters=[{name: mentions, must: [answer]}]"
    never = "rationale.filters.mentions.never=[yes, 2020-01-01]"
    found = of_pack("cot", said(filters, never))
    assert found["rationale.filters.mentions.never"] == ["yes", "2020-01-01"]


@pytest.mark.parametrize("text", ["12:30", "010", "2020-01-01"])
def test_a_constant_is_what_was_typed(text):
    assert of_pack("cot", said(f"constants.x={text}")) == {"constants.x": text}


@pytest.mark.parametrize(
    ("text", "other"), [("no", "false"), ("1_000", "1000")]
)
def test_a_constant_that_may_be_two_things_is_refused(text, other):
    with pytest.raises(WrongUse) as error:
        Pack.load("cot", said(f"constants.x={text}"))
    assert f'"{text}" in quotes for the text, or {other}' in str(error.value)
    assert str(error.value).startswith("--set constants.x: found ")
    quoted = f'constants.x="{text}"'
    assert of_pack("cot", said(quoted)) == {"constants.x": text}


def test_a_flag_and_a_number_of_a_part_take_bare_words():
    filters = "rationale.filters=[{name: length, most: 1_000}, {name: exact_duplicate, folded: no}]"
    assert of_pack("cot", said(filters))


def test_one_text_among_numbers():
    found = of_pack(
        "cot",
        said("rationale.draws=4", "rationale.then.x=4", "rationale.then.y=no"),
    )
    assert found == {
        "rationale.draws": 4,
        "rationale.then.x": "4",
        "rationale.then.y": "no",
    }


def test_what_is_wrong_either_way_is_refused_as_yaml_reads_it():
    args = ["show", "cot", "--set", "rationale.draws=no"]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 2
    assert "found 'no'" in done.output


def test_commands_take_it(tmp_path):
    for command in ("show", "check"):
        args = [command, "cot", "--set", "rationale.then.note=4"]
        done = CliRunner().invoke(main, args, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "What is 2 + 3 ?", "target": "5"}\n')
    args = ["plan", "cot", "--input", str(rows)]
    args += ["--teacher", "simulated/perfect", "--set", "rationale.then.n=4"]
    done = CliRunner().invoke(main, args, catch_exceptions=False)
    assert done.exit_code == 0, done.output


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.sampled_from([1, True, None, "x", dt.date(2020, 1, 1)]),
    )
)
def test_values_that_are_taken_are_never_changed(values):
    texts = {key: f"typed {value}" for key, value in values.items()}
    assert as_wanted(Sets(values, texts), lambda _: None) == values


def test_so_does_a_flow(tmp_path):
    rows = tmp_path / "rows.jsonl"
    row = {"query": "q", "labels": ["a", "b"], "text": "t", "target": "a"}
    rows.write_text(json.dumps(row) + "\n")
    named = ("documents", "few", "many", "held_out")
    args = ["flow", "run", "query_labels", "--input", str(rows), "--plan"]
    args += [word for name in named for word in ("--rows", f"{name}={rows}")]
    args += ["--model", "large=scratch", "--student", "scratch"]
    args += ["--teacher", "simulated/perfect", "--budget", "1"]
    args += ["--output", str(tmp_path / "out")]
    args += ["--set", "collect.label.then.note=4", "--set", "epochs=2"]
    done = CliRunner().invoke(finetune, args, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "2 epochs" in done.output
