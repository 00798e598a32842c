"""A probe of semantic entropy: its cut and its regression by hand, and what it learns of a small student."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from finetune.cli import main
from finetune.measuring.votes import Ranker
from finetune.recipes.entropy_probe import _is_right, best_split
from finetune.scoring.hidden_probe import Reader, fit, shares
from finetune.students.load import load_student
from synth.core.errors import WrongUse
from synth.filters.cross_encoder import CrossEncoder
from tests import tiny
from tests.conftest import write


def squares(values):
    return sum((value - sum(values) / len(values)) ** 2 for value in values)


@given(st.lists(st.integers(0, 6), min_size=2, max_size=12))
def test_the_cut_leaves_the_least_squares(values):
    values = [value / 6 for value in values]
    if len(set(values)) == 1:
        with pytest.raises(WrongUse, match="one and the same entropy"):
            best_split(values, "rows")
        return
    cut = best_split(values, "rows")

    def error(at):
        low = [value for value in values if value < at]
        high = [value for value in values if value >= at]
        return squares(low) + squares(high)

    every = [error(at) for at in sorted(set(values))[1:]]
    assert error(cut) == pytest.approx(min(every), abs=1e-12)


@pytest.mark.parametrize("shape", [(30, 4), (12, 40)])
def test_the_regression_is_that_of_standardised_states(shape):
    """Also with fewer rows than dimensions, where it is found in the span of the rows."""
    random = np.random.default_rng(1)
    states = random.normal(3, 2, shape)
    labels = states[:, 0] + random.normal(0, 1, shape[0]) > 3
    table = (states - states.mean(0)) / states.std(0)

    def loss(weights):
        raw = table @ weights[:-1] + weights[-1]
        likelihood = np.logaddexp(0, raw) - labels * raw
        return likelihood.sum() + 5.0 * (weights[:-1] ** 2).sum() / 2

    best = minimize(loss, np.zeros(shape[1] + 1), tol=1e-10).x
    wanted = 1 / (1 + np.exp(-(table @ best[:-1] + best[-1])))
    weights = fit(states, labels, 5.0)
    assert shares(states, weights) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("at", ["prompt", "answer"])
def test_states_are_those_of_the_token_alone(at):
    """Neither the batch nor its padding plays a part, and the order of the rows is kept."""
    pairs = [
        ("What is 1 + 1 ?", "it is a red pen"),
        ("What is", "a big dog"),
        ("What is 2 + 2 ? it is a", "hat"),
    ]
    read = Reader(tiny.causal(), at, "never").states(pairs)
    model, tokenizer = load_student(tiny.causal())
    for (prompt, reply), states in zip(pairs, read, strict=True):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        if at == "answer":
            said = tokenizer(reply, return_tensors="pt").input_ids
            ids = torch.cat([ids, said], dim=1)
        hidden = model(ids, output_hidden_states=True).hidden_states
        wanted = [layer[0, -1].tolist() for layer in hidden]
        assert states == pytest.approx(np.array(wanted), abs=1e-5)


def finetune(*args):
    result = CliRunner().invoke(main, list(map(str, args)))
    assert result.exit_code == 0, result.output
    return result.output


def made_rows():
    """Questions about 80 places: half of them have one answer, the others one of eight at random."""
    draw = random.Random(0)
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    towns = [
        first + last
        for first in [
            "north",
            "south",
            "east",
            "west",
            "new",
            "old",
            "low",
            "high",
        ]
        for last in [
            "ford",
            "ham",
            "ton",
            "wick",
            "by",
            "dale",
            "gate",
            "port",
            "well",
            "mere",
        ]
    ]
    rows = []
    for number, town in enumerate(draw.sample(towns, len(towns))):
        if number % 2:
            prompt = f"How many bridges has {town} ?\n"
            answers = ["two"] * 8
        else:
            prompt = f"How many people saw the ghost of {town} ?\n"
            answers = [draw.choice(numbers) for _ in range(8)]
        rows += [{"prompt": prompt, "completion": said} for said in answers]
    return rows


@pytest.mark.long
def test_a_student_shows_whether_it_will_waver(tmp_path):
    rows = made_rows()
    student = tmp_path / "student"
    finetune(
        *("sft", "--input", write(tmp_path / "rows.jsonl", rows)),
        *("--model", "scratch:tiny", "--output", student),
        *("--max-steps", 120, "--learning-rate", "3e-3"),
        *("--per-device-train-batch-size", 32, "--disable-tqdm"),
    )
    asked = [
        {"prompt": row["prompt"], "target": row["completion"]}
        for row in rows[::8]
    ]
    finetune(
        *("evaluate", "--input", write(tmp_path / "asked.jsonl", asked)),
        *("--model", student, "--output", tmp_path / "drawn"),
        *("--parser", "whole:into=answer", "--max-new-tokens", 4),
        *("--draws", 6, "--temperature", 1),
    )
    told = finetune(
        *("entropy-probe", "--input", tmp_path / "drawn" / "predictions.jsonl"),
        *("--model", student, "--output", tmp_path / "probe"),
    )
    assert "trained on 48 of 80 questions" in told
    probe = json.loads((tmp_path / "probe" / "probe.json").read_text())
    assert probe["entropy"]["auc"] > 0.9
    assert probe["correctness"]["auc"] > 0.8
    assert probe["correctness_by_draws"]["questions"] == 16
    # Layer 0 is the embedding of the line end, which all prompts share.
    assert probe["layer"] > 0
    sure = {"prompt": "How many bridges has oldport ?\n", "reply": "two"}
    unsure = {
        "prompt": "How many people saw the ghost of oldport ?\n",
        "reply": "two",
    }
    kept, dropped = CrossEncoder(
        model=str(tmp_path / "probe"), first="prompt", second=("reply",)
    ).split([sure, unsure])
    assert [row["prompt"] for row in kept] == [sure["prompt"]]
    assert dropped[0]["reason"] == "low_score"
    scores = Ranker(str(tmp_path / "probe")).scores(
        [(row["prompt"].strip(), "two") for row in (sure, unsure)]
    )
    assert scores[0] > 0.5 > scores[1]


def test_what_a_run_marked_is_not_measured_again(tmp_path):
    """Also the order of prompts plays no part, and a filter of another kind is refused."""
    rows = []
    for number in range(40):
        verdicts = [
            {
                "filter": "semantic_entropy",
                "marks": json.dumps({"entropy": number % 2 / 2}),
            }
        ]
        for _ in range(2):
            row = {"question": f"What is {number} ?", "reply": "a red pen"}
            rows.append({**row, "meta": {"verdicts": verdicts}})
    data = write(tmp_path / "rows.jsonl", rows)
    told = finetune(
        *("entropy-probe", "--input", data, "--model", tiny.causal()),
        *("--output", tmp_path / "probe", "--layer", 1),
    )
    assert "uncertain from entropy 0.250 on (0.500 of them), layer 1" in told
    for row in rows:
        del row["meta"]
    result = CliRunner().invoke(
        main,
        [
            *("entropy-probe", "--input", str(write(data, rows))),
            *("--model", tiny.causal(), "--output", str(tmp_path / "other")),
            *("--entropy", "length"),
        ],
    )
    assert "found the filter length; wanted semantic_entropy" in result.output


# Draws of two questions, one of which is answered in five ways.
MADE = [
    {"prompt": asked, "reply": f"{asked} {number * waver}"}
    for asked, waver in (("What is 1 ?", 0), ("What is 2 ?", 1))
    for number in range(5)
]


def test_a_label_in_words_is_what_it_says():
    told = {"prompt": "a", "reply": "b"}
    assert _is_right({**told, "right": "false"}, "here") is False
    assert _is_right({**told, "right": None, "is_correct": 1}, "here") is True
    assert _is_right(told, "here") is None


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([{"text": "a"}], "columns text"),
        ([{"question": "a", "reply": "b"}], "one row a question"),
        (
            [{"question": "a", "reply": "b"}] * 3,
            "questions of one and the same entropy",
        ),
        (
            [*MADE[:9], {"prompt": None, "reply": "b"}],
            "row 10: found no question",
        ),
        ([*MADE[:9], {**MADE[9], "reply": None}], "row 10: found no reply"),
        (
            [{**row, "right": "perhaps"} for row in MADE],
            "rows.jsonl row 1 column right",
        ),
    ],
)
def test_rows_that_teach_nothing_are_refused(tmp_path, rows, fault):
    data = write(tmp_path / "rows.jsonl", rows)
    result = CliRunner().invoke(
        main,
        [
            *("entropy-probe", "--input", str(data)),
            *("--model", tiny.causal(), "--output", str(tmp_path / "probe")),
        ],
    )
    assert fault in result.output
    assert result.exit_code == 2


def test_a_model_that_is_no_decoder_is_refused(tmp_path):
    data = write(tmp_path / "rows.jsonl", MADE)
    with pytest.raises(WrongUse, match="which writes no text"):
        Reader(tiny.encoder("mlm"), "prompt", "plain")
    result = CliRunner().invoke(
        main,
        [
            *("entropy-probe", "--input", str(data)),
            *("--model", tiny.encoder("mlm"), "--output", str(tmp_path / "p")),
        ],
    )
    assert result.exit_code == 2, result.output


def test_a_part_whose_questions_are_all_certain_says_which_they_are(tmp_path):
    certain = [
        {"prompt": f"{n} ?", "completion": said}
        for n in range(10)
        for said in ("four", "four")
    ]
    uncertain = [{"prompt": "x ?", "completion": said} for said in "ab"]
    data = write(tmp_path / "rows.jsonl", [*certain, *uncertain])
    told = ["entropy-probe", "--input", str(data), "--model", tiny.causal()]
    result = CliRunner().invoke(main, [*told, "--output", str(tmp_path / "p")])
    assert result.exit_code == 2
    assert "rows.jsonl entropies: found rows " in result.output
    assert "which are all alike (0.0 in " in result.output
    assert "the cut between certain and uncertain is " in result.output
