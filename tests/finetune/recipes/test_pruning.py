"""`distill --sparsity`: a small training whose pruned model is as small as was asked, says what the masked one says, and learns on."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import transformers

from finetune.students.gates import sparsity_of
from finetune.trainers.pruning import PruningTrainer, nearest
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_distill_encoder import ROWS
from tests.finetune.test_train import finetune

FAST = ["--disable-tqdm", "--logging-steps", 20, "--learning-rate", "1e-3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    return {
        task: write(folder / f"{task}.jsonl", ROWS[task])
        for task in ("classify", "tokens", "mlm")
    }


def pruned(data, output, task, *more, wanted=0, model=None):
    code, said = finetune(
        *("distill", "--task", task, "--data", data[task]),
        *("--model", model or tiny.encoder(task, 32, 4)),
        *("--teacher", tiny.encoder(task, 32, 4), "--output", output),
        *FAST,
        *more,
    )
    assert code == wanted, said
    return said


def info_in(output):
    return json.loads((output / "train.json").read_text())


def said_by(path, auto="AutoModelForSequenceClassification"):
    model = getattr(transformers, auto).from_pretrained(path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    texts = [row["text"] for row in ROWS["classify"]]
    given = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        return model(**given).logits


def test_a_student_is_pruned_to_the_share_that_was_asked(
    data, tmp_path, monkeypatch
):
    """Its folder is opened as any other, says what the masked student said, and is trained further."""
    kept = []
    plain = PruningTrainer.pruned

    def noted(trainer):
        kept.append(trainer)
        return plain(trainer)

    monkeypatch.setattr(PruningTrainer, "pruned", noted)
    out = tmp_path / "out"
    pruned(
        data,
        out,
        "classify",
        *("--sparsity", 0.6, "--max-steps", 90, "--match-layers", 0.1),
        *("--per-device-train-batch-size", 8, "--loss", "forward_kl"),
    )
    info = info_in(out)
    found = info["pruned"]
    # One whole attention is an eighth of these weights.
    assert found["sparsity"] == pytest.approx(0.6, abs=0.13)
    trainer = kept[0]
    gates = trainer.gates
    assert found["sparsity"] == pytest.approx(
        sparsity_of(trainer.settled(), gates.sizes), abs=1e-4
    )
    assert found["parameters"] < 0.65 * info["parameters"]
    model = trainer.model.eval()
    trainer.masked.now = trainer.settled()
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    texts = [row["text"] for row in ROWS["classify"]]
    given = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        masked = model(**given).logits
    assert torch.allclose(said_by(out), masked, atol=1e-4)
    state = json.loads((out / "trainer_state.json").read_text())
    logs = [log for log in state["log_history"] if "loss" in log]
    sparsities = [log["sparsity"] for log in logs if "sparsity" in log]
    assert sparsities[0] < sparsities[-1]
    assert all("matched_layers" in log for log in logs if "penalty" in log)
    # What is left learns on, from the same teacher.
    before = said_by(out)
    pruned(data, tmp_path / "more", "classify", "--max-steps", 30, model=out)
    assert info_in(tmp_path / "more")["parameters"] == found["parameters"]
    teacher = said_by(tiny.encoder("classify", 32, 4)).log_softmax(-1)

    def apart(logits):
        gap = teacher - logits.log_softmax(-1)
        return float((teacher.exp() * gap).sum(-1).mean())

    assert apart(said_by(tmp_path / "more")) < apart(before)


def test_classes_of_words_are_pruned_too_and_measured_by_settled_masks(
    data, tmp_path
):
    held = write(
        tmp_path / "held.jsonl",
        [{"tokens": ["red", "pen", "dog"], "tags": [0, 1, 2]}],
    )
    pruned(
        data,
        tmp_path / "out",
        "tokens",
        *("--sparsity", 0.3, "--max-steps", 4, "--held-out", held),
        *("--eval-steps", 2, "--sparsity-warmup", 0),
    )
    info = info_in(tmp_path / "out")
    path = str(tmp_path / "out")
    auto = transformers.AutoModelForTokenClassification
    model = auto.from_pretrained(path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    given = tokenizer(
        ["red", "pen", "dog"], is_split_into_words=True, return_tensors="pt"
    )
    with torch.no_grad():
        logs = model(**given).logits[0, 1:4].log_softmax(-1)
    wanted = -float(logs.gather(1, torch.tensor([[0], [1], [2]])).mean())
    found = info["held_out"]["measured"][-1]["cross_entropy"]
    assert found == pytest.approx(wanted, abs=1e-4)


def test_a_training_that_goes_on_has_its_gates_again(data, tmp_path):
    more = ["--sparsity", 0.5, "--save-strategy", "steps", "--save-steps", 6]
    more += ["--save-total-limit", 3]
    whole = [*more, "--max-steps", 12]
    pruned(data, tmp_path / "a", "classify", *whole)
    first = "checkpoints/checkpoint-6"
    shutil.copytree(tmp_path / "a" / first, tmp_path / "b" / first)
    pruned(data, tmp_path / "b", "classify", *whole, "--resume")
    one, two = (
        torch.load(tmp_path / name / "checkpoints/checkpoint-12" / "gates.pt")
        for name in "ab"
    )
    for name, odds in one["gates"].items():
        assert torch.allclose(two["gates"][name], odds, atol=1e-5), name
    assert torch.allclose(said_by(tmp_path / "a"), said_by(tmp_path / "b"))


@pytest.mark.parametrize(
    ("task", "more", "says"),
    [
        ("mlm", ["--sparsity", 0.5], "with --task mlm"),
        ("classify", ["--sparsity", 0.5, "--weight-bits", 4], "--weight-bits"),
        ("classify", ["--gate-rate", 0.5], "no --sparsity"),
        ("text", ["--sparsity", 0.5], "--task text"),
    ],
)
def test_what_does_not_go_together_is_said(data, tmp_path, task, more, says):
    data = {**data, "text": data["classify"]}
    model = tiny.encoder("classify" if task == "text" else task)
    code, said = finetune(
        *("distill", "--task", task, "--data", data[task], "--model", model),
        *("--teacher", model, "--output", tmp_path / "x", *more),
    )
    assert code == 2
    assert says in said


def test_layers_are_matched_from_the_top_down_in_their_order():
    losses = torch.tensor(
        [[0.3, 0.1, 0.9, 0.9], [0.1, 0.2, 0.0, 0.9], [0.9, 0.2, 0.1, 0.5]]
    )
    # The top one takes layer 2, which leaves 1 as the nearest below it, and then 0.
    assert nearest(losses, [True] * 4) == [None, 0, 2]
    assert nearest(losses, [True, True, False, True]) == [None, 0, 1]
    assert nearest(losses, [False, False, False, True]) == [None, None, 3]
