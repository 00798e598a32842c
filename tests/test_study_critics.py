"""The study of what critics are worth: labelled rows, one record a verdict, and what is counted."""

from __future__ import annotations

import json

import pytest

from examples.real import (
    critic_results,
    judged_rows,
    judging,
    results,
    study_critics,
)
from synth.core.errors import WrongUse
from synth.statistics.intervals import auc, wilson
from tests.conftest import chat, serving, write

CHAINS = [
    {
        "id": f"gsm8k-{n}",
        "task": "gsm8k",
        "question": f"What is {n} + 1?",
        "rationale": f"We add.\n\n{n} + 1 = {n + 1 + n % 2}",
        "final_answer": n + 1 + n % 2,
        "gold": f"so it is\n#### {n + 1}",
        "choices": ["1", "2"] if n == 0 else None,
        "answer_is_correct": n % 2 == 0,
        "chain_is_valid": n % 2 == 0,
    }
    for n in range(20)
]
FOUR = (("175b", "A: 4", 1), ("6b", "A: 5", 0), ("a", "A: 4", 1), ("b", "?", 0))


@pytest.fixture
def data(tmp_path):
    """A folder of rows in the shapes of the four sets."""
    folder = tmp_path / "data"
    for name in ("verify_cot", "big_bench_mistake", "pandalm", "gsm8k"):
        (folder / name).mkdir(parents=True)
    write(folder / "verify_cot" / "dev.jsonl", CHAINS)
    marked = {"input": "q", "steps": ["a", "b", "c"]}
    write(
        folder / "big_bench_mistake" / "dev.jsonl",
        [
            {**marked, "id": "m0", "mistake_index": 0},
            {**marked, "id": "m1", "mistake_index": None},
        ],
    )
    votes = [(1, 1, 2), (2, 0, 2), (0, 0, 1), (0, 1, 2)]
    write(
        folder / "pandalm" / "dev.jsonl",
        [
            {
                "idx": number,
                "instruction": "Say it",
                "input": "",
                "response1": True,
                "response2": f"no {number}",
                **{f"annotator{n}": vote for n, vote in enumerate(three, 1)},
            }
            for number, three in enumerate(votes)
        ],
    )
    write(
        folder / "gsm8k" / "solutions_dev.jsonl",
        [
            {
                "id": "t-0",
                "question": "2 + 2?",
                "answer": "4",
                "teacher": teacher,
                "completion": f"<<2+2=4>>4 {end.startswith('A')}\n{end}",
                "is_correct": bool(right),
            }
            for teacher, end, right in FOUR
        ],
    )
    return folder


def test_rows_say_what_is_good(data):
    chain = judged_rows.chains(data)[0]
    assert chain["right"] is True
    assert chain["question"].endswith("\n(A) 1\n(B) 2")
    assert chain["steps"] == ["We add.", "0 + 1 = 1"]
    answer = judged_rows.final_answers(data)[1]
    assert (answer["answer"], answer["target"]) == ("3", "2")
    marked = judged_rows.marked_chains(data)
    assert [row["first_mistake"] for row in marked] == [1, 0]
    assert [row["right"] for row in marked] == [False, True]
    pairs = judged_rows.pairs(data)
    assert [row["winner"] for row in pairs] == ["first", "second", "tie"]
    assert [row["right"] for row in pairs] == [True, False, None]
    assert pairs[0]["first"] == "True"
    assert judged_rows.solutions(data)[0]["answer"] == "4 True\nA: 4"
    [four] = judged_rows.four_solutions(data)
    assert sorted(four["rights"]) == [False, False, True, True]
    # Two of four end in 4, no other end stands twice.
    assert four["vote"] == 1
    with pytest.raises(WrongUse, match="--data"):
        judged_rows.chains(data / "elsewhere")


def test_more_rows_begin_with_the_fewer():
    rows = [{"right": n % 5 == 0, "n": n} for n in range(100)]
    some = judged_rows.drawn(rows, 20, balanced=True)
    assert [row["right"] for row in some] == [True, False] * 10
    assert judged_rows.drawn(rows, 30, balanced=True)[:20] == some
    natural = judged_rows.drawn(rows, 20, balanced=False)
    assert len({row["n"] for row in natural}) == 20


def verdict(right, good, score, **more):
    """A record as a study keeps it."""
    return {
        "id": "a",
        "group": more.pop("group", object()),
        "right": right,
        "good": good,
        "unread": good is None,
        "score": score,
        "reason": "",
        "calls": 1.0,
        "tokens": 100.0,
        "seconds": 2.0,
        **more,
    }


