"""Rows held out: what is measured is what whole logits give, the best checkpoint is kept, and a training stops in time."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import torch

from finetune.data import rows
from finetune.data.tokens import tokenised
from finetune.students.load import load_student
from tests.conftest import rest_long, write
from tests.finetune.teachers.scoring import calls, scoring
from tests.finetune.test_train import finetune

FAST = [
    "--disable-tqdm",
    "--logging-strategy",
    "no",
    "--per-device-train-batch-size",
    4,
]
# All rows held out at once: TRL's loss is a mean over batches.
AT_ONCE = ["--per-device-eval-batch-size", 32]


def sums(numbers, wrong=0):
    """Rows of sums; the answers of some rows are wrong by so much."""
    return [
        {
            "prompt": f"{a} + {a % 3} =\n",
            "completion": f"first {a} + {a % 3} . #### {a + a % 3 + wrong}",
            "target": str(a + a % 3),
        }
        for a in numbers
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A student that knows sums, a teacher that knows them better, and rows."""
    out = tmp_path_factory.mktemp("held")
    write(out / "rows.jsonl", sums(range(16)))
    write(out / "held.jsonl", sums([2, *range(16, 21)]))
    # What is learnt there harms what was known.
    write(out / "wrong.jsonl", sums(range(30, 46), wrong=7))
    for name, steps in (("student", 12), ("teacher", 40)):
        run("sft", out, out / name, "--model", "scratch:tiny",
            "--max-steps", steps, "--learning-rate", 1e-2, held=None)  # fmt: skip
    return out


def run(command, made, output, *more, data="rows.jsonl", held="held.jsonl"):
    """What a training wrote down."""
    words = [command, "--data", made / data, "--output", output, *FAST]
    if held is not None:
        words += ["--held-out", made / held, *AT_ONCE]
    code, said = finetune(*words, *more)
    assert code == 0, said
    return json.loads((output / "train.json").read_text())


def logs_of(model, file):
    """Log-probabilities of each learnt token, and the tokens."""
    student, tokenizer = load_student(str(model))
    tables, labels = [], []
    for row in tokenised(rows.sft_rows(file), tokenizer, where="rows"):
        learnt = torch.tensor(row["labels"][1:])
        with torch.no_grad():
            logits = student(torch.tensor([row["input_ids"]])).logits[0, :-1]
        kept = logits[learnt != -100][:, : len(tokenizer)]
        tables.append(kept.double().log_softmax(-1))
        labels.append(learnt[learnt != -100])
    return torch.cat(tables), torch.cat(labels)


def loss_of(model, file):
    logs, labels = logs_of(model, file)
    return -float(logs.gather(1, labels[:, None]).mean())


