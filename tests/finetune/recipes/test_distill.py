"""Distillation through the trainer: the loss is that of brute force, whatever the batches, packing, processes or files between."""

from __future__ import annotations

import json

import pytest
import torch

import synth
from finetune.data.tokens import tokenised
from finetune.recipes.teach import best
from finetune.students import scratch
from synth.teachers.simulation.word_problems import make_problems
from tests.conftest import write
from tests.finetune.test_train import finetune
from tests.plugins.site_of_the_user import LOSSES

QUIET = [
    "--disable-tqdm",
    "--logging-strategy",
    "steps",
    "--logging-steps",
    "1",
    "--per-device-train-batch-size",
    "4",
]
STILL = [
    "--learning-rate",
    "0",
    "--max-steps",
    "1",
    "--dataloader-drop-last",
    "false",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, an open teacher and a student of the same tokenizer, and the teacher's cache."""
    out = tmp_path_factory.mktemp("kd")
    synth.run(
        "cot",
        make_problems(16, seed=6),
        teacher="simulated/perfect",
        output=out / "run",
    )
    fast = ["--max-steps", "15", "--learning-rate", "5e-3", *QUIET]
    assert (
        finetune(
            "sft",
            "--data",
            out / "run",
            "--model",
            "scratch:mini",
            "--output",
            out / "teacher",
            *fast,
        )[0]
        == 0
    )
    one = [
        "--data",
        out / "run",
        "--teacher",
        out / "teacher",
        "--output",
        out / "student",
    ]
    code, said = finetune("distill", *one, "--model", "scratch:tiny", *fast)
    assert code == 0, said
    code, said = finetune(
        "teach",
        "--data",
        out / "run",
        "--teacher",
        out / "teacher",
        "--output",
        out / "cache",
        "--k",
        400,
    )
    assert code == 0, said
    return out


def loss_of(made, out, *more, data=None, student="student"):
    """The loss of one step that learns nothing."""
    code, said = finetune(
        "distill",
        "--data",
        data or made / "run",
        "--model",
        made / student,
        "--output",
        out,
        *QUIET,
        *STILL,
        *more,
    )
    assert code == 0, said
    return json.loads((out / "train.json").read_text())["loss"]


def by_hand(made, formula, teacher="teacher", student="student"):
    """Mean over all learnt tokens, from whole logits in float64."""
    from finetune.data import rows
    from finetune.students.load import load_student

    (one, tokenizer), (two, _) = (
        load_student(str(made / name)) for name in (student, teacher)
    )
    values = []
    for row in tokenised(rows.sft_rows(made / "run"), tokenizer, where="rows"):
        ids, learnt = (
            torch.tensor([row["input_ids"]]),
            torch.tensor(row["labels"][1:]) != -100,
        )
        with torch.no_grad():
            logs = [
                model(ids)
                .logits[0, :-1][learnt][:, : len(tokenizer)]
                .double()
                .log_softmax(-1)
                for model in (one, two)
            ]
        values.append(formula(*logs))
    return float(torch.cat(values).mean())


def forward_kl(student, teacher):
    return (teacher.exp() * (teacher - student)).sum(-1)


@pytest.mark.slow
def test_a_step_has_the_loss_of_brute_force_in_any_batches(made, tmp_path):
    wanted = by_hand(made, forward_kl)
    assert wanted > 0.01
    teacher = ["--teacher", made / "teacher"]
    for more in (
        ["--gradient-accumulation-steps", 4],
        ["--per-device-train-batch-size", 16],
    ):
        found = loss_of(made, tmp_path / "s", *teacher, *more)
        assert found == pytest.approx(wanted, rel=1e-4)
    packed = loss_of(
        made,
        tmp_path / "s",
        *teacher,
        "--packing",
        "--per-device-train-batch-size",
        16,
        "--max-length",
        256,
    )
    assert packed == pytest.approx(wanted, rel=1e-4)
    half = by_hand(made, lambda ls, lt: (0.5 * lt.exp() * (lt - ((lt.exp() + ls.exp()) / 2).log())
                                         + 0.5 * ls.exp() * (ls - ((lt.exp() + ls.exp()) / 2).log())).sum(-1))  # fmt: skip
    assert loss_of(
        made,
        tmp_path / "s",
        *teacher,
        "--loss",
        "jsd",
        "--gradient-accumulation-steps",
        4,
    ) == pytest.approx(half, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["forward_kl", "uld"])
def test_every_weight_moves_as_brute_force_moves_it(made, tmp_path, loss):
    """One step of plain gradient descent through the trainer, and by whole logits and autograd."""
    from finetune.data import rows
    from finetune.students.load import load_student

    words = [
        "--data",
        made / "run",
        "--model",
        made / "student",
        "--teacher",
        made / "teacher",
        "--loss",
        loss,
        "--output",
        tmp_path / "s",
        *QUIET,
    ]
    plain = [
        "--max-steps",
        1,
        "--optim",
        "sgd",
        "--learning-rate",
        "0.5",
        "--max-grad-norm",
        0,
        "--lr-scheduler-type",
        "constant",
    ]
    code, said = finetune(
        "distill", *words, *plain, "--gradient-accumulation-steps", 4
    )
    assert code == 0, said
    (student, tokenizer), (teacher, _), (moved, _) = (
        load_student(str(place))
        for place in (made / "student", made / "teacher", tmp_path / "s")
    )
    values = []
    for row in tokenised(rows.sft_rows(made / "run"), tokenizer, where="rows"):
        ids, learnt = (
            torch.tensor([row["input_ids"]]),
            torch.tensor(row["labels"][1:]) != -100,
        )
        ls, lt = (
            model(ids)
            .logits[0, :-1][learnt][:, : len(tokenizer)]
            .log_softmax(-1)
            for model in (student, teacher)
        )
        lt = lt.detach()
        distance = lambda a, b: (  # noqa: E731
            (a.exp().sort(dim=-1).values - b.exp().sort(dim=-1).values)
            .abs()
            .sum(-1)
        )
        values.append(
            forward_kl(ls, lt)
            if loss == "forward_kl"
            else distance(ls, lt).mean()[None]
        )
    torch.cat(values).mean().backward()
    for (name, one), two in zip(
        student.named_parameters(), moved.parameters(), strict=True
    ):
        assert float(one.grad.norm()) > 0, name
        assert torch.allclose(one.detach() - 0.5 * one.grad, two, atol=2e-5), (
            name
        )


@pytest.mark.slow
def test_the_likelihood_is_added(made, tmp_path):
    more = ["--teacher", made / "teacher", "--gradient-accumulation-steps", 4]
    both = loss_of(
        made, tmp_path / "s", *more, "--likelihood", "0.5", "--strength", "0.25"
    )
    nll = loss_of(
        made, tmp_path / "s", *more, "--likelihood", "1", "--strength", "0"
    )
    assert both == pytest.approx(
        0.5 * nll + 0.25 * by_hand(made, forward_kl), rel=1e-4
    )


@pytest.mark.slow
def test_a_loss_of_the_users_own_trains_as_any_other(
    made, tmp_path, monkeypatch
):
    (tmp_path / "losses_of_theirs.py").write_text(LOSSES)
    monkeypatch.chdir(tmp_path)
    teacher = ("--teacher", made / "teacher", "--loss")
    once = loss_of(made, tmp_path / "once", *teacher, "reverse_kl")
    own = "losses_of_theirs:TwiceKl:factor=3"
    thrice = loss_of(made, tmp_path / "thrice", *teacher, own)
    assert thrice == pytest.approx(3 * once, rel=1e-5)


def test_words_on_disk_teach_what_the_teacher_teaches(made, tmp_path):
    more = ["--gradient-accumulation-steps", 4]
    wanted = by_hand(made, forward_kl)
    assert loss_of(
        made, tmp_path / "s", "--offline", made / "cache", *more
    ) == pytest.approx(wanted, abs=1e-3)
    packed = [
        "--packing",
        "--per-device-train-batch-size",
        16,
        "--max-length",
        256,
    ]
    assert loss_of(
        made, tmp_path / "s", "--offline", made / "cache", *packed
    ) == pytest.approx(wanted, abs=1e-3)
    write(
        tmp_path / "other.jsonl",
        [{"prompt": "Ann has 7 coins .\n", "completion": "#### 9"}],
    )
    code, said = finetune("distill", "--data", tmp_path / "other.jsonl", "--model", made / "student", "--offline", made / "cache",
                          "--output", tmp_path / "s", *QUIET, *STILL)  # fmt: skip
    assert code == 2
    assert "no row of these" in said


@pytest.mark.slow
def test_on_policy_steps_do_not_look_at_the_rows_answers(made, tmp_path):
    rows = [
        {
            "prompt": f"Sam has {n} coins . how many coins now ?\n",
            "completion": "#### 7",
        }
        for n in range(8)
    ]
    losses = []
    for name, more in (
        ("a", ""),
        (
            "b",
            " and a long tale of how it came to be so , which nobody asked for",
        ),
    ):
        write(
            tmp_path / f"{name}.jsonl",
            [{**row, "completion": row["completion"] + more} for row in rows],
        )
        options = [
            "--teacher",
            made / "teacher",
            "--on-policy",
            1,
            "--new-tokens",
            12,
            "--gradient-accumulation-steps",
            2,
        ]
        losses.append(
            loss_of(
                made, tmp_path / "s", *options, data=tmp_path / f"{name}.jsonl"
            )
        )
    assert losses[0] == losses[1] > 0


@pytest.mark.slow
def test_a_teacher_with_a_padded_vocabulary_teaches_the_same_and_another_tokenizer_is_refused(
    made, tmp_path
):
    from finetune.students.load import load_student

    model, tokenizer = load_student(str(made / "teacher"))
    model.resize_token_embeddings(len(tokenizer) + 60, mean_resizing=False)
    model.save_pretrained(tmp_path / "wide")
    tokenizer.save_pretrained(tmp_path / "wide")
    found = loss_of(
        made,
        tmp_path / "s",
        "--teacher",
        tmp_path / "wide",
        "--gradient-accumulation-steps",
        4,
    )
    assert found == pytest.approx(by_hand(made, forward_kl), rel=1e-4)
    model, tokenizer = scratch.build("scratch:tiny", ["quite other words"], 0)
    model.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    code, said = finetune(
        "distill",
        "--data",
        made / "run",
        "--model",
        made / "student",
        "--teacher",
        tmp_path / "other",
        "--output",
        tmp_path / "s",
    )
    assert code == 2
    assert "--loss uld" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss", ["taid", pytest.param("jsd", marks=pytest.mark.long)]
)
def test_an_interrupted_training_resumes_to_the_same_losses(
    made, tmp_path, loss
):
    logs = []
    base = ["--data", made / "run", "--model", made / "student", "--teacher", made / "teacher", "--loss", loss, *QUIET, "--learning-rate", "1e-3",
            "--max-steps", 8, "--save-strategy", "steps", "--save-steps", 4, "--on-policy", "0.5", "--new-tokens", 8]  # fmt: skip
    for name, more in (
        ("whole", []),
        (
            "again",
            [
                "--resume-from-checkpoint",
                tmp_path / "whole" / "checkpoints" / "checkpoint-4",
            ],
        ),
    ):
        code, said = finetune(
            "distill", *base, "--output", tmp_path / name, *more
        )
        assert code == 0, said
        state = json.loads(
            (
                tmp_path
                / name
                / "checkpoints"
                / "checkpoint-8"
                / "trainer_state.json"
            ).read_text()
        )
        logs.append(
            [entry["loss"] for entry in state["log_history"] if "loss" in entry]
        )
    assert len(logs[0]) == 8
    assert logs[0] == logs[1]
    one, two = (
        torch.load(
            tmp_path / name / "checkpoints" / "checkpoint-8" / "optimizer.pt"
        )
        for name in ("whole", "again")
    )
    assert all(
        torch.equal(one["state"][n]["exp_avg"], two["state"][n]["exp_avg"])
        for n in one["state"]
    )


