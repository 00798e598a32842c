from __future__ import annotations

import json
import random

import pytest

import synth
from synth.core.errors import WrongUse
from synth.critics.calibration import labels_of
from synth.inputs.seeds import read_rows
from synth.runs.publisher import RunFolder
from synth.teachers.simulation.word_problems import make_problems
from synth.view.labels import Labels, agreement, drawn, strata
from synth.view.rows import RunRows
from synth.view.seeds import Changes, beside
from tests.view.looking import Elements, visit


async def send(visitor, path, **form):
    async with visitor.session.post(
        visitor.url + path, data=form, headers={"Origin": visitor.url}
    ) as response:
        return response.status, await response.text()


def row_of(page):
    return next(
        attrs["value"]
        for tag, attrs in Elements(page).found
        if tag == "input" and attrs.get("name") == "row"
    )


def test_labels_are_those_that_calibrate_reads(run, tmp_path):
    file = tmp_path / "labels.jsonl"
    words = ["yes", "no", "unsure", "yes", "yes", "no", "no", "yes"]

    async def look(visitor):
        shown = []
        for word in words:
            page = await visitor.page("/0/label")
            shown.append(row_of(page))
            # The verdict would tell the labeller what to say.
            assert "wrong_answer" not in page.partition("<h2>")[0]
            status, _ = await send(
                visitor, "/0/label", row=shown[-1], word=word
            )
            assert status == 200
        assert len(set(shown)) == len(words)

    visit([run], look, [file])
    rows = list(read_rows(str(file)))
    assert labels_of(rows, "is_correct") == [
        word == "yes" for word in words if word != "unsure"
    ]
    assert all(row["question"] and row["reply"] for row in rows)
    unsure = list(read_rows(str(tmp_path / "labels.unsure.jsonl")))
    assert [row["is_correct"] for row in unsure] == [None]
    # What is there counts when the command starts again.
    assert len(Labels(file).rows) == len(words)


def test_weights_add_up_to_the_rows_of_the_run(run, tmp_path):
    rows = RunRows(run)
    labels = Labels(tmp_path / "labels.jsonl")
    places = drawn(rows)
    sizes = strata(rows)
    # The first turn takes one row of every stratum.
    first = {place.stratum for place in places[: len(sizes)]}
    assert first == {*sizes}
    for place in places[:20]:
        labels.say(rows, place, "yes")
    written = list(read_rows(str(tmp_path / "labels.jsonl")))
    total = sum(row["weight"] for row in written)
    assert total == pytest.approx(sum(count for _, count in sizes.values()))
    assert drawn(rows) == places


def test_a_second_label_replaces_the_first(run, tmp_path):
    rows = RunRows(run)
    labels = Labels(tmp_path / "labels.jsonl")
    place = drawn(rows)[0]
    labels.say(rows, place, "yes")
    labels.say(rows, place, "no")
    (row,) = read_rows(str(tmp_path / "labels.jsonl"))
    assert row["is_correct"] is False


def test_two_labellers_are_compared(run, tmp_path):
    rows = RunRows(run)
    one, two = (Labels(tmp_path / f"{name}.jsonl") for name in "ab")
    chance = random.Random(0)
    for place in drawn(rows)[:20]:
        word = chance.choice(["yes", "no"])
        one.say(rows, place, word)
        two.say(rows, place, word)
    assert agreement(one, two) == (20, 1.0)

    async def look(visitor):
        page = Elements(await visitor.page("/0/label")).text
        assert "20 rows with yes or no in both" in page
        assert "alpha 1.000" in page

    visit([run], look, [one.path, two.path])


def test_labels_are_written_nowhere_unless_a_file_is_given(run, tmp_path):
    async def look(visitor):
        status, _ = await visitor.get("/0/label")
        assert status == 404
        status, _ = await send(visitor, "/0/label", row="kept/0", word="yes")
        assert status == 404

    visit([run], look)


