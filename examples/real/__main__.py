"""A real teacher, real texts, a real student: `python -m examples.real --output runs/real`.

A model of 1.5 billion parameters says of review sentences whether they praise or complain, and a
model of 135 million learns from what it says. With `--people` another one learns from what people
said of the same sentences. All are measured on other sentences that twenty people rated. The same
command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import synth
from examples.real import models, server
from examples.real.students import (
    choose,
    file_name,
    finetune,
    lesson,
    train,
)
from examples.real.table import Line, write_table
from examples.real.tasks import TASKS
from synth.core.errors import PotstillError
from synth.inputs.seeds import write_jsonl

Row = Mapping[str, Any]
TASK = TASKS["reviews"]
# What students learn from -> the column that says it.
LABELS = {"the teacher's labels": "answer", "people's labels": "target"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is asked, trained and measured.

    Attributes:
        people: whether another student learns from what people said of the same sentences.
    """

    output: Path
    teacher: str = "qwen-1.5b"
    student: str = "smollm2-135m"
    rows: int = 480
    tested: int = 300
    seed: int = 0
    people: bool = False


def ask(plan: Plan, sentences: Sequence[Row]) -> synth.Run:
    """What the teacher says of every sentence; a reply that names no label is dropped."""
    with server.serving(models.fetch(plan.teacher), slots=8) as url:
        return synth.run(
            TASK.folder,
            sentences,
            teacher=f"openai/{plan.teacher}",
            api_base=url,
            api_key_env="",
            concurrency=8,
            timeout=600.0,
            # A server that is started again listens at another port.
            same_teacher=True,
            output=plan.output / "run",
        )


def learn(plan: Plan, name: str, rows: Sequence[Row]) -> Path:
    """A student that learnt from rows."""
    folder = plan.output / file_name(name)
    data = write(
        folder.with_suffix(".jsonl"), [lesson(TASK, row) for row in rows]
    )
    return train(folder, data, models.student(plan.student), plan.seed)


def measure(plan: Plan, model: Path, name: str, test: Path) -> dict[str, Any]:
    """The share of held-out sentences that a student judges as people did."""
    folder = plan.output / f"measured_{file_name(name)}"
    if not (folder / "evaluation.json").is_file():
        finetune(
            *("evaluate", "--input", test, "--model", model),
            *("--output", folder, "--parser", "option"),
            *("--max-new-tokens", 8, "--batch", 32),
        )
    found: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    return found


def write(path: Path, rows: Sequence[Row]) -> Path:
    """Rows as a file of JSON lines."""
    write_jsonl(path, rows)
    return path


def precision(rows: Sequence[Row]) -> float:
    """Share of rows whose label is the one of people."""
    hits = sum(int(row["answer"] == row["target"]) for row in rows)
    return hits / len(rows)


def run(plan: Plan) -> str:
    """The whole line; returns the table."""
    plan.output.mkdir(parents=True, exist_ok=True)
    sentences = TASK.rows(None)
    held_out = sentences[-plan.tested :]
    asked = ask(plan, sentences[plan.seed * plan.rows :][: plan.rows])
    test = write(
        plan.output / "test.jsonl",
        [
            {
                "prompt": TASK.prompt(row),
                "target": row["target"],
                "choices": TASK.choices,
            }
            for row in held_out
        ],
    )
    hits = sum(row["answer"] == row["target"] for row in asked.kept)
    base = models.student(plan.student)
    chosen = choose(base, TASK, held_out)
    lines = [
        Line(
            name=f"{plan.teacher}, the teacher, on the sentences to learn from",
            hits=hits,
            tested=len(asked.kept),
        ),
        scored(f"{plan.student} before", measure(plan, base, "before", test)),
        Line(
            name=f"{plan.student} before, made to choose one of the two",
            hits=chosen[0],
            tested=chosen[1],
        ),
    ]
    for name, column in list(LABELS.items())[: 1 + plan.people]:
        labelled = [{**row, "answer": row[column]} for row in asked.kept]
        student = learn(plan, name, labelled)
        found = measure(plan, student, name, test)
        line = scored(
            f"{plan.student} after {name}",
            found,
            rows=len(labelled),
            precision=precision(labelled),
        )
        lines.append(line)
    return write_table(lines, plan.output)


def scored(
    name: str,
    evaluation: Mapping[str, Any],
    *,
    rows: int | None = None,
    precision: float | None = None,
) -> Line:
    """A line of the table from what `finetune evaluate` wrote."""
    tested = int(evaluation["rows"])
    hits = round(evaluation["exact_match"]["share"] * tested)
    return Line(
        name=name, rows=rows, precision=precision, hits=hits, tested=tested
    )


def main() -> None:
    """Reads the command line; a missing network, compiler or model is one message."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/real"))
    parser.add_argument(
        "--teacher", choices=models.MODELS, default=Plan.teacher
    )
    parser.add_argument("--rows", type=int, default=Plan.rows)
    parser.add_argument("--tested", type=int, default=Plan.tested)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--people", action="store_true")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        table = run(Plan(**vars(options)))
    except PotstillError as error:
        raise SystemExit(f"examples.real: {error}") from error
    print(f"{table}\n\n{(time.monotonic() - started) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
