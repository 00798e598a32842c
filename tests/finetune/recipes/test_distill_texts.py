"""Losses of whole texts through the command: pairs of teacher and student, texts drawn from a mixture of both."""

from __future__ import annotations

import random

import pytest
import torch

from finetune.data import rows
from finetune.data.tokens import tokenised
from finetune.students.load import load_student
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_distill_layers import (
    ONE_BATCH,
    ROWS,
    distilled,
    refused,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("rows") / "rows.jsonl", ROWS)


PAIRS = [
    {
        "prompt": row["prompt"],
        "chosen": row["completion"],
        "rejected": f" it is {' '.join(['the dog'] * (1 + n % 4))}",
    }
    for n, row in enumerate(ROWS)
]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", PAIRS)


def both_parts(pairs, alpha=0.1):
    """The mean over texts of the mean over tokens: KL(p, a p + (1 - a) q) of the teacher's texts, KL(q, a q +
    (1 - a) p) of the student's."""
    (student, tokenizer), (teacher, _) = map(
        load_student, (tiny.causal(), tiny.wide())
    )
    means = []
    for side in ("chosen", "rejected"):
        texts = (
            rows.preference_rows(str(pairs))
            .select_columns(["prompt", side])
            .rename_column(side, "completion")
        )
        values = []
        for row in tokenised(texts, tokenizer, where="rows"):
            learnt = torch.tensor(row["labels"][1:]) != -100
            with torch.no_grad():
                q, p = (
                    m(torch.tensor([row["input_ids"]]))
                    .logits[0, :-1][learnt]
                    .double()
                    .softmax(-1)
                    for m in (student, teacher)
                )
            one, two = (p, q) if side == "chosen" else (q, p)
            values.append(
                (one * (one / (alpha * one + (1 - alpha) * two)).log())
                .sum(-1)
                .mean()
            )
        means.append(float(torch.stack(values).mean()))
    return means


@pytest.mark.long
def test_pairs_are_pulled_up_and_pushed_down(pairs, tmp_path):
    up, down = both_parts(pairs)
    for loss, wanted in (
        ("contrastive", up + down),
        ("contrastive:beta=0.5", 1.5 * up + 0.5 * down),
    ):
        for batches in (
            ONE_BATCH,
            [
                "--per-device-train-batch-size",
                2,
                "--gradient-accumulation-steps",
                4,
            ],
        ):
            (log,) = distilled(pairs, tmp_path / "s", loss, more=batches)
            assert log["loss"] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.slow
def test_the_curriculum_moves_with_the_steps(pairs, tmp_path):
    steps = ["--learning-rate", 0, "--max-steps", 3]
    logs = distilled(
        pairs,
        tmp_path / "s",
        "contrastive:curriculum=true,beta_end=2",
        steps=steps,
        more=ONE_BATCH,
    )
    # Linear in beta, which goes from 1 to 2 by thirds; at its end nothing is left of the teacher's texts.
    first, second, third = (log["loss"] for log in logs)
    assert abs(first - second) > 1e-3
    assert second - first == pytest.approx(third - second, rel=1e-3)


LEARN = ["--learning-rate", "3e-3", "--max-steps", 12]


@pytest.mark.slow
def test_the_contrast_falls_on_pairs_and_the_student_may_write_its_side(
    pairs, data, tmp_path
):
    logs = distilled(
        pairs, tmp_path / "s", "contrastive", steps=LEARN, more=ONE_BATCH
    )
    assert logs[-1]["contrastive"] < 0.7 * logs[0]["contrastive"]
    own = ["--on-policy", 1, "--new-tokens", 6, *ONE_BATCH]
    logs = distilled(
        data,
        tmp_path / "o",
        "contrastive:curriculum=true",
        steps=LEARN,
        more=own,
    )
    assert logs[-1]["contrastive"] < 0.9 * logs[0]["contrastive"]


