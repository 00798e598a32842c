"""What the training ideas of published systems bring on the demo's task: one table and one plot
over three seeds.

Each question: the same simulated teachers, the same student from scratch, the same number of rows a
step; only what is learned differs. The simulation is one: a finding here is about this task. Run it
with `make study` (about ten minutes on two cores).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.demo import QUIET, SFT, draw_rows, keep
from finetune.recipes.mix import mixed
from synth.filters.answer_match import AnswerMatch
from synth.filters.per_seed import PerSeed
from synth.inputs.seeds import write_jsonl
from synth.statistics.intervals import wilson
from synth.teachers.simulation.word_problems import make_problems

TRAIN, TEST = 600, 300
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Arm:
    """One student: the question that it helps to answer, its name, its rows, how it is asked."""

    question: str
    name: str
    rows: Rows
    prefix: str = ""
    batch: int = 32
    coefficients: dict[str, float] = field(default_factory=dict)


def pair(
    row: dict[str, Any], completion: str, prefix: str = "", **more: Any
) -> dict[str, Any]:
    """One training row."""
    return {
        "id": row["id"],
        "prompt": f"{prefix}{row['question']}\n",
        "completion": completion,
        **more,
    }


def full(row: dict[str, Any]) -> str:
    """The rationale, then the answer."""
    return f"{row['rationale']}\n#### {row['answer']}"


def short(row: dict[str, Any]) -> str:
    """The calculations alone, then the answer."""
    words = [
        word
        for word in row["rationale"].split()
        if word not in ("first", "then", ".")
    ]
    return f"{' '.join(words)}\n#### {row['answer']}"


def make_arms(out: Path, seed: int) -> list[Arm]:
    """The rows of every student of one seed."""
    unseen = frozenset(row["question"] for row in make_problems(TEST, 10**6))
    problems = make_problems(TRAIN, seed, unseen)
    slips, carry = (
        [
            row
            for row in draw_rows(
                out / name, problems, f"simulated/{name}:seed={seed}", 4
            )
            if row["answer"] is not None
        ]
        for name in ("slips", "carry")
    )
    match = AnswerMatch()
    right = keep(slips, [match, PerSeed()])
    wrong = match.split(slips, group="id")[1][: len(right)]
    by_id = {row["id"]: row for row in keep(carry, [match, PerSeed()])}
    both = [(row, by_id[row["id"]]) for row in right if row["id"] in by_id]
    label, rationale = {"task": "label"}, {"task": "rationale"}
    two_tasks = [
        row
        for r in right
        for row in (
            pair(r, f"#### {r['answer']}", "predict: ", **label),
            pair(r, r["rationale"], "explain: ", **rationale),
        )
    ]
    two_teachers = [
        row
        for a, b in both
        for row in (pair(a, full(a), task="one"), pair(b, full(b), task="two"))
    ]
    signed = [*((r, 1.0) for r in right), *((r, -0.05) for r in wrong)]
    return [
        Arm(
            "rationale as a task",
            "answers alone",
            [pair(r, f"#### {r['answer']}", "predict: ") for r in right],
            "predict: ",
        ),
        Arm(
            "rationale as a task",
            "answers and rationales, two tasks",
            two_tasks,
            "predict: ",
            16,
        ),
        Arm(
            "rationale as a task",
            "rationale, then answer",
            [pair(r, full(r)) for r in right],
        ),
        Arm(
            "filtered",
            "first draw, unfiltered",
            [pair(r, full(r)) for r in slips if r["meta"]["draw"] == 0],
        ),
        Arm("filtered", "right answer", [pair(r, full(r)) for r in right]),
        Arm("style", "short chains", [pair(r, short(r)) for r in right]),
        Arm(
            "style",
            "long 1 : short 4",
            mixed(
                [
                    [pair(r, full(r)) for r in right],
                    [pair(r, short(r)) for r in right],
                ],
                [1, 4],
            ),
        ),
        Arm(
            "negatives",
            "right draws, wrong ones dropped",
            [pair(r, full(r), weight=1.0) for r in right],
        ),
        Arm(
            "negatives",
            "wrong draws with weight -0.05",
            [pair(r, full(r), weight=w) for r, w in signed],
        ),
        Arm(
            "teachers",
            "one teacher",
            [pair(a, full(a), task="one") for a, _ in both],
        ),
        Arm("teachers", "two teachers, two tasks", two_teachers, "", 16),
    ]


def train(arm: Arm, out: Path, seed: int) -> dict[str, Any]:
    """Trains and measures one student; what the trainers print goes to a log."""
    from finetune.measuring import evaluate  # noqa: PLC0415 - only the workers pay for the imports
    from finetune.recipes import sft  # noqa: PLC0415 - only the workers pay for the imports
    from finetune.settings import TrainConfig  # noqa: PLC0415

    place = out / f"{arm.question}-{arm.name}".replace(" ", "_").replace(
        ",", ""
    ).replace(":", "to")
    place.mkdir(parents=True, exist_ok=True)
    write_jsonl(
        place / "rows.jsonl",
        ({k: v for k, v in row.items() if k != "source"} for row in arm.rows),
    )
    write_jsonl(
        place / "test.jsonl",
        (
            {**row, "prompt": f"{arm.prefix}{row['question']}\n"}
            for row in make_problems(TEST, 10**6)
        ),
    )
    with (
        (place / "log.txt").open("w") as text,
        contextlib.redirect_stdout(text),
        contextlib.redirect_stderr(text),
    ):
        fields = {
            **SFT,
            **QUIET,
            "seed": seed,
            "per_device_train_batch_size": arm.batch,
        }
        sft.run(
            TrainConfig(
                data=str(place / "rows.jsonl"),
                model="scratch:tiny",
                output=place / "student",
                trainer=fields,
            )
        )
        test, student = str(place / "test.jsonl"), str(place / "student")
        found = evaluate.run(
            evaluate.EvaluateConfig(
                data=test,
                model=student,
                output=place,
                max_new_tokens=64,
                batch=150,
            )
        )
    return {
        "question": arm.question,
        "arm": arm.name,
        "rows": len(arm.rows),
        "seed": seed,
        "share": found["exact_match"]["share"],
        "tested": found["rows"],
    }


def table(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line an arm: pooled share over the seeds with its 95 % interval."""
    groups: dict[tuple[str, str], Rows] = defaultdict(list)
    for result in results:
        groups[result["question"], result["arm"]].append(result)
    lines = []
    for (question, arm), found in groups.items():
        hits, tested = (
            sum(round(r["share"] * r["tested"]) for r in found),
            sum(r["tested"] for r in found),
        )
        low, high = wilson(hits, tested)
        lines.append(
            {
                "question": question,
                "arm": arm,
                "rows": found[0]["rows"],
                "share": hits / tested,
                "low": low,
                "high": high,
                "each": [r["share"] for r in found],
            }
        )
    return lines


