"""Self-distillation with a privileged context: the teacher's prompt tells more than the student's, in process, by URL, on disk and
on-policy; the student may be its own teacher."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from finetune.kernels.hidden_states import expose_hidden
from finetune.students.load import load_student
from finetune.teachers.own import OwnTeacher
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_served_distill import (
    QUIET,
    STILL,
    WHOLE,
    distilled,
    loss_in,
)
from tests.finetune.teachers.scoring import Model, calls, scoring
from tests.finetune.test_train import finetune

HINT = ["--teacher-prompt", "a {{ hint }} {{ prompt }}"]
ROWS = [
    {"prompt": f"What is {n} ?\n", "completion": f"it is a {fact}", "hint": fact}
    for n, fact in enumerate(tiny.FACTS)
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("rows") / "rows.jsonl", ROWS)


def by_hand(teacher):
    """Mean forward KL over the answers' tokens: each side behind its own prompt, from whole logits in float64."""
    one, two = Model(tiny.causal()), Model(teacher)
    total, count = 0.0, 0

    def encode(text):
        ids = one.tokenizer(text, add_special_tokens=False)["input_ids"]
        return list(ids)

    for row in ROWS:
        answer = [*encode(row["completion"]), one.tokenizer.eos_token_id]
        prompts = (row["prompt"], f"a {row['hint']} {row['prompt']}")
        student, other = (
            model.logs([*encode(prompt), *answer])[len(encode(prompt)) - 1 : -1]
            for model, prompt in zip((one, two), prompts, strict=True)
        )
        total += float((other.exp() * (other - student)).sum())
        count += len(answer)
    return total / count


def encoded(tokenizer, text):
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def states(model, tokenizer, prompt, answer):
    """Hidden states of the last layer in float64 where the answer's tokens are predicted."""
    ids = [*encoded(tokenizer, prompt), *answer]
    with torch.no_grad():
        shown = model(torch.tensor([ids]), output_hidden_states=True)
    first = len(ids) - len(answer)
    return shown.hidden_states[-1][0, first - 1 : -1].double()


def test_hidden_states_are_compared_behind_both_prompts(data, tmp_path):
    one, tokenizer = load_student(tiny.causal())
    two, _ = load_student(tiny.other())
    total, count = 0.0, 0
    for row in ROWS:
        answer = encoded(tokenizer, row["completion"])
        answer.append(tokenizer.eos_token_id)
        ours = states(one.eval(), tokenizer, row["prompt"], answer)
        hinted = f"a {row['hint']} {row['prompt']}"
        theirs = states(two.eval(), tokenizer, hinted, answer)
        unit = [
            side / side.norm(dim=-1, keepdim=True) for side in (ours, theirs)
        ]
        total += float((unit[0] - unit[1]).pow(2).mean(dim=-1).sum())
        count += len(answer)
    wanted = total / count
    loss = ["--loss", "hidden_mse:normalise=true"]
    more = ["--teacher", tiny.other(), *HINT]
    distilled(data, tmp_path / "a", *STILL, *loss, *WHOLE, *more)
    assert loss_in(tmp_path / "a") == pytest.approx(wanted, rel=1e-4)
    small = ["--per-device-train-batch-size", 2]
    more += ["--gradient-accumulation-steps", 4]
    distilled(data, tmp_path / "b", *STILL, *loss, *small, *more)
    assert loss_in(tmp_path / "b") == pytest.approx(wanted, rel=1e-4)


