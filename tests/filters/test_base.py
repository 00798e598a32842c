"""The shape of a filter: lists, streams without end, datasets, running loops, progress."""

from __future__ import annotations

import asyncio
from itertools import count, islice

import pytest

from synth.filters.answer_match import AnswerMatch
from synth.filters.critic import Critic
from synth.filters.length import Length
from synth.filters.near_duplicate import NearDuplicate
from synth.filters.per_seed import PerSeed
from synth.filters.self_consistency import SelfConsistency

ROWS = [
    {"question": str(n), "answer": str(n % 3), "target": "1"}
    for n in range(700)
]


def test_a_stream_without_end_is_judged_as_it_comes():
    drawn = []

    def rows():
        for n in count():
            drawn.append(n)
            yield {"answer": str(n % 3), "target": "1"}

    found = list(islice(AnswerMatch().stream(rows(), part=10), 25))
    assert [keep for _, keep in found] == [n % 3 == 1 for n in range(25)]
    assert len(drawn) == 30
    assert found[0][0]["reason"] == "wrong_answer"
    assert "reason" not in found[1][0]


def test_stream_and_split_agree_and_progress_changes_nothing(capsys):
    kept, dropped = AnswerMatch().split(ROWS)
    assert [row for row, keep in AnswerMatch().stream(ROWS) if keep] == kept
    assert AnswerMatch().split(ROWS, progress=True) == (kept, dropped)
    shown = capsys.readouterr()
    assert not shown.out
    assert "answer_match" in shown.err


@pytest.mark.parametrize("part", [SelfConsistency(), NearDuplicate()])
def test_filters_that_must_see_more_say_so(part):
    with pytest.raises(TypeError, match="at once; use split"):
        next(part.stream(ROWS))


def test_it_works_on_datasets_and_inside_a_running_loop():
    import datasets

    table = datasets.Dataset.from_list(ROWS[:9])
    assert [row["question"] for row in AnswerMatch().split(table)[0]] == [
        "1",
        "4",
        "7",
    ]
    sums = [
        {
            "question": "q",
            "rationale": f"1 + {n} = {n + 1}",
            "answer": str(n + 1),
        }
        for n in range(3)
    ]

    async def notebook():
        return Critic(
            teacher="simulated/critic:miss=0,false_alarm=0,no_marker=0"
        ).split(sums)

    assert len(asyncio.run(notebook())[0]) == 3


def test_a_field_that_no_row_has_is_warned_of():
    with pytest.warns(UserWarning, match="'txt'. Did you mean text"):
        Length(field="txt", least=2).split([{"text": "a b c"}])


def test_one_row_is_no_list_of_rows():
    with pytest.raises(TypeError, match=r"split\(\[row\]\)"):
        Length(least=2).split({"text": "a"})


def test_a_row_without_a_seed_is_grouped_with_no_other():
    rows = [{"answer": "4"}, {"id": 0, "answer": "4"}, {"answer": "4"}]
    kept, dropped = PerSeed(most=1).split(rows)
    assert (len(kept), len(dropped)) == (3, 0)
    rows = [{"id": "a"}, {"id": "a"}, {"question": "a", "id": "b"}]
    kept, dropped = PerSeed(most=1).split(rows)
    assert (len(kept), len(dropped)) == (2, 1)
