"""What goes to the hub, what never does, and what a fault in the middle leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import synth
import synth.cli
from synth.core.errors import WrongUse
from synth.runs import hub as pushing
from synth.teachers.simulation.word_problems import make_problems
from tests.conftest import hosted, rest_long
from tests.hub_stand_in import Hub

KEY = "hf_0123456789abcdef"


@pytest.fixture
def hub():
    """A stand-in that runs in a thread."""
    made = Hub()
    with hosted(made.app) as port:
        made.url = f"http://127.0.0.1:{port}"
        yield made


@pytest.fixture
def run(tmp_path):
    return synth.run(
        "cot",
        make_problems(60, seed=3),
        teacher="simulated/slips",
        output=tmp_path / "run",
    ).folder


def push(hub, *words, command="synth", key=KEY):
    """A command in a process of its own: the tests' own process is offline."""
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
    env |= {"HF_HUB_DISABLE_XET": "1", "HF_HOME": "/nonexistent"}
    env.pop("HF_TOKEN", None)
    if key:
        env["HF_TOKEN"] = key
    done = subprocess.run(
        [sys.executable, "-m", f"{command}.cli", "push", *map(str, words)],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_run_goes_up_privately_without_its_journal_and_only_once(hub, run):
    code, said = push(hub, run, "me/rows")
    assert code == 0, said
    repo = hub.repos["me/rows"]
    assert repo["private"] is True
    assert {"README.md", "data/train-00000.parquet", "pack/pack.yaml"} <= {
        *repo["files"]
    }
    for name, content in repo["files"].items():
        assert (run / name).read_bytes() == content
        assert not name.startswith(("journal", "run.json", "failed"))
    assert hub.uploads
    assert f"Bearer {KEY}" in hub.keys
    assert "(private)" in said
    commits, uploads = len(hub.commits), len(hub.uploads)
    code, said = push(hub, run, "me/rows")
    assert code == 0, said
    assert f"0 files sent, {len(repo['files'])} were there" in said
    assert (len(hub.commits), len(hub.uploads)) == (commits, uploads)
    (run / "README.md").write_text("changed\n")
    code, said = push(hub, run, "me/rows")
    assert code == 0, said
    assert hub.commits[commits:] == [["README.md"]]
    assert len(hub.uploads) == uploads


def test_a_fault_in_the_middle_leaves_what_was_sent_and_goes_on(hub, run):
    for number in range(45):
        (run / "pack" / f"note{number:02}.txt").write_text(f"{number}\n")
    # The second of several commits fails.
    hub.fail["POST", "/commit/"] = []
    first = {*pushing.plan_sending(run, pushing.OF_RUNS).up}
    real = hub._commit

    def commit(repo, body, address):
        answer = real(repo, body, address)
        if len(hub.commits) == 1:
            hub.fail["POST", "/commit/"] = [500] * 9
        return answer

    hub._commit = commit
    code, said = push(hub, run, "me/rows")
    assert code == 5, said
    assert "status 500" in said
    assert "goes on" in said
    sent = {*hub.repos["me/rows"]["files"]}
    assert len(sent) == 20
    hub._commit = real
    hub.fail.clear()
    code, said = push(hub, run, "me/rows")
    assert code == 0, said
    assert {*hub.repos["me/rows"]["files"]} == first
    later = [name for paths in hub.commits[1:] for name in paths]
    assert not sent & {*later}


@pytest.mark.parametrize(
    ("where", "status", "ends"),
    rest_long(
        [
            (("POST", "/commit/"), 403, (2, "you may write to")),
            (("GET", "api/datasets"), 401, (5, "set HF_TOKEN")),
            (("POST", "repos/create"), 403, (2, "you may write to")),
            (("POST", "/commit/"), 409, (5, "goes on")),
            (("POST", "repos/create"), 500, (5, "status 500")),
        ]
    ),
)
def test_what_the_hub_says_against_it_is_said(hub, run, where, status, ends):
    code, words = ends
    hub.fail[where] = [status] * 9
    found, said = push(hub, run, "me/rows")
    assert found == code, said
    assert words in said
    assert "Traceback" not in said


def test_a_card_that_the_hub_does_not_take_is_named(hub, run):
    readme = run / "README.md"
    readme.write_text("---\nlicense: nonsense\n---\n")
    code, said = push(hub, run, "me/rows")
    assert code == 2, said
    assert "no such licence" in said


def test_a_hub_that_is_not_there_is_said(hub, run):
    hub.url = "http://127.0.0.1:9"
    code, said = push(hub, run, "me/rows")
    assert code == 5, said
    assert "Traceback" not in said


@pytest.mark.long
def test_a_public_repository_needs_the_word(hub, run):
    hub.repos["me/rows"] = {"private": False, "files": {}}
    code, said = push(hub, run, "me/rows")
    assert code == 2
    assert "anybody can read" in said
    assert hub.commits == []
    code, said = push(hub, run, "me/rows", "--public")
    assert code == 0, said
    assert "(public)" in said


def test_a_student_goes_up_without_its_records(hub, tmp_path):
    student = tmp_path / "student"
    student.mkdir()
    weights = ("config.json", "model.safetensors", "tokenizer.json")
    for name in weights:
        (student / name).write_text("{}")
    (student / "train.json").write_text('{"data": "/somewhere"}')
    (student / "checkpoints").mkdir()
    (student / "checkpoints" / "model.safetensors").write_text("x")
    code, said = push(hub, student, "me/student", command="finetune")
    assert code == 0, said
    assert {*hub.repos["me/student"]["files"]} == {*weights}
    assert "stays" in said


def test_a_dry_run_asks_nobody(run):
    done = CliRunner().invoke(
        synth.cli.main, ["push", str(run), "me/rows", "--dry-run"]
    )
    assert done.exit_code == 0, done.output
    assert "would go to me/rows (private)" in done.output
    lines = done.output.splitlines()
    assert [line for line in lines if line.endswith("journal/replies.log")] == [
        f"stays  {'':>14}  journal/replies.log"
    ]


def test_secrets_and_paths_of_the_home_go_nowhere(run, monkeypatch):
    readme = run / "README.md"
    text = readme.read_text()
    monkeypatch.setenv("MY_API_KEY", "sk-abcdefghijkl")
    readme.write_text(f"{text} sk-abcdefghijkl")
    with pytest.raises(WrongUse, match="the value of MY_API_KEY"):
        pushing.plan_sending(run, pushing.OF_RUNS)
    readme.write_text(f"{text} local/{Path.home()}/models/mine")
    with pytest.raises(WrongUse, match="home folder"):
        pushing.plan_sending(run, pushing.OF_RUNS)
    readme.write_text(text)
    (run / "data" / "link.parquet").symlink_to("/etc/passwd")
    (run / "data" / ".hidden.parquet").write_text("x")
    sending = pushing.plan_sending(run, pushing.OF_RUNS)
    assert {"data/link.parquet", "data/.hidden.parquet"} <= {*sending.stays}


@pytest.mark.parametrize("name", ["rows", "a/b/c", "../x", "me/", "me/a b"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(WrongUse, match="OWNER/NAME"):
        pushing.check_repo(name)


def test_a_folder_without_anything_is_refused(tmp_path):
    with pytest.raises(WrongUse, match="no file that goes up"):
        pushing.plan_sending(tmp_path, pushing.OF_STUDENTS)
