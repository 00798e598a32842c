"""Runs in words: rows by conditions, what became of a seed, two runs by seed; held against the run's own files."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import synth
from synth.cli import main
from synth.core.errors import WrongUse
from synth.view.words import Condition, became, chosen, compared, story
from tests.conftest import write

KINDS = ("kept", "dropped", "failed")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(a run, the same with a filter more)."""
    folder = tmp_path_factory.mktemp("runs")
    rows = [
        {"id": f"q{n}", "question": f"What is {n} + 5 ?", "target": str(n + 5)}
        for n in range(30)
    ]
    source = write(folder / "rows.jsonl", rows)
    options = {"teacher": "simulated/mixed", "draws": 2}
    one = synth.run("cot", source, output=folder / "one", **options)
    two = synth.run(
        "cot",
        source,
        output=folder / "two",
        overrides={"rationale.filters": [{"name": "length", "most": 40}]},
        **options,
    )
    return one, two


def call(*words):
    done = CliRunner().invoke(main, [*map(str, words)])
    return done.exit_code, done.output


def test_rows_are_those_of_the_files(runs):
    run, _ = runs
    found = list(chosen(run.folder, KINDS, []))
    assert [row["exit"] for row in found] == ["kept"] * len(run.kept) + [
        "dropped"
    ] * len(run.dropped)
    for row, stored in zip(found, [*run.kept, *run.dropped], strict=True):
        assert row["id"] == stored["id"]
        assert row["meta"]["draw"] == stored["meta"]["draw"]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("reason=wrong_answer", lambda row: row["reason"] == "wrong_answer"),
        ("reason!=wrong_answer", lambda row: row["reason"] != "wrong_answer"),
        ("meta.draw>=1", lambda row: row["meta"]["draw"] >= 1),
        ("meta.draw<1", lambda row: row["meta"]["draw"] < 1),
        ("question~IS 2", lambda row: "is 2" in row["question"].casefold()),
    ],
)
def test_conditions_choose_what_they_say(runs, text, holds):
    run, _ = runs
    found = list(chosen(run.folder, ["dropped"], [Condition.read(text)]))
    assert len(found) == sum(map(holds, run.dropped))
    assert all(map(holds, found))


@given(
    st.from_regex(r"[\w-]{1,9}", fullmatch=True),
    st.sampled_from(["=", "!=", "~"]),
    st.text(),
)
def test_any_value_is_read_as_it_is_written(name, sign, value):
    condition = Condition.read(f"{name}{sign}{value}".strip())
    assert condition.field == name
    assert condition.holds({name: condition.value}) is (sign != "!=")


@pytest.mark.parametrize("text", ["", "reason", "=x", "meta.draw>many"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(WrongUse, match="--where"):
        Condition.read(text)


def test_a_field_that_no_row_has_is_named(runs):
    with pytest.raises(WrongUse, match="no field 'raeson'"):
        list(chosen(runs[0].folder, KINDS, [Condition.read("raeson=x")]))


def test_a_seed_tells_every_draw(runs):
    run, _ = runs
    for seed_id in {*run.dropped["id"]}:
        told = became(run.folder, seed_id, whole=True)
        assert [one["draw"] for one in told] == [0, 1]
        for one in told:
            assert one["messages_are_exact"]
            assert json.loads(one["raw"])["choices"]
            words = [
                verdict["reason"]
                for verdict in one["verdicts"]
                if verdict["says"] == "drops"
            ]
            assert words in ([], [one["reason"]])
            assert str(one["reason"] or "kept") in story(told)


def test_an_unknown_seed_is_named(runs):
    with pytest.raises(WrongUse, match="no row with the id 'nobody'"):
        became(runs[0].folder, "nobody")


def test_two_runs_by_seed(runs):
    one, two = runs
    old = {*one.kept["id"]}
    new = {*two.kept["id"]}
    result = compared(one.folder, two.folder)
    assert result["seeds"]["lost"] == len(old - new)
    assert result["seeds"]["gained"] == len(new - old)
    assert result["seeds"]["kept in both"] == len(old & new)
    assert {*result["examples"]["lost"]} <= old - new
    assert result["before"]["kept"] == len(one.kept)


def test_the_commands_print_it(runs):
    one, two = runs
    words = ("--where", "reason=wrong_answer", "--fields", "id,meta.draw")
    code, said = call("rows", one.folder, *words, "--limit", 2)
    assert code == 0
    lines = [json.loads(line) for line in said.splitlines()]
    assert [{*line} for line in lines] == [{"id", "meta.draw"}] * len(lines)
    seed_id = one.dropped[0]["id"]
    code, said = call("why", one.folder, seed_id, "--whole")
    assert code == 0
    assert one.dropped[0]["reason"] in said
    code, said = call("why", one.folder, seed_id, "--json")
    assert json.loads(said)[0]["step"] == "rationale"
    code, said = call("diff", one.folder, two.folder)
    assert "| lost |" in said
    code, said = call("diff", one.folder, two.folder, "--json")
    assert json.loads(said)["after"]["kept"] == len(two.kept)


def test_rows_that_are_not_there_are_said_with_those_that_are(runs):
    folder = runs[0].folder
    code, said = call("rows", folder, "--where", "reason=wrong_answr")
    assert code == 0
    assert "no such row" in said
    assert f"{len(runs[0].kept):,} kept" in said
    assert "wrong_answer" in said
    code, said = call("rows", folder, "--fields", "questoin")
    assert code == 2
    assert "Did you mean question?" in said


def test_nothing_reaches_the_terminal_that_acts_on_it(tmp_path):
    seeds = [{"id": "a", "question": "What is 1 + 1 ?\x1b[31m", "target": "2"}]
    run = synth.run(
        "cot", seeds, teacher="simulated/perfect", output=tmp_path / "out"
    )
    code, said = call("why", run.folder, "a", "--whole")
    assert code == 0
    assert "\x1b" not in said
    assert "\\x1b[31m" in said
