"""Encoders that learn from larger ones: values by hand from whole models, small trainings, checkpoints."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file

from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_distill_layers import (
    ONE_BATCH,
    QUIET,
    STILL,
    logged,
)
from tests.finetune.test_train import finetune

TEXTS = [f"{a} {b}" for a in tiny.FACTS[:4] for b in tiny.FACTS[4:6]]
NAMES = ["cold", "warm", "hot"]
ROWS = {
    "mlm": [{"text": text} for text in TEXTS],
    "classify": [
        {"text": text, "label": NAMES[n % 3]} for n, text in enumerate(TEXTS)
    ],
    # A word in two pieces has one tag.
    "tokens": [
        {"tokens": [*text.split(), "dogs"], "tags": [n % 3, 1, 2, 0, 1]}
        for n, text in enumerate(TEXTS)
    ],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    return {
        task: write(folder / f"{task}.jsonl", rows)
        for task, rows in ROWS.items()
    }


def distilled(data, out, task, *losses, steps=STILL, more=(), width=64):
    words = [
        "--task",
        task,
        "--data",
        data[task],
        "--model",
        tiny.encoder(task),
    ]
    words += [
        "--teacher",
        tiny.encoder(task, width, 4),
        "--output",
        out,
        *QUIET,
        *ONE_BATCH,
    ]
    for loss in losses:
        words += ["--loss", loss]
    code, said = finetune("distill", *words, *steps, *more)
    assert code == 0, said
    return logged(out)


def opened(task, width=32, layers=2):
    kind = {
        "classify": "SequenceClassification",
        "tokens": "TokenClassification",
    }[task]
    path = tiny.encoder(task, width, layers)
    model = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(path)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(path)


def kl(teacher, student, heat):
    lt, ls = (logits.double() / heat for logits in (teacher, student))
    lt, ls = lt.log_softmax(-1), ls.log_softmax(-1)
    return float((lt.exp() * (lt - ls)).sum(-1).mean())


@pytest.mark.slow
def test_classes_are_taught_softly_and_by_labels(data, tmp_path):
    more = ["--likelihood", 0.5]
    (log,) = distilled(
        data,
        tmp_path / "s",
        "classify",
        "forward_kl=2:temperature=3",
        "rkd",
        more=more,
    )
    (student, tokenizer), (teacher, _) = (
        opened("classify"),
        opened("classify", 64, 4),
    )
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        ours, theirs = (
            m(**inputs, output_hidden_states=True) for m in (student, teacher)
        )
    labels = torch.tensor([n % 3 for n in range(8)])
    ce = float(torch.nn.functional.cross_entropy(ours.logits, labels))
    assert log["forward_kl"] == pytest.approx(
        kl(theirs.logits, ours.logits, 3), rel=1e-4
    )
    assert log["cross_entropy"] == pytest.approx(ce, rel=1e-4)
    mask = inputs["attention_mask"][:, :, None].float()
    means = [
        (side.hidden_states[-1] * mask).sum(1) / mask.sum(1)
        for side in (ours, theirs)
    ]
    gaps = [torch.cdist(side, side) for side in means]
    scaled = [gap / gap[gap > 0].mean() for gap in gaps]
    assert log["rkd"] > float(torch.nn.functional.smooth_l1_loss(*scaled)) > 0
    assert log["loss"] == pytest.approx(
        2 * log["forward_kl"] + log["rkd"] + 0.5 * ce, rel=1e-4
    )


@pytest.mark.slow
def test_the_first_piece_of_a_word_has_its_class(data, tmp_path):
    (log,) = distilled(
        data, tmp_path / "s", "tokens", "forward_kl", more=["--likelihood", 1]
    )
    (student, tokenizer), (teacher, _) = (
        opened("tokens"),
        opened("tokens", 64, 4),
    )
    said = []
    for row in ROWS["tokens"]:
        inputs = tokenizer(
            row["tokens"], is_split_into_words=True, return_tensors="pt"
        )
        words = inputs.word_ids()
        assert len(words) == 8
        firsts = [words.index(n) for n in range(5)]
        with torch.no_grad():
            said.append(
                [m(**inputs).logits[0, firsts] for m in (student, teacher)]
            )
    ours, theirs = (torch.cat(side) for side in zip(*said, strict=True))
    labels = torch.tensor(
        [tag for row in ROWS["tokens"] for tag in row["tags"]]
    )
    assert log["forward_kl"] == pytest.approx(kl(theirs, ours, 1), rel=1e-4)
    ce = float(torch.nn.functional.cross_entropy(ours, labels))
    assert log["cross_entropy"] == pytest.approx(ce, rel=1e-4)


@pytest.mark.slow
def test_texts_without_a_label_are_taught_by_the_teacher_alone(data, tmp_path):
    (labelled,) = distilled(data, tmp_path / "a", "classify", "forward_kl")
    bare = {
        "classify": write(
            tmp_path / "bare.jsonl", [{"text": text} for text in TEXTS]
        )
    }
    (plain,) = distilled(bare, tmp_path / "b", "classify", "forward_kl")
    assert plain["loss"] == labelled["loss"] > 0


LEARN = ["--learning-rate", "3e-3", "--max-steps", 16]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "losses", "width"),
    [
        # DistilBERT: of its teacher's width. TinyBERT: states and maps of other widths. MiniLM. XtremeDistil.
        pytest.param("mlm", ["distilbert"], 32, marks=pytest.mark.long),
        (
            "mlm",
            ["hidden_mse:layers=[0-0,1-2,2-4]", "align_to_distill=0.5"],
            64,
        ),
        pytest.param("mlm", ["minilm:heads=4"], 64, marks=pytest.mark.long),
        ("classify", ["forward_kl:temperature=2", "sinkhorn=1:scale=1"], 64),
        pytest.param(
            "tokens",
            ["forward_kl", "hidden_mse=0.1"],
            64,
            marks=pytest.mark.long,
        ),
    ],
    ids=["distilbert", "tinybert", "minilm", "classes", "words"],
)
def test_the_loss_falls(data, tmp_path, task, losses, width):
    logs = distilled(
        data, tmp_path / "s", task, *losses, steps=LEARN, width=width
    )
    assert logs[-1]["loss"] < 0.9 * logs[0]["loss"]
    names = [loss.split("=")[0].split(":")[0] for loss in losses]
    assert all(name in logs[0] for name in names)
    saved = load_file(tmp_path / "s" / "model.safetensors")
    assert not any("beside" in name for name in saved)
    assert (
        json.loads((tmp_path / "s" / "train.json").read_text())["task"] == task
    )


@pytest.mark.slow
def test_a_student_of_some_of_its_teachers_layers(data, tmp_path):
    teacher = tiny.encoder("mlm", 32, 4)
    words = [
        "--task",
        "mlm",
        "--data",
        data["mlm"],
        "--teacher",
        teacher,
        "--loss",
        "distilbert",
    ]
    words += [
        "--model",
        f"truncate:{teacher}:layers=0,2",
        "--output",
        tmp_path / "s",
        *QUIET,
        *LEARN,
    ]
    code, said = finetune("distill", *words)
    assert code == 0, said
    config = json.loads((tmp_path / "s" / "config.json").read_text())
    assert config["num_hidden_layers"] == 2


@pytest.mark.long
def test_masked_words_resume_to_the_same_losses(data, tmp_path):
    steps = ["--learning-rate", "1e-3", "--max-steps", 4, "--save-steps", 2]
    losses = ("forward_kl", "hidden_mse=0.5:schedule=cosine")
    whole = distilled(data, tmp_path / "whole", "mlm", *losses, steps=steps)
    resume = [
        "--resume-from-checkpoint",
        tmp_path / "whole" / "checkpoints" / "checkpoint-2",
    ]
    again = distilled(
        data, tmp_path / "again", "mlm", *losses, steps=steps, more=resume
    )
    assert [log["loss"] for log in whole] == [log["loss"] for log in again]
    one, two = (
        load_file(tmp_path / name / "model.safetensors")
        for name in ("whole", "again")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--loss", "minillm", "--on-policy", 1], "--on-policy"),
        (["--loss", "ted"], "a loss of decoders"),
        (["--loss", "tsld"], "a loss of decoders"),
        (["--lora"], "--lora"),
        (["--teacher-prompt", "{{ label }} {{ prompt }}"], "--teacher-prompt"),
        (["--label-smoothing-factor", 0.1], "label_smoothing_factor"),
    ],
)
def test_what_an_encoder_does_not_take_is_refused(data, tmp_path, words, says):
    given = [
        "--task",
        "classify",
        "--data",
        data["classify"],
        "--model",
        tiny.encoder("classify"),
    ]
    given += [
        "--teacher",
        tiny.encoder("classify", 64, 4),
        "--output",
        tmp_path / "s",
    ]
    code, said = finetune("distill", *given, *words)
    assert code == 2, said
    assert says in said


@pytest.mark.parametrize(
    ("task", "row", "says"),
    [
        (
            "classify",
            {"text": "red pen", "label": "tepid"},
            "one of cold, warm, hot",
        ),
        (
            "tokens",
            {"tokens": ["red", "pen"], "tags": [1]},
            "1 tags of 2 words",
        ),
        ("classify", {"text": ""}, "row 1 text"),
        ("mlm", {"question": "red pen"}, "columns text"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path, task, row, says):
    rows = write(tmp_path / "rows.jsonl", [row])
    given = [
        "--task",
        task,
        "--data",
        rows,
        "--model",
        tiny.encoder(task),
        "--teacher",
        tiny.encoder(task),
    ]
    code, said = finetune("distill", *given, "--output", tmp_path / "s")
    assert code == 2, said
    assert says in said


HELD = {
    "mlm": [{"text": f"{text} dog"} for text in TEXTS],
    "classify": [
        {"text": f"{text} dog", "label": NAMES[n % 3]}
        for n, text in enumerate(TEXTS)
    ],
    "tokens": [
        {"tokens": [*text.split(), "pen"], "tags": [n % 3, 1, 2, 0, 1]}
        for n, text in enumerate(TEXTS)
    ],
}


def measured_in(data, tmp_path, task, *more):
    held = write(tmp_path / f"{task}_held.jsonl", HELD[task])
    distilled(
        data,
        tmp_path / task,
        task,
        "forward_kl:temperature=2",
        steps=["--max-steps", 2, "--learning-rate", 1e-2],
        more=["--held-out", held, "--eval-steps", 1, *more],
    )
    return json.loads((tmp_path / task / "train.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classify", "tokens"])
def test_rows_held_out_show_divergence_agreement_and_accuracy(
    data, tmp_path, task
):
    """The last measurement is that of the student that was kept, by hand from whole models."""
    info = measured_in(data, tmp_path, task)
    found = info["held_out"]["measured"][-1]
    teacher, tokenizer = opened(task, 64, 4)
    student = type(teacher).from_pretrained(tmp_path / task).eval()
    sides, labels = [], []
    for row in HELD[task]:
        words = row["text"] if task == "classify" else row["tokens"]
        given = tokenizer(
            words, is_split_into_words=task == "tokens", return_tensors="pt"
        )
        with torch.no_grad():
            pair = [m(**given).logits[0].double() for m in (teacher, student)]
        if task == "classify":
            sides.append(torch.stack([one[None] for one in pair]))
            labels.append(student.config.label2id[row["label"]])
            continue
        places = [given.word_ids().index(n) for n in range(len(words))]
        sides.append(torch.stack(pair)[:, places])
        labels += row["tags"]
    lt, ls = torch.cat(sides, dim=1).log_softmax(-1)
    wanted = torch.tensor(labels)
    values = {
        "kl": (lt.exp() * (lt - ls)).sum(-1),
        "agreement": (lt.argmax(-1) == ls.argmax(-1)).double(),
        "accuracy": (ls.argmax(-1) == wanted).double(),
        "cross_entropy": -ls.gather(1, wanted[:, None])[:, 0],
        "entropy": -(ls.exp() * ls).sum(-1),
        "teacher_entropy": -(lt.exp() * lt).sum(-1),
    }
    for name, value in values.items():
        assert found[name] == pytest.approx(float(value.mean()), abs=1e-5), name
    assert found["loss"] > 0
    assert found["forward_kl"] == pytest.approx(found["loss"], rel=0.3)
    assert len(info["held_out"]["measured"]) == 2


@pytest.mark.slow
def test_words_are_masked_alike_in_each_measurement(data, tmp_path):
    held = write(tmp_path / "held.jsonl", HELD["mlm"])
    distilled(
        data,
        tmp_path / "out",
        "mlm",
        "forward_kl",
        steps=["--max-steps", 3, "--learning-rate", 0],
        more=["--held-out", held, "--eval-steps", 1, "--keep-best", "kl"],
    )
    info = json.loads((tmp_path / "out" / "train.json").read_text())
    kls = {one["kl"] for one in info["held_out"]["measured"]}
    assert len(info["held_out"]["measured"]) == 3
    assert len(kls) == 1
    assert info["held_out"]["best"]["measure"] == "kl"


@pytest.mark.slow
def test_measuring_changes_nothing_of_what_an_encoder_learns(data, tmp_path):
    held = write(tmp_path / "held.jsonl", HELD["mlm"])
    both = []
    measured = ["--held-out", held, "--eval-steps", 1]
    for name, more in (("a", []), ("b", measured)):
        both.append(
            distilled(
                data,
                tmp_path / name,
                "mlm",
                "forward_kl",
                steps=["--max-steps", 3, "--learning-rate", 1e-2],
                more=more,
            )
        )
    losses = [[log["loss"] for log in logs if "loss" in log] for logs in both]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--measure", "exact_match"], "answers no prompts"),
        (["--keep-best", "exact_match"], "answers no prompts"),
        (["--tokens-per-batch", 9], "--tokens-per-batch 9"),
    ],
)
def test_what_an_encoder_cannot_be_measured_by_is_refused(
    data, tmp_path, more, says
):
    code, said = finetune(
        *("distill", "--task", "classify", "--data", data["classify"]),
        *("--model", tiny.encoder("classify"), "--output", tmp_path / "x"),
        *("--teacher", tiny.encoder("classify", 64, 4)),
        *("--held-out", write(tmp_path / "h.jsonl", HELD["classify"]), *more),
    )
    assert code == 2
    assert says in said


@pytest.mark.slow
def test_a_student_anneals_from_its_teacher_to_the_labels(data, tmp_path):
    loss = "forward_kl:schedule=linear"
    steps = ["--learning-rate", "3e-3", "--max-steps", 4]
    more = ["--likelihood", 0, "--likelihood-to", 1]
    logs = distilled(
        data, tmp_path / "s", "tokens", loss, steps=steps, more=more
    )
    # lambda = step / steps, of the labels.
    shares = [0, 0.25, 0.5, 0.75]
    assert [log["cross_entropy_weight"] for log in logs] == shares
    for share, log in zip(shares, logs, strict=True):
        wanted = share * log["cross_entropy"] + (1 - share) * log["forward_kl"]
        assert log["loss"] == pytest.approx(wanted, rel=1e-4)
    assert logs[-1]["cross_entropy"] < logs[0]["cross_entropy"]


def test_a_decoder_has_no_annealing(tmp_path):
    code, said = finetune(
        "distill", "--data", "rows", "--model", "m", "--teacher", "t",
        "--output", tmp_path / "s", "--likelihood-to", 1,
    )  # fmt: skip
    assert code == 2
    assert "--task text" in said
