"""Recorded replies of real models through the line: parse, match, vote, export. No call is made.

Give the folder that holds `palm_cot/` (a 540B model on SVAMP and CommonsenseQA training questions,
from github.com/google-research/distilling-step-by-step, Apache-2.0) and `gsm8k/solutions_dev.jsonl`
(four systems on GSM8K test questions, from github.com/openai/grade-school-math, MIT): to check
filters, never to train.

    python -m examples.real_replies --data DATA --output runs/real
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import synth
from synth.core import registry
from synth.exports.base import pack_of, write_rows
from synth.inputs.seeds import read_rows
from synth.runs.card import tally_table
from synth.runs.publisher import RunFolder

VOTE: dict[str, Any] = {
    "rationale.filters": [
        {"name": "self_consistency", "min_votes": 2, "min_share": 0.0},
        "answer_match",
    ]
}


def export(run: synth.Run, target: str, output: Path) -> int:
    """Training rows of a run, in a folder that `load_dataset` and TRL read."""
    folder = RunFolder(run.folder)
    return write_rows(
        registry.build("synth.exports", target).rows(folder, pack_of(folder)),
        output,
    )


def palm(data: Path, output: Path, name: str) -> None:
    """One draw a question: kept where the answer is the gold one; SFT rows and multi-task rows."""
    run = synth.run(
        "distill_step_by_step",
        data,
        teacher=f"replay/{data}",
        output=output / name,
        overrides={"explain.filters": ["answer_match"]},
    )
    print(f"\n{name}\n{tally_table(run.counts)}")
    for target in ("sft", "multitask"):
        print(
            f"{target}: {export(run, target, output / f'{name}_{target}'):,} rows"
        )


def gsm8k(data: Path, output: Path) -> None:
    """Four systems as four draws: vote, match, and preference pairs of right over wrong."""
    questions = list(
        {
            row["question"]: {
                "question": row["question"],
                "target": row["answer"],
            }
            for row in read_rows(data)
        }.values()
    )
    vote = synth.run(
        "cot",
        questions,
        teacher=f"replay/{data}",
        output=output / "gsm8k_vote",
        draws=4,
        overrides=VOTE,
    )
    print(
        f"\ngsm8k, agreement of at least 2 of 4, then the gold answer\n{tally_table(vote.counts)}"
    )
    match = synth.run(
        "cot",
        questions,
        teacher=f"replay/{data}",
        output=output / "gsm8k",
        draws=4,
    )
    print(f"\ngsm8k, the gold answer alone\n{tally_table(match.counts)}")
    print(
        f"preference: {export(match, 'preference', output / 'gsm8k_preference'):,} pairs"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("runs/real"))
    options = parser.parse_args()
    palm(
        options.data / "palm_cot" / "svamp_train.jsonl", options.output, "svamp"
    )
    palm(
        options.data / "palm_cot" / "commonsense_qa_train.jsonl",
        options.output,
        "commonsense_qa",
    )
    gsm8k(options.data / "gsm8k" / "solutions_dev.jsonl", options.output)
