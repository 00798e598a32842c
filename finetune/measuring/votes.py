"""Which of several answers counts: self-consistency, and adaptive self-consistency with a
ranker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from synth.answers.equal import votes as one_key_a_value

Weigh = Literal["1", "s", "1+s", "1+2s"]
_WEIGHTS = {
    "1": (1.0, 0.0),
    "s": (0.0, 1.0),
    "1+s": (1.0, 1.0),
    "1+2s": (1.0, 2.0),
}


def vote(
    answers: Sequence[str | None],
    scores: Sequence[float | None] | None = None,
    weigh: Weigh = "1+s",
) -> list[tuple[str, float]]:
    """The answers that lead, each with its share of the credit: 1 for a clear winner, 1/k for each
    of k that tie.

    All spellings of an answer are one. With constant scores this is self-consistency (Wang et al.,
    arXiv:2203.11171).

    Args:
        answers: of the draws; None where a draw could not be read.
        scores: of a ranker, 0 to 1; None for no ranker, a missing one counts as their mean (Turning
            Dust into Gold, arXiv:2312.12832, section 3.4).
        weigh: what a vote weighs, s being the score.

    >>> vote(["4", "5", "4.0"]), vote(["4", "5"], [0.9, 0.1]), vote(["4", "5"]), vote([None])
    ([('4', 1.0)], [('4', 1.0)], [('4', 0.5), ('5', 0.5)], [])
    """
    if scores is None:
        scores = [1.0] * len(answers)
    weights = _weights(scores, weigh)
    sums: dict[str, float] = defaultdict(float)
    spellings: dict[str, str] = {}
    keys = one_key_a_value(answers)
    for answer, key, weight in zip(answers, keys, weights, strict=True):
        if answer is None or key is None:
            continue
        spellings.setdefault(key, answer)
        sums[key] += weight
    best = max(sums.values(), default=0.0)
    leading = []
    for key, total in sums.items():
        if best - total < 1e-9:
            leading.append(spellings[key])
    credit = 1 / max(1, len(leading))
    return [(answer, credit) for answer in leading]


def _weights(scores: Sequence[float | None], weigh: Weigh) -> list[float]:
    """What the vote of each draw weighs; one without a score has their mean."""
    given = [score for score in scores if score is not None]
    mean = 1.0
    if given:
        mean = sum(given) / len(given)
    base, slope = _WEIGHTS[weigh]
    filled = [mean if score is None else score for score in scores]
    return [base + slope * score for score in filled]


class Ranker:
    """A critic of `finetune critic` or a probe of `finetune entropy-probe` on this machine: how
    likely each reply is right.

    Args:
        model: its folder.
    """

    def __init__(self, model: str) -> None:
        from finetune.scoring.opened import opened  # noqa: PLC0415 - torch, for those who rank

        self.classify = opened("classify", model)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Probability (0 to 1) that each (question, reply) is right."""
        classes = self.classify({"pairs": pairs})
        labels = classes["labels"]
        right = labels.index("accepted") if "accepted" in labels else -1
        return [shares[right] for shares in classes["shares"]]
