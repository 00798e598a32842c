from __future__ import annotations

import pytest

import synth
from synth.core import registry
from synth.core.errors import WrongUse
from synth.exports.base import pack_of
from synth.runs.publisher import RunFolder
from synth.teachers.simulation.word_problems import make_problems


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    synth.run(
        "cot",
        make_problems(80, seed=5),
        teacher="simulated/mixed",
        output=out,
        draws=4,
    )
    return RunFolder(out)


def rows_of(folder, spec):
    return list(
        registry.build("synth.exports", spec).rows(folder, pack_of(folder))
    )


def test_one_row_per_kept_row(folder):
    rows = rows_of(folder, "sft")
    assert len(rows) == folder.run["counts"]["kept"] > 100
    assert set(rows[0]) == {"id", "prompt", "completion"}
    assert all("####" in row["completion"] for row in rows)


def test_other_words_and_the_dropped_rows(folder):
    assert rows_of(folder, {"name": "sft", "completion": "#### {{ answer }}"})[
        0
    ]["completion"].startswith("#### ")
    dropped = rows_of(folder, "sft:part=dropped")
    assert {row["reason"] for row in dropped} == {"wrong_answer"}


def test_undeclared_names_in_the_users_words_are_refused(folder):
    with pytest.raises(WrongUse, match="ansver"):
        rows_of(folder, {"name": "sft", "completion": "{{ ansver }}"})
