"""Mixing: shares hold, each item stands once in one style, the same sources give the same rows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.recipes.mix import domain_shares, mixed
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.test_train import FAST, finetune


def style(name, items):
    return [{"prompt": f"q{n}", "completion": f"{name} {n}"} for n in items]


@given(
    st.sets(st.integers(0, 60), min_size=5),
    st.sets(st.integers(0, 60), min_size=5),
    st.floats(0.1, 0.9),
)
def test_shares_hold_and_items_stand_once(first, second, share):
    rows = mixed(
        [style("long", sorted(first)), style("short", sorted(second))],
        [share, 1 - share],
    )
    prompts = [row["prompt"] for row in rows]
    assert len(set(prompts)) == len(prompts)
    counts = [sum(row["source"] == n for row in rows) for n in (0, 1)]
    assert abs(counts[0] - share * len(rows)) <= 1
    assert rows == mixed(
        [
            style("long", sorted(first, reverse=True)),
            style("short", sorted(second)),
        ],
        [share, 1 - share],
    )


def test_every_stretch_has_about_the_shares_of_the_whole():
    rows = mixed(
        [style("long", range(500)), style("short", range(500))],
        [1, 4],
        count=500,
    )
    assert [
        sum(row["source"] == 0 for row in rows[at : at + 50])
        for at in range(0, 500, 50)
    ] == [10] * 10


@pytest.mark.parametrize(
    ("shares", "count", "says"),
    [
        ([1, -1], None, "share from 0"),
        ([0, 0], None, "not all 0"),
        ([1], None, "2 sources"),
        ([1, 1], 99, "at most"),
    ],
)
def test_what_cannot_be_is_refused(shares, count, says):
    with pytest.raises(WrongUse, match=says):
        mixed(
            [style("a", range(10)), style("b", range(10))], shares, count=count
        )


@pytest.mark.slow
def test_the_command_mixes_and_searches(tmp_path):
    first, second = (
        write(tmp_path / f"{name}.jsonl", style(name, range(40)))
        for name in ("long", "short")
    )
    code, said = finetune(
        "mix",
        "--data",
        f"{first}=1",
        "--data",
        f"{second}=4",
        "--output",
        tmp_path / "mixed.jsonl",
        "--rows",
        "20",
    )
    assert code == 0, said
    rows = [
        json.loads(line)
        for line in (tmp_path / "mixed.jsonl").read_text().splitlines()
    ]
    assert sum(row["completion"].startswith("long") for row in rows) == 4
    held = write(tmp_path / "held.jsonl", [{"prompt": "q1", "target": "1"}])
    words = [
        "--search",
        "0,0.5",
        "--held-out",
        held,
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "search",
        *FAST,
    ]
    code, said = finetune("mix", "--data", first, "--data", second, *words)
    assert code == 0, said
    assert said.count("exact match") == 2
    assert [
        found["share"]
        for found in json.loads(
            (tmp_path / "search" / "search.json").read_text()
        )
    ] == [0, 0.5]


@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.tuples(st.floats(0, 50), st.floats(0.1, 50)),
        min_size=1,
    ),
    st.floats(0, 1),
)
def test_domain_shares_add_up_and_keep_their_floor(losses, smoothing):
    students, teachers = (
        {k: s for k, (s, _) in losses.items()},
        {k: t for k, (_, t) in losses.items()},
    )
    first = domain_shares(students, teachers, smoothing=smoothing)
    again = domain_shares(students, teachers, first, smoothing=smoothing)
    for shares in (first, again):
        assert sum(shares.values()) == pytest.approx(1.0)
        assert all(
            share >= (1 - smoothing) / len(shares) - 1e-9
            for share in shares.values()
        )
    worst = max(losses, key=lambda name: students[name] / teachers[name])
    assert first[worst] == max(first.values())


def test_domains_must_be_the_same():
    with pytest.raises(WrongUse, match="the same domains"):
        domain_shares({"a": 1.0}, {"b": 1.0})
