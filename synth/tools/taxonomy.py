"""A taxonomy from scored edges: the best parents of each term, without cycles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Edge = tuple[str, str, float]


def clean(
    edges: Iterable[Edge], *, most: float, parents: int = 1
) -> list[Edge]:
    """Edges (child, parent, perplexity) that make a graph without cycles.

    Those above `most` fall; a child keeps the `parents` least perplexing ones; then edges enter
    from the least perplexing on, and one that would close a cycle is left out (Moskvoretskii et
    al., TaxoLLaMA, arXiv:2403.09207, remove the worst edge of each cycle).

    >>> clean(
    ...     [
    ...         ("dory", "boat", 2.0),
    ...         ("boat", "vessel", 3.0),
    ...         ("vessel", "dory", 9.0),
    ...         ("dory", "fish", 5.0),
    ...     ],
    ...     most=10,
    ... )
    [('dory', 'boat', 2.0), ('boat', 'vessel', 3.0)]
    """
    by_child: dict[str, list[Edge]] = {}
    for edge in sorted(
        set(edges), key=lambda edge: (edge[2], edge[0], edge[1])
    ):
        held = by_child.setdefault(edge[0], [])
        if edge[2] <= most and edge[0] != edge[1] and len(held) < parents:
            held.append(edge)
    chosen: list[Edge] = []
    up: dict[str, list[str]] = {}
    for edge in sorted(
        (edge for held in by_child.values() for edge in held),
        key=lambda edge: (edge[2], edge[0], edge[1]),
    ):
        if edge[0] not in _above(edge[1], up):
            chosen.append(edge)
            up.setdefault(edge[0], []).append(edge[1])
    return chosen


def _above(term: str, up: dict[str, list[str]]) -> set[str]:
    """A term and all that it is a kind of."""
    ancestors = {term}
    waiting = [term]
    while waiting:
        new = [
            parent
            for parent in up.get(waiting.pop(), [])
            if parent not in ancestors
        ]
        ancestors.update(new)
        waiting += new
    return ancestors


def score(
    pairs: Sequence[tuple[str, str]], prompts: Sequence[str], model: str
) -> list[Edge]:
    """Edges with the perplexity of each parent behind the child's prompt, by a causal language
    model.

    Args:
        pairs: (child, parent).
        prompts: what stands before the parent's name, one a pair.
        model: a folder or a name of the hub.
    """
    from math import exp  # noqa: PLC0415

    from synth.local_models.scores import losses  # noqa: PLC0415 - a process of its own

    losses_of_pairs = losses(
        [
            (prompt, parent)
            for prompt, (_, parent) in zip(prompts, pairs, strict=True)
        ],
        model,
    )
    return [
        (child, parent, exp(min(nll, 700.0)))
        for (child, parent), (nll, _) in zip(
            pairs, losses_of_pairs, strict=True
        )
    ]
