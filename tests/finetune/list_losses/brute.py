"""Made lists, and formulas written out in plain Python."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from hypothesis import strategies as st

from finetune.list_losses.base import Lists
from synth.core import registry


@st.composite
def cases(draw):
    """A batch in float64: 2 to 4 queries, 2 to 4 texts, some absent, with targets, groups and a teacher."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    count, width = draw(st.integers(2, 4)), draw(st.integers(2, 4))

    def unit(*shape):
        return torch.nn.functional.normalize(
            torch.randn(*shape, generator=generator, dtype=torch.float64),
            dim=-1,
        )

    mask = torch.rand(count, width, generator=generator) > 0.25
    mask[:, :2] = True
    targets = (
        torch.randint(0, 5, (count, width), generator=generator).double() / 2
    )
    targets[:, 0] = targets[:, 0].clamp(min=0.5)
    return Lists(
        queries=unit(count, 3), documents=unit(count, width, 3), mask=mask, targets=targets, scale=draw(st.sampled_from([1.0, 5.0])),
        groups=torch.randint(0, 2, (count,), generator=generator),
        ranker=torch.randn(count, width, generator=generator, dtype=torch.float64),
        heads={name: torch.rand(count, count, width, generator=generator, dtype=torch.float64) for name in ("sparse", "multi")},
        layers=torch.randn(2, count, count, width, generator=generator, dtype=torch.float64),
        teacher_layers=torch.randn(3, count, count, width, generator=generator, dtype=torch.float64),
        teacher=Lists(queries=unit(count, 5), documents=unit(count, width, 5), mask=mask, scale=1.0),
    )  # fmt: skip


def there(lists, b):
    """Places of the texts of a query."""
    return [n for n in range(lists.mask.shape[1]) if lists.mask[b, n]]


def score(lists, b, c, n):
    """Of query b with text n of query c."""
    return lists.scale * float(lists.queries[b] @ lists.documents[c, n])


def own(lists, b):
    """Scores of a query's own texts, by place."""
    return {n: score(lists, b, b, n) for n in there(lists, b)}


def others(lists, b):
    """Scores with the texts of all other queries."""
    return [
        score(lists, b, c, n)
        for c in range(len(lists.mask))
        if c != b
        for n in there(lists, c)
    ]


def target(lists, b):
    return {n: float(lists.targets[b, n]) for n in there(lists, b)}


def softmax(values):
    total = sum(exp(v) for v in values.values())
    return {n: exp(v) / total for n, v in values.items()}


def kl(wanted, said):
    return sum(
        wanted[n] * log(wanted[n] / said[n]) for n in wanted if wanted[n] > 0
    )


def order(values):
    """Places by falling value, equal ones in order."""
    return sorted(values, key=lambda n: (-values[n], n))


def luce(scores, ranked, rest=()):
    """Mean negative log-likelihood of an order, `rest` behind it."""
    terms = [
        log(sum(exp(scores[m]) for m in ranked[k:]) + sum(map(exp, rest)))
        - scores[n]
        for k, n in enumerate(ranked)
    ]
    return sum(terms) / len(terms)


def agrees(spec, case, term):
    """The loss is the mean over queries of a term, where there is one."""
    wanted = [
        value for b in range(len(case.mask)) if (value := term(b)) is not None
    ]
    assert float(
        registry.build("finetune.list_losses", spec)(case)
    ) == pytest.approx(mean(wanted), abs=1e-9)


def mean(values):
    listed = list(values)
    return sum(listed) / max(1, len(listed))