@pytest.mark.long
def test_the_loss_is_that_behind_both_prompts_wherever_the_teacher_is(
    data, tmp_path
):
    wanted = by_hand(tiny.other())
    plain = ["--teacher", tiny.other()]
    kl = [*STILL, "--loss", "forward_kl"]
    distilled(data, tmp_path / "a", *kl, *WHOLE, *plain, *HINT)
    assert loss_in(tmp_path / "a") == pytest.approx(wanted, rel=1e-4)
    small = ["--per-device-train-batch-size", 2]
    more = ["--gradient-accumulation-steps", 4]
    distilled(data, tmp_path / "b", *kl, *small, *more, *plain, *HINT)
    assert loss_in(tmp_path / "b") == pytest.approx(wanted, rel=1e-4)
    with scoring(tiny.other()) as server:
        by_url = ["--teacher-url", server.url, "--teacher-k", 400]
        distilled(data, tmp_path / "c", *kl, *WHOLE, *by_url, *HINT)
    assert loss_in(tmp_path / "c") == pytest.approx(wanted, rel=1e-4)
    told = ["--data", data, "--output", tmp_path / "cache", "--k", 400]
    code, said = finetune("teach", *told, *plain, *HINT)
    assert code == 0, said
    offline = ["--offline", tmp_path / "cache"]
    distilled(data, tmp_path / "d", *kl, *WHOLE, *offline)
    assert loss_in(tmp_path / "d") == pytest.approx(wanted, abs=1e-3)
    code, said = finetune("teach", *told, *plain)
    assert code == 2
    assert "Take another folder" in said


def test_a_teacher_reads_its_own_prompt_before_what_the_student_writes(
    data, tmp_path
):
    own = ["--on-policy", 1, "--new-tokens", 4, "--loss", "reverse_kl"]
    with scoring(tiny.other()) as server:
        by_url = ["--teacher-url", server.url]
        distilled(data, tmp_path, *STILL, *WHOLE, *by_url, *own, *HINT)
        decode = load_student(tiny.causal())[1].decode
        asked = [decode(body["prompt"]) for body in calls(server)[1:]]
    starts = {f"a {row['hint']} What is {n}" for n, row in enumerate(ROWS)}
    assert len(asked) == len(ROWS)
    assert {start for start in starts for text in asked if text.startswith(start)} == starts  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        ["self:ema"],
        pytest.param(["self:base"], marks=pytest.mark.long),
        pytest.param(["self:live"], marks=pytest.mark.long),
        pytest.param(["self:live", "--lora", "r=2"], marks=pytest.mark.long),
    ],
)
def test_a_student_before_its_first_step_is_what_it_was(data, tmp_path, more):
    wanted = by_hand(tiny.causal())
    assert wanted > 1e-3
    kl = [*STILL, *WHOLE, "--loss", "forward_kl", *HINT]
    distilled(data, tmp_path, *kl, "--teacher", *more)
    assert loss_in(tmp_path) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.long
def test_a_context_is_learnt_from_the_student_itself(data, tmp_path):
    """Context distillation: the loss falls to a fraction while the teacher stays what it was."""
    fast = [*QUIET, *WHOLE, "--learning-rate", "1e-2", "--max-steps", 40]
    fast += ["--loss", "forward_kl", *HINT, "--teacher"]
    distilled(data, tmp_path / "s", *fast, "self:base")
    student, tokenizer = load_student(str(tmp_path / "s"))
    student.save_pretrained(tmp_path / "again")
    tokenizer.save_pretrained(tmp_path / "again")
    rest = [*STILL, *WHOLE, "--loss", "forward_kl", *HINT]
    options = ["--data", data, "--model", tmp_path / "again"]
    options += ["--output", tmp_path / "t", "--teacher", tiny.causal()]
    code, said = finetune("distill", *options, *rest)
    assert code == 0, said
    assert loss_in(tmp_path / "t") < 0.2 * by_hand(tiny.causal())


def test_the_mean_moves_by_its_rate():
    model, tokenizer = load_student(tiny.causal())
    teacher = OwnTeacher(model, len(tokenizer), 0.25)
    expose_hidden(model)
    before = [one.detach().clone() for one in model.parameters()]
    with torch.no_grad():
        for one in model.parameters():
            one.add_(1.0)
    batch = {"input_ids": torch.tensor([[5, 6, 7]])}
    live = OwnTeacher(model, len(tokenizer), None)
    place = torch.tensor([1])
    far = live.says(batch)(place) - teacher.says(batch)(place)
    teacher.on_step_end(None, None, None, model=model)
    for old, mean in zip(before, teacher.model.parameters(), strict=True):
        assert torch.allclose(mean, old + 0.25)
    assert far.abs().max() > 0
    for _ in range(60):
        teacher.on_step_end(None, None, None, model=model)
    near = live.says(batch)(place) - teacher.says(batch)(place)
    assert near.abs().max() < 1e-3