@pytest.mark.parametrize(
    "form", [{"row": "../x", "word": "yes"}, {"row": "kept/0", "word": "x"}, {}]
)
def test_a_form_of_something_else_is_refused(run, tmp_path, form):
    file = tmp_path / "labels.jsonl"

    async def look(visitor):
        status, _ = await send(visitor, "/0/label", **form)
        assert status == 400

    visit([run], look, [file])
    assert not file.exists()


def test_another_file_is_no_file_of_labels(tmp_path):
    with pytest.raises(WrongUse, match="jsonl"):
        Labels(tmp_path / "labels.csv")
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "a"}\n')
    with pytest.raises(WrongUse, match="no is_correct"):
        Labels(path)


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    """The same seeds and five more, asked of a teacher that errs elsewhere."""
    folder = tmp_path_factory.mktemp("later") / "run"
    synth.run(
        "cot",
        make_problems(65, seed=3),
        teacher="simulated/slips",
        output=folder,
    )
    return folder


def kept_and_reasons(folder):
    kept = {row["id"] for row in RunFolder(folder).rows()}
    reasons = {}
    for row in RunFolder(folder).rows("dropped"):
        reasons.setdefault(row["id"], row["reason"])
    return kept, reasons


def test_two_runs_are_compared_by_seed(run, later):
    changes = Changes(RunRows(run), RunRows(later))
    kept, reasons = kept_and_reasons(run)
    kept_later, reasons_later = kept_and_reasons(later)
    old = kept | reasons.keys()
    new = kept_later | reasons_later.keys()
    both = old & new
    wanted = {
        "gained": (both - kept) & kept_later,
        "lost": (both & kept) - kept_later,
        "kept in both": kept & kept_later,
    }
    for name, seeds in wanted.items():
        change = changes.change(name, 0, 1000)
        assert change.total == len(seeds)
        found = {changes.before.row(*pair[0])["id"] for pair in change.pairs}
        assert found == seeds
        for one, two in change.pairs:
            before = changes.before.row(*one)["id"]
            assert changes.after.row(*two)["id"] == before
    assert (changes.only_before, changes.only_after) == (
        len(old - new),
        len(new - old),
    )
    assert sum(int(mask.sum()) for mask in changes.masks.values()) == len(both)

    async def look(visitor):
        for name in changes.masks:
            page = Elements(
                await visitor.page(
                    f"/0/against/1?fate={name.replace(' ', '+')}"
                )
            )
            rows = [link for link in page.links() if "/row/" in link]
            assert len(rows) == 2 * min(10, int(changes.masks[name].sum()))
        assert (await visitor.get("/0/against/7"))[0] == 404
        assert (await visitor.get("/0/against/1?fate=x"))[0] == 404

    visit([run, later], look)


def test_dropped_rows_stand_beside_kept_ones_of_their_seed(run):
    rows = RunRows(run)
    kept, _ = kept_and_reasons(run)
    dropped = [
        row
        for row in RunFolder(run).rows("dropped")
        if row["reason"] == "wrong_answer" and row["id"] in kept
    ]
    change = beside(rows, "wrong_answer", 0, 1000)
    assert change.total == len(dropped) > 0
    for one, two in change.pairs:
        assert one[0] == "kept"
        assert rows.row(*one)["id"] == rows.row(*two)["id"]
        assert rows.row(*two)["reason"] == "wrong_answer"

    async def look(visitor):
        page = Elements(await visitor.page("/0/beside?reason=wrong_answer"))
        assert f"{change.total:,} rows" in page.text
        assert (await visitor.get("/0/beside?reason=nothing"))[0] == 200

    visit([run], look)


def test_labels_hold_what_json_can_say(run, tmp_path):
    rows = RunRows(run)
    labels = Labels(tmp_path / "labels.jsonl")
    labels.say(rows, drawn(rows)[0], "yes")
    for line in (tmp_path / "labels.jsonl").read_text().splitlines():
        assert json.loads(line)["stratum"]
