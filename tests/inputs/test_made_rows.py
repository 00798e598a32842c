"""Rows from nothing: shares that hold, the same rows for the same words, and what is refused."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import synth
from synth.cli import main
from synth.core.errors import WrongUse
from synth.inputs.made.quotas import Grid, quotas
from synth.inputs.made.sampling import made_rows
from synth.inputs.made.spec import SeedsSpec
from tests.conftest import chat, serving, write

RECIPE = {
    "rows": 1000,
    "seed": 7,
    "grid": ["domain", "level"],
    "columns": {
        "domain": {"values": ["law", "cooking", "chess"]},
        "level": {"values": {"easy": 50, "medium": 30, "hard": 20}},
        "task": {
            "by": "level",
            "when": {
                "easy": {"values": {"recall": 3, "sum": 1}},
                "else": {"values": ["proof"]},
            },
        },
        "words": {"number": [50, 250]},
        "day": {"date": ["2020-02-01", "2020-02-29"]},
        "person": {
            "persona": {
                "age": {"number": [18, 90]},
                "job": {"values": {"nurse": 60, "cook": 40}},
                "tool": {
                    "by": "job",
                    "when": {"nurse": {"values": ["chart"]}, "cook": {"values": ["pan"]}},
                },
            }
        },
    },
}  # fmt: skip


def made(recipe, rows=None, **sources):
    return list(made_rows(SeedsSpec.model_validate(recipe), rows, sources))


def test_shares_hold_and_every_row_says_how_it_was_made():
    rows = made(RECIPE)
    assert len({row["id"] for row in rows}) == 1000
    levels = Counter(row["level"] for row in rows)
    assert levels == {"easy": 500, "medium": 300, "hard": 200}
    cells = Counter((row["domain"], row["level"]) for row in rows)
    assert len(cells) == 9
    assert max(Counter(row["domain"] for row in rows).values()) == 334
    tasks = Counter((row["level"], row["task"]) for row in rows)
    assert tasks["easy", "recall"] == 375
    assert tasks["hard", "proof"] == 200
    people = [row["person"] for row in rows]
    assert Counter(one["job"] for one in people) == {"nurse": 600, "cook": 400}
    assert {(one["job"], one["tool"]) for one in people} == {("nurse", "chart"), ("cook", "pan")}  # fmt: skip
    assert min(row["words"] for row in rows) == 50
    assert max(row["words"] for row in rows) == 250
    assert {row["day"] for row in rows} == {f"2020-02-{n:02}" for n in range(1, 30)}  # fmt: skip
    how = rows[3]["made"]
    assert how["row"] == 3
    assert how["by"]["domain"] == "values in a grid"
    assert how["by"]["task"] == "by"


def test_the_same_recipe_makes_the_same_rows_and_another_seed_others():
    assert made(RECIPE) == made(RECIPE)
    other = made({**RECIPE, "seed": 8})
    assert [row["level"] for row in other] != [row["level"] for row in made(RECIPE)]  # fmt: skip
    # A new column changes no other one.
    columns = {**RECIPE["columns"], "more": {"values": [1, 2]}}
    more = made({**RECIPE, "columns": columns})
    assert [row["words"] for row in more] == [row["words"] for row in made(RECIPE)]  # fmt: skip


WEIGHTS = st.lists(st.floats(0.1, 10), min_size=1, max_size=6)


@given(weights=WEIGHTS, rows=st.integers(1, 3000), seed=st.integers(0, 9))
def test_a_quota_is_within_one_of_its_share(weights, rows, seed):
    counts = quotas(weights, rows, random.Random(seed))
    assert sum(counts) == rows
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - rows * weight / sum(weights)) < 1 + 1e-6


@given(
    sides=st.lists(WEIGHTS, min_size=1, max_size=3),
    rows=st.integers(1, 2000),
    seed=st.integers(0, 9),
)
def test_marginals_of_a_grid_are_within_one_percent(sides, rows, seed):
    counts = Grid(sides, rows, random.Random(seed)).counts
    assert sum(counts.values()) == rows
    assert min(counts.values()) >= 0
    for side, weights in enumerate(sides):
        for place, weight in enumerate(weights):
            share = rows * weight / sum(weights)
            found = sum(n for cell, n in counts.items() if cell[side] == place)
            assert abs(found - share) <= max(2, rows / 100)


def test_texts_of_a_dataset_and_topics_of_wordnet(tmp_path):
    texts = write(tmp_path / "t.jsonl", [{"text": f"Style {n}"} for n in range(9)])  # fmt: skip
    (tmp_path / "data.noun").write_text(
        "  1 licence\n"
        "00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is\n"
        "00001930 03 n 01 animal 0 001 @ 00001740 n 0000 | a beast\n"
        "00002100 03 n 02 dog 0 domestic_dog 0 001 @ 00001930 n 0000 | it barks\n"
        "00002200 03 n 01 poodle 0 001 @ 00002100 n 0000 | it curls\n"
    )
    recipe = {
        "columns": {
            "style": {"rows": {"file": str(texts), "column": "text", "most": 2}},
            "topic": {"topics": {"below": "animal", "wordnet": str(tmp_path)}},
        }
    }  # fmt: skip
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    done = CliRunner().invoke(main, ["seeds", str(tmp_path / "r.yaml"), "--rows", "10", "--output", str(tmp_path / "o.jsonl")])  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").open()]
    assert Counter(row["topic"] for row in rows) == {"dog": 5, "poodle": 5}
    assert all(len(set(row["style"])) == 2 for row in rows)
    for change in ({"below": "no such thing"}, {"wordnet": "/nowhere"}):
        recipe["columns"]["topic"]["topics"].update(change)
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
        done = CliRunner().invoke(main, ["seeds", str(tmp_path / "r.yaml"), "--rows", "10", "--output", str(tmp_path / "x.jsonl")])  # fmt: skip
        assert done.exit_code == 2
        assert not (tmp_path / "x.jsonl").exists()


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"a": {}},
        {"a": {"values": []}},
        {"a": {"values": {"x": 0}}},
        {"a": {"values": {"x": -1}}},
        {"a": {"values": {"x": float("inf")}}},
        {"a": {"values": ["x"], "number": [1, 2]}},
        {"a": {"number": [2, 1]}},
        {"a": {"date": ["2020-02-30", "2020-03-01"]}},
        {"a": {"by": "b", "when": {"x": {"values": ["y"]}}}, "b": {"values": ["x"]}},
        {"a": {"values": ["x"]}, "b": {"by": "a"}},
        {"id": {"values": ["x"]}},
        {"made": {"values": ["x"]}},
        {"A b": {"values": ["x"]}},
    ],
)  # fmt: skip
def test_mistakes_are_refused_with_their_line(tmp_path, columns):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"rows": 5, "columns": columns}))  # fmt: skip
    done = CliRunner().invoke(main, ["seeds", str(tmp_path / "r.yaml"), "--output", str(tmp_path / "o.jsonl")])  # fmt: skip
    assert done.exit_code == 2
    assert "r.yaml:" in done.output


def test_a_grid_has_bounds():
    values = {"values": list(range(50))}
    columns = dict.fromkeys("abc", values)
    with pytest.raises(ValueError, match="cells"):
        SeedsSpec.model_validate({"columns": columns, "grid": ["a", "b", "c"]})
    with pytest.raises(ValueError, match="grid"):
        SeedsSpec.model_validate({"columns": columns, "grid": ["z"]})


def pack(folder, seeds):
    spec = {
        "name": "own",
        "version": 1,
        "about": "Tells.",
        "inputs": {"topic": "text"},
        "seeds": seeds,
        "steps": [{"name": "tell", "parser": "whole"}],
        "exports": {"sft": {"prompt": "{{ topic }}\n", "completion": "{{ text }}"}},
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "pack.yaml").write_text(json.dumps(spec))
    (folder / "tell.user.j2").write_text("Tell of {{ topic }}.")
    return folder


def test_a_pack_makes_its_own_rows(tmp_path):
    folder = pack(tmp_path / "p", {"rows": 20, "columns": {"topic": {"values": ["tea", "rice"]}}})  # fmt: skip
    with serving(lambda *_: chat("It is good.")) as server:
        options = {"teacher": "openai/m", "api_base": server.url}
        run = synth.run(folder, output=tmp_path / "o", **options)
        asked = len(server.bodies)
        again = synth.run(folder, output=tmp_path / "o", **options)
        assert len(server.bodies) == asked == 2, "equal questions are one call"
        said = ["run", str(folder), "--teacher", "openai/m", "--api-base", server.url, "--output", str(tmp_path / "c"), "--quiet"]  # fmt: skip
        done = CliRunner().invoke(main, said)
        assert done.exit_code == 0, done.output
    assert run.counts == again.counts
    assert run.counts["kept"] == 20
    assert Counter(row["topic"] for row in run.kept) == {"tea": 10, "rice": 10}
    assert json.loads(run.kept[0]["made"])["rows"] == 20
    plan = CliRunner().invoke(main, ["plan", str(folder), "--teacher", "simulated/slips"])  # fmt: skip
    assert "over 20 seeds" in plan.output


def test_a_pack_reads_no_file_of_the_users_and_needs_rows(tmp_path):
    hostile = {"rows": 5, "columns": {"topic": {"rows": {"file": "/etc/passwd", "column": "text"}}}}  # fmt: skip
    with pytest.raises(WrongUse, match="a file of the user's"):
        synth.run(pack(tmp_path / "p", hostile), teacher="simulated/slips", output=tmp_path / "o")  # fmt: skip
    endless = {"columns": {"topic": {"values": ["a"]}}}
    with pytest.raises(WrongUse, match="no number of rows"):
        synth.run(pack(tmp_path / "p", endless), teacher="simulated/slips", output=tmp_path / "o")  # fmt: skip
    with pytest.raises(WrongUse, match="makes no rows"):
        synth.run("cot", teacher="simulated/slips", output=tmp_path / "o")
