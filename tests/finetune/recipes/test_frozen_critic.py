"""A critic on frozen vectors: learns, says what it is worth on held-out groups, and filters rows from its folder."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from finetune.cli import main
from finetune.scoring import calibration
from synth.filters.cross_encoder import CrossEncoder
from synth.local_models.minilm import MINILM
from tests.conftest import write

WANTS = {"bakes": "eat the bread", "swims": "dry off with a towel", "studies": "pass the exam", "runs": "drink some water", "paints": "hang the picture",
         "cooks": "have dinner", "sews": "wear the dress", "plants": "watch the flowers grow"}  # fmt: skip
ROWS = [
    {"head": f"PersonX {verb} {when}", "tail": f"PersonX wants to {wants}", "ok": wants == own}
    for verb, own in WANTS.items() for when in ("today", "again", "at home", "with PersonY", "early") for wants in dict.fromkeys((own, *list(WANTS.values())[:3]))
]  # fmt: skip


def critic(*args):
    return CliRunner().invoke(
        main,
        [
            "critic",
            "--frozen",
            "--first",
            "head",
            "--second",
            "tail",
            "--label",
            "ok",
            "--group",
            "head",
            *map(str, args),
        ],
    )


@pytest.mark.long
@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_it_learns_measures_itself_and_loads_as_a_filter(tmp_path, kind):
    data = write(tmp_path / "rows.jsonl", ROWS)
    result = critic(
        "--data",
        data,
        "--model",
        MINILM,
        "--output",
        tmp_path / "critic",
        "--calibration",
        kind,
        "--passes",
        "2",
    )
    assert result.exit_code == 0, result.output
    assert "recall 0.8: least=" in result.output
    info = json.loads((tmp_path / "critic" / "train.json").read_text())
    assert info["held_out"]["auc"] > 0.8
    assert info["trained"] < info["rows"]
    # Smoothed labels keep Platt's curve off 1, so half a recall leaves out all of some heads.
    least = info["recalls"][-1]["least"]
    kept, dropped = CrossEncoder(
        model=str(tmp_path / "critic"),
        first="head",
        second=("tail",),
        least=least,
    ).split(ROWS[:20])
    assert kept
    assert {row["reason"] for row in dropped} == {"low_score"}
    assert (
        sum(row["ok"] for row in kept) / len(kept)
        > sum(row["ok"] for row in ROWS[:20]) / 20
    )


@pytest.mark.long
def test_a_cross_encoder_is_calibrated_too_and_the_filter_reads_it(tmp_path):
    data = write(tmp_path / "rows.jsonl", ROWS)
    words = [
        "critic",
        "--first",
        "head",
        "--second",
        "tail",
        "--label",
        "ok",
        "--group",
        "head",
        "--held-out",
        "0.5",
        "--calibration",
        "platt",
    ]
    fast = [
        "--max-steps",
        "4",
        "--per-device-train-batch-size",
        "8",
        "--disable-tqdm",
        "--logging-strategy",
        "no",
    ]
    result = CliRunner().invoke(
        main,
        [
            *words,
            "--data",
            str(data),
            "--model",
            "scratch:tiny",
            "--output",
            str(tmp_path / "critic"),
            *fast,
        ],
    )
    assert result.exit_code == 0, result.output
    assert "recall 0.9: least=" in result.output
    info = json.loads((tmp_path / "critic" / "train.json").read_text())
    curve = calibration.beside(tmp_path / "critic")
    assert curve is not None
    assert curve.kind == "platt"
    least = info["recalls"][-1]["least"]
    kept, dropped = CrossEncoder(
        model=str(tmp_path / "critic"),
        first="head",
        second=("tail",),
        least=least,
    ).split(ROWS)
    assert len(kept) + len(dropped) == len(ROWS)
    scores = [row["marks"]["cross_encoder"]["score"] for row in kept + dropped]
    (tmp_path / "critic" / calibration.FILE).unlink()
    fresh = tmp_path / "plain"
    (tmp_path / "critic").rename(fresh)
    plain = [
        row["marks"]["cross_encoder"]["score"]
        for part in CrossEncoder(
            model=str(fresh), first="head", second=("tail",)
        ).split(ROWS)
        for row in part
    ]
    assert sorted(scores) != sorted(plain)


def test_labels_that_are_all_alike_are_refused(tmp_path):
    data = write(tmp_path / "rows.jsonl", [{**row, "ok": True} for row in ROWS])
    result = critic(
        "--data", data, "--model", MINILM, "--output", tmp_path / "critic"
    )
    assert result.exit_code == 2
    count = len(ROWS)
    assert "all alike" in result.output
    assert "(True in " in result.output
    assert f"of {count} rows have none" not in result.output


@pytest.mark.parametrize("frozen", [["--frozen"], []])
@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["yes"] * 9 + [1] * 21, "rows, 'yes' in "),
        (["0"] * 10 + [None] * 20, "20 of 30 rows have none"),
        ([None] * 30, "found 30 rows without a label"),
        ([1.0] * 30, "(1.0 in "),
    ],
)
def test_the_labels_that_were_read_are_counted(tmp_path, frozen, labels, says):
    rows = [
        {
            "question": f"q{n}",
            "rationale": "a",
            "answer": "b",
            "is_correct": label,
        }
        for n, label in enumerate(labels)
    ]
    told = ["critic", *frozen, "--data", str(write(tmp_path / "r.jsonl", rows))]
    told += ["--model", "scratch:tiny", "--output", str(tmp_path / "critic")]
    result = CliRunner().invoke(main, told)
    assert result.exit_code == 2
    assert says in result.output
    assert "r.jsonl is_correct: found" in result.output


def test_trainer_fields_are_refused(tmp_path):
    data = write(tmp_path / "rows.jsonl", ROWS)
    for more in (["--max-steps", "3"], ["--lora"]):
        result = critic(
            "--data",
            data,
            "--model",
            MINILM,
            "--output",
            tmp_path / "critic",
            *more,
        )
        assert result.exit_code == 2
        assert "no trainer fields" in result.output


def test_no_such_encoder_is_said(tmp_path):
    data = write(tmp_path / "rows.jsonl", ROWS)
    result = critic(
        "--data",
        data,
        "--model",
        tmp_path / "none",
        "--output",
        tmp_path / "critic",
    )
    assert result.exit_code == 2
    assert "no such file or folder" in result.output
