"""What verdicts are worth, counted from records of them, and the table of the docs.

A record is what `judging.record_of` keeps of a row. A row whose verdict cannot be read is dropped,
as filters drop it: it counts against recall, and neither for nor against accuracy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.real.results import hash_of, recorded, share
from synth.statistics.intervals import auc, auc_interval, wilson
from synth.statistics.thresholds import NotEnoughEvidence, calibrate

Result = Mapping[str, Any]
FILE = Path(__file__).parent / "critics.jsonl"
# What `synth calibrate` is asked to promise.
PRECISION = 0.9
CONFIDENCE = 0.9
# A row without a score: below every threshold.
_UNKNOWN = -1.0
_PLACES = {1.0: "first", 0.5: "tie", 0.0: "second"}
_HEAD = (
    "critic on rows",
    "teacher",
    "rows (good)",
    "good among kept",
    "good rows kept",
    "right verdicts",
    "area under the curve",
    "unread",
    "tokens, seconds a verdict",
    f"promise of {PRECISION}",
    "in words",
)


def measures(records: Sequence[Result]) -> dict[str, Any]:
    """All that records of one critic on one set say."""
    asked = [record for record in records if not record.get("too_long")]
    labelled = [record for record in asked if record["right"] is not None]
    found: dict[str, Any] = {
        "rows": len(asked),
        "too_long": len(records) - len(asked),
        "unread": sum(record["unread"] for record in asked),
        **costs(asked),
    }
    if labelled:
        found |= counts(labelled)
        found |= area(labelled)
        found["promise"] = promise(labelled)
    for part in (first_mistakes, preferences, choices):
        found |= part(asked)
    return found


def costs(records: Sequence[Result]) -> dict[str, Any]:
    """Means: calls and tokens, in and out, of a verdict; seconds of those that were waited for."""
    seconds = [r["seconds"] for r in records if r["seconds"] is not None]
    count = max(1, len(records))
    return {
        "calls": round(sum(r["calls"] for r in records) / count, 2),
        "tokens": round(sum(r["tokens"] for r in records) / count),
        "seconds": round(sum(seconds) / max(1, len(seconds)), 1),
    }


def counts(records: Sequence[Result]) -> dict[str, int]:
    """Verdicts against labels."""
    said = Counter((record["good"], record["right"]) for record in records)
    return {
        "labelled": len(records),
        "right": sum(record["right"] for record in records),
        "kept_right": said[True, True],
        "kept_wrong": said[True, False],
        "dropped_right": said[False, True],
        "dropped_wrong": said[False, False],
    }


def area(records: Sequence[Result]) -> dict[str, Any]:
    """The area under the ROC curve of the scores of rows whose verdict was read, with the 95 %
    interval; {} where there are no scores.
    """
    scored = [r for r in records if r["score"] is not None]
    labels = [bool(record["right"]) for record in scored]
    right = sum(labels)
    if not right or right == len(labels):
        return {}
    value = auc([record["score"] for record in scored], labels)
    low, high = auc_interval(value, right, len(labels) - right)
    return {"auc": [round(value, 3), round(low, 3), round(high, 3)]}


def promise(records: Sequence[Result]) -> dict[str, Any]:
    """What `calibrate` promises of one half of the rows, and what becomes of the promise on the
    other half; what is missing where it promises nothing.

    Rows go into the halves two by two, so that good and other rows in turn stand in both.
    """
    halves: tuple[list[Result], list[Result]] = ([], [])
    for number, record in enumerate(records):
        halves[number // 2 % 2].append(record)
    labelled, other = halves
    if not other or all(record["score"] is None for record in records):
        return {}
    try:
        least = calibrate(
            [_score(record) for record in labelled],
            [bool(record["right"]) for record in labelled],
            [record["group"] for record in labelled],
            target_precision=PRECISION,
            confidence=CONFIDENCE,
            lowest=0.0,
        ).least
    except NotEnoughEvidence as error:
        return {
            "labels": len(labelled),
            "best": round(error.best, 3),
            "missing": error.missing,
        }
    kept = [record for record in other if _score(record) >= least]
    return {
        "labels": len(labelled),
        "least": least,
        "kept": len(kept),
        "kept_right": sum(record["right"] for record in kept),
        "of": len(other),
    }


def _score(record: Result) -> float:
    return _UNKNOWN if record["score"] is None else record["score"]


def first_mistakes(records: Sequence[Result]) -> dict[str, Any]:
    """Of chains with a wrong step: how often the first one is named, and how often it or one beside
    it; how often a step drawn at random would be.
    """
    wrong = [r for r in records if r.get("first_mistake")]
    if not wrong:
        return {}
    exact = 0
    near = 0
    for record in wrong:
        named = (
            0 if record["unread"] else int(record["first_wrong"].strip(" .#*"))
        )
        exact += named == record["first_mistake"]
        near += named > 0 and abs(named - record["first_mistake"]) <= 1
    by_chance = sum(1 / record["steps"] for record in wrong) / len(wrong)
    return {
        "mistakes": len(wrong),
        "exact": exact,
        "near": near,
        "by_chance": round(by_chance, 3),
    }


def preferences(records: Sequence[Result]) -> dict[str, Any]:
    """Of pairs: agreement with the majority of people, ties included; which place single verdicts
    name; how often the verdict turns with the order; how often the longer reply is the better one.
    """
    read = [r for r in records if "winner" in r and not r["unread"]]
    if not read:
        return {}
    agreed = sum(preferred(record) == record["winner"] for record in read)
    places: Counter[str] = Counter()
    flips = 0
    for record in read:
        as_first, as_second = record["orders"]
        places[_PLACES[as_first]] += 1
        places[_PLACES[1 - as_second]] += 1
        flips += min(record["orders"]) < 0.5 < max(record["orders"])
    clear = [record for record in read if record["winner"] != "tie"]
    return {
        "pairs": len(read),
        "agreed": agreed,
        "places": dict(places),
        "flips": flips,
        "clear": len(clear),
        "agreed_clear": sum(preferred(r) == r["winner"] for r in clear),
        "longer_wins": sum(r["longer"] == r["right"] for r in clear),
    }


def preferred(record: Result) -> str:
    """What a critic prefers in both orders, else tie."""
    if record["good"]:
        return "first"
    return "second" if record["reason"] == "prefers_rejected" else "tie"


def choices(records: Sequence[Result]) -> dict[str, Any]:
    """Of several candidates: how often the chosen one is right, how often one at random and the
    vote would be; how often the first place is chosen.
    """
    read = [r for r in records if "rights" in r and not r["unread"]]
    if not read:
        return {}
    numbers = [int(record["choice"].strip(" .#*")) for record in read]
    hits = 0
    by_chance = 0.0
    for record, number in zip(read, numbers, strict=True):
        hits += record["rights"][number - 1]
        by_chance += sum(record["rights"]) / len(record["rights"])
    return {
        "chosen": len(read),
        "chosen_right": hits,
        "random_right": round(by_chance / len(read), 3),
        "vote_right": round(sum(r["vote"] for r in read) / len(read), 3),
        "first_place": numbers.count(1),
    }


def words(result: Result) -> str:
    """What a critic is worth, in plain words: its precision against that of keeping all."""
    if "labelled" not in result:
        return ""
    base = result["right"] / result["labelled"]
    kept = result["kept_right"] + result["kept_wrong"]
    if not kept:
        return "keeps nothing"
    low, high = wilson(result["kept_right"], kept)
    if low > base:
        return "better than keeping all"
    if high < base:
        return "worse than keeping all"
    if result.get("auc", [0, 0, 0])[1] > 0.5:
        return "ranks rows; its verdict is no better than keeping all"
    return (
        f"no better than keeping all, as far as {result['labelled']} rows show"
    )


def promise_words(found: Result) -> str:
    """What `calibrate` promised, and whether it was kept."""
    if not found:
        return "-"
    if "least" in found:
        kept = share(found["kept_right"], found["kept"])
        return f"from {found['least']:.2f} on: {kept} of {found['kept']} of {found['of']} kept"
    if found["missing"] is None:
        return f"none of {found['labels']} labels; more would not help"
    return f"none of {found['labels']} labels; some {found['missing']:,} more wanted"


def besides(result: Result) -> Iterator[str]:
    """What only some critics say."""
    if result["too_long"]:
        yield f"{result['too_long']} more rows were too long"
    if "mistakes" in result:
        count = result["mistakes"]
        yield f"first wrong step named: {share(result['exact'], count)}"
        yield f"it or one beside it: {share(result['near'], count)}"
        yield f"a step at random: {result['by_chance']:.2f}"
    if "pairs" in result:
        places = result["places"]
        total = sum(places.values())
        yield f"agrees with people in {share(result['agreed'], result['pairs'])} of all pairs"
        yield (
            f"in {share(result['agreed_clear'], result['clear'])} of those with a winner, where "
            f"the longer reply wins in {share(result['longer_wins'], result['clear'])}"
        )
        named = ", ".join(
            f"{place} {places.get(place, 0) / total:.2f}"
            for place in _PLACES.values()
        )
        yield f"single verdicts: {named}; {result['flips']} turn with the order"
    if "chosen" in result:
        count = result["chosen"]
        yield f"chooses a right one in {share(result['chosen_right'], count)}"
        yield f"one at random {result['random_right']:.2f}"
        yield f"the vote of final answers {result['vote_right']:.2f}"
        yield f"the first place in {result['first_place']} of {count}"


def line(result: Result) -> str:
    """Markdown, a line of the table."""
    cells = [f"`{result['critic']}`", result["teacher"], str(result["rows"])]
    if "labelled" in result:
        kept = result["kept_right"] + result["kept_wrong"]
        dropped = result["dropped_right"] + result["dropped_wrong"]
        hits = result["kept_right"] + result["dropped_wrong"]
        cells[-1] = f"{result['labelled']} ({result['right']})"
        cells += [
            share(result["kept_right"], kept),
            share(result["kept_right"], result["right"]),
            share(hits, kept + dropped),
        ]
    else:
        cells += ["-"] * 3
    found = result.get("auc")
    curve = (
        f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})" if found else "-"
    )
    said = "; ".join(filter(None, (words(result), *besides(result))))
    cells += [
        curve,
        str(result["unread"]),
        f"{result['tokens']}, {result['seconds']:.0f}",
        promise_words(result.get("promise", {})),
        said,
    ]
    return f"| {' | '.join(cells)} |"


def table(results: Sequence[Result]) -> str:
    """Markdown, with a line for each critic, set and teacher."""
    head = [f"| {' | '.join(_HEAD)} |", "|" + "---|" * len(_HEAD)]
    return "\n".join([*head, *map(line, results)]) + "\n"


def page(path: Path = FILE) -> str:
    """The table of all results that are of the packs as they stand now."""
    results = recorded(path, of="critic").values()
    return table([r for r in results if r["hash"] == hash_of(r["pack"])])
