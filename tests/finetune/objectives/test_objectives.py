"""Objectives equal the formulas on paper in float64; the commands train with them, decoders and encoder-decoders alike."""

from __future__ import annotations

import json
from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.objectives.objectives import Batch, MinMax, Ranking, Weighted
from tests.conftest import rest_long, write
from tests.finetune.test_train import FAST, finetune

TOKENS = st.lists(st.floats(-6, -0.01), min_size=1, max_size=5)
ROW = st.tuples(
    TOKENS,
    st.sampled_from([-0.7, -0.2, 0.4, 1.0]),
    st.integers(0, 1),
    st.integers(0, 2),
)


def batch(rows):
    width = max(len(tokens) for tokens, *_ in rows)
    return Batch(
        log_probs=torch.tensor(
            [tokens + [0.0] * (width - len(tokens)) for tokens, *_ in rows],
            dtype=torch.float64,
            requires_grad=True,
        ),
        mask=torch.tensor(
            [
                [True] * len(tokens) + [False] * (width - len(tokens))
                for tokens, *_ in rows
            ]
        ),
        weights=torch.tensor([row[1] for row in rows], dtype=torch.float64),
        tasks=torch.tensor([row[2] for row in rows]),
        items=torch.tensor([row[3] for row in rows]),
    )


def mean(tokens):
    return -sum(tokens) / len(tokens)


@given(st.lists(ROW, min_size=1, max_size=10))
def test_unlikelihood_is_the_formula(rows):
    total = 0.0
    for task, coefficient in ((0, 0.3), (1, 0.8)):
        each = [
            weight * mean(tokens)
            if weight > 0
            else -weight * sum(-log(1 - exp(t)) for t in tokens) / len(tokens)
            for tokens, weight, of, _ in rows
            if of == task
        ]
        total += coefficient * sum(each) / len(each) if each else 0.0
    found = Weighted(coefficients=[0.3, 0.8], unlikelihood=True)(batch(rows))
    assert float(found) == pytest.approx(total, rel=1e-9, abs=1e-9)
    found.backward()


@given(st.lists(ROW, min_size=1, max_size=12))
def test_min_max_is_the_formula(rows):
    total = 0.0
    for task, coefficient in ((0, 0.3), (1, 0.8)):
        each = []
        for item in range(3):
            of = [
                (mean(tokens), weight)
                for tokens, weight, t, i in rows
                if (t, i) == (task, item)
            ]
            right, wrong = (
                sorted(r for r in of if r[1] > 0),
                sorted((r for r in of if r[1] < 0), key=lambda r: r[0]),
            )
            if right:
                best = min(loss for loss, _ in right)
                weight = next(
                    w
                    for tokens, w, t, i in rows
                    if (t, i) == (task, item) and w > 0 and mean(tokens) == best
                )
                each.append(weight * best)
                if wrong:
                    each[-1] -= 0.2 * -wrong[0][1] * min(wrong[0][0] - 3.0, 0.0)
        total += coefficient * sum(each) / len(each) if each else 0.0
    assert float(
        MinMax(coefficients=[0.3, 0.8])(batch(rows)).detach()
    ) == pytest.approx(total, rel=1e-9, abs=1e-9)


def test_the_hardest_wrong_row_is_pushed_until_the_margin():
    rows = [
        ([-1.0], 0.9, 0, 0),
        ([-0.5], -0.5, 0, 0),
        ([-2.0], -0.5, 0, 0),
        ([-3.5], -0.5, 0, 1),
        ([-1.0], 1.0, 0, 1),
    ]
    given_rows = batch(rows)
    MinMax(coefficients=[1.0])(given_rows).backward()
    assert given_rows.log_probs.grad[:, 0].tolist() == pytest.approx(
        [-0.45, 0.05, 0.0, 0.0, -0.5]
    )


@given(
    st.lists(
        st.tuples(TOKENS, TOKENS, st.floats(0.1, 3)), min_size=1, max_size=6
    ),
    st.booleans(),
)
def test_ranking_is_the_formula(pairs, normalise):
    rows = [
        (tokens, sign * gap, 0, item)
        for item, (a, b, gap) in enumerate(pairs)
        for tokens, sign in ((a, 1), (b, -1))
    ]
    score = (lambda tokens: -mean(tokens)) if normalise else sum
    wanted = sum(
        max(0.0, 2.0 * gap - score(a) + score(b)) + 0.5 * mean(a)
        for a, b, gap in pairs
    ) / len(pairs)
    found = Ranking(margin=2.0, normalise=normalise, likelihood=0.5)(
        batch(rows)
    )
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def labelled(count):
    return [
        {
            "id": str(n),
            "prompt": f"what is {n} ?\n",
            "completion": f"it is {n + k}",
            "weight": -0.5 if k else 1.0,
        }
        for n in range(count)
        for k in (0, 1)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", rest_long(["scratch:tiny", "scratch:t5-tiny"])
)
@pytest.mark.parametrize("objective", ["unlikelihood", "min-max"])
def test_wrong_rows_become_unlikely(tmp_path, model, objective):
    write(tmp_path / "rows.jsonl", labelled(30))
    code, said = finetune(
        "sft",
        "--data",
        tmp_path / "rows.jsonl",
        "--model",
        model,
        "--output",
        tmp_path / "s",
        "--objective",
        objective,
        *FAST,
    )
    assert code == 0, said
    code, said = finetune(
        "sft",
        "--data",
        tmp_path / "rows.jsonl",
        "--model",
        model,
        "--output",
        tmp_path / "s",
        "--objective",
        "odd",
    )
    assert code == 2


