"""Instructions of tasks stand before what the tasks read."""

from __future__ import annotations

import json

import pytest

from finetune.data import query_lists
from finetune.data.instructions import Instruction, by_task, instructed, read
from synth.core.errors import WrongUse
from tests.conftest import write

TOLD = {
    "qa": Instruction("Find: ", "Passage: "),
    "tools": Instruction("Which tool? ", ""),
}


def test_each_list_is_read_behind_the_words_of_its_task(tmp_path):
    rows = [
        {"query": "a", "documents": ["b", "c"], "task": "qa"},
        {"anchor": "d", "positive": "e", "negatives": ["f"], "task": "tools"},
        {"query": "g", "positive": "h", "task": "qa"},
    ]
    data = write(tmp_path / "rows.jsonl", rows)
    listed = query_lists.load(str(data))
    made = instructed(listed, TOLD, "--input x")
    assert [(row.query, row.documents) for row in made] == [
        ("Find: a", ("Passage: b", "Passage: c")),
        ("Which tool? d", ("e", "f")),
        ("Find: g", ("Passage: h",)),
    ]
    assert by_task(made) == {"qa": [0, 2], "tools": [1]}


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("", "a row without `task`"),
        ("tool", "tools"),
        ("x", "qa, tools"),
    ],
)
def test_a_task_without_instructions_is_said(task, says):
    listed = [query_lists.Listed("a", ("b",), task=task)]
    with pytest.raises(WrongUse) as caught:
        instructed(listed, TOLD, "--input x")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "a JSON file"),
        ("[]", "for each task"),
        ("{}", "for each task"),
        ('{"qa": {"query": "a"}}', "for each task"),
        ('{"qa": {"query": "a", "document": 1}}', "for each task"),
        ('{"qa": {"query": "a", "document": "b", "c": "d"}}', "for each task"),
    ],
)
def test_a_file_of_another_shape_is_said(tmp_path, content, says):
    file = tmp_path / "told.json"
    file.write_text(content)
    with pytest.raises(WrongUse, match=says):
        read(str(file))
    with pytest.raises(WrongUse, match="No such file"):
        read(str(tmp_path / "none.json"))
    file.write_text(json.dumps({"qa": {"query": "a", "document": "b"}}))
    assert read(str(file)) == {"qa": Instruction("a", "b")}


def test_a_task_that_stands_twice_is_said(tmp_path):
    told = '{"query": "a", "document": "b"}'
    path = tmp_path / "told.json"
    path.write_text(f'{{"qa": {told}, "qa": {told}}}')
    with pytest.raises(WrongUse, match="qa"):
        read(str(path))