def test_sft_measures_once_an_epoch_and_at_the_end(made, tmp_path):
    info = run("sft", made, tmp_path, "--model", made / "student",
               "--max-steps", 6)  # fmt: skip
    held = info["held_out"]
    assert [found["step"] for found in held["measured"]] == [4, 6]
    assert held["rows"] == 6
    # 2 + 2 stands on both sides.
    assert held["in_training"] == 1
    assert held["measured"][-1]["loss"] == pytest.approx(
        loss_of(tmp_path, made / "held.jsonl"), rel=1e-4
    )
    lines = (tmp_path / "held_out.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == held["measured"]
    assert "best" not in held


@pytest.mark.parametrize("command", rest_long(["sft", "distill"]))
def test_the_best_checkpoint_is_kept_and_a_worse_one_ends_it(
    made, tmp_path, command
):
    more = ["--teacher", made / "teacher", "--likelihood", 1]
    info = run(
        command,
        made,
        tmp_path,
        *(more if command == "distill" else []),
        *("--model", made / "teacher", "--learning-rate", 1e-2),
        *("--eval-steps", 1, "--keep-best", "--patience", 2),
        *("--max-steps", 12),
        data="wrong.jsonl",
    )
    losses = [found["loss"] for found in info["held_out"]["measured"]]
    best = info["held_out"]["best"]
    assert best["value"] == min(losses)
    assert best["kept"]
    assert best["measure"] == "loss"
    assert best["step"] == 1 + losses.index(min(losses))
    # Two that are worse, and it ends.
    assert info["steps"] == len(losses) == best["step"] + 2 < 12
    if command == "sft":
        assert loss_of(tmp_path, made / "held.jsonl") == pytest.approx(
            best["value"], rel=1e-4
        )
    assert not list((tmp_path / "checkpoints").glob("checkpoint-*"))


def test_distill_measures_divergence_agreement_and_entropies(made, tmp_path):
    info = run(
        "distill",
        made,
        tmp_path,
        *("--model", made / "student", "--teacher", made / "teacher"),
        *("--loss", "forward_kl", "--loss", "reverse_kl=0.5"),
        *("--on-policy", 1, "--new-tokens", 4, "--eval-steps", 0.5),
        *("--max-steps", 4, "--per-device-eval-batch-size", 4),
    )
    measured = info["held_out"]["measured"]
    assert [found["step"] for found in measured] == [2, 4]
    (ls, labels), (lt, _) = (
        logs_of(model, made / "held.jsonl")
        for model in (tmp_path, made / "teacher")
    )
    kl = float((lt.exp() * (lt - ls)).sum(-1).mean())
    wanted = {
        "kl": kl,
        "forward_kl": kl,
        "reverse_kl": float((ls.exp() * (ls - lt)).sum(-1).mean()),
        "cross_entropy": -float(ls.gather(1, labels[:, None]).mean()),
        "agreement": float((ls.argmax(-1) == lt.argmax(-1)).double().mean()),
        "entropy": -float((ls.exp() * ls).sum(-1).mean()),
        "teacher_entropy": -float((lt.exp() * lt).sum(-1).mean()),
    }
    for name, value in wanted.items():
        assert measured[-1][name] == pytest.approx(value, rel=1e-3), name


@pytest.mark.parametrize(
    "more",
    [
        ["--loss", "taid", "--on-policy", 0.5, "--new-tokens", 4],
        ["--weigh", "reinforced"],
    ],
)
def test_measuring_changes_nothing_of_what_is_learnt(made, tmp_path, more):
    """On-policy texts, TAID's place and the choice of teachers are those of a training that measures nothing."""
    words = [
        *("--model", made / "student", "--teacher", made / "teacher"),
        *("--max-steps", 5, "--learning-rate", 1e-3, *more),
    ]
    if "reinforced" in more:
        words += ["--teacher", made / "student"]
    run("distill", made, tmp_path / "one", *words, held=None)
    run("distill", made, tmp_path / "two", *words, "--eval-steps", 1)
    one, two = (
        load_student(str(tmp_path / name))[0].state_dict()
        for name in ("one", "two")
    )
    for name, weight in one.items():
        assert torch.equal(weight, two[name]), name


def test_rows_are_answered_as_evaluate_answers_them(made, tmp_path):
    info = run(
        "sft",
        made,
        tmp_path / "s",
        *("--model", made / "teacher", "--max-steps", 2),
        *("--keep-best", "exact_match", "--measure-rows", 5),
        *("--measure-tokens", 16),
        held="rows.jsonl",
        data="wrong.jsonl",
    )
    code, said = finetune(
        "evaluate",
        *("--data", made / "rows.jsonl", "--model", tmp_path / "s"),
        *("--output", tmp_path / "e", "--limit", 5, "--max-new-tokens", 16),
    )
    assert code == 0, said
    found = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    measured = info["held_out"]["measured"][-1]
    share = found["exact_match"]["share"]
    assert measured["exact_match"] == share > 0
    line = (tmp_path / "s" / "held_out.jsonl").read_text().splitlines()[-1]
    samples = json.loads(line)["samples"]
    assert len(samples) == 5
    assert sum(sample["right"] for sample in samples) / 5 == share
    assert samples[0]["target"] == "0"


def test_a_teacher_on_disk_knows_the_rows_held_out_or_refuses(made, tmp_path):
    both = write(tmp_path / "both.jsonl", sums(range(21)))
    words = ["--model", made / "student", "--max-steps", 1]
    for name, data in (("part", made / "rows.jsonl"), ("whole", both)):
        code, said = finetune(
            "teach",
            *("--data", data, "--teacher", made / "teacher"),
            *("--output", tmp_path / name),
        )
        assert code == 0, said
    info = run("distill", made, tmp_path / "s", *words,
               "--offline", tmp_path / "whole")  # fmt: skip
    measured = info["held_out"]["measured"][-1]
    assert measured["kl"] == pytest.approx(measured["top_k"], rel=1e-5)
    code, said = finetune(
        "distill",
        *words,
        *("--data", made / "rows.jsonl", "--held-out", made / "held.jsonl"),
        *("--offline", tmp_path / "part", "--output", tmp_path / "n"),
    )
    assert code == 2
    assert "teach" in said


def test_a_teacher_reads_its_own_prompts_of_rows_held_out(made, tmp_path):
    info = run(
        "distill",
        made,
        tmp_path,
        *("--model", made / "student", "--teacher", made / "teacher"),
        *("--teacher-prompt", "#### {{ target }} {{ prompt }}"),
        *("--max-steps", 1),
    )
    assert info["held_out"]["measured"][-1]["kl"] > 0


@pytest.mark.parametrize("method", rest_long(["dpo", "kto", "cpo", "orpo"]))
def test_preferences_are_measured_and_the_best_is_kept(made, tmp_path, method):
    sides = (("chosen", ""), ("rejected", " ."))
    pairs = [
        {
            "prompt": row["prompt"],
            **{name: row["completion"] + more for name, more in sides},
        }
        for row in sums(range(12))
    ]
    if method == "kto":
        pairs = [
            {"prompt": row["prompt"], "completion": row[name], "label": right}
            for row in pairs
            for name, right in (("chosen", True), ("rejected", False))
        ]
    write(made / f"{method}.jsonl", pairs[:8])
    write(made / f"{method}_held.jsonl", pairs[8:])
    info = run(
        method,
        made,
        tmp_path,
        *("--model", made / "student", "--max-steps", 3, "--keep-best"),
        data=f"{method}.jsonl",
        held=f"{method}_held.jsonl",
    )
    held = info["held_out"]
    assert held["rows"] == len(pairs) - 8
    losses = [found["loss"] for found in held["measured"]]
    assert held["best"]["value"] == min(losses)
    assert held["best"]["kept"]


def test_rows_of_one_text_are_measured_beside_pairs(made, tmp_path):
    pairs = [
        {
            "prompt": row["prompt"],
            "chosen": row["completion"],
            "rejected": "first",
        }
        for row in sums(range(8))
    ]
    write(made / "texts.jsonl", pairs)
    info = run(
        "distill",
        made,
        tmp_path,
        *("--model", made / "student", "--teacher", made / "teacher"),
        *("--loss", "contrastive", "--max-steps", 2, "--keep-best", "kl"),
        data="texts.jsonl",
    )
    measured = info["held_out"]["measured"][-1]
    assert measured["kl"] > 0
    assert "contrastive" not in measured


def test_a_teacher_behind_a_server_is_asked_about_rows_held_out(made, tmp_path):
    with scoring(str(made / "teacher")) as server:
        info = run(
            "distill",
            made,
            tmp_path,
            *("--model", made / "student", "--max-steps", 2),
            *("--teacher-url", server.url, "--teacher-k", 12),
        )
        # A probe, 16 rows and of 6 held out those that are none of them.
        asked = len(calls(server))
    assert asked == 1 + 16 + 5
    measured = info["held_out"]["measured"]
    assert measured[-1]["kl"] == pytest.approx(measured[-1]["top_k"], rel=1e-5)


@pytest.mark.long
def test_two_processes_measure_and_choose_as_one(made, tmp_path):
    words = [
        *("sft", "--data", made / "wrong.jsonl", "--model", made / "teacher"),
        *("--held-out", made / "rows.jsonl", "--measure", "exact_match"),
        *("--measure-rows", 2, "--measure-tokens", 8, "--keep-best", "loss"),
        *("--learning-rate", 1e-2, "--max-steps", 3, "--eval-steps", 1),
        *("--disable-tqdm", "--per-device-eval-batch-size", 8),
    ]
    for count in (1, 2):
        words += ["--processes", count, "--output", tmp_path / str(count)]
        words += ["--per-device-train-batch-size", 4 // count]
        done = subprocess.run(
            [sys.executable, "-m", "finetune.cli", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    one, two = (
        json.loads((tmp_path / name / "train.json").read_text())["held_out"]
        for name in ("1", "2")
    )
    assert one["best"]["step"] == two["best"]["step"]
    for mine, theirs in zip(one["measured"], two["measured"], strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
        assert mine["exact_match"] == theirs["exact_match"]
    lines = (tmp_path / "2" / "held_out.jsonl").read_text().splitlines()
    assert len(lines) == 3


def test_an_encoder_decoder_is_measured_too(made, tmp_path):
    info = run(
        "sft",
        made,
        tmp_path,
        *("--model", "scratch:t5-tiny", "--max-steps", 2),
        *("--measure", "exact_match", "--measure-rows", 2),
        *("--measure-tokens", 3),
    )
    assert set(info["held_out"]["measured"][-1]) == {
        "step",
        "epoch",
        "loss",
        "exact_match",
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sft", "--keep-best", "loss"], "no --held-out"),
        (["sft", "--eval-steps", "3"], "Give --held-out FILE too"),
        (["sft", "--load-best-model-at-end"], "--keep-best MEASURE"),
        (["sft", "--held-out", "HELD", "--keep-best", "kl"], "one of loss"),
        (["sft", "--held-out", "ROWS"], "all stand in the training rows"),
        (["sft", "--held-out", "/no/such/file"], "no such file"),
        (
            ["sft", "--held-out", "WRONG", "--measure", "exact_match"],
            "--held-out .*columns",
        ),
        (
            [
                *("distill", "--held-out", "HELD", "--teacher", "t"),
                *("--on-policy", "1", "--loss", "minillm"),
                *("--keep-best", "loss"),
            ],
            "no measure of this training",
        ),
        (
            [
                *("distill", "--held-out", "HELD", "--loss", "multi_exit"),
                *("--keep-best", "kl"),
            ],
            "no measure of this training",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(made, tmp_path, words, says):
    bare = [{"prompt": f"{n}\n", "completion": f"{n}"} for n in range(3)]
    files = {
        "HELD": made / "held.jsonl",
        "ROWS": made / "rows.jsonl",
        "WRONG": write(tmp_path / "bare.jsonl", bare),
    }
    code, said = finetune(
        *(files.get(word, word) for word in words),
        *("--data", made / "rows.jsonl", "--model", made / "student"),
        *("--output", tmp_path / "x"),
    )
    assert code == 2, said
    assert re.search(says, said), said


@pytest.mark.slow
@pytest.mark.parametrize("objective", rest_long(["weighted", "unlikelihood"]))
def test_rows_with_weights_are_measured_by_their_objective(
    made, tmp_path, objective
):
    """The value by hand: the mean over the rows of weight times the mean of a row's tokens."""
    weights = [1.0, 0.5, 2.0, 1.0, 0.25, 1.0]
    for name, source in (("rows", range(16)), ("held", [2, *range(16, 21)])):
        given = [
            {**row, "weight": weights[n % 6]}
            for n, row in enumerate(sums(source))
        ]
        write(tmp_path / f"{name}.jsonl", given)
    info = run(
        *("sft", tmp_path, tmp_path / "out", "--model", made / "student"),
        *("--objective", objective, "--learning-rate", 0, "--max-steps", 1),
    )
    (found,) = info["held_out"]["measured"]
    losses = []
    for row in sums([2, *range(16, 21)]):
        file = write(tmp_path / "one.jsonl", [row])
        losses.append(loss_of(made / "student", file))
    wanted = sum(w * one for w, one in zip(weights, losses, strict=True)) / 6
    assert found["loss"] == pytest.approx(wanted, abs=1e-4)
    assert info["held_out"]["rows"] == 6


def test_tasks_that_are_not_learnt_are_not_measured(made, tmp_path):
    for name, task in (("rows", "say"), ("held", "sing")):
        write(
            tmp_path / f"{name}.jsonl",
            [{**row, "task": task} for row in sums(range(3, 6))],
        )
    code, said = finetune(
        *("sft", "--data", tmp_path / "rows.jsonl", *FAST),
        *("--held-out", tmp_path / "held.jsonl", "--max-steps", 1),
        *("--model", made / "student", "--output", tmp_path / "out"),
    )
    assert code == 2
    # All three prompts stand in the training rows, which is said first.
    assert "--held-out" in said
    write(
        tmp_path / "held.jsonl",
        [{**row, "task": "sing"} for row in sums(range(30, 33))],
    )
    code, said = finetune(
        *("sft", "--data", tmp_path / "rows.jsonl", *FAST),
        *("--held-out", tmp_path / "held.jsonl", "--max-steps", 1),
        *("--model", made / "student", "--output", tmp_path / "out"),
    )
    assert code == 2
    assert "task = 'sing'" in said


@pytest.mark.slow
def test_how_much_a_teacher_counts_is_measured_too(made, tmp_path):
    """Rows whose teacher counts nothing add nothing to the loss; divergence and agreement are those of all tokens."""
    given = [
        {**row, "teacher_weight": float(n % 2)}
        for n, row in enumerate(sums([2, *range(16, 21)]))
    ]
    write(tmp_path / "held.jsonl", given)
    write(tmp_path / "odd.jsonl", sums([16, 18, 20]))
    write(tmp_path / "rows.jsonl", sums(range(16)))
    more = ["--model", made / "student", "--teacher", made / "teacher"]
    more += ["--learning-rate", 0, "--max-steps", 1]
    whole = run("distill", tmp_path, tmp_path / "a", *more)
    plain = run("distill", made, tmp_path / "b", *more)
    odd = run("distill", tmp_path, tmp_path / "c", *more, held="odd.jsonl")
    found, same, part = (
        info["held_out"]["measured"][-1] for info in (whole, plain, odd)
    )
    assert found["kl"] == pytest.approx(same["kl"], abs=1e-6)
    assert found["agreement"] == pytest.approx(same["agreement"])
    logs, _ = logs_of(made / "student", tmp_path / "held.jsonl")
    count, _ = logs_of(made / "student", tmp_path / "odd.jsonl")
    assert found["loss"] == pytest.approx(
        part["forward_kl"] * len(count) / len(logs), rel=1e-4
    )
