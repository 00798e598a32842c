"""How well the filters do on real labelled rows: `make study-filters DATA=folder`. One table; no
call is made.

DATA holds `gsm8k/solutions_dev.jsonl` (2,640 solutions of four models to 660 GSM8K test questions,
from github.com/openai/grade-school-math, MIT: to check filters, never to train on),
`verify_cot/dev.jsonl` (lz1oceani/verify_cot) and `big_bench_mistake/dev.jsonl`
(WHGTyen/BIG-Bench-Mistake). Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synth.answers.equal import same_answer
from synth.core.errors import Unreadable
from synth.core.records import group_by
from synth.critics.features import features
from synth.critics.trained_model import fit
from synth.filters.answer_match import AnswerMatch
from synth.filters.arithmetic_steps import ArithmeticSteps
from synth.filters.base import Filter
from synth.filters.language import Language
from synth.filters.pii import Pii
from synth.filters.refusal import Refusal
from synth.filters.repetition import Repetition
from synth.filters.self_consistency import SelfConsistency
from synth.filters.truncation import Truncation
from synth.inputs.seeds import read_rows
from synth.local_models.minilm import MINILM
from synth.parsers.final_number import FinalNumber
from synth.parsers.option import Option
from synth.statistics.intervals import auc, wilson
from synth.statistics.thresholds import NotEnoughEvidence
from synth.verifiers import arithmetic_steps as verifier

Rows = list[dict[str, Any]]


def solutions(path: Path) -> Rows:
    """Rows with what the parser reads; unreadable ones have no answer."""
    out = []
    for row in read_rows(path):
        view = {
            "question": row["question"],
            "teacher": row["teacher"],
            "right": row["is_correct"],
            "target": row["answer"],
        }
        try:
            out.append({**view, **FinalNumber().parse(row["completion"], view)})
        except Unreadable:
            out.append({**view, "answer": None, "rationale": row["completion"]})
    return out


def share(hits: int, of: int) -> str:
    """A share with its interval."""
    low, high = wilson(hits, of)
    return f"{hits / max(1, of):.3f} [{low:.3f}, {high:.3f}]"


def line(name: str, kept: Rows, rows: Rows) -> None:
    """Precision of what is kept, share of the right and of the wrong rows that is kept or
    caught.
    """
    right, all_right = (
        sum(row["right"] for row in kept),
        sum(row["right"] for row in rows),
    )
    caught = 1 - (len(kept) - right) / (len(rows) - all_right)
    print(
        f"| {name} | {len(kept):,} | {share(right, len(kept))} | {share(right, all_right)} | "
        f"{caught:.3f} |"
    )


def gates(rows: Rows) -> None:
    """Filters that never see the gold."""
    filters: dict[str, list[Filter]] = {
        "none": [],
        "arithmetic_steps": [ArithmeticSteps()],
        "self_consistency, 2 of 4": [
            SelfConsistency(min_votes=2, min_share=0.0, ties="keep")
        ],
        "self_consistency, 3 of 4": [
            SelfConsistency(min_votes=3, min_share=0.0, ties="keep")
        ],
        "self_consistency, 4 of 4": [
            SelfConsistency(min_votes=4, min_share=0.0, ties="keep")
        ],
        "3 of 4, then arithmetic_steps": [
            SelfConsistency(min_votes=3, min_share=0.0, ties="keep"),
            ArithmeticSteps(),
        ],
    }
    print(
        "| filter | kept | precision | right ones kept | wrong ones caught "
        "|\n|---|---:|---|---|---:|"
    )
    for name, parts in filters.items():
        kept = rows
        for part in parts:
            kept = part.split(kept)[0]
        line(name, kept, rows)
    dropped = ArithmeticSteps().split(rows)[1]
    print(
        f"\narithmetic_steps drops {len(dropped)} rows; wrong among them: "
        f"{share(sum(not r['right'] for r in dropped), len(dropped))}"
    )
    agreed = sum(
        (AnswerMatch(unknown="drop").judge(row).keep is True) == row["right"]
        for row in rows
    )
    print(
        f"answer_match agrees with the published label: {agreed:,} of {len(rows):,}"
    )


def critics(rows: Rows) -> None:
    """A small critic against agreement alone, five folds by question."""
    questions = sorted({row["question"] for row in rows})
    order = random.Random(0).sample(questions, len(questions))
    fold = {question: place % 5 for place, question in enumerate(order)}
    labels = [row["right"] for row in rows]
    print(
        f"\nAUC, five folds by question: agreement alone {auc(_votes(rows), labels):.3f}",
        end="",
    )
    kinds: tuple[tuple[str, tuple[str, ...], str | None], ...] = (
        ("features", (), None),
        ("features and who wrote", ("teacher",), None),
        ("these and sentence vectors", ("teacher",), MINILM),
    )
    for name, columns, embedding in kinds:
        scores = [0.0] * len(rows)
        for k in range(5):
            train = [row for row in rows if fold[row["question"]] != k]
            test = [
                n for n, row in enumerate(rows) if fold[row["question"]] == k
            ]
            found = fit(
                train, label="right", columns=columns, embedding=embedding
            ).scores([rows[n] for n in test])
            for n, score in zip(test, found, strict=True):
                scores[n] = score
        print(f", {name} {auc(scores, labels):.3f}", end="")
    print()


def _votes(rows: Rows) -> list[float]:
    """Each row's share of the draws that agree with it."""
    out = [0.0] * len(rows)
    for members in group_by(rows, lambda row: row["question"]).values():
        for n, seen in zip(
            members, features([rows[n] for n in members]), strict=True
        ):
            out[n] = seen[0]
    return out