@pytest.mark.slow
def test_a_policy_comes_nearer_to_its_teacher_on_its_own_texts(data, tmp_path):
    own = [
        "--on-policy",
        1,
        "--new-tokens",
        6,
        "--teacher-share",
        0.2,
        *ONE_BATCH,
    ]
    # A loss of weight 0 measures, and moves nothing.
    losses = ("minillm", "reverse_kl=0")
    logs = distilled(
        data,
        tmp_path / "s",
        *losses,
        steps=["--learning-rate", "3e-3", "--max-steps", 16],
        more=own,
    )
    means = [
        sum(log["reverse_kl"] for log in part) / 4
        for part in (logs[:4], logs[-4:])
    ]
    assert means[1] < 0.8 * means[0]


@pytest.mark.slow
def test_rows_are_learnt_between_the_policys_own_texts(data, tmp_path):
    more = ["--on-policy", 0.5, "--new-tokens", 4, "--likelihood", 1]
    logs = distilled(
        data,
        tmp_path / "s",
        "minillm",
        steps=["--learning-rate", 0, "--max-steps", 6],
        more=more,
    )
    kinds = {("minillm" in log, "cross_entropy" in log) for log in logs}
    assert kinds == {(True, False), (False, True)}


ADAPTIVE = [
    "--schedule",
    "adaptive",
    "--hold-out",
    0.25,
    "--validate-every",
    1,
    "--new-tokens",
    4,
]


@pytest.mark.slow
def test_the_share_of_own_texts_follows_the_rows_held_out(data, tmp_path):
    still = ["--learning-rate", 0, "--max-steps", 2]
    (first, second) = distilled(
        data, tmp_path / "s", "forward_kl", steps=still, more=ADAPTIVE
    )
    model, tokenizer = load_student(tiny.causal())
    encoded = tokenised(rows.sft_rows(str(data)), tokenizer, where="rows")
    # Two of eight, drawn by the seed of the training.
    held = [encoded[n] for n in sorted(random.Random(42).sample(range(8), 2))]
    total = tokens = 0.0
    for row in held:
        labels = torch.tensor([row["labels"]])
        count = int((labels[:, 1:] != -100).sum())
        with torch.no_grad():
            total += count * float(
                model(torch.tensor([row["input_ids"]]), labels=labels).loss
            )
        tokens += count
    assert first["held_out"] == pytest.approx(total / tokens, rel=1e-4)
    assert first["held_out"] == second["held_out"]
    assert first["on_policy"] == second["on_policy"] == 0
    # A rate at which it gets worse.
    wild = [
        "--learning-rate",
        1,
        "--max-steps",
        6,
        "--optim",
        "sgd",
        "--max-grad-norm",
        0,
    ]
    logs = distilled(
        data, tmp_path / "w", "forward_kl", steps=wild, more=ADAPTIVE
    )
    lowest, wanted = logs[0]["held_out"], []
    share = 0.0
    for log in logs:
        if log["held_out"] >= lowest + 0.1:
            share, lowest = min(1.0, share + 0.1), log["held_out"]
        wanted.append(share)
    assert [log["on_policy"] for log in logs] == pytest.approx(wanted)
    assert share > 0


@pytest.mark.long
def test_an_adaptive_share_resumes(data, tmp_path):
    steps = [
        "--learning-rate",
        1,
        "--max-steps",
        6,
        "--save-steps",
        3,
        "--optim",
        "sgd",
        "--max-grad-norm",
        0,
    ]
    whole = distilled(
        data, tmp_path / "whole", "forward_kl", steps=steps, more=ADAPTIVE
    )
    resume = [
        "--resume-from-checkpoint",
        tmp_path / "whole" / "checkpoints" / "checkpoint-3",
    ]
    again = distilled(
        data,
        tmp_path / "again",
        "forward_kl",
        steps=steps,
        more=[*ADAPTIVE, *resume],
    )
    for name in ("loss", "held_out", "on_policy"):
        assert [log[name] for log in whole] == [log[name] for log in again]