@pytest.mark.slow
def test_several_teachers_are_one_mixture(made, tmp_path):
    more = [
        "--teacher",
        made / "teacher",
        "--teacher",
        made / "student",
        "--gradient-accumulation-steps",
        4,
    ]
    wanted = by_hand(
        made,
        lambda ls, lt: forward_kl(
            ls, (0.75 * lt.exp() + 0.25 * ls.exp()).log()
        ),
    )
    assert loss_of(
        made, tmp_path / "s", *more, "--teacher-weights", "3,1"
    ) == pytest.approx(wanted, rel=1e-3)
    trusting = loss_of(made, tmp_path / "s", *more, "--weigh", "agreement")
    assert 0 < trusting < by_hand(made, forward_kl)
    assert (
        0
        < loss_of(made, tmp_path / "s", *more, "--weigh", "reinforced")
        <= by_hand(made, forward_kl) + 1e-3
    )
    code, _ = finetune(
        "distill",
        "--data",
        made / "run",
        "--model",
        made / "student",
        "--output",
        tmp_path / "s",
        *more,
        "--teacher-weights",
        "1",
    )
    assert code == 2


@pytest.mark.long
@pytest.mark.slow
def test_across_tokenizers_the_same_tokens_give_the_original_and_others_train(
    made, tmp_path
):
    from finetune.data import rows
    from finetune.students.load import load_student

    (one, tokenizer), (two, _) = (
        load_student(str(made / name)) for name in ("student", "teacher")
    )
    values = []
    for row in tokenised(rows.sft_rows(made / "run"), tokenizer, where="rows"):
        ids, learnt = (
            torch.tensor([row["input_ids"]]),
            torch.tensor(row["labels"][1:]) != -100,
        )
        with torch.no_grad():
            ps, pt = (
                model(ids)
                .logits[0, :-1][learnt][:, : len(tokenizer)]
                .double()
                .softmax(-1)
                for model in (one, two)
            )
        values.append(
            (ps.sort(dim=-1).values - pt.sort(dim=-1).values)
            .abs()
            .sum(-1)
            .mean()
        )
    wanted = float(torch.stack(values).mean())
    more = ["--teacher", made / "teacher", "--loss", "uld"]
    for batches in (
        ["--gradient-accumulation-steps", 4],
        ["--per-device-train-batch-size", 16],
    ):
        assert loss_of(made, tmp_path / "s", *more, *batches) == pytest.approx(
            wanted, rel=1e-4
        )
    # A student that spells in other, smaller pieces.
    texts = [
        "Sam has a b c d e f g h i j k l m n o p q r s t u v w x y z . ? first then #### + - = 1 2"
    ]
    model, other = scratch.build("scratch:tiny", texts, 0)
    model.save_pretrained(tmp_path / "other")
    other.save_pretrained(tmp_path / "other")
    for loss in ("uld", "hybrid"):
        fast = [
            "--max-steps",
            12,
            "--learning-rate",
            "5e-3",
            "--likelihood",
            "0.3",
            "--output",
            tmp_path / "t",
            *QUIET,
        ]
        code, said = finetune(
            "distill",
            "--data",
            made / "run",
            "--model",
            tmp_path / "other",
            "--teacher",
            made / "teacher",
            "--loss",
            loss,
            *fast,
        )
        assert code == 0, said
        state = [
            json.loads(line.replace("'", '"'))
            for line in said.splitlines()
            if line.startswith("{'loss'")
        ]
        assert float(state[-1]["loss"]) < float(state[0]["loss"])