def promises(rows: Rows, splits: int, target: float = 0.85) -> None:
    """How often a promised precision is broken on the rest of the rows, and how often a threshold
    by eye would be.
    """
    questions = sorted({row["question"] for row in rows})
    broken = abstained = naive = 0
    recalls = []
    for split in range(splits):
        order = random.Random(split).sample(questions, len(questions))
        first, second = int(0.4 * len(order)), int(0.7 * len(order))
        parts = [
            set(order[:first]),
            set(order[first:second]),
            set(order[second:]),
        ]
        train, held, test = (
            [row for row in rows if row["question"] in part] for part in parts
        )
        model = fit(train, label="right", columns=("teacher",))
        scores = model.scores(test)

        def outcome(
            least: float, scores: Sequence[float] = scores, test: Rows = test
        ) -> tuple[float, float]:
            kept = [
                row["right"]
                for row, score in zip(test, scores, strict=True)
                if score >= least
            ]
            return sum(kept) / max(1, len(kept)), sum(kept) / sum(
                row["right"] for row in test
            )

        naive += (
            outcome(
                _by_eye(
                    model.scores(held), [row["right"] for row in held], target
                )
            )[0]
            < target
        )
        try:
            least = (
                model.calibrated(
                    held, label="right", target_precision=target
                ).threshold
                or {}
            )["least"]
        except NotEnoughEvidence:
            abstained += 1
            continue
        precision, recall = outcome(least)
        broken += precision < target
        recalls.append(recall)
    mean = sum(recalls) / max(1, len(recalls))
    print(
        f"\nprecision {target} promised with confidence 0.9, {splits} splits by question: broken "
        f"in {broken}, refused in {abstained}, ",
        end="",
    )
    print(
        f"mean share of right rows kept {mean:.2f}; the loosest threshold by eye breaks it in "
        f"{naive}"
    )


def _by_eye(
    scores: Sequence[float], labels: Sequence[bool], target: float
) -> float:
    """The loosest threshold whose precision on the labelled rows reaches the target."""
    best, right = 1.0, 0
    for kept, (score, label) in enumerate(
        sorted(zip(scores, labels, strict=True), reverse=True), 1
    ):
        right += label
        best = score if right >= target * kept else best
    return best


def chains(data: Path) -> None:
    """The step verifier where people judged whole chains, and where they marked the first wrong
    step.
    """
    rows = list(read_rows(data / "verify_cot" / "dev.jsonl"))
    judged = [
        (
            verifier.ArithmeticSteps().verify(str(row["rationale"])),
            row["chain_is_valid"],
        )
        for row in rows
    ]
    refused = [valid for said, valid in judged if said is False]
    print(
        f"\nverify_cot: {len(rows)} chains, a wrong step found in {len(refused)}; invalid "
        f"{share(refused.count(False), len(refused))}"
    )
    lucky = [
        said
        for (said, valid), row in zip(judged, rows, strict=True)
        if row["answer_is_correct"] and not valid
    ]
    print(
        f"  right answer but invalid chain: {len(lucky)}, of which a wrong step is found in "
        f"{lucky.count(False)}"
    )
    tasks: dict[str, list[bool]] = {}
    for row in read_rows(data / "big_bench_mistake" / "dev.jsonl"):
        found = next(
            (
                n
                for n, step in enumerate(row["steps"])
                if verifier.ArithmeticSteps().verify(str(step)) is False
            ),
            None,
        )
        if found is not None:
            tasks.setdefault(row["task"], []).append(
                found == row["mistake_index"]
            )
    for task, hits in sorted(tasks.items()):
        print(
            f"big_bench_mistake, {task}: a wrong step found in {len(hits)} chains, the marked "
            f"one in {sum(hits)}"
        )