@pytest.mark.long
@pytest.mark.parametrize("loss", ["contrastive:curriculum=true", "minillm"])
def test_trainings_on_own_texts_resume_to_the_same_losses(data, tmp_path, loss):
    steps = ["--learning-rate", "1e-3", "--max-steps", 4, "--save-steps", 2]
    own = ["--on-policy", 1, "--new-tokens", 6, "--teacher-share", 0.2]
    whole = distilled(data, tmp_path / "whole", loss, steps=steps, more=own)
    resume = [
        "--resume-from-checkpoint",
        tmp_path / "whole" / "checkpoints" / "checkpoint-2",
    ]
    again = distilled(
        data, tmp_path / "again", loss, steps=steps, more=[*own, *resume]
    )
    assert [log["loss"] for log in whole] == [log["loss"] for log in again]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--loss", "contrastive"], "--on-policy 1"),
        (["--loss", "contrastive", "--on-policy", 0.5], "--on-policy 1"),
        (
            ["--loss", "contrastive", "--on-policy", 1, "--loss", "rkd"],
            "that loss alone",
        ),
        (
            ["--loss", "contrastive", "--on-policy", 1, "--likelihood", 1],
            "that loss alone",
        ),
        (["--loss", "minillm"], "no --on-policy"),
        (["--loss", "minillm", "--on-policy", 1, "--replay", 2], "--replay"),
        (
            [
                "--loss",
                "minillm",
                "--on-policy",
                1,
                "--sampling-temperature",
                2,
            ],
            "--sampling-temperature",
        ),
        (["--loss", "jsd", "--teacher-share", 0.2], "--on-policy"),
        (["--schedule", "adaptive"], "--hold-out 0"),
        (["--hold-out", 0.1], "--schedule adaptive"),
        (["--schedule", "adaptive", "--hold-out", 0.01], "0 of 8 rows"),
    ],
)
def test_what_does_not_go_together_is_refused(data, tmp_path, words, says):
    assert says in refused(data, tmp_path / "s", words)


def preferred(pairs, beta, weight):
    """The mean over pairs of -ln sigmoid(beta x gap of the rewards), and the weighed reverse KL a token of the
    student's texts, from whole logits in float64."""
    (student, tokenizer), (teacher, _) = map(
        load_student, (tiny.causal(), tiny.wide())
    )
    rewards = {"chosen": [], "rejected": []}
    divergences = []
    for side, found in rewards.items():
        texts = (
            rows.preference_rows(str(pairs))
            .select_columns(["prompt", side])
            .rename_column(side, "completion")
        )
        for row in tokenised(texts, tokenizer, where="rows"):
            labels = torch.tensor(row["labels"][1:])
            learnt = labels != -100
            with torch.no_grad():
                q, p = (
                    m(torch.tensor([row["input_ids"]]))
                    .logits[0, :-1][learnt]
                    .double()
                    .log_softmax(-1)
                    for m in (student, teacher)
                )
            gaps = (q - p).gather(1, labels[learnt][:, None])
            found.append(gaps.mean())
            if side == "rejected":
                divergences.append((q.exp() * (q - p)).sum(-1))
    gap = torch.stack(rewards["chosen"]) - torch.stack(rewards["rejected"])
    lost = torch.nn.functional.softplus(-beta * gap).mean()
    return float(lost + weight * torch.cat(divergences).mean())


def test_the_teachers_text_is_preferred_to_the_students(pairs, tmp_path):
    wanted = preferred(pairs, 0.5, 0.2)
    loss = "dpkd_texts:beta=0.5,reverse_kl=0.2"
    (log,) = distilled(pairs, tmp_path / "s", loss, more=ONE_BATCH)
    assert log["loss"] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.slow
def test_a_preference_of_whole_texts_is_learnt(pairs, data, tmp_path):
    loss = "dpkd_texts:beta=1"
    logs = distilled(pairs, tmp_path / "s", loss, steps=LEARN, more=ONE_BATCH)
    assert logs[-1]["dpkd_texts"] < 0.9 * logs[0]["dpkd_texts"]
    own = ["--on-policy", 1, "--new-tokens", 6, *ONE_BATCH]
    logs = distilled(
        data, tmp_path / "o", f"{loss},reverse_kl=1", steps=LEARN, more=own
    )
    assert logs[-1]["dpkd_texts"] < logs[0]["dpkd_texts"]
