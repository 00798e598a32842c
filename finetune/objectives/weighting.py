"""One loss for rows that weigh differently and tasks that count differently: the formula alone,
over plain tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from synth.core.errors import WrongUse, did_you_mean

if TYPE_CHECKING:
    from finetune.core.tensors import PerSequence, Scalar


def weighted_loss(
    row_losses: PerSequence,
    weights: PerSequence,
    tasks: PerSequence,
    coefficients: Sequence[float],
    margin: float,
) -> Scalar:
    """Sum over tasks of coefficient times the mean of weight times row loss.

    Task means, not token counts: rationales have many times the tokens of labels and would decide
    alone (Distilling Step-by-Step, arXiv:2305.02301, equation 3; TinyLLM, arXiv:2402.04616). A
    negative weight pushes away from a row (negative training, arXiv:2312.12832); beyond `margin` a
    row is far enough and pushes no longer.

    Args:
        row_losses: [N] mean negative log-likelihood a token of each row, in nats.
        weights: [N], any sign.
        tasks: [N] number of each row's task.
        coefficients: one a task.
        margin: in nats a token, above 0.

    Returns:
        A scalar; tasks without a row in the batch add nothing.
    """
    capped = row_losses.clamp(max=margin).where(weights < 0, row_losses)
    total = row_losses.sum() * 0.0
    for number, coefficient in enumerate(coefficients):
        chosen = tasks == number
        if chosen.any():
            total = (
                total + coefficient * (weights[chosen] * capped[chosen]).mean()
            )
    return total


def read_coefficients(
    given: Mapping[str, float], tasks: Sequence[str]
) -> list[float]:
    """A coefficient for each task: as given, else equal shares of 1.

    Raises:
        WrongUse: a task that the rows do not have, or a task without a coefficient where some are
            given.
    """
    for name in given:
        if name not in tasks:
            raise WrongUse(
                "--coefficients",
                f"task {name!r}",
                "a task of the rows",
                did_you_mean(name, tasks),
            )
    if given and (missing := [task for task in tasks if task not in given]):
        raise WrongUse(
            "--coefficients",
            f"none for {missing[0]!r}",
            "one for every task",
            f"The rows have: {', '.join(tasks)}.",
        )
    return [float(given[task]) if given else 1.0 / len(tasks) for task in tasks]


def bundles(ids: Sequence[str], tasks: Sequence[int]) -> list[list[int]]:
    """Places of rows that must stand in one batch: one row of each task of an item, so that a
    task's mean is over the same items.

    >>> bundles(["a", "a", "b", "b", "a"], [0, 1, 0, 1, 0])
    [[0, 1], [2, 3], [4]]
    """
    groups: list[list[int]] = []
    latest: dict[str, int] = {}
    for position, (item, task) in enumerate(zip(ids, tasks, strict=True)):
        at = latest.get(item)
        if at is None or any(tasks[other] == task for other in groups[at]):
            latest[item] = len(groups)
            groups.append([position])
        else:
            groups[at].append(position)
    return groups


def wholes(ids: Sequence[str]) -> list[list[int]]:
    """Places of the rows of each item, in the order of their first rows.

    >>> wholes(["a", "b", "a"])
    [[0, 2], [1]]
    """
    groups: dict[str, list[int]] = {}
    for position, item in enumerate(ids):
        groups.setdefault(item, []).append(position)
    return list(groups.values())