def test_a_checkpoint_without_its_mean_is_refused(tmp_path):
    model, tokenizer = load_student(tiny.causal())
    teacher = OwnTeacher(model, len(tokenizer), 0.25)
    args = SimpleNamespace(
        device="cpu", output_dir=tmp_path, resume_from_checkpoint=tmp_path
    )
    state = SimpleNamespace(global_step=3, is_world_process_zero=True)
    with pytest.raises(ValueError, match="self:ema"):
        teacher.on_train_begin(args, state, None)
    (tmp_path / "checkpoint-3").mkdir()
    teacher.on_save(args, state, None)
    args.resume_from_checkpoint = tmp_path / "checkpoint-3"
    other = OwnTeacher(load_student(tiny.other())[0], len(tokenizer), 0.25)
    other.on_train_begin(args, state, None)
    for one, two in zip(
        teacher.model.parameters(), other.model.parameters(), strict=True
    ):
        assert (one == two).all()


@pytest.mark.long
def test_an_interrupted_training_goes_on_with_the_same_mean(data, tmp_path):
    base = ["--loss", "reverse_kl", "--learning-rate", "1e-2", *HINT, *WHOLE]
    base += ["--max-steps", 6, "--save-strategy", "steps", "--save-steps", 3]
    base += ["--teacher", "self:ema=0.2", "--disable-tqdm"]
    base += ["--logging-strategy", "steps", "--logging-steps", 1]
    distilled(data, tmp_path / "whole", *base)
    middle = tmp_path / "whole" / "checkpoints" / "checkpoint-3"
    distilled(
        data, tmp_path / "again", *base, "--resume-from-checkpoint", middle
    )
    last = []
    for name in ("whole", "again"):
        path = tmp_path / name / "checkpoints" / "checkpoint-6"
        text = (path / "trainer_state.json").read_text()
        last.append([one["loss"] for one in json.loads(text)["log_history"]])
    assert last[0] == pytest.approx(last[1], rel=1e-4)
    assert last[0][-1] != last[0][0]


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--teacher", "self:live"], "no --teacher-prompt"),
        (["--teacher", "self:ema"], "no --teacher-prompt"),
        (["--teacher", "self:soon", *HINT], "self:base, self:live"),
        (["--teacher", "self:ema=2", *HINT], "self:ema=RATE"),
        (["--teacher", "self:live", "--teacher", "other", *HINT], "alone"),
        (["--teacher", "self:live", "--loss", "uld", *HINT], "another loss"),
        (["--teacher", "self:ema", "--lora", *HINT], "self:live or self:base"),
        (["--teacher", "x", "--loss", "uld", *HINT], "student's tokenizer"),
        (["--teacher", "x", "--loss", "minilm", *HINT], "place by place"),
        (
            ["--teacher", "self:live", "--loss", "hidden_mse", *HINT],
            "stays as it is",
        ),
        (["--offline", "x", *HINT], "finetune teach"),
        (["--teacher", "x", "--teacher-prompt", "{{ gold }}"], "'gold'"),
    ],
)
def test_what_does_not_go_together_is_refused(data, tmp_path, more, word):
    assert word in distilled(data, tmp_path, *more, wanted=2)


def test_one_prompt_with_two_contexts_is_refused_where_students_write(tmp_path):
    rows = [{**row, "prompt": "What ?\n"} for row in ROWS[:2]]
    data = write(tmp_path / "rows.jsonl", rows)
    own = ["--on-policy", 1, "--teacher", tiny.other(), *HINT]
    said = distilled(data, tmp_path / "s", *own, wanted=2)
    assert "rows 1 and 2" in said
    assert "prompts of the teacher" in said
