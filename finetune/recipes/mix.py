"""Several row files become one in given shares: long and short chains, large and small teachers
(Mix Distillation, arXiv:2502.12143).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count as count_from
from itertools import islice
from math import exp
from pathlib import Path

from finetune.core.json_files import write_json
from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.settings import TrainConfig, refuse_of_stages
from synth.core.errors import WrongUse
from synth.core.records import Row


def mixed(
    sources: Sequence[Sequence[Row]],
    shares: Sequence[float],
    *,
    count: int | None = None,
    key: str = "prompt",
) -> list[JsonObject]:
    """Rows of several sources in given shares, each item (rows of one `key`) from one source alone.

    An item that several sources have goes to the one that is farthest behind its share, in an order
    that its hash gives: the same sources give the same rows, and no item is seen in two styles.

    Args:
        sources: rows, each with `key`.
        shares: of the rows of the result; they need not add up to 1.
        count: rows in all; None for as many as the shares allow.
        key: the column that says what an item is.

    Raises:
        WrongUse: a share that is no number from 0 on, or sources that cannot give so many rows.
    """
    total = sum(shares)
    finite = all(0 <= share < float("inf") for share in shares)
    if len(shares) != len(sources) or not finite or not total:
        raise WrongUse(
            "mix",
            f"{len(sources)} sources, shares {list(shares)}",
            "a share from 0 on for each, not all 0",
            "Write --data FILE=SHARE.",
        )
    taken = _dealt([_by_item(source, key) for source in sources], shares)
    given = list(zip(taken, shares, strict=True))
    most = min(len(part) * total / share for part, share in given if share > 0)
    wanted = int(most + 1e-9) if count is None else count
    if wanted > most + 1e-9:
        raise WrongUse(
            "mix --rows",
            f"{wanted:,}",
            f"at most {int(most):,} at these shares",
            "Ask for fewer, or bring more rows.",
        )
    counts = _apportioned(wanted, [share / total for share in shares])
    parts = [part[:n] for part, n in zip(taken, counts, strict=True)]
    return [{**row, "source": source} for source, row in _woven(parts)]


def by_domain(
    rows: Sequence[Row],
    column: str,
    shares: Mapping[str, float],
    count: int,
    *,
    key: str = "",
) -> list[JsonObject]:
    """So many rows in all, of each domain by its share to within a row, each stretch of them about
    as the whole.

    Rows of a domain are drawn without repetition in an order that their hashes give; one that has
    too few begins again in another order.

    Args:
        rows: each with `column`.
        column: the one that says the domain.
        shares: of each domain, 0 to 1; they add up to 1.
        count: rows in all.
        key: another one, other rows.

    Raises:
        WrongUse: a row of a domain without a share, or a domain with a share and no row.
    """
    of_domain: dict[str, list[JsonObject]] = {name: [] for name in shares}
    for row in rows:
        name = str(row.get(column))
        if name not in of_domain:
            raise WrongUse(
                f"rows by {column}",
                repr(name)[:200],
                f"one of {', '.join(shares)}",
                "Measure each domain, or leave its rows out.",
            )
        of_domain[name].append(dict(row))
    counts = _apportioned(count, list(shares.values()))
    parts = []
    for (name, own), wanted in zip(of_domain.items(), counts, strict=True):
        if wanted and not own:
            raise WrongUse(
                f"rows by {column}",
                f"none of {name!r}",
                f"some, of which {wanted:,} are drawn",
                "Bring rows of each domain that is measured.",
            )
        parts.append(list(islice(_rounds_of(own, key), wanted)))
    return [row for _, row in _woven(parts)]


def _rounds_of(rows: Sequence[JsonObject], key: str) -> Iterator[JsonObject]:
    """All rows again and again, each time in another order."""
    for cycle in count_from():
        yield from sorted(
            rows, key=lambda row: _hash(f"{key} {cycle} {json.dumps(row)}")
        )


def _apportioned(wanted: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers near wanted times each share that add up to it: what is left goes to the
    largest remainders.

    >>> _apportioned(10, [1 / 3, 1 / 3, 1 / 3]), _apportioned(5, [0.5, 0.5])
    ([4, 3, 3], [3, 2])
    """
    # A quota that is whole but for the error of the division is whole.
    quotas = [round(wanted * share, 9) for share in shares]
    counts = [int(quota) for quota in quotas]
    order = sorted(range(len(shares)), key=lambda n: (counts[n] - quotas[n], n))
    for n in order[: wanted - sum(counts)]:
        counts[n] += 1
    return counts


def _dealt(
    shelves: Sequence[Mapping[str, list[JsonObject]]],
    shares: Sequence[float],
) -> list[list[JsonObject]]:
    """Each item's rows to the source that has it and is farthest behind its share, item by item in
    the order of their hashes.
    """
    taken: list[list[JsonObject]] = [[] for _ in shelves]
    for item in sorted(
        {item for shelf in shelves for item in shelf}, key=_hash
    ):
        able = [
            n
            for n, shelf in enumerate(shelves)
            if item in shelf and shares[n] > 0
        ]
        if able:
            chosen = min(able, key=lambda n: (len(taken[n]) / shares[n], n))
            taken[chosen] += shelves[chosen][item]
    return taken


def _hash(item: str) -> bytes:
    return hashlib.sha256(item.encode("utf-8", "replace")).digest()


