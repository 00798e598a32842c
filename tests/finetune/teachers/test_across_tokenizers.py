"""Several teachers, each with a tokenizer of its own: the loss is the weighted mean of what each alone would give."""

from __future__ import annotations

import json

import pytest

import synth
from finetune.students import scratch
from finetune.teachers.across_tokenizers import SeveralAcross
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
