"""What of a teacher an encoder should learn from - outputs, hidden states, attention - on rows and
models of yours: one table over seeds. `python -m examples.study_encoders --task classify
--data ROWS --held-out ROWS --teacher M --model M --output DIR`.

Each arm is one `finetune distill` with the same steps, and with `--then` another one behind it.
`--arm NAME=LOSS+LOSS` adds one of yours: a grid is an arm for each of its settings. A finished arm
is not trained again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import click

from finetune.cli import main as finetune

# Name -> losses (Distiller, arXiv:2109.11105, and the task-agnostic comparison look at these
# three kinds).
ARMS = {
    "output: KL": ("forward_kl",),
    "output: KL, temperature 4": ("forward_kl:temperature=4",),
    "output: mean squared logits": ("logit_mse",),
    "attention: MiniLM": ("minilm:heads=4",),
    "output and attention": ("forward_kl", "minilm:heads=4"),
}
# These want a student as wide as its teacher.
OF_ONE_WIDTH = {
    "hidden: every layer": ("hidden_mse:layers=uniform",),
    "output and hidden": ("forward_kl", "hidden_mse:layers=uniform"),
}
# The losses of the arms are of several kinds: they are not held against each other.
MEASURES = ("agreement", "accuracy", "kl", "cross_entropy")


def trained(
    folder: Path, losses: Sequence[str], told: argparse.Namespace, seed: int
) -> Mapping[str, float]:
    """What the last measurement of a student says; it is trained where it is not there."""
    model = told.model
    if told.then:
        distil(folder / "first", model, losses, told, seed)
        model = str(folder / "first")
        losses = told.then.split("+")
    facts = distil(folder, model, losses, told, seed)
    found: Mapping[str, float] = facts["held_out"]["measured"][-1]
    return found


def distil(
    folder: Path,
    model: str,
    losses: Sequence[str],
    told: argparse.Namespace,
    seed: int,
) -> Mapping[str, Any]:
    """One `finetune distill`, and what it writes down."""
    record = folder / "train.json"
    if not record.is_file():
        line = [
            *("distill", "--task", told.task, "--input", told.data),
            *("--held-out", told.held_out, "--output", folder),
            *("--model", model, "--teacher", told.teacher),
            *("--max-steps", told.steps, "--seed", seed),
            *("--learning-rate", told.learning_rate, "--disable-tqdm"),
            *("--per-device-train-batch-size", told.batch),
        ]
        for loss in losses:
            line += ["--loss", loss]
        finetune([str(word) for word in line], standalone_mode=False)
    facts: Mapping[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    return facts


def spread(values: Sequence[float]) -> str:
    """The mean, and the standard deviation where there are several.

    >>> spread([0.5, 0.7]), spread([0.5])
    ('0.600 ± 0.141', '0.500')
    """
    mean = f"{fmean(values):.3f}"
    return f"{mean} ± {stdev(values):.3f}" if len(values) > 1 else mean


def table(results: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """A line an arm, a column a measure that all of its students have.

    >>> print(table({"a": [{"kl": 0.25, "step": 9}]}))
    | arm | kl |
    |---|---:|
    | a | 0.250 |
    """
    names = [
        name
        for name in MEASURES
        if all(name in one for found in results.values() for one in found)
    ]
    lines = [
        f"| arm | {' | '.join(names)} |",
        f"|---|{'---:|' * len(names)}",
    ]
    for arm, found in results.items():
        cells = [spread([one[name] for one in found]) for name in names]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--task", choices=["classify", "mlm", "tokens"], default="classify"
    )
    for name in ("--data", "--held-out", "--teacher", "--model"):
        parser.add_argument(name, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--arm", action="append", default=[], metavar="NAME=LOSS+LOSS"
    )
    parser.add_argument(
        "--only", action="store_true", help="The arms of --arm alone."
    )
    parser.add_argument(
        "--one-width",
        action="store_true",
        help="Student and teacher are equally wide.",
    )
    parser.add_argument(
        "--then",
        default="",
        metavar="LOSS+LOSS",
        help="Losses of a second training of as many steps, which is what is measured: for arms "
        "that leave the head as it was.",
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    told = parser.parse_args(words)
    arms = (
        {}
        if told.only
        else {**ARMS, **(OF_ONE_WIDTH if told.one_width else {})}
    )
    for given in told.arm:
        name, _, losses = given.partition("=")
        arms[name] = tuple(losses.split("+"))
    results = {}
    for name, losses in arms.items():
        folder = "".join(sign if sign.isalnum() else "_" for sign in name)
        results[name] = [
            trained(told.output / f"{folder}_{seed}", losses, told, seed)
            for seed in range(told.seeds)
        ]
    text = table(results)
    (told.output / "table.md").write_text(f"{text}\n", encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
