"""Several losses, texts of the student, prompts and servers of teachers in one training: values by hand from whole models, and what
servers were asked."""

from __future__ import annotations

import json

import pytest
import torch

from finetune.losses.contrastive import Contrastive
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_privileged import HINT, ROWS
from tests.finetune.recipes.test_served_distill import distilled
from tests.finetune.teachers.scoring import Model, calls, scoring

ONE = [
    *("--per-device-train-batch-size", 8, "--learning-rate", 0),
    *("--max-steps", 1, "--disable-tqdm"),
    *("--logging-strategy", "steps", "--logging-steps", 1),
    *("--save-strategy", "steps"),
]
BOTH = ["--loss", "forward_kl=0.5", "--loss", "reverse_kl=3"]
WRITES = ["--on-policy", 1, "--new-tokens", 5]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("rows") / "rows.jsonl", ROWS)


def logged(data, output, *more):
    """What the only step of a training logged."""
    distilled(data, output, *ONE, *more)
    path = output / "checkpoints" / "checkpoint-1" / "trainer_state.json"
    return json.loads(path.read_text())["log_history"][0]


def sides(row, answer):
    """([tokens of the answer, vocabulary] of student and of teacher): each behind its own prompt, in float64."""
    prompts = (row["prompt"], f"a {row['hint']} {row['prompt']}")
    found = []
    for name, prompt in zip((tiny.causal(), tiny.other()), prompts, strict=True):  # fmt: skip
        model = Model(name)
        before, behind = (
            list(model.tokenizer(text, add_special_tokens=False)["input_ids"])
            for text in (prompt, answer)
        )
        ids = [*before, *behind, model.tokenizer.eos_token_id]
        found.append(model.logs(ids)[len(before) - 1 : -1])
    return found


def test_losses_share_what_a_server_says(data, tmp_path):
    """All tokens are asked for, once a row; the student's exits ask nobody."""
    losses = [*BOTH, "--loss", "multi_exit=0.1"]
    near = logged(data, tmp_path / "a", *losses, "--teacher", tiny.other())
    with scoring(tiny.other()) as server:
        by_url = ["--teacher-url", server.url, "--teacher-k", 400]
        far = logged(data, tmp_path / "b", *losses, *by_url)
        assert len(calls(server)) == 1 + 8
    names = ("forward_kl", "reverse_kl", "multi_exit")
    for name in (*names, "loss"):
        assert far[name] == pytest.approx(near[name], rel=1e-3)
    weights = zip(names, (0.5, 3, 0.1), strict=True)
    total = sum(weight * far[name] for name, weight in weights)
    assert far["loss"] == pytest.approx(total, rel=1e-4)


def test_losses_share_a_teacher_with_a_prompt_of_its_own(data, tmp_path):
    step = logged(data, tmp_path, *BOTH, "--teacher", tiny.other(), *HINT)
    pairs = [sides(row, row["completion"]) for row in ROWS]
    student, teacher = (torch.cat(side) for side in zip(*pairs, strict=True))
    forward = (teacher.exp() * (teacher - student)).sum(-1).mean()
    reverse = (student.exp() * (student - teacher)).sum(-1).mean()
    assert step["forward_kl"] == pytest.approx(float(forward), rel=1e-4)
    assert step["reverse_kl"] == pytest.approx(float(reverse), rel=1e-4)
    total = 0.5 * float(forward) + 3 * float(reverse)
    assert step["loss"] == pytest.approx(total, rel=1e-4)


def test_texts_of_two_authors_are_read_behind_the_teachers_prompt(tmp_path):
    rows = [
        {**row, "chosen": row["completion"], "rejected": "is a pen"}
        for row in ROWS
    ]
    data = write(tmp_path / "pairs.jsonl", rows)
    contrast = ["--loss", "contrastive", "--teacher", tiny.other(), *HINT]
    step = logged(data, tmp_path / "s", *contrast)
    total = 0.0
    for row in rows:
        for side in ("chosen", "rejected"):
            student, teacher = (logs[None] for logs in sides(row, row[side]))
            mask = torch.ones(student.shape[:2])
            author = torch.tensor([side == "chosen"])
            loss = Contrastive()(student, teacher, mask, by_teacher=author)
            total += float(loss) / len(rows)
    assert step["loss"] == pytest.approx(total, rel=1e-4)


def test_an_adaptive_share_writes_several_texts_that_a_server_scores(
    data, tmp_path
):
    """Rows that are held out are asked of nobody."""
    adapts = ["--schedule", "adaptive", "--hold-out", 0.25, *BOTH]
    several = [*WRITES, "--completions", 2]
    with scoring(tiny.other()) as server:
        by_url = ["--teacher-url", server.url]
        step = logged(data, tmp_path / "s", *adapts, *several, *by_url)
        # Six rows, two texts to each.
        assert len(calls(server)) == 1 + 12
        assert step["on_policy"] == 1
        assert 0 < step["teacher_overlap"] < 1
        none = logged(data, tmp_path / "t", *adapts, "--on-policy", 0, *by_url)
        assert len(calls(server)) == 1 + 12 + 1 + 6
    assert none["on_policy"] == 0
    assert none["held_out"] == step["held_out"]
