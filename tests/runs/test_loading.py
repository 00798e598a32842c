"""`datasets.load_dataset(DIR)` gives the rows that stand in DIR now, whatever was loaded before."""

from __future__ import annotations

import os
import shutil

import datasets
import pytest
from click.testing import CliRunner

import synth
from synth.cli import main
from synth.teachers.simulation.word_problems import make_problems

datasets.disable_progress_bars()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(
        datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache")
    )


def made(folder, rows=4, seed=1, teacher="simulated/perfect", **more):
    return synth.run(
        "cot",
        make_problems(rows, seed=seed),
        teacher=teacher,
        output=folder,
        **more,
    )


def questions(folder, *name, **more):
    return [
        row["question"]
        for row in datasets.load_dataset(
            str(folder), *name, split="train", **more
        )
    ]


def holds(folder, run):
    """Every way into a folder brings this run's rows."""
    kept = list(run.kept["question"])
    assert questions(folder) == kept
    assert questions(folder, streaming=True) == kept
    assert (
        questions(folder, None) == kept
    )  # as `trl sft --dataset_name DIR` asks
    assert questions(folder, "dropped", streaming=True) == list(
        run.dropped["question"]
    )
    if run.counts[
        "dropped"
    ]:  # `datasets` takes a split without rows for an error
        assert questions(folder, "dropped") == list(run.dropped["question"])
    return kept


def test_two_runs_in_folders_of_one_name(tmp_path):
    one, two = (
        made(tmp_path / "monday" / "run"),
        made(tmp_path / "tuesday" / "run", rows=7, seed=2),
    )
    assert holds(tmp_path / "monday" / "run", one) != holds(
        tmp_path / "tuesday" / "run", two
    )
    holds(tmp_path / "monday" / "run", one)


def test_one_folder_that_grows_and_changes(tmp_path):
    folder = tmp_path / "out"
    counts = [
        len(holds(folder, made(folder, rows=rows, teacher="simulated/mixed")))
        for rows in (8, 12)
    ]
    changed = made(
        folder,
        rows=12,
        teacher="simulated/mixed",
        overrides={"rationale.filters": []},
    )
    assert len({*counts, len(holds(folder, changed))}) == 3
    assert (
        len(holds(folder, made(folder, rows=8, teacher="simulated/mixed")))
        == counts[0]
    )


def test_same_counts_and_same_length_of_texts(tmp_path):
    folders = [tmp_path / name / "out" for name in "abc"]
    for folder, word in zip(folders, ("one", "two", "six"), strict=True):
        rows = [{"question": f"What is 8 + 5 ? {word}", "target": "13"}]
        run = synth.run("cot", rows, teacher="simulated/perfect", output=folder)
        assert holds(folder, run) == [rows[0]["question"]]


def test_folders_that_change_places(tmp_path):
    first, second = (
        made(tmp_path / "out"),
        made(tmp_path / "other", rows=6, seed=5),
    )
    holds(tmp_path / "out", first)
    wanted = list(first.kept["question"]), list(second.kept["question"])
    (tmp_path / "out").rename(tmp_path / "old")
    shutil.copytree(
        tmp_path / "other", tmp_path / "out"
    )  # times of files are copied too
    assert questions(tmp_path / "out") == wanted[1]
    assert questions(tmp_path / "old") == wanted[0]


def test_a_run_again_uses_what_is_loaded(tmp_path):
    made(tmp_path / "out")
    files = [
        datasets.load_dataset(str(tmp_path / "out"), split="train").cache_files
        for _ in range(2)
        if made(tmp_path / "out")
    ]
    assert files[0] == files[1]


def test_a_run_without_kept_rows(tmp_path):
    made(tmp_path / "a" / "out")
    holds(tmp_path / "a" / "out", made(tmp_path / "a" / "out"))
    none = made(
        tmp_path / "b" / "out",
        overrides={"rationale.filters": [{"name": "length", "least": 9999}]},
    )
    assert not none.counts["kept"]
    assert questions(tmp_path / "b" / "out", streaming=True) == []
    assert len(questions(tmp_path / "b" / "out", "dropped")) == 4


@pytest.mark.parametrize("name", ["ex", "ex.parquet", "ex.jsonl"])
def test_exports(tmp_path, name):
    for folder, rows in (("one", 3), ("two", 5), ("one", 3)):
        made(tmp_path / folder / "out", rows=rows, seed=rows)
        target = tmp_path / name
        words = [
            "export",
            str(tmp_path / folder / "out"),
            "--to",
            "sft",
            "--output",
            str(target),
        ]
        assert CliRunner().invoke(main, words).exit_code == 0
        os.utime(target / "train.parquet" if target.is_dir() else target)
        path = {"ex": (str(target),)}.get(
            name, (target.suffix[1:].replace("jsonl", "json"),)
        )
        files = {} if name == "ex" else {"data_files": str(target)}
        for streaming in (False, True):
            loaded = datasets.load_dataset(
                *path, split="train", streaming=streaming, **files
            )
            assert len(list(loaded)) == rows