def test_ends_of_tokens_by_offsets_and_by_decoding():
    from finetune.teachers.across_tokenizers import ends_of

    tokenizer = scratch.build_tokenizer(["what is 3 ?", "whatever"], 200)
    text = "what is whatever"
    ids = tokenizer(text)["input_ids"]
    assert ends_of(tokenizer, ids, text)[-1] == len(text)
    letters = [
        tokenizer.convert_tokens_to_ids(piece)
        for piece in ("w", "\u21b3h", "\u21b3a", "\u21b3t")
    ]
    assert ends_of(tokenizer, letters, "what") == [1, 2, 3, 4]
    assert ends_of(tokenizer, [], "") == []


@pytest.mark.long
def test_an_encoder_decoder_learns_of_a_decoder(made, tmp_path):
    from finetune.data import rows
    from finetune.students.load import load_student, sides

    teacher, tokenizer = load_student(str(made / "teacher"))
    t5, _ = scratch.build("scratch:t5-tiny", [], 0, tokenizer=tokenizer)
    t5.save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    values = []
    data = rows.sft_rows(made / "run")
    for row in sides(data, tokenizer):
        labels = torch.tensor([row["labels"]])
        with torch.no_grad():
            ls = (
                t5(input_ids=torch.tensor([row["input_ids"]]), labels=labels)
                .logits[0]
                .double()
                .log_softmax(-1)
            )
            whole = torch.tensor([[*row["input_ids"], *row["labels"]]])
            lt = (
                teacher(whole)
                .logits[0, len(row["input_ids"]) - 1 : -1][:, : len(tokenizer)]
                .double()
                .log_softmax(-1)
            )
        values.append(forward_kl(ls, lt))
    wanted = float(torch.cat(values).mean())
    words = [
        "--data",
        made / "run",
        "--model",
        tmp_path / "t5",
        "--teacher",
        made / "teacher",
        "--output",
        tmp_path / "s",
        *QUIET,
    ]
    for batches in (
        ["--gradient-accumulation-steps", 4],
        ["--per-device-train-batch-size", 16],
    ):
        code, said = finetune("distill", *words, *STILL, *batches)
        assert code == 0, said
        assert json.loads((tmp_path / "s" / "train.json").read_text())[
            "loss"
        ] == pytest.approx(wanted, rel=1e-4)
    code, said = finetune(
        "distill",
        *words,
        "--max-steps",
        20,
        "--learning-rate",
        "5e-3",
        "--likelihood",
        "0.5",
    )
    assert code == 0, said
    code, said = finetune("distill", *words, "--on-policy", "0.5")
    assert code == 2