@pytest.mark.slow
def test_pairs_are_ranked_and_equal_ones_refused(tmp_path):
    write(
        tmp_path / "rows.jsonl",
        [
            {"prompt": row["prompt"], "completion": row["completion"]}
            for row in labelled(20)
        ],
    )
    code, said = finetune(
        "sft",
        "--data",
        tmp_path / "rows.jsonl",
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "base",
        *FAST,
    )
    assert code == 0, said
    pairs = [
        {
            "prompt": f"what is {n} ?\n",
            "chosen": f"it is {n}",
            "rejected": f"it is {n + 1}",
            "margin": 0.5,
        }
        for n in range(20)
    ]
    write(tmp_path / "pairs.jsonl", pairs)
    options = [
        "--model",
        tmp_path / "base",
        "--output",
        tmp_path / "ranked",
        "--margin",
        2,
        *FAST,
    ]
    code, said = finetune("rank", "--data", tmp_path / "pairs.jsonl", *options)
    assert code == 0, said
    losses = []
    for model in ("base", "ranked"):
        code, said = finetune("rank", "--data", tmp_path / "pairs.jsonl", "--model", tmp_path / model, "--output", tmp_path / "x", "--margin", 2,
                              "--max-steps", 1, "--learning-rate", 0, "--per-device-train-batch-size", 20)  # fmt: skip
        assert code == 0, said
        losses.append(
            json.loads((tmp_path / "x" / "train.json").read_text())["loss"]
        )
    assert losses[1] < losses[0] - 0.3
    for wrong in (
        {**pairs[0], "margin": 0},
        {**pairs[0], "rejected": pairs[0]["chosen"]},
    ):
        write(tmp_path / "wrong.jsonl", [wrong])
        code, said = finetune(
            "rank", "--data", tmp_path / "wrong.jsonl", *options
        )
        assert code == 2, said


@pytest.mark.long
def test_an_encoder_decoder_learns_tasks_with_coefficients_and_answers(
    tmp_path,
):
    rows = [
        {
            "id": str(n),
            "task": task,
            "prompt": f"{task} : what comes after {n} ?",
            "completion": text,
        }
        for n in range(40)
        for task, text in (
            ("label", f"#### {n + 1}"),
            ("rationale", f"one more than {n} is {n + 1}"),
        )
    ]
    write(tmp_path / "rows.jsonl", rows)
    more = ["--coefficients", "label=0.5,rationale=0.5", "--max-steps", 150, "--per-device-train-batch-size", 40, "--learning-rate", "1e-2",
            "--disable-tqdm", "--logging-strategy", "no"]  # fmt: skip
    code, said = finetune(
        "sft",
        "--data",
        tmp_path / "rows.jsonl",
        "--model",
        "scratch:t5-tiny",
        "--output",
        tmp_path / "t5",
        *more,
    )
    assert code == 0, said
    questions = [
        {
            "prompt": row["prompt"],
            "target": row["completion"].removeprefix("#### "),
        }
        for row in rows
        if row["task"] == "label"
    ]
    write(tmp_path / "test.jsonl", questions)
    code, said = finetune(
        "evaluate",
        "--data",
        tmp_path / "test.jsonl",
        "--model",
        tmp_path / "t5",
        "--output",
        tmp_path / "e",
    )
    assert code == 0, said
    assert (
        json.loads((tmp_path / "e" / "evaluation.json").read_text())[
            "exact_match"
        ]["share"]
        > 0.8
    )
    code, said = finetune(
        "sft",
        "--data",
        tmp_path / "rows.jsonl",
        "--model",
        tmp_path / "t5",
        "--output",
        tmp_path / "lora",
        "--lora",
        "r=4",
        *FAST,
    )
    assert code == 0, said
    code, said = finetune(
        "evaluate",
        "--data",
        tmp_path / "test.jsonl",
        "--model",
        tmp_path / "lora",
        "--output",
        tmp_path / "e2",
        "--limit",
        4,
    )
    assert code == 0, said


def test_labels_of_an_encoder_decoder_are_padded_behind():
    from transformers import DataCollatorForSeq2Seq

    from finetune.students.load import sides
    from finetune.students.scratch import build

    model, tokenizer = build("scratch:t5-tiny", ["what is 3 ? it"], 0)
    rows = sides(
        [
            {"prompt": "what ?", "completion": "3"},
            {"prompt": "what is 3 ?", "completion": "it is 3"},
        ],
        tokenizer,
    )
    batch = DataCollatorForSeq2Seq(tokenizer, model=model)(rows)
    assert batch["labels"][0].tolist() == [*rows[0]["labels"], -100, -100]
    assert batch["attention_mask"][0].tolist() == [1, 1, 0, 0]
