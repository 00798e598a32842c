"""Votes: constant scores change nothing, ties share, a ranker that knows decides; drawn and ranked answers of a real student."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth
from finetune.measuring.votes import Ranker, vote
from synth.teachers.simulation.word_problems import make_problems
from tests.conftest import write
from tests.finetune.test_train import FAST, finetune

ANSWERS = st.lists(
    st.one_of(st.none(), st.sampled_from(["1", "2", "3"])), max_size=9
)


@given(ANSWERS, st.floats(0.01, 1), st.sampled_from(["1", "s", "1+s", "1+2s"]))
def test_constant_scores_are_self_consistency(answers, score, weigh):
    counts = Counter(answer for answer in answers if answer is not None)
    leading = {
        answer for answer, n in counts.items() if n == max(counts.values())
    }
    for scores in (None, [score] * len(answers)):
        found = vote(answers, scores, weigh)
        assert {answer for answer, _ in found} == leading
        assert sum(share for _, share in found) == pytest.approx(
            1.0 if leading else 0.0
        )


def test_a_ranker_decides_and_missing_scores_count_as_the_mean():
    assert vote(["1", "1", "2"], [0.1, 0.1, 0.9], "s") == [("2", 1.0)]
    assert vote(["1", "2"], [None, 0.9], "1+s") == [("1", 0.5), ("2", 0.5)]
    assert vote(["1", "2", "2"], [None, 0.2, 1.0], "s")[0][0] == "2"


@pytest.mark.slow
def test_draws_of_a_student_are_voted_on_and_ranked(tmp_path):
    run = synth.run(
        "cot",
        make_problems(60, seed=6),
        teacher="simulated/slips",
        output=tmp_path / "run",
        draws=2,
    )
    code, said = finetune(
        "sft",
        "--data",
        run.folder,
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "sft",
        *FAST,
    )
    assert code == 0, said
    labelled = [
        {
            "question": f"q {n}",
            "rationale": "so" if n % 2 else "no",
            "answer": "1",
            "is_correct": bool(n % 2),
        }
        for n in range(60)
    ]
    write(tmp_path / "labelled.jsonl", labelled)
    code, said = finetune(
        "critic",
        "--data",
        tmp_path / "labelled.jsonl",
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "critic",
        *FAST,
    )
    assert code == 0, said
    write(tmp_path / "test.jsonl", make_problems(10, seed=7))
    words = [
        "--data",
        tmp_path / "test.jsonl",
        "--model",
        tmp_path / "sft",
        "--output",
        tmp_path / "ev",
        "--max-new-tokens",
        "40",
        "--draws",
        "4",
    ]
    code, said = finetune(
        "evaluate", *words, "--ranker", tmp_path / "critic", "--weigh", "1+2s"
    )
    assert code == 0, said
    assert "vote: " in said
    found = json.loads((tmp_path / "ev" / "evaluation.json").read_text())
    assert found["rows"] == 40
    assert 0 <= found["vote"]["share"] <= found["any_right"]["share"] + 1e-9
    assert all(
        0 <= score <= 1
        for score in Ranker(str(tmp_path / "critic")).scores(
            [("q 1", "so 1"), ("q 2", "no 1 and more")]
        )
    )


@pytest.mark.slow
def test_one_student_may_speak_before_another(tmp_path):
    for name, said in (("first", "it has red pens"), ("second", "so\n#### 4")):
        write(
            tmp_path / f"{name}.jsonl",
            [
                {"prompt": f"{name} {n}\n", "completion": said}
                for n in range(40)
            ],
        )
        code, output = finetune(
            "sft",
            "--data",
            tmp_path / f"{name}.jsonl",
            "--model",
            "scratch:tiny",
            "--output",
            tmp_path / name,
            *FAST,
        )
        assert code == 0, output
    write(
        tmp_path / "test.jsonl",
        [
            {
                "before": f"first {n}\n",
                "prompt": f"second {n} {{before}}\n",
                "target": "4",
            }
            for n in range(6)
        ],
    )
    words = [
        "evaluate",
        "--data",
        tmp_path / "test.jsonl",
        "--model",
        tmp_path / "second",
        "--output",
        tmp_path / "ev",
        "--max-new-tokens",
        "12",
    ]
    assert finetune(*words, "--before", tmp_path / "first")[0] == 0
    found = [
        json.loads(line)
        for line in (tmp_path / "ev" / "predictions.jsonl")
        .read_text()
        .splitlines()
    ]
    assert all("{before}" not in row["prompt"] for row in found)
    assert any("red pens" in row["prompt"] for row in found)
    write(tmp_path / "test.jsonl", [{"prompt": "second", "target": "4"}])
    assert finetune(*words, "--before", tmp_path / "first")[0] == 2
