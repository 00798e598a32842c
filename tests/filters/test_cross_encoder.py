"""A critic trained by the command judges rows as it learned to, and can be calibrated."""

from __future__ import annotations

import json
import random

import pytest
from click.testing import CliRunner

from finetune.cli import main
from finetune.recipes.critic import split
from synth.core.errors import WrongUse
from synth.filters.cross_encoder import CrossEncoder
from synth.statistics.intervals import auc
from tests import tiny
from tests.conftest import write


def labelled(count, seed=0):
    """Right is what says "so"; the number of the question plays no part."""
    rng = random.Random(seed)
    rows = [(n, rng.random() < 0.5) for n in range(count)]
    return [
        {
            "question": f"What is {n} ?",
            "rationale": "so it is" if right else "maybe it is",
            "answer": str(n),
            "is_correct": right,
        }
        for n, right in rows
    ]


@pytest.mark.slow
@pytest.mark.long
def test_train_filter_calibrate(tmp_path):
    data = write(tmp_path / "labelled.jsonl", labelled(200))
    fast = [
        "--max-steps",
        "60",
        "--per-device-train-batch-size",
        "16",
        "--learning-rate",
        "5e-3",
        "--disable-tqdm",
    ]
    words = [
        "critic",
        "--data",
        str(data),
        "--model",
        "scratch:tiny",
        "--output",
        str(tmp_path / "critic"),
        *fast,
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    info = json.loads((tmp_path / "critic" / "train.json").read_text())
    assert info["rows"] + info["held_out"]["rows"] == 200
    assert info["held_out"]["auc"] > 0.95
    kept, dropped = CrossEncoder(model=str(tmp_path / "critic")).split(
        labelled(40, seed=1)
    )
    assert (
        sum(not row["is_correct"] for row in kept)
        + sum(row["is_correct"] for row in dropped)
        <= 4
    )


def test_groups_are_not_torn():
    groups = [str(n // 3) for n in range(30)]
    train, rest = split(groups, 0.3)
    assert sorted(train + rest) == list(range(30))
    assert len(rest) == 9
    assert not {groups[n] for n in train} & {groups[n] for n in rest}


def test_auc_is_the_share_of_pairs_in_order():
    rng = random.Random(0)
    scores, labels = (
        [rng.randint(0, 9) for _ in range(60)],
        [rng.random() < 0.5 for _ in range(60)],
    )
    pairs = [
        (a > b) + 0.5 * (a == b)
        for a, y in zip(scores, labels, strict=True)
        if y
        for b, z in zip(scores, labels, strict=True)
        if not z
    ]
    assert auc(scores, labels) == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.long
def test_a_label_that_the_model_lacks_is_refused():
    with pytest.raises(
        WrongUse, match="labels contradiction, entailment, neutral"
    ):
        CrossEncoder(model=tiny.nli()).judge(
            {"question": "a", "rationale": "b"}
        )
    assert (
        CrossEncoder(
            model=tiny.nli(), label="Entailment", second=("rationale",)
        )
        .judge({"question": "red pen", "rationale": "a red pen"})
        .keep
    )