@pytest.mark.long
@pytest.mark.slow
def test_a_row_says_how_much_its_teacher_counts(made, tmp_path):
    from finetune.data import rows

    plain = [
        {"prompt": row["prompt"], "completion": row["completion"]}
        for row in rows.sft_rows(made / "run")
    ]
    for name, weights in (
        ("ones", [1.0] * 16),
        ("halves", [0.5] * 16),
        ("first", [3.0] + [0.0] * 15),
    ):
        write(
            tmp_path / f"{name}.jsonl",
            [
                {**row, "teacher_weight": w}
                for row, w in zip(plain, weights, strict=True)
            ],
        )
    more = ["--teacher", made / "teacher", "--gradient-accumulation-steps", 4]
    ones, halves, first = (
        loss_of(made, tmp_path / "s", *more, data=tmp_path / f"{n}.jsonl")
        for n in ("ones", "halves", "first")
    )
    assert ones == pytest.approx(by_hand(made, forward_kl), rel=1e-4)
    assert halves == pytest.approx(ones / 2, rel=1e-4)
    assert 0 < first < 3 * ones
    nll = loss_of(
        made,
        tmp_path / "s",
        *more,
        "--likelihood",
        1,
        "--strength",
        0,
        data=tmp_path / "first.jsonl",
    )
    assert nll == pytest.approx(
        loss_of(
            made, tmp_path / "s", *more, "--likelihood", 1, "--strength", 0
        ),
        rel=1e-4,
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "one source"),
        (["--teacher", "a", "--offline", "b"], "one source"),
        (
            ["--teacher", "a", "--loss", "forward_kll"],
            "Did you mean forward_kl",
        ),
        (["--offline", "nowhere"], "no finished cache"),
        (["--offline", "b", "--on-policy", "1"], "--teacher"),
        (
            ["--offline", "b", "--loss", "logit_mse"],
            "Take one of adaptive_kl, forward_kl",
        ),
        (["--offline", "b", "--loss", "dpkd"], "Take one of adaptive_kl"),
        (["--offline", "b", "--loss", "tsld"], "Take one of adaptive_kl"),
        (["--offline", "b", "--loss", "uld"], "one --teacher"),
        (
            ["--offline", "b", "--loss", "top_k:missing=drop"],
            "Take one of adaptive_kl",
        ),
        (["--offline", "b", "--loss", "jsd:temperature=2"], "temperature=2"),
        (
            ["--offline", "b", "--teacher-dtype", "bfloat16"],
            "--teacher-dtype bfloat16",
        ),
        (
            ["--teacher", "a", "--replay", "3"],
            "--replay 3: found no --on-policy",
        ),
        (
            ["--teacher", "a", "--correct"],
            "--correct True: found no --on-policy",
        ),
        (["--teacher", "a", "--teacher-weights", "1"], "several teachers"),
        (["--teacher", "a", "--weigh", "agreement"], "several teachers"),
    ],
)
def test_wrong_use_is_refused(made, tmp_path, more, says):
    code, said = finetune(
        "distill",
        "--data",
        made / "run",
        "--model",
        made / "student",
        "--output",
        tmp_path / "s",
        *more,
    )
    assert code == 2, said
    assert says in said


