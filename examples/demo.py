"""The whole line in one sitting: a simulated teacher, filters, students from scratch, one table,
one plot.

3,000 word problems go to a simulated teacher (no model, no network). Each arm filters the same
replies in its own way and trains one student of 96,000 parameters on what is left. Run it with
`make demo`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import synth
from examples.demo_table import check_bars, write_table
from synth.filters.answer_match import AnswerMatch
from synth.filters.arithmetic_steps import ArithmeticSteps
from synth.filters.base import Filter
from synth.filters.per_seed import PerSeed
from synth.filters.self_consistency import SelfConsistency
from synth.inputs.seeds import write_jsonl
from synth.teachers.simulation.word_problems import make_problems

TRAIN, TEST, FRESH = 3000, 300, 1200
SFT = {
    "max_steps": 600,
    "per_device_train_batch_size": 32,
    "learning_rate": 5e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 50,
    "weight_decay": 0.01,
    "adam_beta2": 0.98,
    "max_grad_norm": 1.0,
    "max_length": 128,
}
DPO = {
    "max_steps": 150,
    "per_device_train_batch_size": 16,
    "learning_rate": 2e-4,
    "beta": 0.3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 10,
    "max_length": 128,
}
QUIET = {"logging_strategy": "no", "disable_tqdm": True}


@dataclass(frozen=True)
class Arm:
    """One student: its name in the table, its rows, and whether DPO follows."""

    name: str
    teacher: str
    rows: Path
    steps: int = 600
    pairs: Path | None = None


def keep(
    rows: Sequence[dict[str, Any]], filters: Iterable[Filter]
) -> list[dict[str, Any]]:
    """What is left of rows after filters in order."""
    left = list(rows)
    for part in filters:
        left, _ = part.split(left, group="id")
    return left


def draw_rows(
    folder: Path, problems: list[dict[str, str]], teacher: str, draws: int
) -> list[dict[str, Any]]:
    """Every reply of a teacher, readable or not: `completion` is what the student would learn from
    it.
    """
    run = synth.run(
        "cot",
        problems,
        teacher=teacher,
        output=folder,
        draws=draws,
        overrides={"rationale.filters": []},
    )
    counts = run.counts
    print(
        f"{teacher}: {counts['asked']:,} asked = {counts['kept']:,} readable + "
        f"{sum(counts['dropped'].values()):,} unreadable",
        flush=True,
    )
    rows = [
        *run.kept,
        *(
            {
                **row,
                "prompt": f"{row['question']}\n",
                "completion": row["reply"],
            }
            for row in run.dropped
        ),
    ]
    return sorted(rows, key=lambda row: int(row["meta"]["draw"]))


def make_arms(out: Path, seed: int) -> list[Arm]:
    """Asks the teachers and writes the rows of every arm."""
    test = make_problems(TEST, 10**6)
    unseen = frozenset(row["question"] for row in test)
    problems = make_problems(TRAIN, seed, unseen)
    write_jsonl(out.parent / "test.jsonl", test)
    carry = draw_rows(
        out / "carry", problems, f"simulated/carry:seed={seed}", 8
    )
    slips = draw_rows(
        out / "slips", problems, f"simulated/slips:seed={seed}", 8
    )
    first_four = [
        row
        for row in carry
        if row["meta"]["draw"] < 4 and row["answer"] is not None
    ]
    answers = [
        {"prompt": f"{p['question']}\n", "completion": f"#### {p['target']}"}
        for p in problems
    ]
    agree = [SelfConsistency(), PerSeed()]
    rows = {
        ("unfiltered", "carry"): [
            row for row in carry if row["meta"]["draw"] == 0
        ],
        ("right answer", "carry"): keep(first_four, [AnswerMatch(), PerSeed()]),
        ("right answer, every step right", "carry"): keep(
            first_four, [AnswerMatch(), ArithmeticSteps(), PerSeed()]
        ),
        ("self-consistency of 8", "carry"): keep(
            [row for row in carry if row["answer"] is not None], agree
        ),
        ("right answers without rationale", "gold"): answers,
        ("unfiltered", "slips"): [
            row for row in slips if row["meta"]["draw"] == 0
        ],
        ("self-consistency of 8", "slips"): keep(
            [row for row in slips if row["answer"] is not None], agree
        ),
    }
    arms = [
        Arm(name, teacher, _write(out, f"{teacher} {name}", found))
        for (name, teacher), found in rows.items()
    ]
    return [_preference_arm(out, problems, unseen, seed), *arms]


def _preference_arm(
    out: Path, problems: list[dict[str, str]], unseen: frozenset[str], seed: int
) -> Arm:
    """A base that has converged on noisy rows, and a run folder of fresh problems whose draws make
    pairs.
    """
    teacher = f"simulated/carry:systematic=0.45,seed={seed}"
    base = _write(
        out, "dpo base", draw_rows(out / "carry45", problems, teacher, 1)
    )
    fresh = make_problems(
        FRESH, seed + 500, unseen | {p["question"] for p in problems}
    )
    pairs = synth.run(
        "cot", fresh, teacher=teacher, output=out / "pairs", draws=4
    ).folder
    return Arm(
        "unfiltered, 800 steps", "carry .45", base, steps=800, pairs=pairs
    )


def _write(out: Path, name: str, rows: Sequence[dict[str, Any]]) -> Path:
    path = out / "rows" / f"{name.replace(' ', '_').replace(',', '')}.jsonl"
    write_jsonl(
        path,
        (
            {"prompt": row["prompt"], "completion": row["completion"]}
            for row in rows
        ),
    )
    return path


def train(arm: Arm, out: Path, seed: int) -> list[dict[str, Any]]:
    """Trains and evaluates the students of one arm, in a process of its own; what the trainers
    print goes to a log.
    """
    log = out / "logs" / f"{arm.rows.stem}.log"
    log.parent.mkdir(exist_ok=True)
    with (
        log.open("w") as text,
        contextlib.redirect_stdout(text),
        contextlib.redirect_stderr(text),
    ):
        return _train(arm, out, seed)


def _train(arm: Arm, out: Path, seed: int) -> list[dict[str, Any]]:
    from finetune.recipes import dpo, sft  # noqa: PLC0415 - only the workers pay for the imports
    from finetune.settings import TrainConfig  # noqa: PLC0415

    student = out / "students" / arm.rows.stem
    fields = {**SFT, **QUIET, "max_steps": arm.steps, "seed": seed}
    done = sft.run(
        TrainConfig(
            data=str(arm.rows),
            model="scratch:tiny",
            output=student,
            trainer=fields,
        )
    )
    results = [measure(arm.name, arm.teacher, student, out, done)]
    if arm.pairs:
        tuned = student.with_name("dpo")
        done = dpo.run(
            TrainConfig(
                data=str(arm.pairs),
                model=str(student),
                output=tuned,
                trainer={**DPO, **QUIET, "seed": seed},
            )
        )
        results.append(
            measure("the same, then DPO", arm.teacher, tuned, out, done)
        )
    return [{**result, "seed": seed} for result in results]


def measure(
    name: str, teacher: str, student: Path, out: Path, done: dict[str, Any]
) -> dict[str, Any]:
    """Exact match of a student on the held-out problems."""
    from finetune.measuring.evaluate import EvaluateConfig, run  # noqa: PLC0415

    found = run(
        EvaluateConfig(
            data=str(out.parent / "test.jsonl"),
            model=str(student),
            output=student,
            max_new_tokens=64,
            batch=150,
        )
    )
    facts = {
        "arm": name,
        "teacher": teacher,
        "rows": done["rows"],
        "tested": found.pop("rows"),
        "cpu_seconds": done["cpu_seconds"],
    }
    return {**found, **facts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/demo"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    os.environ.update(
        OMP_NUM_THREADS="1",
        TOKENIZERS_PARALLELISM="false",
        TRANSFORMERS_VERBOSITY="error",
        HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    )
    started = time.time()
    jobs = [
        (arm, options.output / f"seed{seed}", seed)
        for seed in options.seeds
        for arm in make_arms(options.output / f"seed{seed}", seed)
    ]
    # Two students at a time, one thread each: that is what two cores hold.
    with ProcessPoolExecutor(
        2, mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        futures = [pool.submit(train, *job) for job in jobs]
        for future, (arm, _, seed) in zip(futures, jobs, strict=True):
            found = future.result()
            print(
                f"seed {seed}, {arm.teacher}: "
                + "; ".join(
                    f"{r['arm']} {r['exact_match']['share']:.2f}" for r in found
                ),
                flush=True,
            )
        results = [result for future in futures for result in future.result()]
    (options.output / "results.json").write_text(
        json.dumps(results, indent=2) + "\n", encoding="utf-8"
    )
    print(
        write_table(results, options.output),
        "\n\n",
        check_bars(results),
        f"\n{time.time() - started:.0f} s -> {options.output}/table.md, plot.png",
        sep="",
    )


if __name__ == "__main__":
    main()
