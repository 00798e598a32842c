"""Rows that people or a gold judged, as critics read them: chains of verify_cot, chains of
big_bench_mistake with their first wrong step, pairs of pandalm, solutions of gsm8k.

They are read by path and never copied. Each row has an `id`, what its critic's pack reads, `right`
(whether it is good, None where nobody could say) and the `group` of rows that are about the same
question.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from synth.answers.golds import read_gold
from synth.core.errors import WrongUse
from synth.filters.process_critic import ProcessCritic
from synth.inputs.seeds import read_rows

Row = dict[str, Any]
Rows = Callable[[Path], list[Row]]
SEED = 0
# What a calculator wrote into a solution: <<3*4=12>>.
_CALCULATED = re.compile(r"<<[^<>]*>>")
_ANSWER = re.compile(r"\nA: .*\Z", re.DOTALL)


def read(data: Path, name: str) -> list[Row]:
    """The rows of a file of the folder of labelled data.

    Raises:
        WrongUse: it is not there.
    """
    path = data / f"{name}.jsonl"
    if not path.is_file():
        raise WrongUse(
            str(path),
            "no file",
            "labelled rows, as the page of real models says",
            "Name the folder that holds them: --data DIR.",
        )
    return [*read_rows(path)]


def chains(data: Path) -> list[Row]:
    """Chains over word problems, dates and letters; good where a person found every step valid.

    Their answer is right there, too: no valid chain ends in a wrong one. A choice among several is
    named by its letter, and the choices stand below the question.
    """
    made = []
    for row in read(data, "verify_cot/dev"):
        question = row["question"]
        for letter, choice in zip("ABCDE", row["choices"] or (), strict=False):
            question += f"\n({letter}) {choice}"
        answer = str(row["final_answer"])
        chain = {"rationale": row["rationale"]}
        made.append(
            {
                "id": row["id"],
                "group": row["question"],
                "right": bool(row["chain_is_valid"]),
                "question": question,
                "rationale": row["rationale"],
                "answer": answer,
                "steps": ProcessCritic().steps_of(chain),
                "completion": f"{row['rationale']}\n\nAnswer: {answer}",
            }
        )
    return made


def final_answers(data: Path) -> list[Row]:
    """Final answers of the same chains beside a gold that says its answer in a box or behind ####;
    good where a person found the answer right.
    """
    made = []
    for row in read(data, "verify_cot/dev"):
        if row["task"] not in ("gsm8k", "MATH"):
            continue
        gold = read_gold(row["gold"])
        if gold.form not in ("####", "boxed"):
            continue
        made.append(
            {
                "id": row["id"],
                "group": row["question"],
                "right": bool(row["answer_is_correct"]),
                "question": row["question"],
                "answer": str(row["final_answer"]),
                "target": gold.texts[0],
            }
        )
    return made


def marked_chains(data: Path) -> list[Row]:
    """Chains over brackets, arithmetic, sorting, places and logic; good without a wrong step.
    `first_mistake` is counted from 1, 0 for none.
    """
    made = []
    for row in read(data, "big_bench_mistake/dev"):
        index = row["mistake_index"]
        made.append(
            {
                "id": row["id"],
                "group": row["input"],
                "right": index is None,
                "question": row["input"],
                "steps": row["steps"],
                "first_mistake": 0 if index is None else index + 1,
            }
        )
    return made


def pairs(data: Path) -> list[Row]:
    """Pairs of replies; good where two of three people prefer the first one, None where two of them
    find neither better. `winner` is theirs: first, second or tie.
    """
    made = []
    for row in read(data, "pandalm/dev"):
        votes = [row[f"annotator{number}"] for number in (1, 2, 3)]
        winner = max(votes, key=votes.count)
        # Numbers of replies; 0 where they are alike.
        if votes.count(winner) < 2:
            continue
        question = f"{row['instruction']}\n{row['input']}".strip()
        made.append(
            {
                "id": str(row["idx"]),
                "group": question,
                "right": winner == 1 if winner else None,
                "question": question,
                "first": str(row["response1"]),
                "second": str(row["response2"]),
                "winner": ("tie", "first", "second")[winner],
            }
        )
    return made


def solutions(data: Path) -> list[Row]:
    """Worked solutions of four models beside the gold; good where they end in it."""
    made = []
    for row in read(data, "gsm8k/solutions_dev"):
        text = _CALCULATED.sub("", row["completion"]).strip()
        made.append(
            {
                "id": f"{row['id']}-{row['teacher']}",
                "group": row["question"],
                "right": bool(row["is_correct"]),
                "question": row["question"],
                "answer": text,
                "target": row["answer"],
                "first": row["answer"],
                "second": text,
            }
        )
    return made


def four_solutions(data: Path) -> list[Row]:
    """Questions whose four solutions, in an order of their own, are neither all right nor all
    wrong. `rights` says which are right; good is what the critic chooses where it is right, so that
    `right` is None. `vote` is the share of right ones among those that end as most others do.
    """
    by_question: dict[str, list[Row]] = defaultdict(list)
    for row in solutions(data):
        by_question[row["group"]].append(row)
    made = []
    for question, rows in by_question.items():
        rights = [row["right"] for row in rows]
        if all(rights) or not any(rights):
            continue
        mixed = random.Random(question).sample(rows, len(rows))
        made.append(
            {
                "id": mixed[0]["id"].rpartition("-")[0],
                "group": question,
                "right": None,
                "question": question,
                "candidates": [row["answer"] for row in mixed],
                "rights": [row["right"] for row in mixed],
                "vote": voted(mixed),
            }
        )
    return made


def voted(rows: Sequence[Row]) -> float:
    """Share of right ones among the solutions whose last line stands below most of them; ties
    count together.
    """
    ends = [_end(row["answer"]) for row in rows]
    most = max(map(ends.count, ends))
    chosen: list[bool] = [
        row["right"]
        for row, end in zip(rows, ends, strict=True)
        if ends.count(end) == most
    ]
    return sum(chosen) / len(chosen)


def _end(solution: str) -> str:
    found = _ANSWER.search(solution)
    return found[0].strip() if found else solution


def drawn(rows: Sequence[Row], count: int, *, balanced: bool) -> list[Row]:
    """So many rows, the same each time; more of them begin with the fewer.

    Args:
        rows: of a set.
        count: at most.
        balanced: right and wrong rows in turn, else as they come.
    """
    shuffled = random.Random(SEED).sample(rows, len(rows))
    if not balanced:
        return shuffled[:count]
    right = [row for row in shuffled if row["right"]]
    wrong = [row for row in shuffled if not row["right"]]
    turns = zip(right, wrong, strict=False)
    return [row for pair in turns for row in pair][:count]
