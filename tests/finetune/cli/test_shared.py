"""Flags, pairs and lists of numbers of a command line are read, or refused with exit code 2 and
what was found.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.cli.shared import flags, interval, numbers, pair
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.test_train import finetune

NAMES = st.text("abcdef_", min_size=1, max_size=9).filter(
    lambda name: not name.startswith("_")
)
VALUES = st.one_of(
    st.integers(-99, 99),
    st.floats(-1e3, 1e3),
    st.booleans(),
    st.lists(st.integers(0, 9), max_size=3),
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_flags_come_with_a_blank_or_an_equals_sign(given_fields):
    spaced: list[str] = []
    joined: list[str] = []
    for name, value in given_fields.items():
        flag = f"--{name.replace('_', '-')}"
        spaced += [flag, json.dumps(value)]
        joined.append(f"--{name}={json.dumps(value)}")
    assert flags(spaced) == given_fields
    assert flags(joined) == given_fields


@pytest.mark.parametrize(
    ("args", "fields"),
    [
        ([], {}),
        (["--packing"], {"packing": True}),
        (["--packing", "--seed", "3"], {"packing": True, "seed": 3}),
        (["--max-steps", "-1"], {"max_steps": -1}),
        (["--a-b_c", "x"], {"a_b_c": "x"}),
        (["--a="], {"a": ""}),
        (["--a=b=c"], {"a": "b=c"}),
        (["--a", "1", "--a", "2"], {"a": 2}),
        (["--a", "[x, 1]"], {"a": ["x", 1]}),
    ],
)
def test_a_flag_without_a_value_is_on(args, fields):
    assert flags(args) == fields


@pytest.mark.parametrize("word", ["stray", "-x", "", "seed=3"])
def test_a_word_that_is_no_flag_is_refused(word):
    with pytest.raises(WrongUse, match="--field value") as caught:
        flags(["--seed", "1", word])
    assert repr(word) in str(caught.value)


@given(st.lists(st.floats(allow_nan=False), max_size=6))
def test_numbers_between_commas_come_back(values):
    text = ", ".join(map(repr, values))
    assert numbers(text, "--stages") == values
    assert numbers(f"{text},", "--stages") == values


@pytest.mark.parametrize("text", ["a", "1,b", "1;2", "1,[2]", "0x1"])
def test_other_texts_between_commas_are_refused(text):
    with pytest.raises(WrongUse, match="--stages") as caught:
        numbers(text, "--stages")
    assert "numbers between commas" in str(caught.value)


@given(NAMES, VALUES)
def test_a_pair_is_split_at_its_first_equals_sign(name, value):
    text = f" {name} = {json.dumps(value)} "
    assert pair(text, "--lora") == (name, value)
    assert pair(f"{name}=a=b", "--lora") == (name, "a=b")
    with pytest.raises(WrongUse, match="key=value"):
        pair(name, "--lora")


def test_an_interval_has_three_digits():
    assert interval({"low": 0.12345, "high": 1}) == "(95 %: 0.123 to 1.000)"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("mix --data F=half", ["--data", "FILE=SHARE"]),
        ("mix --data F=true", ["--data", "FILE=SHARE"]),
        ("mix --data F=", ["--data", "FILE=SHARE"]),
        ("mix --data F", ["--data", "key=value"]),
        ("mix --data F=-1", ["a share from 0 on"]),
        ("mix --data F=0", ["not all 0"]),
        ("mix --data F=1 --rows 9", ["at most 2"]),
        ("mix --data F=1 --model m", ["without --search"]),
        ("mix --data F=1 --seed 1", ["without --search"]),
        ("mix --data F --search 0.5", ["--held-out"]),
        (
            "mix --data F --search x --held-out F --model m",
            ["--search", "numbers between commas"],
        ),
        (
            "fade --data F --model m --stages 1,x",
            ["--stages", "numbers between commas"],
        ),
        ("fade --data F --model m --stages 0.5,1", ["--stages", "never rise"]),
        (
            "distill --data F --model m --teacher t --teacher u --teacher-weights 1,y",
            ["--teacher-weights", "numbers between commas"],
        ),
        (
            "distill --data F --model m --teacher t --offline o",
            ["one source of the teacher's probabilities"],
        ),
        (
            "distill --data F --model m --teacher t --replay 2",
            ["--replay 2", "would change nothing"],
        ),
        (
            "distill --data F --model m --teacher t --loss forward_k",
            ["Did you mean forward_kl"],
        ),
        ("teach --data F", ["one source"]),
        ("teach --data F --teacher t --replies r", ["one source"]),
        ("teach --data F --replies r", ["one source"]),
        ("dpo --data F --model scratch:tiny", ["finetune sft"]),
        (
            "sft --data F --model scratch:tiny --lora r8",
            ["--lora", "key=value"],
        ),
        (
            "sft --data F --model scratch:tiny --max-steps",
            ["max_steps", "found True", "a number"],
        ),
        (
            "sft --data F --model scratch:tiny --packing False",
            ["packing", "'False'", "true or false"],
        ),
        ("sft --data F --model m --config none.yaml", ["none.yaml"]),
    ],
)
def test_a_mistake_ends_a_command_with_2_and_names_itself(tmp_path, args, says):
    rows = [
        {"prompt": "a", "completion": "b", "context": "c."},
        {"prompt": "c", "completion": "d", "context": "d."},
    ]
    path = str(write(tmp_path / "rows.jsonl", rows))
    filled = [
        path + word[1:] if word == "F" or word.startswith("F=") else word
        for word in args.split()
    ]
    code, said = finetune(*filled, "--output", tmp_path / "out")
    assert code == 2, said
    for text in says:
        assert text in said
    assert not (tmp_path / "out").exists()


def test_rows_of_files_are_mixed_and_counted(tmp_path):
    for name in "ab":
        made = [{"prompt": f"{name}{n}", "completion": "x"} for n in range(9)]
        write(tmp_path / f"{name}.jsonl", made)
    sources = [f"{tmp_path}/a.jsonl=1", f"{tmp_path}/b.jsonl=2"]
    code, said = finetune(
        "mix",
        "--data",
        sources[0],
        "--data",
        sources[1],
        "--rows",
        "7",
        "--output",
        tmp_path / "deep" / "m.jsonl",
    )
    assert code == 0, said
    assert "2 rows of" in said
    assert "5 rows of" in said
    lines = (tmp_path / "deep" / "m.jsonl").read_text().splitlines()
    assert len(lines) == 7


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--k", "0"], "--k"),
        (["--max-length", "1"], "--max-length"),
        (["--batch", "none"], "--batch"),
    ],
)
def test_numbers_out_of_their_range_are_refused_by_name(tmp_path, args, says):
    code, said = finetune(
        "teach", "--data", "x", "--teacher", "t", "--output", tmp_path, *args
    )
    assert code == 2
    assert says in said