def test_verdicts_are_counted_against_labels():
    records = [
        *[verdict(True, True, 0.9)] * 6,
        *[verdict(True, False, 0.2)] * 3,
        verdict(True, None, None, seconds=None, calls=2.0, tokens=200.0),
        *[verdict(False, True, 0.6)] * 2,
        *[verdict(False, False, 0.1)] * 8,
        {"id": "b", "too_long": True},
    ]
    found = critic_results.measures(records)
    assert found["rows"] == found["labelled"] == 20
    assert (found["too_long"], found["unread"]) == (1, 1)
    assert (found["calls"], found["tokens"], found["seconds"]) == (1.05, 105, 2)
    assert found["kept_right"] == 6
    assert found["dropped_right"] == 3
    # Of 9 good and 10 other rows with a score 84 pairs stand in their order: of the six at 0.9
    # all 60, of the three at 0.2 those eight beneath them.
    assert found["auc"][0] == round(84 / 90, 3)
    line = critic_results.line({"critic": "c", "teacher": "m", **found})
    assert "| 20 (10) | 0.75 (0.41 to 0.93) | 0.60 (0.31 to 0.83) |" in line
    # 14 of 19 verdicts that were read are right.
    low, high = wilson(14, 19)
    assert f"| 0.74 ({low:.2f} to {high:.2f}) |" in line
    assert "ranks rows; its verdict is no better than keeping all" in line
    assert "1 more rows were too long" in line


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        ((10, 0), "better than keeping all"),
        ((0, 10), "worse than keeping all"),
        ((5, 5), "no better than keeping all, as far as 20 rows show"),
        ((0, 0), "keeps nothing"),
    ],
)
def test_words_say_what_a_critic_is_worth(kept, says):
    right, wrong = kept
    records = [verdict(True, n < right, 0.5) for n in range(10)]
    records += [verdict(False, n < wrong, 0.5) for n in range(10)]
    assert critic_results.words(critic_results.measures(records)) == says


def test_a_promise_is_held_against_the_other_half():
    good = [verdict(True, True, 0.9, group=n) for n in range(120)]
    bad = [verdict(False, False, 0.1, group=-n - 1) for n in range(120)]
    # One of the rows above the threshold is wrong, in the half that is held out.
    bad[1] = verdict(False, True, 0.9, group="x")
    records = [
        record for pair in zip(good, bad, strict=True) for record in pair
    ]
    found = critic_results.promise(records)
    assert found["labels"] == found["of"] == 120
    assert found["least"] == 0.9
    assert (found["kept"], found["kept_right"]) == (61, 60)
    assert "60 of" not in critic_results.promise_words(found)
    assert critic_results.promise_words(found).startswith("from 0.90 on: 0.98")
    same = [{**record, "score": 0.5} for record in records]
    refused = critic_results.promise(same)
    assert "least" not in refused
    assert critic_results.promise_words(refused) == (
        "none of 120 labels; more would not help"
    )


def test_first_wrong_steps_are_found_or_nearly():
    records = [
        verdict(False, False, 0.1, first_mistake=3, first_wrong="3", steps=4),
        verdict(False, False, 0.1, first_mistake=3, first_wrong="2", steps=4),
        # Step 1 is one from 0, which says that none is wrong.
        verdict(False, True, 0.9, first_mistake=1, first_wrong="0", steps=2),
        verdict(False, None, None, first_mistake=1, steps=2),
        verdict(True, True, 0.9, first_mistake=0, first_wrong="0", steps=9),
    ]
    assert critic_results.first_mistakes(records) == {
        "mistakes": 4,
        "exact": 1,
        "near": 2,
        "by_chance": 0.375,
    }


def test_pairs_tell_places_and_turns():
    def pair(winner, orders, good, reason="tie", longer=False):
        label = None if winner == "tie" else winner == "first"
        score = sum(orders) / 2
        return verdict(
            label,
            good,
            score,
            winner=winner,
            orders=orders,
            reason=reason,
            longer=longer,
        )

    records = [
        pair("first", [1.0, 1.0], True, "", longer=True),
        pair("second", [0.0, 0.0], False, "prefers_rejected"),
        pair("second", [1.0, 0.0], False),
        pair("tie", [0.5, 0.5], False),
        pair("first", [1.0, 0.5], False),
    ]
    found = critic_results.measures(records)
    # Agreement: three of five, the tie included; two of four that have a winner.
    assert (found["pairs"], found["agreed"]) == (5, 3)
    assert (found["clear"], found["agreed_clear"]) == (4, 2)
    assert found["places"] == {"first": 5, "second": 2, "tie": 3}
    assert found["flips"] == 1
    assert found["longer_wins"] == 3
    assert found["labelled"] == 4
    assert found["auc"][0] == auc([1, 0, 0.5, 0.75], [1, 0, 0, 1])
    line = critic_results.line({"critic": "c", "teacher": "m", **found})
    assert "first 0.50, tie 0.30, second 0.20; 1 turn with the order" in line