def replies(data: Path) -> None:
    """How many raw replies the parsers read, and how many of those agree with the gold."""
    for name, reader in (
        ("svamp_train", FinalNumber()),
        ("commonsense_qa_train", Option()),
    ):
        rows = list(read_rows(data / "palm_cot" / f"{name}.jsonl"))
        said: list[bool | None] = []
        for row in rows:
            try:
                said.append(
                    same_answer(
                        str(reader.parse(row["completion"], row)["answer"]),
                        str(row["answer"]),
                    )
                )
            except Unreadable:
                said.append(None)
        read = [word for word in said if word is not None]
        print(
            f"palm_cot/{name}: {len(rows)} replies, read {share(len(read), len(rows))}, right of "
            f"those {share(sum(read), len(read))}"
        )


def false_alarms(data: Path) -> None:
    """How many of people's own solutions each filter of texts would drop."""
    rows = [
        {"rationale": row["rationale"]}
        for row in read_rows(data / "gsm8k" / "train.jsonl")
    ]
    parts = [
        Refusal(),
        Truncation(field="rationale"),
        Repetition(),
        Pii(),
        ArithmeticSteps(),
        Language(),
    ]
    for part in parts:
        print(
            f"{part.name} drops {len(part.split(rows)[1])} of {len(rows)} solutions that people "
            "wrote"
        )


def agreement(data: Path) -> None:
    """Two teachers and three wordings of a prompt: how right one draw is, and how right what most
    of them say.
    """
    rows = [
        {
            **row,
            "answer": found[1],
            "right": int(found[1]) - 1 == row["answer_index"],
        }
        for row in read_rows(data / "sat_analogies" / "replies.jsonl")
        if (found := re.match(r"\D{0,40}([1-9])", str(row["completion"])))
    ]
    print(
        f"sat_analogies: {len(rows)} replies read, right "
        f"{share(sum(row['right'] for row in rows), len(rows))}"
    )
    for name, part in (
        ("4 of 6 draws agree", SelfConsistency(min_votes=4)),
        (
            "both teachers agree",
            SelfConsistency(voter="teacher", min_votes=1.6),
        ),
        (
            "2 of 3 wordings agree",
            SelfConsistency(voter="prompt_variant", min_votes=2),
        ),
    ):
        kept, _ = part.split(rows, group="id")
        print(
            f"  {name}: kept {len(kept)}, right "
            f"{share(sum(row['right'] for row in kept), len(kept))}"
        )


def pairs(data: Path) -> None:
    """How far people agree on pairs, and how a judge that prefers the longer reply does against
    their majority.
    """
    rows = list(read_rows(data / "pandalm" / "dev.jsonl"))
    votes = [[row[f"annotator{n}"] for n in (1, 2, 3)] for row in rows]
    clear = [
        (row, max(v, key=v.count))
        for row, v in zip(rows, votes, strict=True)
        if max(map(v.count, v)) > 1
    ]
    both = [(v[0] == v[1]) + (v[0] == v[2]) + (v[1] == v[2]) for v in votes]
    print(
        f"pandalm/dev: {len(rows)} pairs, two annotators agree on "
        f"{share(sum(both), 3 * len(rows))}, a majority on {len(clear)}"
    )
    longer = [
        (len(str(row["response1"])) > len(str(row["response2"]))) == (wins == 1)
        for row, wins in clear
        if wins
    ]
    print(
        f"  of {len(longer)} pairs with a winner the longer reply is the better one in "
        f"{share(sum(longer), len(longer))}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=60)
    options = parser.parse_args()
    found = solutions(options.data / "gsm8k" / "solutions_dev.jsonl")
    gates(found)
    critics(found)
    chains(options.data)
    replies(options.data)
    false_alarms(options.data)
    agreement(options.data)
    pairs(options.data)
    promises(found, options.splits)
