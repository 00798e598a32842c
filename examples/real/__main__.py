"""A real teacher, real texts, a real student: `python -m examples.real --output runs/real`.

A model of 1.5 billion parameters says of review sentences whether they praise or complain, and a
model of 135 million learns from what it says. With `--people` another one learns from what people
said of the same sentences. All are measured on other sentences that twenty people rated. The same
command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import synth
from examples.real import models, server, texts
from examples.real.table import Line, write_table
from synth.core.errors import PotstillError
from synth.inputs.seeds import write_jsonl

Row = Mapping[str, Any]
PACK = Path(__file__).parent / "reviews"
CHOICES = ["negative", "positive"]
# What students learn from -> the column that says it.
LABELS = {"the teacher's labels": "answer", "people's labels": "target"}
SFT = (
    *("--num-train-epochs", "1", "--per-device-train-batch-size", "8"),
    *("--learning-rate", "5e-5", "--lr-scheduler-type", "cosine"),
    *("--warmup-steps", "5", "--max-length", "192"),
)


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
            PACK,
            sentences,
            teacher=f"openai/{plan.teacher}",
            api_base=url,
            api_key_env="",
            concurrency=8,
            timeout=600.0,
            output=plan.output / "run",
        )


def example(question: str) -> list[dict[str, str]]:
    """What a student is asked."""
    text = f"{question}\nPositive or negative?"
    return [{"role": "user", "content": text}]


def train(plan: Plan, name: str, rows: Sequence[Row]) -> Path:
    """A student that learnt from rows."""
    folder = plan.output / file_name(name)
    if not (folder / "train.json").is_file():
        data = write(
            folder.with_suffix(".jsonl"),
            [
                {
                    "prompt": example(row["question"]),
                    "completion": [
                        {"role": "assistant", "content": row["answer"]}
                    ],
                }
                for row in rows
            ],
        )
        base = models.student(plan.student)
        finetune(
            *("sft", "--input", data, "--model", base, "--output", folder),
            *(*SFT, "--seed", plan.seed),
        )
    return folder


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


def choose(model: Path, test: Path) -> tuple[int, int]:
    """(sentences judged as people did, all) where a student must choose: the label whose first
    token it finds likelier counts, whatever else it would rather say.
    """
    import torch  # noqa: PLC0415 - seconds

    from finetune.data.prompts import ids_of  # noqa: PLC0415
    from finetune.students.load import load_student  # noqa: PLC0415

    network, tokenizer = load_student(str(model))
    network.eval()
    torch.set_num_threads(os.cpu_count() or 1)
    first = [
        tokenizer(label, add_special_tokens=False)["input_ids"][0]
        for label in CHOICES
    ]
    rows = [json.loads(line) for line in test.read_text().splitlines()]
    hits = 0
    for row in rows:
        ids = ids_of(row["prompt"], tokenizer, "always")
        with torch.inference_mode():
            heads = network(torch.tensor([ids]), logits_to_keep=1)
        logits = heads.logits[0, -1]
        choice = CHOICES[int(logits[first].argmax())]
        hits += choice == row["target"]
    return hits, len(rows)


def finetune(*words: object) -> None:
    """Runs the command, with all cores; its output goes to standard error."""
    line = [str(word) for word in words]
    sys.stderr.write(f"finetune {' '.join(line)}\n")
    subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "finetune.cli", *line],
        check=True,
        stdout=sys.stderr,
        env={**os.environ, "OMP_NUM_THREADS": str(os.cpu_count() or 1)},
    )


def file_name(name: str) -> str:
    """A name without blanks and signs."""
    return "".join(s if s.isalnum() else "_" for s in name)


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
    sentences = texts.reviews()
    held_out = sentences[-plan.tested :]
    asked = ask(plan, sentences[plan.seed * plan.rows :][: plan.rows])
    test = write(
        plan.output / "test.jsonl",
        [
            {
                "prompt": example(row["question"]),
                "target": row["target"],
                "choices": CHOICES,
            }
            for row in held_out
        ],
    )
    hits = sum(row["answer"] == row["target"] for row in asked.kept)
    base = models.student(plan.student)
    chosen = choose(base, test)
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
        student = train(plan, name, labelled)
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
