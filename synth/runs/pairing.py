"""Preference pairs from kept and dropped draws: one rule, for the export and for `finetune dpo` on
a run folder.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product

from synth.answers.equal import same_answer
from synth.core.records import Fields, Row
from synth.text.words import jaccard

# Reasons that say "wrong". A reply that no parser read is not wrong: nothing is preferred against
# it.
WRONG = ("wrong_answer", "wrong_step", "minority_answer", "critic_rejects")
_NO_PAIR = "no seed with a kept and a wrong draw"
_FOR_THEIR_ANSWER = ("wrong_answer", "minority_answer", "worse")


def make_pairs(
    kept: Iterable[Row],
    dropped: Iterable[Row],
    *,
    reasons: Sequence[str] = WRONG,
    per_seed: int = 1,
    order: str = "diagonal",
    most_alike: float = 1.0,
) -> Iterator[Fields]:
    """Pairs `{id, prompt, chosen, rejected, reason}` of draws of one seed, in the order of the kept
    rows.

    Equal texts never make a pair, nor do texts of two prompts, nor draws whose answers agree though
    one was dropped for its answer.

    Args:
        kept: rows that may be chosen.
        dropped: rows with a `reason`.
        reasons: of rows that may be rejected.
        per_seed: most pairs of one seed.
        order: which pairs of a seed come first: `diagonal` (different draws), or `unlike` (the
            least shared words, as in DPO-ST, arXiv:2407.18248).
        most_alike: largest Jaccard similarity of the words of both sides (0 to 1).

    >>> kept = [{"id": "a", "prompt": "2 + 2?", "completion": "4", "answer": "4"}]
    >>> dropped = [{"id": "a", "completion": "5", "answer": "5", "reason": "wrong_answer"}]
    >>> [(p["chosen"], p["rejected"]) for p in make_pairs(kept, dropped)]
    [('4', '5')]
    """
    rejected = _by_seed(
        (row for row in dropped if row["reason"] in reasons),
        ("prompt", "completion", "reason", "answer"),
    )
    chosen = _by_seed(
        (row for row in kept if row["id"] in rejected),
        ("prompt", "completion", "answer"),
    )
    for seed, good in chosen.items():
        fitting: Iterable[tuple[Fields, Fields]] = (
            pair
            for pair in _fitting(good, rejected[seed])
            if most_alike >= 1 or _alike(pair) <= most_alike
        )
        if order == "unlike":
            fitting = sorted(fitting, key=_alike)
        for a, b in islice(fitting, per_seed):
            yield {
                "id": seed,
                "prompt": a["prompt"],
                "chosen": a["completion"],
                "rejected": b["completion"],
                "reason": b["reason"],
            }


def why_no_pair(
    dropped: Iterable[Row], reasons: Sequence[str] = WRONG
) -> tuple[str, str]:
    """(what was found, what to do) where the draws of a run make no pair.

    Args:
        dropped: rows with a `reason`.
        reasons: of rows that may be rejected.

    >>> why_no_pair([{"reason": "too_long"}], ["wrong_answer"])[0]
    'no seed with a kept and a wrong draw: none was dropped for wrong_answer, and 1 too_long'
    """
    counted = Counter(str(row["reason"]) for row in dropped)
    wanted = ", ".join(reasons)
    if any(reason in counted for reason in reasons):
        return (
            f"{_NO_PAIR} ({wanted})",
            "Run with more --draws, so that one seed has right and wrong ones.",
        )
    if not counted:
        return (
            f"{_NO_PAIR}: no draw was dropped",
            "Run with more --draws, or with a filter that drops the worse ones.",
        )
    often = counted.most_common(1)[0][0]
    listed = ", ".join(
        f"{count:,} {reason}" for reason, count in counted.most_common()
    )
    named = f"synth export DIR --to preference:reasons={often}"
    return (
        f"{_NO_PAIR}: none was dropped for {wanted}, and {listed}",
        f"Name the reason that makes a text the worse one: {named}.",
    )


def _alike(pair: tuple[Fields, Fields]) -> float:
    """Jaccard similarity of the words of both sides."""
    return jaccard(pair[0]["completion"], pair[1]["completion"])


def over(
    better: Iterable[Row],
    worse: Iterable[Row],
    *,
    per_seed: int = 1,
    order: str = "diagonal",
    most_alike: float = 0.9,
) -> Iterator[Fields]:
    """Pairs of one run's kept rows over any rows of another run of the same seeds: teacher over
    student (PLaD, arXiv:2406.02886).

    Where both answers agree neither is better: such draws make no pair, nor do texts of nearly the
    same words.

    Args:
        better: rows of the teacher.
        worse: rows of the student, kept or dropped.
        per_seed: most pairs of one seed.
        order: see `make_pairs`.
        most_alike: see `make_pairs`.

    >>> teacher = [{"id": "a", "prompt": "2 + 2?", "completion": "2 + 2 = 4", "answer": "4"}]
    >>> student = [{"id": "a", "completion": f"so {n}", "answer": n} for n in ("5", "4")]
    >>> [p["rejected"] for p in over(teacher, student)]
    ['so 5']
    """
    return make_pairs(
        better,
        # The other run may have asked in other words.
        ({**row, "reason": "worse", "prompt": None} for row in worse),
        reasons=("worse",),
        per_seed=per_seed,
        order=order,
        most_alike=most_alike,
    )


def by_score(
    rows: Iterable[tuple[Row, float]], *, least: float = 0.1, per_seed: int = 1
) -> Iterator[Fields]:
    """Pairs of a seed's draws of which one scores clearly higher: `{id, prompt, chosen, rejected,
    reason, margin}`, widest margins first.

    Args:
        rows: with their scores, of a critic for example.
        least: smallest margin, above 0: draws that score alike are no preference, whatever a
            tie-break says.
        per_seed: most pairs of one seed.

    >>> drawn = [
    ...     ({"id": "a", "prompt": "Why?", "completion": text}, score)
    ...     for text, score in (("So.", 0.2), ("As ice floats.", 0.9))
    ... ]
    >>> [(p["chosen"], p["margin"]) for p in by_score(drawn)]
    [('As ice floats.', 0.7)]
    """
    if not least > 0:
        raise ValueError(f"least={least}; use a margin above 0")
    seeds: dict[str, list[tuple[Row, float]]] = defaultdict(list)
    for row, score in rows:
        if row.get("completion"):
            seeds[row["id"]].append((row, score))
    for seed, drawn in seeds.items():
        gaps = [
            (round(one - two, 6), a, b)
            for a, one in drawn
            for b, two in drawn
            if a["completion"] != b["completion"] and _same_prompt(a, b)
        ]
        clear = sorted(
            (gap for gap in gaps if gap[0] >= least), key=lambda gap: -gap[0]
        )
        for margin, a, b in clear[:per_seed]:
            yield {
                "id": seed,
                "prompt": a["prompt"],
                "chosen": a["completion"],
                "rejected": b["completion"],
                "reason": "lower_score",
                "margin": margin,
            }


def _by_seed(
    rows: Iterable[Row], names: Sequence[str]
) -> dict[str, list[Fields]]:
    rows_by_seed: dict[str, list[Fields]] = defaultdict(list)
    for row in rows:
        if row.get("completion"):
            rows_by_seed[row["id"]].append(
                {name: row.get(name) for name in names}
            )
    return rows_by_seed


def _fitting(
    good: list[Fields], bad: list[Fields]
) -> Iterator[tuple[Fields, Fields]]:
    """Pairs along the diagonals, so that the first ones use different draws."""
    for offset, index in product(range(len(bad)), range(len(good))):
        a = good[index]
        b = bad[(index + offset) % len(bad)]
        agree = (
            a["answer"] is not None
            and b["answer"] is not None
            and same_answer(str(a["answer"]), str(b["answer"]))
        )
        if not _same_prompt(a, b):
            continue
        if a["completion"] != b["completion"] and not (
            agree and b["reason"] in _FOR_THEIR_ANSWER
        ):
            yield a, b


def _same_prompt(one: Row, other: Row) -> bool:
    """Whether two texts may answer one prompt: rows of one seed that were spread have prompts of
    their own.
    """
    prompts = {one.get("prompt"), other.get("prompt")} - {None}
    return len(prompts) < 2
