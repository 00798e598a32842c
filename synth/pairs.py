"""Preference pairs from kept and dropped draws: one rule, for the export and for `finetune dpo` on a run folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product
from typing import Any

from synth.records import Row
from synth.verifiers.math_equal import same_answer

# Reasons that say "wrong". A reply that no parser read is not wrong: nothing is preferred against it.
WRONG = ("wrong_answer", "wrong_step", "minority_answer", "critic_rejects")
_FOR_THEIR_ANSWER = ("wrong_answer", "minority_answer")


def make_pairs(
    kept: Iterable[Row], dropped: Iterable[Row], *, reasons: Sequence[str] = WRONG, per_seed: int = 1
) -> Iterator[dict[str, Any]]:
    """Pairs `{id, prompt, chosen, rejected, reason}` of draws of one seed, in the order of the kept rows.

    Equal texts never make a pair, nor do draws whose answers agree though one was dropped for its answer.

    >>> kept = [{"id": "a", "prompt": "2 + 2?", "completion": "4", "answer": "4"}]
    >>> dropped = [{"id": "a", "completion": "5", "answer": "5", "reason": "wrong_answer"}]
    >>> [(p["chosen"], p["rejected"]) for p in make_pairs(kept, dropped)]
    [('4', '5')]
    """
    rejected = _by_seed((row for row in dropped if row["reason"] in reasons), ("completion", "reason", "answer"))
    chosen = _by_seed((row for row in kept if row["id"] in rejected), ("prompt", "completion", "answer"))
    for seed, good in chosen.items():
        for a, b in islice(_fitting(good, rejected[seed]), per_seed):
            yield {"id": seed, "prompt": a["prompt"], "chosen": a["completion"], "rejected": b["completion"], "reason": b["reason"]}


def _by_seed(rows: Iterable[Row], names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row.get("completion"):
            found[row["id"]].append({name: row.get(name) for name in names})
    return found


def _fitting(good: list[dict[str, Any]], bad: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs along the diagonals, so that the first ones use different draws."""
    for offset, place in product(range(len(bad)), range(len(good))):
        a, b = good[place], bad[(place + offset) % len(bad)]
        agree = a["answer"] is not None and b["answer"] is not None and same_answer(str(a["answer"]), str(b["answer"]))
        if a["completion"] != b["completion"] and not (agree and b["reason"] in _FOR_THEIR_ANSWER):
            yield a, b
