"""A critic trained by the command judges rows as it learned to, and can be calibrated."""

from __future__ import annotations

import json
import random

import pytest
from click.testing import CliRunner

from finetune.cli import main
from finetune.recipes.critic import masked_rows, split, table
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


def test_masked_copies_make_both_kinds_as_many(tmp_path):
    rows = labelled(40)
    wrong = next(row for row in rows if not row["is_correct"])
    data = write(
        tmp_path / "rows.jsonl",
        [*(row for row in rows if row["is_correct"]), wrong],
    )
    names = ("question", "rationale,answer", "is_correct", "question")
    read = table(str(data), *names)
    made = masked_rows(read, 0.25)
    right = [row for row in read if row["labels"]]
    assert len(made) + 1 == len(right)
    assert made == masked_rows(read, 0.25)
    for row, copied in zip(right, made, strict=False):
        assert (copied["labels"], copied["group"]) == (0, row["group"])
        # "so it is 12": a quarter of four words.
        changed = [
            one != two
            for one, two in zip(
                row["second"].split(), copied["second"].split(), strict=True
            )
        ]
        assert sum(changed) == 1
    # A word that another row has may stand there, or the mask.
    said = {row["second"] for row in made}
    assert any("_" in text.split() for text in said)
    assert any("_" not in text.split() for text in said)
    assert masked_rows([*read, *made], 0.25) == []


def test_right_rows_alone_train_a_critic_of_masked_copies(tmp_path):
    rows = [row for row in labelled(60) if row["is_correct"]]
    data = write(tmp_path / "rows.jsonl", rows)
    words = [
        *("critic", "--data", str(data), "--model", "scratch:tiny"),
        *("--output", str(tmp_path / "critic"), "--max-steps", "2"),
        "--disable-tqdm",
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "all alike (True in 20 rows)" in result.output
    result = CliRunner().invoke(main, [*words, "--masked", "0.3"])
    assert result.exit_code == 0, result.output
    info = json.loads((tmp_path / "critic" / "train.json").read_text())
    assert info["rows"] == 2 * (len(rows) - info["held_out"]["rows"])
    frozen = [*words[:7], "--masked", "0.3", "--frozen"]
    result = CliRunner().invoke(main, frozen)
    assert "--masked 0.3" in result.output
