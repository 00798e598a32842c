"""What critics are worth on models of this size: `python -m examples.real.study_critics --data D`.

D holds rows that people or experts judged: chains of verify_cot (is every step valid?), chains of
big_bench_mistake (which step is the first wrong one?), pairs of pandalm (which reply is better?).
As many rows of each kind are drawn. Replies are journaled, so that the study goes on where it was
ended.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from examples.real import models, server
from examples.real.results import record, recorded, share
from synth.filters import Critic, Pairwise, ProcessCritic
from synth.filters.base import Filter
from synth.inputs.seeds import read_rows
from synth.statistics.intervals import auc
from synth.statistics.thresholds import NotEnoughEvidence, calibrate

FILE = Path(__file__).parent / "critics.jsonl"
# What `synth calibrate` is asked to promise.
PRECISION = 0.8
CONFIDENCE = 0.9

Row = dict[str, Any]
Reach = Mapping[str, Any]


class Study(NamedTuple):
    """One critic on one set of labelled rows.

    Attributes:
        rows: of the labelled set; `right` says what people found.
        critic: the filter, given how its teacher is reached.
    """

    rows: Callable[[Path], list[Row]]
    critic: Callable[[Reach], Filter]


def chains(data: Path) -> list[Row]:
    """Chains of thought over word problems and other tasks; 300, half of them not valid."""
    return [
        {
            "question": row["question"],
            "rationale": row["rationale"],
            "answer": str(row["final_answer"]),
            "right": bool(row["chain_is_valid"]),
        }
        for row in read_rows(data / "verify_cot" / "dev.jsonl")
    ]


def marked_chains(data: Path) -> list[Row]:
    """Chains over arithmetic, sorting, words and brackets, with their first wrong step."""
    return [
        {
            "question": row["input"],
            "rationale": row["steps"],
            "first": row["mistake_index"],
            "right": row["mistake_index"] is None,
        }
        for row in read_rows(data / "big_bench_mistake" / "dev.jsonl")
    ]


def pairs(data: Path) -> list[Row]:
    """Pairs of replies of which two of three people prefer one."""
    made = []
    for row in read_rows(data / "pandalm" / "dev.jsonl"):
        votes = [row[f"annotator{number}"] for number in (1, 2, 3)]
        winner = max(votes, key=votes.count)
        if votes.count(winner) < 2 or not winner:
            continue
        made.append(
            {
                "question": f"{row['instruction']}\n{row['input']}".strip(),
                "chosen": row["response1"],
                "rejected": row["response2"],
                "right": winner == 1,
            }
        )
    return made


STUDIES = {
    "critic_faithful": Study(
        chains,
        lambda reach: Critic(weigh="probability", **reach),
    ),
    "critic_process": Study(
        marked_chains,
        lambda reach: ProcessCritic(**reach),
    ),
    "critic_pairwise": Study(
        pairs,
        lambda reach: Pairwise(**reach),
    ),
}


def drawn(rows: Sequence[Row], count: int) -> list[Row]:
    """As many right rows as wrong ones, in an order of their own."""
    rng = random.Random(0)
    shuffled = rng.sample(rows, len(rows))
    half = count // 2
    right = [row for row in shuffled if row["right"]][:half]
    wrong = [row for row in shuffled if not row["right"]][:half]
    return rng.sample([*right, *wrong], len(right) + len(wrong))


def measured(part: Filter, rows: Sequence[Row]) -> Row:
    """Counts of verdicts against labels, the area under the ROC curve, and the promise."""
    counts = {"kept_right": 0, "kept_wrong": 0, "dropped_right": 0}
    counts |= {"dropped_wrong": 0, "unknown": 0}
    scores: list[float] = []
    labels: list[bool] = []
    for row, _ in part.stream(rows, part=8):
        marks = row["marks"][part.name]
        kind = "right" if row["right"] else "wrong"
        if marks["keep"] is None:
            counts["unknown"] += 1
        else:
            counts[f"{'kept' if marks['keep'] else 'dropped'}_{kind}"] += 1
        score = marks.get("score")
        if isinstance(score, float):
            scores.append(score)
            labels.append(row["right"])
    result: Row = {"rows": len(rows), **counts}
    if scores:
        result["auc"] = round(auc(scores, labels), 3)
        result["promise"] = _promise(scores, labels)
    return result


def _promise(scores: Sequence[float], labels: Sequence[bool]) -> str:
    try:
        promise = calibrate(
            scores, labels, target_precision=PRECISION, confidence=CONFIDENCE
        )
    except NotEnoughEvidence:
        return "none"
    return f"keeps {promise.kept} of {len(scores)} from {promise.least:.2f} on"


def lines(results: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: what is right among kept rows, among dropped ones wrong, and what comes of it."""
    head = (
        "| critic | teacher | rows, half of them right | right among kept (95 % interval) "
        "| wrong among dropped (95 % interval) | right rows kept | unknown | area under the curve "
        f"| promise of {PRECISION} |"
    )
    text = [head, "|---|---|---:|---|---|---:|---:|---:|---|"]
    for row in results:
        kept = row["kept_right"] + row["kept_wrong"]
        dropped = row["dropped_right"] + row["dropped_wrong"]
        right = row["kept_right"] + row["dropped_right"]
        cells = (
            f"`{row['critic']}`",
            row["teacher"],
            str(row["rows"]),
            share(row["kept_right"], kept),
            share(row["dropped_wrong"], dropped),
            f"{row['kept_right']} of {right}",
            str(row["unknown"]),
            str(row.get("auc", "-")),
            row.get("promise", "-"),
        )
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def main() -> None:
    """Reads the command line; prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("critics", nargs="*", default=[*STUDIES])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", choices=models.MODELS, default="qwen-0.5b")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument(
        "--output", type=Path, default=Path("runs/study-critics")
    )
    parser.add_argument("--record", type=Path, default=FILE)
    options = parser.parse_args()
    with server.serving(
        models.fetch(options.teacher), slots=4, context=4096
    ) as url:
        for name in options.critics:
            study = STUDIES[name]
            part = study.critic(
                {
                    "teacher": f"openai/{options.teacher}",
                    "api_base": url,
                    "api_key_env": "",
                    "concurrency": 4,
                    "journal": str(options.output / options.teacher / name),
                }
            )
            rows = drawn(study.rows(options.data), options.rows)
            who = {"critic": name, "teacher": options.teacher}
            result = {**who, **measured(part, rows)}
            record(result, options.record, of="critic")
            print(json.dumps(result), flush=True)
    results = recorded(options.record, of="critic")
    print(lines([*results.values()]))


if __name__ == "__main__":
    main()
