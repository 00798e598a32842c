"""A misspelt path is refused at once; a name of a hub is left to the hub."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data import rows
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