def test_choices_are_held_against_chance_and_votes():
    record = verdict(None, None, 0.0, rights=[True, False], vote=1.0)
    record["unread"] = False
    records = [{**record, "choice": "1"}, {**record, "choice": "2."}]
    found = critic_results.measures(records)
    assert (found["chosen"], found["chosen_right"]) == (2, 1)
    assert (found["random_right"], found["vote_right"]) == (0.5, 1)
    assert found["first_place"] == 1
    assert "labelled" not in found
    assert critic_results.line({"critic": "c", "teacher": "m", **found})


def server_of(says):
    """llama.cpp's three paths: of a chat, of a template, of a tokenizer."""

    def answer(body, count):
        if "content" in body:
            return {"tokens": body["content"].split()}
        text = body["messages"][-1]["content"]
        if "model" not in body:
            return {"prompt": text}
        said = says(text)
        top = [{"token": said, "logprob": -0.1}, {"token": "x", "logprob": -3}]
        reply = chat(f"<critique>c</critique><verdict>{said}</verdict>")
        reply["choices"][0]["logprobs"] = {
            "content": [{**top[0], "top_logprobs": top}]
        }
        return reply

    paths = ("/v1/chat/completions", "/apply-template", "/tokenize")
    return serving(answer, paths)


def test_a_study_goes_on_where_it_ended_and_takes_more_rows(data, tmp_path):
    def says(text):
        # It takes all sums for right but that of 3.
        return "no" if "is 3 + 1" in text else "yes"

    with server_of(says) as server:
        bench = judging.Bench(
            url=server.url, teacher="m", context=2048, folder=tmp_path / "out"
        )
        name = "critic_faithful/chains"
        first = study_critics.measured(bench, name, data, 4)
        asked = [body for body in server.bodies if "model" in body]
        assert len(asked) == first["rows"] == 4
        assert study_critics.measured(bench, name, data, 4) == first
        whole = study_critics.measured(bench, name, data, 20)
        asked = [body for body in server.bodies if "model" in body]
        assert len(asked) == whole["rows"] == 20
        assert (whole["kept_right"], whole["dropped_right"]) == (10, 0)
        assert (whole["kept_wrong"], whole["dropped_wrong"]) == (9, 1)
        assert whole["tokens"] == 18
        # A smaller window takes none of them.
        small = judging.Bench(
            url=server.url, teacher="s", context=320, folder=tmp_path / "out"
        )
        none = study_critics.measured(small, name, data, 4)
        assert (none["rows"], none["too_long"]) == (0, 4)
    path = tmp_path / "critics.jsonl"
    results.record(whole, path, of="critic")
    assert "`critic_faithful/chains` | m | 20 (10)" in critic_results.page(path)
    results.record({**whole, "hash": "older"}, path, of="critic")
    assert "critic_faithful" not in critic_results.page(path)


def test_numbers_of_no_step_or_candidate_are_not_read():
    row = {"steps": ["a", "b"], "candidates": ["a", "b"]}
    for number, good in (("0", True), ("2.", False), ("3", None), ("b", None)):
        made = judging.Verdict(True, "", {"first_wrong": number})
        assert judging.step_number(row, made).good is good
        chosen = judging.Verdict(True, "", {"choice": number})
        assert judging.place(row, chosen).unread == (number != "2.")


def test_a_call_that_fails_ends_the_study():
    failed = judging.Verdict(None, "critic_failed", {"failure": "timeout"})
    with pytest.raises(WrongUse, match="timeout"):
        judging.record_of({"id": "a"}, failed, judging.kept)


def test_a_pack_names_its_cells():
    assert [*study_critics.CELLS] == study_critics.chosen([])
    assert study_critics.chosen(["critic_process"]) == [
        "critic_process/marked_chains",
        "critic_process/chains",
    ]
    text = json.dumps(study_critics.chosen(["judge_same/solutions"]))
    assert text == '["judge_same/solutions"]'