def workers() -> ProcessPoolExecutor:
    """Two students at a time, one thread each: that is what two cores hold."""
    os.environ.update(
        OMP_NUM_THREADS="1",
        TOKENIZERS_PARALLELISM="false",
        TRANSFORMERS_VERBOSITY="error",
        HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    )
    return ProcessPoolExecutor(
        2, mp_context=multiprocessing.get_context("spawn")
    )


def write(lines: Sequence[dict[str, Any]], folder: Path) -> str:
    """Writes table.md and plot.png; returns the table."""
    out = [
        "| question | student learns from | rows | exact match (95 % interval) | each seed |",
        "|---|---|---:|---|---|",
    ]
    for line in lines:
        each = ", ".join(f"{share:.2f}" for share in line["each"])
        interval = f"({line['low']:.2f} to {line['high']:.2f})"
        out.append(
            f"| {line['question']} | {line['arm']} | {line['rows']:,} | {line['share']:.2f} "
            f"{interval} | {each} |"
        )
    (folder / "table.md").write_text("\n".join(out) + "\n", encoding="utf-8")
    import matplotlib.pyplot as plt  # noqa: PLC0415 - half a second, and only here

    figure, axes = plt.subplots(figsize=(8, 0.4 * len(lines) + 1))
    shares, names = (
        [line["share"] for line in lines],
        [f"{line['question']}: {line['arm']}" for line in lines],
    )
    # A share of 1 lies a rounding above its own interval.
    spread = [
        [
            max(0.0, s - line["low"])
            for s, line in zip(shares, lines, strict=True)
        ],
        [
            max(0.0, line["high"] - s)
            for s, line in zip(shares, lines, strict=True)
        ],
    ]
    axes.barh(
        names[::-1],
        shares[::-1],
        xerr=[side[::-1] for side in spread],
        color="#7a9",
    )
    axes.set_xlabel("exact match on 300 held-out problems")
    figure.tight_layout()
    figure.savefig(folder / "plot.png", dpi=120)
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/study"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    jobs = [
        (arm, options.output / f"seed{seed}", seed)
        for seed in options.seeds
        for arm in make_arms(options.output / f"seed{seed}", seed)
    ]
    with workers() as pool:
        results = [
            future.result()
            for future in [pool.submit(train, *job) for job in jobs]
        ]
    (options.output / "results.json").write_text(
        json.dumps(results, indent=2) + "\n", encoding="utf-8"
    )
    print(write(table(results), options.output))


if __name__ == "__main__":
    main()
