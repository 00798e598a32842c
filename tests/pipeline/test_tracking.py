"""Trackers of experiments: they get numbers and no text, cost no row, and are opened before the first call."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from importlib.util import find_spec

import pytest
import yaml

import synth
from synth.core.errors import Stopped, WrongUse
from synth.pipeline import tracking
from synth.runs import trackers
from tests.conftest import chat, rest_long, serving, write

ROWS = [
    {"question": f"What is {n} + 1 ?", "target": str(n + 1)} for n in range(12)
]
SECRET = "a-word-of-a-row"


def answered(body, count):
    right = count % 4 != 3
    return chat(f"{SECRET}\n#### {count + 1 if right else 'none'}")


class Kept:
    """A tracker in memory."""

    opened: list[Kept] = []

    def __init__(self, name, facts):
        self.name, self.facts, self.logs, self.ended = name, facts, [], None
        Kept.opened.append(self)

    def log(self, numbers, second):
        self.logs.append(dict(numbers))

    def end(self, *, whole):
        self.ended = whole


@pytest.fixture
def tracker(monkeypatch):
    """Puts a tracker in the place of MLflow's, which need not be there."""
    Kept.opened = []
    monkeypatch.setattr(trackers, "find_spec", lambda package: package)
    monkeypatch.setattr(tracking, "EVERY", 0.01)

    def put(kind=Kept):
        monkeypatch.setitem(trackers.TRACKERS, "mlflow", kind)
        return Kept.opened

    return put


def run(tmp_path, answer=answered, rows=ROWS, **options):
    with serving(answer) as server:
        done = synth.run(
            "cot",
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "out",
            **{"report_to": ["mlflow"], "keep_going": True, **options},
        )
    return done, server


def test_the_last_numbers_are_those_of_the_run_and_no_text_is_told(
    tmp_path, tracker, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-mine")
    opened = tracker()
    done, server = run(tmp_path)
    (told,) = opened
    last = told.logs[-1]
    assert {name: last[name] for name in ("asked", "kept")} == {
        "asked": 12.0,
        "kept": float(done.counts["kept"]),
    }
    for reason, count in done.counts["dropped"].items():
        assert last[f"dropped/{reason}"] == count
    assert last["dropped"] == sum(done.counts["dropped"].values()) > 0
    assert last["calls/asked"] == len(server.bodies)
    assert told.ended is True
    assert told.facts["teacher/teacher"] == "openai/m"
    everything = json.dumps([told.name, told.facts, told.logs])
    for word in (SECRET, "key-of-mine", "What is", server.url, str(tmp_path)):
        assert word not in everything


def test_a_finished_run_opens_none(tmp_path, tracker):
    opened = tracker()
    rows = write(tmp_path / "rows.jsonl", ROWS)
    for name in ("", "mlflow", "mlflow"):
        synth.run(
            "cot",
            rows,
            teacher="simulated/perfect",
            output=tmp_path / "out",
            report_to=[name] if name else [],
        )
    # Who is told changes no row: nothing was left to tell.
    assert not opened


def test_one_that_cannot_be_opened_ends_the_command_before_a_call(
    tmp_path, tracker
):
    def away(name, facts):
        raise ConnectionError("nobody at port 5000")

    tracker(away)
    with pytest.raises(Stopped, match="nobody at port 5000"):
        run(tmp_path)
    done, server = run(tmp_path, report_to=[])
    assert len(server.bodies) == done.counts["asked"] == 12


def test_one_that_fails_later_is_told_no_more_and_costs_no_row(
    tmp_path, tracker, capsys
):
    class Broken(Kept):
        def log(self, numbers, second):
            super().log(numbers, second)
            raise OSError("the disk is full")

    opened = tracker(Broken)
    done, _ = run(tmp_path)
    assert done.counts["asked"] == 12
    assert len(opened[0].logs) == 1
    assert opened[0].ended is None
    assert capsys.readouterr().err.count("the disk is full") == 1


def test_a_slow_one_holds_up_no_call(tmp_path, tracker, monkeypatch, capsys):
    let_go = threading.Event()

    class Slow(Kept):
        def log(self, numbers, second):
            let_go.wait(60)

    tracker(Slow)
    monkeypatch.setattr(tracking, "_PATIENCE", 0.2)
    begun = time.monotonic()
    try:
        done, _ = run(tmp_path)
        assert time.monotonic() - begun < 30
    finally:
        let_go.set()
    assert done.counts["asked"] == 12
    assert "did not answer" in capsys.readouterr().err


def test_a_run_that_is_stopped_is_no_whole_one(tmp_path, tracker):
    opened = tracker()
    done, _ = run(tmp_path, budget=1e-4, price="1000,1000")
    assert done.stopped
    assert opened[0].ended is False


@pytest.mark.parametrize(
    ("name", "said"),
    [("mlfow", "Did you mean mlflow"), ("trackio", "pip install trackio")],
)
def test_what_is_not_there_is_said_before_a_call(
    tmp_path, monkeypatch, name, said
):
    monkeypatch.setattr(trackers, "find_spec", lambda package: None)
    with pytest.raises(WrongUse, match=said):
        run(tmp_path, report_to=[name])


def test_names_of_files_are_told_without_their_folders(tmp_path, tracker):
    opened = tracker()
    recorded = write(tmp_path / "replies.jsonl", [])
    with pytest.raises(WrongUse):
        run(tmp_path, report_to=["mlflow", "nothing"])
    assert not opened
    told = tracking._without_folders(f"replay/{recorded}")
    assert told == "replay/replies.jsonl"


def stored_by_trackio(folder):
    with sqlite3.connect(folder / "trackio" / "potstill.db") as base:
        logs = base.execute(
            "SELECT metrics FROM metrics ORDER BY id"
        ).fetchall()
        ((facts,),) = base.execute("SELECT config FROM configs").fetchall()
    return json.loads(logs[-1][0]), json.loads(facts)


def stored_by_mlflow(folder):
    (run,) = [path.parent for path in folder.glob("mlruns/*/*/meta.yaml")]
    assert yaml.safe_load((run / "meta.yaml").read_text())["status"] == 3
    logs, facts = (
        {
            str(path.relative_to(run / kind)): path.read_text()
            for path in (run / kind).rglob("*")
            if path.is_file()
        }
        for kind in ("metrics", "params")
    )
    return {name: float(text.split()[-2]) for name, text in logs.items()}, facts


@pytest.mark.parametrize(
    ("name", "stored"),
    rest_long(
        [("trackio", stored_by_trackio), ("mlflow", stored_by_mlflow)], 0
    ),
)
def test_real_trackers_hold_the_numbers(tmp_path, name, stored):
    if find_spec(name) is None:
        pytest.skip(f"no {name} on this machine")
    env = {
        **os.environ,
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "MLFLOW_TRACKING_URI": f"file://{tmp_path / 'mlruns'}",
        # Its files are enough for this; who uses it has a server or a database.
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }
    rows = write(tmp_path / "rows.jsonl", ROWS)
    words = [
        *(sys.executable, "-m", "synth.cli", "run", "cot", "--input", rows),
        *("--output", tmp_path / "mine", "--report-to", name),
        *("--teacher", "simulated/perfect:seed=4"),
    ]
    done = subprocess.run(
        words, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert name not in done.stdout.lower()
    numbers, facts = stored(tmp_path)
    assert numbers["kept"] == numbers["asked"] == numbers["calls/asked"] == 12
    assert numbers["tokens"] > 0
    assert facts["teacher/teacher"] == "simulated/perfect:seed=4"
