"""The study of checkers, asked of a server that grades by rule."""

from __future__ import annotations

import json

import pytest

from examples.real import study_checkers
from examples.real.judged_rows import drawn
from synth.packs.pack import Pack
from tests.conftest import chat, serving, write

QUERY = "who kept the light"
PASSAGES = [
    {"query": QUERY, "passage": f"{word} {n} kept the light.", "relevance": g}
    for n in range(3)
    for word, g in (("Ann", 2), ("Nobody", 0), ("Perhaps", 1))
]


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "novel_eval"
    folder.mkdir(parents=True)
    write(folder / "passages.jsonl", PASSAGES)
    return tmp_path / "data"


def graded(body, _):
    """Right about what answers, but for Nobody 1, of which it says that it answers."""
    said = body["messages"][-1]["content"]
    if "Nobody 2" in said:
        return chat("Who knows.")
    answers = "Ann" in said or "Nobody 1" in said
    if "<answers>" in said:
        return chat(f"<answers>{'yes' if answers else 'no'}</answers>")
    return chat(f"<grade>{2 if answers else 0}</grade>")


def checked(body, _):
    """Every question is good, and nothing is enough."""
    said = body["messages"][-1]["content"]
    if "Question:" in said and "enough" in said:
        return chat(json.dumps({"says": "x", "enough": 0}))
    if "coherent" in body["messages"][0]["content"]:
        return chat('{"coherent": 0.9}')
    grades = dict.fromkeys(("faithful", "relevant", "answerable"), 5)
    return chat(json.dumps({"why": "x", **grades}))


def asked(name, answer, data, folder, count):
    with serving(answer) as server:
        rows = study_checkers.STUDIES[name].rows(data)
        some = drawn(rows, count, balanced=True)
        result = study_checkers.ask(name, some, "m", server.url, folder)
        return result, len(server.bodies)


@pytest.mark.parametrize(
    ("name", "kept_right", "kept_wrong"),
    [("negative", 1, 0), ("found", 1, 0), ("own", 3, 1)],
)
def test_passages_that_people_graded_are_the_gold(
    tmp_path, data, name, kept_right, kept_wrong
):
    result, calls = asked(name, graded, data, tmp_path / "runs", 6)
    assert calls == result["rows"] == 6
    assert result["unknown"] == 1
    assert result["kept_right"] == kept_right
    assert result["kept_wrong"] == kept_wrong
    again, calls = asked(name, graded, data, tmp_path / "runs", 6)
    assert (again, calls) == (result, 0)


def test_who_finds_all_good_has_a_precision_of_a_half(tmp_path, data):
    names = ("faithful", "relevant", "answerable", "coherent", "alone")
    calls = 0
    results = []
    for name in names:
        result, count = asked(name, checked, data, tmp_path / "runs", 4)
        calls += count
        results.append(result)
    assert [row["kept_right"] for row in results] == [2] * 5
    assert [row["kept_wrong"] for row in results] == [2] * 5
    # The right rows of the three fields of one step are the same questions.
    assert calls < 4 * len(names)
    table = study_checkers.lines(results)
    assert (
        "| `passage_questions.check.faithful` | answers that stand in the text | m | 4 "
        "| 0.50 (0.15 to 0.85) | 1.00 (0.34 to 1.00) | 0 of 2 | 0 |"
    ) in table


def test_written_rows_are_right_and_wrong_ones_are_made_of_them():
    rows = [row for row, _ in study_checkers.pairs()]
    assert len(rows) >= 20
    for row in rows:
        assert row["quote"] in row["text"]
        assert row["beside"] != row["answer"]
    texts = [row["text"] for row in rows]
    assert len(set(texts)) == len(texts)
    (own, other), *_ = study_checkers.pairs()
    right, wrong = study_checkers.other_passages(None)[:2]
    assert right["text"] == own["text"]
    assert wrong["text"] == other["text"]
    assert wrong["question"] == own["question"]


def test_a_pack_is_cut_to_the_step_that_is_asked(tmp_path):
    step = study_checkers.STUDIES["found"].step
    columns = ("query", "others", "right")
    pack = Pack.load(str(study_checkers.cut(step, columns, tmp_path)))
    assert [one.name for one in pack.steps] == ["judge"]
    assert [*pack.spec.inputs] == ["query", "others"]
    assert not pack.steps[0].filters
    whole = Pack.load("passage_triplets")
    values = {"query": "q", "candidate": "c", "fence": "f"}
    assert pack.steps[0].user.render(values) == whole.steps[2].user.render(
        values
    )


def test_more_rows_ask_for_the_new_ones_alone(tmp_path, data):
    _, first = asked("own", graded, data, tmp_path / "runs", 4)
    _, then = asked("own", graded, data, tmp_path / "runs", 6)
    assert (first, then) == (4, 2)
