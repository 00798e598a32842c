"""Several teachers, each with a tokenizer of its own: the loss is the weighted mean of what each alone would give."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

import synth
from finetune.students import scratch
from finetune.teachers.across_tokenizers import AcrossTeacher, SeveralAcross
from synth.core.errors import WrongUse
from synth.teachers.simulation.word_problems import make_problems
from tests.finetune.test_train import finetune

STILL = [
    *("--disable-tqdm", "--learning-rate", "0", "--max-steps", "1"),
    *("--per-device-train-batch-size", "4"),
]
# Pieces of one, two and more letters, so that three tokenizers spell alike nowhere.
SPELLINGS = {
    "student": "Sam has a b c d e f g h i j k l m n o p q r s t u v w x y z . ? + - = 1 2",
    "one": "Kim has nine pens and buys three more pens . How many pens ? 9 + 3 = 12",
    "two": "th he an in er on at ha it is en to 4 5 6 7 8 9 0 a b c d e f g o s t n",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, a student and two teachers of three tokenizers."""
    out = tmp_path_factory.mktemp("across")
    problems = make_problems(4, seed=6)
    synth.run("cot", problems, teacher="simulated/perfect", output=out / "run")
    for seed, (name, text) in enumerate(SPELLINGS.items()):
        model, tokenizer = scratch.build("scratch:tiny", [text], seed)
        model.save_pretrained(out / name)
        tokenizer.save_pretrained(out / name)
    return out


def distilled(made, output, *more):
    """(exit code, what was said, the loss of one step that learns nothing)."""
    given = ["--data", made / "run", "--model", made / "student"]
    code, said = finetune("distill", *given, "--output", output, *STILL, *more)
    if code:
        return code, said, None
    info = json.loads((output / "train.json").read_text())
    return code, said, info["loss"]


@pytest.mark.parametrize("loss", ["uld", "hybrid:temperature=2"])
def test_the_loss_is_the_weighted_mean_of_each_teachers_own(
    made, tmp_path, loss
):
    alone = []
    for name in ("one", "two"):
        more = ["--teacher", made / name, "--loss", loss]
        code, said, value = distilled(made, tmp_path / name, *more)
        assert code == 0, said
        alone.append(value)
    both = ["--teacher", made / "one", "--teacher", made / "two"]
    weights = ["--teacher-weights", "3,1", "--loss", loss]
    code, said, value = distilled(made, tmp_path / "both", *both, *weights)
    assert code == 0, said
    assert abs(alone[0] - alone[1]) > 1e-4
    wanted = (3 * alone[0] + alone[1]) / 4
    assert value == pytest.approx(wanted, rel=1e-5)


def test_weights_of_each_row_are_refused(made, tmp_path):
    both = ["--teacher", made / "one", "--teacher", made / "two"]
    more = ["--weigh", "agreement", "--loss", "uld"]
    code, said, _ = distilled(made, tmp_path / "no", *both, *more)
    assert code == 2
    assert "no token is the same to all teachers" in said


def test_shares_sum_to_1_and_one_weight_belongs_to_one_teacher():
    shares = [
        share for share, _ in SeveralAcross(["a", "b"], (3.0, 1.0)).voices
    ]
    assert shares == [0.75, 0.25]
    assert SeveralAcross(["a", "b"]).voices[0][0] == 0.5
    with pytest.raises(WrongUse, match="One a teacher"):
        SeveralAcross(["a", "b"], (1.0,))


def test_projectors_between_spaces_are_learnt_beside_the_student(
    made, tmp_path
):
    words = ["--data", made / "run", "--model", made / "student"]
    words += ["--teacher", made / "one", "--loss", "dskd", "--disable-tqdm"]
    steps = ["--max-steps", 12, "--learning-rate", "3e-3"]
    steps += ["--logging-strategy", "steps", "--logging-steps", 1]
    kept = ["--save-strategy", "steps", "--save-steps", 12]
    out = tmp_path / "s"
    code, said = finetune("distill", *words, *steps, *kept, "--output", out)
    assert code == 0, said
    checkpoint = out / "checkpoints/checkpoint-12"
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    losses = [log["dskd"] for log in state["log_history"] if "dskd" in log]
    assert losses[-1] < 0.95 * losses[0]
    beside = load_file(checkpoint / "beside_the_student.safetensors")
    names = {name.split(".")[1] for name in beside}
    assert names == {"query", "to_student", "to_teacher"}
    before, after = (
        load_file(folder / "model.safetensors")
        for folder in (made / "student", out)
    )
    assert {*before} == {*after}
    moved = [n for n in before if not torch.equal(before[n], after[n])]
    assert len(moved) == len(before)


def test_the_space_of_a_teacher_holds_its_own_answer_tokens(made):
    teacher, own = (
        AutoTokenizer.from_pretrained(made / name)
        for name in ("one", "student")
    )
    across = AcrossTeacher(str(made / "one"), own, device="cpu")
    prompt, answer = own("Kim has 3 pens .")["input_ids"], own(" nine")
    end = [own.eos_token_id]
    ids = torch.tensor([[*prompt, *answer["input_ids"], *end]])
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    inputs = {"input_ids": ids, "labels": labels}
    inputs["attention_mask"] = torch.ones_like(ids)
    rows, space = across.space(inputs)
    assert rows == [0]
    learnt = space.labels[space.labels >= 0].tolist()
    said = own.decode(answer["input_ids"])
    wanted = teacher(said, add_special_tokens=False)["input_ids"]
    assert learnt == [*wanted, teacher.eos_token_id]
    assert space.states.shape[:2] == space.labels.shape
