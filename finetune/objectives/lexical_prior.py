"""Which words stand for which in pairs of texts, and how far a student's choice of words is from
that (Ding et al., arXiv:2012.14583).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from finetune.core.tensors import Scalar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Rounds of expectation and maximisation, and targets of a token that are kept.
ROUNDS = 5
MOST = 8
# Chances below it count as this one, so that logarithms are numbers.
_LEAST = 1e-9


class Prior(NamedTuple):
    """What tokens stand for.

    Attributes:
        rows: [V] the row of a source token; -1 for one without.
        tokens: [N, K] its likeliest target tokens.
        chances: [N, K], which sum to 1; 0 behind the last.
    """

    rows: Tensor
    tokens: Tensor
    chances: Tensor

    def to(self, device: torch.device) -> Prior:
        """The same elsewhere."""
        return Prior(*(part.to(device) for part in self))


def translations(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
) -> dict[int, dict[int, float]]:
    """Chance of a target token for a source token, by IBM model 1 without an empty word: five
    rounds from even chances.

    Args:
        pairs: token ids of a source text and of its target.

    Example:
        >>> found = translations([([1, 2], [8, 9]), ([1], [8])])
        >>> round(found[1][8], 3), round(found[2][9], 3)
        (0.955, 0.827)
    """
    import numpy as np  # noqa: PLC0415 - for those who train

    numbers: dict[tuple[int, int], int] = {}
    which: list[int] = []
    places: list[int] = []
    place = 0
    for source, target in pairs:
        for token in target:
            for other in source:
                pair = numbers.setdefault((other, token), len(numbers))
                which.append(pair)
                places.append(place)
            place += 1
    if not numbers:
        return {}
    sources = np.array([source for source, _ in numbers])
    shares = _aligned(
        np.array(which), np.array(places), sources, place, len(numbers)
    )
    found: dict[int, dict[int, float]] = {}
    listed = shares.tolist()
    for (source_id, target_id), number in numbers.items():
        targets = found.setdefault(source_id, {})
        targets[target_id] = listed[number]
    return found


def _aligned(
    which: NDArray[np.int64],
    places: NDArray[np.int64],
    sources: NDArray[np.int64],
    count: int,
    pairs: int,
) -> NDArray[np.float64]:
    """[pairs] chances of the target of a pair, given its source."""
    import numpy as np  # noqa: PLC0415

    shares = np.ones(pairs)
    for _ in range(ROUNDS):
        likely = shares[which]
        whole = np.bincount(places, likely, count)
        counts = np.bincount(which, likely / whole[places], pairs)
        totals = np.bincount(sources, counts)
        shares = counts / totals[sources]
    return shares


def prior_of(found: dict[int, dict[int, float]], vocabulary: int) -> Prior:
    """The likeliest targets of each token, whose chances are made to sum to 1.

    Args:
        found: of `translations`.
        vocabulary: number of tokens.
    """
    rows = torch.full((vocabulary,), -1)
    tokens = torch.zeros(len(found), MOST, dtype=torch.long)
    chances = torch.zeros(len(found), MOST)
    for row, (source, targets) in enumerate(found.items()):
        best = sorted(targets, key=lambda token: -targets[token])[:MOST]
        values = torch.tensor([targets[token] for token in best])
        rows[source] = row
        tokens[row, : len(best)] = torch.tensor(best)
        chances[row, : len(best)] = values / values.sum()
    return Prior(rows, tokens, chances)


def prior_kl(
    log_probs: Tensor, source: Tensor, prior: Prior, blank: int
) -> Scalar:
    """The mean KL(prior of a source token || what the student says at its places, blanks apart), in
    nats; 0 where no token has a prior.

    Args:
        log_probs: [B, S, R, V] of the student at the R places of each source token.
        source: [B, S] source tokens; -1 for padding.
        prior: what they stand for.
        blank: the token that says nothing.
    """
    rows = _rows(source, prior)
    there = rows >= 0
    if not there.any():
        return log_probs.sum() * 0.0
    said = log_probs[there].exp()
    # What is said at several places together, as shares of all that is no blank.
    together = said.sum(dim=1)
    silent = together[:, blank, None]
    words = together.sum(dim=-1, keepdim=True) - silent
    shares = together / words.clamp(min=_LEAST)
    return _apart(shares, rows[there], prior)


def _apart(shares: Tensor, rows: Tensor, prior: Prior) -> Scalar:
    """The mean KL(prior || what is said), in nats.

    Args:
        shares: [N, V] of what is said.
        rows: [N] of the prior.
        prior: what tokens stand for.
    """
    tokens = prior.tokens[rows]
    chances = prior.chances[rows]
    ours = shares.gather(1, tokens)
    wanted = chances.clamp(min=_LEAST).log()
    said = ours.clamp(min=_LEAST).log()
    gaps = chances * (wanted - said)
    each = gaps.sum(dim=1)
    return each.mean()


def aligned_kl(log_probs: Tensor, source: Tensor, prior: Prior) -> Scalar:
    """The mean KL(prior of a target token's source token || what the student says there), in nats;
    0 where no token has a prior.

    Args:
        log_probs: [N, V] of the student.
        source: [N] the source token that each target token is aligned with; -1 for none.
        prior: what they stand for.
    """
    rows = _rows(source, prior)
    there = rows >= 0
    if not there.any():
        return log_probs.sum() * 0.0
    said = log_probs[there].exp()
    return _apart(said, rows[there], prior)


def _rows(source: Tensor, prior: Prior) -> Tensor:
    """The row of the prior of each source token; -1 for none."""
    found = prior.rows[source.clamp(min=0)]
    return found.masked_fill(source < 0, -1)


def alignment(
    source: Sequence[int],
    target: Sequence[int],
    found: Mapping[int, Mapping[int, float]],
) -> list[int]:
    """The source token that each target token most likely stands for; -1 where none does.

    Args:
        source: token ids.
        target: token ids.
        found: of `translations`.

    Example:
        >>> alignment([1, 2], [9, 8, 7], {1: {8: 0.9, 9: 0.1}, 2: {9: 0.8}})
        [2, 1, -1]
    """
    aligned = []
    for token in target:
        best, most = -1, 0.0
        for one in source:
            chance = found.get(one, {}).get(token, 0.0)
            if chance > most:
                best, most = one, chance
        aligned.append(best)
    return aligned