@pytest.mark.long
@pytest.mark.slow
def test_a_student_who_is_the_teacher_learns_nothing_from_its_own_words(
    made, tmp_path
):
    code, said = finetune(
        "teach",
        "--data",
        made / "run",
        "--teacher",
        made / "teacher",
        "--output",
        tmp_path / "few",
        "--k",
        5,
    )
    assert code == 0, said
    for loss in (
        "top_k",
        "reverse_kl",
        "jsd",
        "skew_reverse_kl",
        "taid",
        "total_variation",
    ):
        found = loss_of(
            made,
            tmp_path / "s",
            "--offline",
            tmp_path / "few",
            "--loss",
            loss,
            student="teacher",
        )
        assert abs(found) < (5e-3 if loss == "total_variation" else 1e-4), (
            loss
        )  # what 8 bits a token leave


def test_a_smoothed_teacher_at_a_high_temperature_is_warned_of():
    from finetune.recipes.distill import DistillConfig, checked

    with pytest.warns(UserWarning, match="label smoothing 0.1"):
        checked(
            DistillConfig(
                teachers=("t",),
                losses=("forward_kl:temperature=2",),
                teacher_smoothing=0.1,
            )
        )


@pytest.mark.long
@pytest.mark.slow
def test_a_gated_student_teaches_a_plain_one_with_its_weights(made, tmp_path):
    from finetune.data import rows

    right = [
        {
            "prompt": row["prompt"],
            "completion": row["completion"],
            "label": True,
        }
        for row in rows.sft_rows(made / "run")
    ]
    write(
        tmp_path / "rows.jsonl",
        [
            *right,
            *({**row, "completion": "#### 3", "label": False} for row in right),
        ],
    )
    fast = [*QUIET, "--max-steps", 4, "--learning-rate", "1e-3"]
    code, said = finetune(
        "nat",
        "--data",
        tmp_path / "rows.jsonl",
        "--model",
        made / "teacher",
        "--output",
        tmp_path / "nat",
        *fast,
    )
    assert code == 0, said
    words = [
        "--data",
        tmp_path / "nat" / "weighted.jsonl",
        "--model",
        made / "student",
        "--teacher",
        tmp_path / "nat",
    ]
    code, said = finetune(
        "distill",
        *words,
        "--likelihood",
        "0.5",
        "--strength",
        "0.5",
        "--output",
        tmp_path / "s",
        *fast,
    )
    assert code == 0, said


def test_the_best_of_a_teacher_are_those_of_its_logits(made):
    from finetune.data import rows
    from finetune.students.load import load_student
    from finetune.teachers.in_process import ModelTeacher

    model, tokenizer = load_student(str(made / "teacher"))
    data = tokenised(rows.sft_rows(made / "run"), tokenizer, where="rows")[:3]
    teacher = ModelTeacher(str(made / "teacher"), tokenizer, device="cpu")
    for row, (ids, logs) in zip(data, best(teacher, data, 5, 0), strict=True):
        learnt = torch.tensor(row["labels"][1:]) != -100
        wanted = (
            model(torch.tensor([row["input_ids"]]))
            .logits[0, :-1][learnt]
            .log_softmax(-1)
            .topk(5)
        )
        assert torch.allclose(
            torch.from_numpy(logs), wanted.values.detach(), atol=1e-4
        )
        assert (torch.from_numpy(ids) == wanted.indices).float().mean() > 0.95
