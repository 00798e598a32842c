"""Knowledge, rankings and analogies on real data: `make study-knowledge DATA=folder`.

DATA holds atomic2020/test_with_generations.jsonl (head, relation, tails, generations),
novel_eval/passages.jsonl (query, passage, relevance) and sat_analogies/replies.jsonl (replies of
two chat models to three wordings of each question).
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from finetune.measuring import ranking_metrics as ranking
from finetune.recipes import frozen_critic
from finetune.recipes.frozen_critic import Columns
from finetune.scoring.calibration import precision_at_recall
from finetune.settings import TrainConfig
from synth.inputs.seeds import read_rows, write_jsonl
from synth.local_models.minilm import MINILM
from synth.search.index import Bm25, open_index
from synth.statistics.intervals import wilson
from synth.tools.statement_metrics import coverage, diversity, novelty

FRAMES = {
    "xNeed": "before that, PersonX needed",
    "xWant": "afterwards PersonX wants",
    "xIntent": "PersonX did it because PersonX wanted",
    "xReact": "because of it PersonX feels",
    "xAttr": "so one would call PersonX",
    "xEffect": "as a result, PersonX",
    "HinderedBy": "this can be prevented because",
    "oWant": "afterwards others want",
    "oReact": "because of it others feel",
    "oEffect": "as a result, others",
    "isAfter": "before that,",
    "isBefore": "after that,",
}


def statements(
    rows: Sequence[dict[str, Any]], against: str, seed: int = 0
) -> list[dict[str, Any]]:
    """Human tails as right; as wrong as many shuffled ones of the same relation, or generated ones
    that no human wrote for the head.
    """
    rng = random.Random(seed)
    pool: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        pool[row["relation"]] += [(row["head"], tail) for tail in human(row)]
    made = []
    for row in rows:
        own = human(row)
        if against == "shuffled":
            others = [
                tail
                for head, tail in rng.sample(
                    pool[row["relation"]], min(60, len(pool[row["relation"]]))
                )
                if head != row["head"]
            ]
            wrong = [tail for tail in others if tail not in own][: len(own)]
        else:
            wrong = [
                tail
                for tail in dict.fromkeys(clean(t) for t in row["generations"])
                if tail and tail not in own
            ][: len(own)]
        frame = FRAMES.get(
            row["relation"],
            re.sub(r"(?<=[a-z])(?=[A-Z])", " ", row["relation"]).lower(),
        )
        named = [(tail, True) for tail in own[: len(wrong)]] + [
            (tail, False) for tail in wrong
        ]
        made += [
            {
                "head": row["head"],
                "statement": f"{frame} {tail}",
                "tail": tail,
                "right": label,
            }
            for tail, label in named
        ]
    return made


def clean(tail: str) -> str:
    """A tail in one spelling; empty for "none"."""
    found = " ".join(tail.casefold().strip(" .").split())
    return "" if found == "none" else found


def human(row: dict[str, Any]) -> list[str]:
    """The human tails of a row, each once."""
    return list(
        dict.fromkeys(tail for tail in map(clean, row["tails"]) if tail)
    )


def study_critic(data: Path) -> None:
    """Precision at recall of the frozen critic on held-out heads."""
    rows = list(read_rows(data / "atomic2020" / "test_with_generations.jsonl"))
    for against in ("shuffled", "generated"):
        made = statements(rows, against)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.jsonl"
            write_jsonl(path, made)
            for passes in (1, 5):
                columns = Columns(
                    first="head",
                    second="statement",
                    label="right",
                    group="head",
                    passes=passes,
                )
                info = frozen_critic.run(
                    TrainConfig(
                        data=str(path),
                        model=MINILM,
                        output=Path(folder) / "critic",
                    ),
                    columns=columns,
                )
                found = {row["recall"]: row for row in info["recalls"]}
                shown = "; ".join(
                    f"recall {r}: precision {row['precision']:.3f} ({row['low']:.3f} to "
                    f"{row['high']:.3f}), found {row['found']:.3f}"
                    for r, row in found.items()
                    if r in (0.5, 0.8)
                )
                held = info["held_out"]
                print(
                    f"human against {against}, {passes} names: {held['rows']:,} held-out rows, "
                    f"area {held['auc']:.3f}; {shown}",
                    flush=True,
                )
    texts = {
        name: [clean(t) for row in rows for t in row[name] if clean(t)]
        for name in ("tails", "generations")
    }
    print(
        f"generated: novelty {novelty(texts['generations'], texts['tails']):.3f}, "
        f"{diversity(texts['generations'])}"
    )
    print(f"human: {diversity(texts['tails'])}")
    pairs = [(row["generations"], human(row)) for row in rows if human(row)]
    print(
        "coverage of human tails by generated ones (cosine at least 0.88): "
        f"{coverage(pairs, MINILM, 0.88):.3f}"
    )


def study_ranking(data: Path) -> None:
    """nDCG@10 of BM25 and MiniLM, ours and trec_eval's."""
    rows = list(read_rows(data / "novel_eval" / "passages.jsonl"))
    qrels: dict[str, dict[str, int]] = defaultdict(dict)
    texts: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        qrels[row["query"]][row["passage_id"]] = int(row["relevance"])
        texts[row["query"]][row["passage_id"]] = row["passage"]
    runs = {
        by: {
            query: _order(query, passages, by)
            for query, passages in texts.items()
        }
        for by in ("bm25", MINILM)
    }
    runs["simulated judge, 1 in 5 grades wrong"] = {
        query: _judged(query, grades) for query, grades in qrels.items()
    }
    import pytrec_eval  # noqa: PLC0415 - a development tool

    for name, run in runs.items():
        ours = ranking.evaluate(run, qrels)["ndcg@10"]
        theirs = pytrec_eval.RelevanceEvaluator(
            qrels, {"ndcg_cut.10"}
        ).evaluate(run)
        gap = max(
            abs(value - theirs[query]["ndcg_cut_10"])
            for value, query in zip(ours, qrels, strict=True)
        )
        found = ranking.summary(ours)
        print(
            f"{name}: nDCG@10 {found['mean']:.4f} ({found['low']:.3f} to {found['high']:.3f}), "
            f"largest difference to trec_eval {gap:.1e}"
        )


