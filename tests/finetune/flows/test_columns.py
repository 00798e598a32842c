"""Columns of the user's rows that a late stage reads are looked for before anything is asked."""

from __future__ import annotations

import pytest
import yaml

from finetune.flows.artifacts import given_rows
from finetune.flows.columns import check_columns, columns_read
from finetune.flows.loading import load
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.recipes.test_retriever import finetune

NAMES = ("documents", "few", "many", "held_out")
GOOD = {"query": "a", "labels": ["a", "b"], "text": "a", "target": "a"}


@pytest.mark.parametrize(
    ("template", "columns"),
    [
        ("{{ row.a }} {{ row['b'] }}", {"a", "b"}),
        ("{{ row.a.b }}", {"a"}),
        ("{{ row.a | upper }}", {"a"}),
        ("{{ row.a | default('') }}", set()),
        ("{{ row.get('a') }}", set()),
        ("{{ row.a is defined }}", set()),
        ("{{ row.a == row.b }}", {"a", "b"}),
        ("{{ row.a or row.b }}", {"a"}),
        ("{{ row.b if row.a else row.c }}", {"a"}),
        ("{% if row.a %}{{ row.b }}{% endif %}", {"a"}),
        ("{% for one in row.a %}{{ row.b }}{% endfor %}", {"a"}),
        ("{% for row in rows %}{{ row.a }}{% endfor %}", set()),
        ("{{ [row.a, made.b] | max }}", {"a"}),
        ("{{ rows | length }}", set()),
    ],
)
def test_a_template_reads_what_it_cannot_do_without(template, columns):
    assert columns_read(template) == columns


def played(tmp_path, stages, rows, **more):
    """What the check says of a flow with these stages before its rounds."""
    folder = tmp_path / "flow"
    folder.mkdir()
    spec = {
        "name": "flow",
        "version": 1,
        "about": "x",
        "inputs": {"held_out": "Rows."},
        "before": stages,
        **more,
    }
    (folder / "flow.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    file = write(tmp_path / "rows.jsonl", rows)
    check_columns(load(folder), {"held_out": given_rows(str(file))})


def chosen(**select):
    return {"name": "pick", "select": select, "from": "held_out"}


LOOK = {"name": "look", "evaluate": "whole", "student": "student"}
TWO = [{"question": "a", "target": "b"}, {"question": "c", "answer": "d"}]


@pytest.mark.parametrize(
    ("stages", "lacks"),
    [
        ([chosen(make={"a": "{{ row.target }}"})], "target"),
        ([chosen(where="{{ row.target == 'b' }}")], "target"),
        # Of fewer rows nobody knows which they are.
        ([chosen(where="{{ row.question == 'a' }}", make={"a": "{{ row.target }}"})], ""),
        ([chosen(where="{{ row.question == 'a' }}", make={"a": "{{ row.gold }}"})], "gold"),
        ([chosen(distinct="gold")], "gold"),
        ([chosen(distinct="a", make={"a": "{{ row.question }}"})], ""),
        ([chosen(order="{{ row.made_here }}", make={"made_here": 1})], ""),
        ([chosen(only=True, make={"a": 1}), {**LOOK, "from": "pick"}], "target or answer"),
        ([{**LOOK, "from": "held_out"}], ""),
        ([chosen(make={"target": "x"}), {**LOOK, "from": "pick"}], ""),
        (
            [
                chosen(),
                {"name": "said", "answer": "{{ row.question }}", "from": "pick", "student": "student"},
                {"name": "last", "select": {"make": {"a": "{{ row.reply }} {{ row.gold }}"}}, "from": "said"},
            ],
            "gold",
        ),
        ([{"name": "asked", "run": "cot", "from": "held_out"}], ""),
        ([{"name": "asked", "run": "symbolic_tails", "from": "held_out"}], "head or event"),
    ],
)  # fmt: skip
def test_what_the_rows_lack_is_found(tmp_path, stages, lacks):
    more = {"teachers": {"teacher": "x"}}
    if not lacks:
        played(tmp_path, stages, TWO, **more)
        return
    with pytest.raises(WrongUse) as caught:
        played(tmp_path, stages, TWO, **more)
    where, found, wanted, _ = caught.value.args
    assert where.startswith("--rows held_out=")
    assert wanted.startswith(f"{lacks}, which the stage")
    assert found.startswith("row ") or "writes anew" in found


def test_rows_of_a_pool_are_those_with_which_it_starts(tmp_path):
    stage = {"name": "pick", "select": {"make": {"a": "{{ row.gold }}"}}}
    with pytest.raises(WrongUse, match="gold, which the stage pick"):
        played(
            tmp_path,
            [{**stage, "from": "seen"}],
            TWO,
            pools={"seen": {"start": "held_out", "add": ["held_out"]}},
        )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("plan", [(), ("--plan",)])
def test_a_flow_says_so_before_anything_is_asked(tmp_path, name, plan):
    rows = write(tmp_path / "good.jsonl", [GOOD])
    bad = write(tmp_path / "bad.jsonl", [GOOD, {"labels": ["a", "b"]}])
    files = {**dict.fromkeys(NAMES, rows), name: bad}
    code, said = finetune(
        *("flow", "run", "query_labels", "--input", rows),
        *("--student", "scratch:tiny", "--model", "large=scratch:tiny"),
        *("--teacher", "openai/m", "--output", tmp_path / "out"),
        # Nobody listens there.
        *("--api-base", "http://127.0.0.1:9/v1", *plan),
        *(f"--rows={one}={file}" for one, file in files.items()),
    )
    assert code == 2, said
    assert f"--rows {name}={bad}: found row 2 with labels" in said
    assert not (tmp_path / "out").exists()
