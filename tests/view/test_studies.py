from __future__ import annotations

import json

import pytest

import synth
from synth.core.errors import WrongUse
from synth.runs.publisher import RunFolder
from synth.view.pace import Pace
from synth.view.students import Evaluation, Training, flips
from tests.conftest import chat, serving, write
from tests.view.looking import Elements, visit


def test_the_course_of_a_run_is_that_of_its_journal(tmp_path):
    replies = iter(range(10_000))

    def answer(body, number):
        return chat("x", created=1_700_000_000 + 7 * next(replies))

    with serving(answer) as server:
        synth.run(
            "sequence_kd",
            [{"question": f"{n}?"} for n in range(450)],
            teacher="openai/m",
            api_base={"": server.url},
            price={"": "1,2"},
            budget=5.0,
            output=tmp_path / "run",
            concurrency=1,
        )
    cost = RunFolder(tmp_path / "run").run["cost"]
    pace = Pace(tmp_path / "run" / "journal" / "replies.log")
    while pace.sums.replies != 450:
        pace.look()
    assert pace.sums.usd == pytest.approx(cost["usd"])
    assert pace.sums.tokens == (
        cost["prompt_tokens"] + cost["completion_tokens"]
    )
    points, across = pace.curve("replies")
    assert across == "seconds"
    assert points[-1] == (points[-1][0], 450.0)
    assert points == sorted(points)

    async def look(visitor):
        page = Elements(await visitor.page("/0/course"))
        assert "450" in page.text
        assert "polyline" in [tag for tag, _ in page.found]
        # It has ended: the page stays as it is.
        assert not [a for _, a in page.found if a.get("http-equiv")]

    visit([tmp_path / "run"], look)


def test_a_run_that_goes_on_is_shown_and_shown_again(tmp_path, run):
    folder = tmp_path / "run"
    (folder / "journal").mkdir(parents=True)
    log = (run / "journal" / "replies.log").read_bytes().splitlines(True)
    note = (run / "journal" / "opened.json").read_bytes()
    (folder / "journal" / "opened.json").write_bytes(note)
    path = folder / "journal" / "replies.log"
    path.write_bytes(b"".join(log[:10]) + log[10][:50])

    async def look(visitor):
        page = Elements(await visitor.page("/0/course"))
        assert "replies10" in "".join(page.text.split())
        assert [a for _, a in page.found if a.get("http-equiv") == "refresh"]
        path.write_bytes(b"".join(log[:25]))
        page = Elements(await visitor.page("/0/course"))
        assert "replies25" in "".join(page.text.split())
        assert (await visitor.get("/0/"))[0] == 200

    visit([folder], look)


ANSWERS = [("1 + 1", "2", "2"), ("1 + 2", "3", "4"), ("1 + 3", "4", "5")]


def evaluation(folder, said):
    folder.mkdir()
    rows = [
        {
            "prompt": prompt,
            "target": gold,
            "reply": f"<b>{answer}</b>",
            "answer": answer,
            "right": answer == gold,
        }
        for (prompt, gold, _), answer in zip(ANSWERS, said, strict=True)
    ]
    write(folder / "predictions.jsonl", rows)
    (folder / "evaluation.json").write_text(json.dumps({"rows": len(rows)}))
    return folder


def test_flips_between_two_students(tmp_path):
    one = evaluation(tmp_path / "one", ["2", "4", "4"])
    two = evaluation(tmp_path / "two", ["2", "3", "5"])
    found = flips(Evaluation(one), Evaluation(two))
    assert [pair.prompt for pair in found["gained"]] == ["1 + 2"]
    assert [pair.prompt for pair in found["lost"]] == ["1 + 3"]
    assert [pair.prompt for pair in found["both right"]] == ["1 + 1"]
    assert found["both wrong"] == []

    async def look(visitor):
        home = Elements(await visitor.page("/"))
        assert {"/answers/0", "/answers/1"} <= {*home.links()}
        page = Elements(await visitor.page("/answers/0"))
        assert "<b>4</b>" in page.text
        assert "b" not in [tag for tag, a in page.found if not a][5:]
        page = Elements(await visitor.page("/answers/0/beside/1?fate=lost"))
        assert "1 + 3" in page.text
        assert "1 + 2" not in page.text
        for path in ("/answers/9", "/answers/0/beside/9", "/training/0"):
            assert (await visitor.get(path))[0] == 404

    visit([one, two], look)


def test_predictions_of_something_else_are_refused(tmp_path):
    write(tmp_path / "predictions.jsonl", [{"prompt": "a"}])
    with pytest.raises(WrongUse, match="no 'reply'"):
        Evaluation(tmp_path)


def test_curves_of_a_training(tmp_path):
    folder = tmp_path / "student"
    (folder / "checkpoint-4").mkdir(parents=True)
    history = [
        {"step": step, "loss": 3.0 / step, "epoch": 0.1, "note": "<b>"}
        for step in (1, 2, 4)
    ]
    state = json.dumps({"log_history": [*history, "odd", {"step": None}]})
    (folder / "checkpoint-4" / "trainer_state.json").write_text(state)
    assert Training.is_here(folder)
    assert Training(folder).curves() == {
        "loss": [(1, 3.0), (2, 1.5), (4, 0.75)]
    }
    (folder / "train.json").write_text('{"model": "<script>", "loss": 1.2}')

    async def look(visitor):
        page = Elements(await visitor.page("/training/0"))
        assert "polyline" in [tag for tag, _ in page.found]
        assert "<script>" in page.text

    visit([folder], look)
