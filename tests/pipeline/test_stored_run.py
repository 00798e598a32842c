"""A run folder that the first version wrote goes on to serve: its journal, its rows, its run.json."""

from __future__ import annotations

import json
import shutil

import pytest

import synth
from synth.core.errors import WrongUse
from synth.runs.publisher import RunFolder
from tests.conftest import ROOT, chat, serving

STORED = ROOT / "tests" / "stored" / "run_of_0_1"


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(STORED, tmp_path / "it")
    return tmp_path / "it"


def again(folder, pack, url):
    return synth.run(
        pack,
        folder / "questions.jsonl",
        teacher="openai/m",
        api_base=url,
        output=folder / "run",
        draws=2,
    )


@pytest.mark.parametrize("pack", ["cot", "the copy in the run"])
def test_a_finished_run_of_the_first_version_asks_nothing(folder, pack):
    before = json.loads((folder / "run" / "run.json").read_text())
    if pack != "cot":
        pack = folder / "pack"
        shutil.copytree(folder / "run" / "pack", pack)
    with serving(lambda body, count: chat("#### 0")) as server:
        run = again(folder, pack, server.url)
        assert server.bodies == []
    assert run.info["counts"] == before["counts"]
    assert run.info["cost"] == before["cost"]


def test_more_rows_cost_their_own_calls_alone(folder):
    more = {
        "question": "Ann has 20 pens and buys 22 more. How many pens has she?",
        "target": "42",
    }
    with (folder / "questions.jsonl").open("a") as file:
        file.write(json.dumps(more) + "\n")
    with serving(lambda body, count: chat("20 + 22 = 42.\n#### 42")) as server:
        run = again(folder, "cot", server.url)
        assert len(server.bodies) == 2
    assert run.info["counts"]["kept"] == 22


def test_its_rows_can_be_exported(folder):
    rows = list(RunFolder(folder / "run").rows())
    assert len(rows) == 20
    assert all(row["answer"] == row["target"] for row in rows)


@pytest.mark.parametrize("name", ["run.json", "journal/opened.json"])
def test_a_folder_of_a_newer_version_is_left_alone(folder, name):
    with serving(lambda body, count: chat("#### 42")) as server:
        again(folder, "cot", server.url)
        path = folder / "run" / name
        value = json.loads(path.read_text())
        path.write_text(json.dumps({**value, "format": value["format"] + 1}))
        before = {
            file: file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file()
        }
        with pytest.raises(WrongUse, match="a newer version wrote"):
            again(folder, "cot", server.url)
        if name == "run.json":
            with pytest.raises(WrongUse, match="a newer version wrote"):
                RunFolder(folder / "run")
        assert server.bodies == []
    assert all(file.read_bytes() == text for file, text in before.items())