def _by_item(source: Sequence[Row], key: str) -> dict[str, list[JsonObject]]:
    items: dict[str, list[JsonObject]] = {}
    for row in source:
        items.setdefault(str(row[key]), []).append(dict(row))
    return items


def _woven(
    parts: Sequence[Sequence[JsonObject]],
) -> Iterator[tuple[int, JsonObject]]:
    """(part, row) of all, so that every stretch of them has about the shares of the whole."""
    positions = sorted(
        ((at + 0.5) / len(part), n, at)
        for n, part in enumerate(parts)
        for at in range(len(part))
    )
    for _, n, at in positions:
        yield n, parts[n][at]


def run(
    sources: Sequence[tuple[str, float]],
    output: Path,
    *,
    count: int | None = None,
    key: str = "prompt",
) -> list[int]:
    """Writes the mixture of files to OUTPUT (.jsonl); returns how many rows came of each.

    Raises:
        WrongUse: see `mixed`; a file without the columns.
    """
    loaded = [_loaded(name, key) for name, _ in sources]
    mixture = mixed(
        loaded, [share for _, share in sources], count=count, key=key
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps(row, ensure_ascii=False) + "\n" for row in mixture
        )
    counts = Counter(row["source"] for row in mixture)
    return [counts[source] for source in range(len(sources))]


def _loaded(source: str, key: str) -> list[JsonObject]:
    columns = tuple(dict.fromkeys((key, "prompt", "completion")))
    return [dict(row) for row in rows.with_columns(source, columns)]


def search(
    sources: Sequence[str],
    shares: Sequence[float],
    config: TrainConfig,
    held_out: str,
    *,
    key: str = "prompt",
    new_tokens: int = 256,
) -> list[JsonObject]:
    """Trains a student for each share of the first of two sources and measures it; the same number
    of rows each time.

    Args:
        sources: two row files.
        shares: of the first one, 0 to 1.
        config: model, output folder and trainer fields; `data` is not looked at.
        held_out: rows with `target` and `prompt` that neither source has.
        key: the column that says what an item is.
        new_tokens: of an answer at most.

    Returns:
        {share, rows, exact_match: {share, low, high}} of each, in order.
    """
    from finetune.measuring import evaluate  # noqa: PLC0415 - trainers
    from finetune.recipes import sft  # noqa: PLC0415 - trainers

    refuse_of_stages(config.trainer)
    if len(sources) != 2:
        raise WrongUse(
            "mix --search",
            f"{len(sources)} sources",
            "two",
            "Write --data FIRST --data SECOND.",
        )
    loaded = [_loaded(name, key) for name in sources]
    most = min(
        len(mixed(loaded, [share, 1 - share], key=key)) for share in shares
    )
    results = []
    for share in shares:
        folder = config.output / f"share-{share:g}"
        folder.mkdir(parents=True, exist_ok=True)
        both = mixed(loaded, [share, 1 - share], count=most, key=key)
        data = folder / "rows.jsonl"
        with data.open("w", encoding="utf-8") as file:
            for row in both:
                pair = {name: row[name] for name in ("prompt", "completion")}
                file.write(json.dumps(pair) + "\n")
        sft.run(replace(config, data=str(data), output=folder / "student"))
        measured = evaluate.run(
            evaluate.EvaluateConfig(
                data=held_out,
                model=str(folder / "student"),
                output=folder / "student",
                max_new_tokens=new_tokens,
            )
        )
        results.append(
            {
                "share": share,
                "rows": len(both),
                "exact_match": measured["exact_match"],
            }
        )
    write_json(config.output / "search.json", results)
    return results


def domain_shares(
    students: Mapping[str, float],
    teachers: Mapping[str, float],
    before: Mapping[str, float] | None = None,
    *,
    smoothing: float = 0.5,
) -> dict[str, float]:
    """Sampling shares of domains by how far the student lags behind (DDK, arXiv:2407.16154,
    equations 2 to 4).

    With losses (perplexities, or error rates) of student and teacher: a domain's factor is
    exp(student / teacher); shares follow the former ones times the factor, smoothed with the
    uniform share, which no domain falls below.

    Args:
        students: loss of the student on each domain, 0 or more.
        teachers: loss of the teacher on each, above 0.
        before: shares so far; None for the softmax of the ratios, as at the start.
        smoothing: weight of the new shares (0 to 1); the rest is uniform.

    Returns:
        Shares that add up to 1, each at least (1 - smoothing) / domains.

    >>> found = domain_shares(
    ...     {"algebra": 0.6, "geometry": 0.3}, {"algebra": 0.3, "geometry": 0.3}, smoothing=1.0
    ... )
    >>> {name: round(share, 3) for name, share in found.items()}
    {'algebra': 0.731, 'geometry': 0.269}
    """
    same = set(students) == set(teachers)
    if not same or not students or min(teachers.values()) <= 0:
        raise WrongUse(
            "domains",
            f"{sorted(students)} and {sorted(teachers)}",
            "the same domains, teachers' losses above 0",
            "Measure both.",
        )
    ratios = {name: students[name] / teachers[name] for name in students}
    largest = max(ratios.values())
    factors = {
        name: exp(ratio - largest) * (before[name] if before else 1.0)
        for name, ratio in ratios.items()
    }
    total = sum(factors.values())
    return {
        name: smoothing * factor / total + (1 - smoothing) / len(factors)
        for name, factor in factors.items()
    }