def _order(query: str, passages: dict[str, str], by: str) -> dict[str, float]:
    names, held = list(passages), tuple(passages.values())
    found = dict(
        (Bm25(held) if by == "bm25" else open_index(held, by)).best(
            [query], len(held)
        )[0]
    )
    return {name: found.get(place, 0.0) for place, name in enumerate(names)}


def _judged(query: str, grades: dict[str, int]) -> dict[str, float]:
    rng = random.Random(query)
    return {
        name: float(rng.randint(0, 2) if rng.random() < 0.2 else grade)
        for name, grade in grades.items()
    }


def study_analogies(data: Path) -> None:
    """Whether agreement across wordings predicts that the answer is right."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in read_rows(data / "sat_analogies" / "replies.jsonl"):
        groups[row["teacher"], row["id"]].append(row)
    for teacher in sorted({teacher for teacher, _ in groups}):
        curve: dict[int, list[bool]] = defaultdict(list)
        scores, labels = [], []
        for (who, _), rows in groups.items():
            if who != teacher:
                continue
            answers = [choice(row) for row in rows]
            votes = Counter(answer for answer in answers if answer is not None)
            if votes:
                best, count = votes.most_common(1)[0]
                right = best == int(rows[0]["answer_index"])
                curve[count].append(right)
                scores.append(count / len(rows))
                labels.append(right)
        print(
            f"{teacher}: "
            + "; ".join(
                f"{n} of 3 agree: {_share(found)}"
                for n, found in sorted(curve.items())
            )
        )
        print(
            f"  precision at recall .5: {precision_at_recall(scores, labels, 0.5):.3f}, of all: "
            f"{sum(labels) / len(labels):.3f}"
        )


def choice(row: dict[str, Any]) -> int | None:
    """The option that a reply names, counted from 0: by its number, else by the one option whose
    words it repeats.
    """
    options = re.findall(r"^\s*(\d)\)\s*(.+?)\s*$", row["prompt"], re.MULTILINE)
    said = row["completion"].casefold()
    named = {n for n, text in options if _core(text) and _core(text) in said}
    number = re.match(r"\D{0,20}([1-9])\)", said) or re.match(
        r"\s*([1-9])\b", said
    )
    found = (
        number[1] if number else next(iter(named)) if len(named) == 1 else None
    )
    return (
        int(found) - 1
        if found is not None and found in {n for n, _ in options}
        else None
    )


def _core(option: str) -> str:
    return option.casefold().rpartition(" what ")[2].strip(" .")


def _share(found: Iterable[bool]) -> str:
    listed = list(found)
    low, high = wilson(sum(listed), len(listed))
    return (
        f"{sum(listed) / len(listed):.3f} right ({low:.3f} to {high:.3f}, {len(listed)} "
        "questions)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    for study in (study_ranking, study_analogies, study_critic):
        study(data)


if __name__ == "__main__":
    main()
