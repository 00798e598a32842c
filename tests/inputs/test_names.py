"""A misspelt path is refused at once; a name of a hub is left to the hub."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data import rows
from finetune.measuring.compare import read_predictions
from finetune.students.kinds import require_kind
from finetune.students.load import is_seq2seq, load_student
from synth.core.errors import WrongUse
from synth.inputs.names import is_a_path, require_there
from synth.inputs.seeds import Seeds

NAME = st.text("abcdefghij-_.", min_size=1).filter(
    lambda name: not name.startswith(".")
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with runs, a student, rows, and a download of the hub."""
    monkeypatch.chdir(tmp_path)
    for record in (
        "runs/cot/run.json",
        "students/small/train.json",
        "measured/one/evaluation.json",
        "rows/some.jsonl",
        "Qwen/Qwen2.5-0.5B/config.json",
        "empty/x/README.md",
        "my_student/train.json",
    ):
        path = tmp_path / record
        path.parent.mkdir(parents=True)
        path.write_text("{}")


@pytest.fixture
def no_hub(monkeypatch):
    """Nobody may look up a host."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a hub was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refused)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("runs/cto", True),
        ("students/smal", True),
        ("measured/two", True),
        ("rows/none", True),
        ("./none", True),
        ("~/none", True),
        ("Qwen/Qwen2.5-1.5B", False),
        ("empty/y", False),
        ("openai/gsm8k", False),
        ("gpt2", False),
        ("", False),
        ("mesured/one", True),
        ("mesured/two", False),
        ("my_sutdent", True),
        ("my_student_2", False),
        ("my", False),
    ],
)
def test_a_path_is_told_from_a_name_of_a_hub(name, said):
    assert is_a_path(name) is said


@given(NAME, NAME)
def test_without_a_folder_of_work_owner_and_name_are_the_hubs(owner, name):
    assert not is_a_path(f"zz{owner}/{name}")
    assert is_a_path(f"./{name}")
    assert is_a_path(f"{owner}/{name}/x")


@pytest.mark.usefixtures("here", "no_hub")
@pytest.mark.parametrize(
    "read",
    [
        lambda: Seeds("runs/cto").scan(),
        lambda: Seeds("./runs/cto/").scan(),
        lambda: rows.load("runs/cto"),
        lambda: load_student("runs/cto"),
        lambda: load_student("truncate:runs/cto:layers=1"),
        lambda: require_there("--x", "runs/cto", "a run"),
    ],
)
def test_a_misspelt_folder_is_named_with_its_neighbour_and_no_hub_is_asked(
    read,
):
    with pytest.raises(
        WrongUse, match=r"no such file or folder.*Did you mean cot\?"
    ):
        read()


@pytest.mark.usefixtures("here", "no_hub")
def test_what_a_misspelt_folder_reads_with_is_asked_of_no_hub():
    assert not is_seq2seq("runs/cto")


@pytest.mark.usefixtures("here", "no_hub")
@pytest.mark.parametrize(
    ("read", "meant"),
    [
        (lambda: read_predictions("measured/on"), "one"),
        (lambda: read_predictions("mesured/one"), "measured"),
        (lambda: read_predictions("measurd"), "measured"),
        (lambda: read_predictions("rows/som.jsonl"), "some.jsonl"),
        (lambda: Seeds("rows/som.jsonl").scan(), "some.jsonl"),
        (lambda: rows.load("my_sutdent"), "my_student"),
        (lambda: load_student("my_sutdent"), "my_student"),
        (lambda: require_kind("my_sutdent", "ctc", "--model"), "my_student"),
    ],
)
def test_what_is_near_is_named_wherever_a_folder_is_read(read, meant):
    with pytest.raises(WrongUse, match=rf"no such .*Did you mean {meant}\?"):
        read()


@pytest.mark.usefixtures("no_hub")
def test_a_folder_of_no_evaluation_is_no_dataset(tmp_path):
    with pytest.raises(WrongUse, match=r"wanted the folder of an evaluation"):
        read_predictions(str(tmp_path))
