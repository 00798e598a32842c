"""What the packs that check questions about documents are worth on models of this size: `python -m
examples.real.study_checkers --data D`.

D holds `novel_eval`, passages that people graded for queries. The other rows are of
`checked_questions.jsonl`, where a question stands beside its passage; wrong ones are made of them:
the passage or the answer of the next row, or a true sentence that answers something else. Of each
checker the study asks its one step, with the pack's own words, and judges with the pack's own
filter. Runs are kept by the pack's hash, so that the study goes on where it was ended.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import synth
from examples.real import models, server
from examples.real.judged_rows import drawn
from examples.real.results import check_whole, hash_of, record, recorded, share
from synth.core.errors import PotstillError
from synth.core.strict_yaml import read_yaml
from synth.filters.base import Filter
from synth.filters.bounds import Bounds
from synth.filters.subset import Subset
from synth.inputs.seeds import read_rows
from synth.packs.pack import Pack, built_in
from synth.packs.step import Step

FOLDER = Path(__file__).parent
FILE = FOLDER / "checkers.jsonl"
QUESTIONS = FOLDER / "checked_questions.jsonl"
TEMPLATES = ".j2"
# Grades of novel_eval; those between say nothing for sure.
ANSWERS = 2
SAYS_NOTHING = 0

Row = dict[str, Any]
Result = Mapping[str, Any]
# A row, and the one behind it.
Pair = tuple[Row, Row]


class Study(NamedTuple):
    """One checker on one set of labelled rows.

    Attributes:
        step: PACK.STEP.
        keeps: what a row is that the checker should keep, in words.
        rows: the labelled rows, given the folder of the data; `right` says whether one should stay.
        fields: of the step's filter, those that are looked at; none for all.
    """

    step: str
    keeps: str
    rows: Callable[[Path], list[Row]]
    fields: tuple[str, ...] = ()


def graded(data: Path) -> list[Row]:
    """Queries and passages of novel_eval that answer (grade 2) or do not (grade 0)."""
    return [
        {
            "query": row["query"],
            "text": row["passage"],
            "right": row["relevance"] == ANSWERS,
        }
        for row in read_rows(data / "novel_eval" / "passages.jsonl")
        if row["relevance"] in (SAYS_NOTHING, ANSWERS)
    ]


def found(data: Path) -> list[Row]:
    """The same as negatives: those that do not answer are right."""
    return [
        {
            "query": row["query"],
            "positive": "-",
            "negatives": [row["text"]],
            "others": [row["text"]],
            "right": not row["right"],
        }
        for row in graded(data)
    ]


def pairs() -> list[Pair]:
    """Each written row with the one behind it; the last one with the first."""
    rows: list[Row] = list(read_rows(QUESTIONS))
    return list(zip(rows, [*rows[1:], rows[0]], strict=True))


def labelled(wrong: Callable[[Row, Row], Row]) -> list[Row]:
    """Each written row as it is, and with what `wrong` puts into the place of its own."""
    rows: list[Row] = []
    for row, other in pairs():
        rows.append({**row, "right": True})
        rows.append({**row, **wrong(row, other), "right": False})
    return rows


def other_passages(data: Path) -> list[Row]:  # noqa: ARG001
    """Questions whose passage is another one: nobody can answer them from it."""
    return labelled(lambda _, other: {"text": other["text"]})


def other_answers(data: Path) -> list[Row]:  # noqa: ARG001
    """Answers of another passage: they do not stand in this one."""
    return labelled(lambda _, other: {"answer": other["answer"]})


def answers_beside(data: Path) -> list[Row]:  # noqa: ARG001
    """Sentences of the passage that answer something else."""
    return labelled(lambda row, _: {"answer": row["beside"]})


def parts(data: Path) -> list[Row]:
    """The same passages as two numbered parts, with a reason that cites one of them."""
    rows = []
    for row in other_passages(data):
        first, second = row["text"].split(". ", 1)
        place = 2 if row["quote"] in second else 1
        one = {
            "question": row["question"],
            "answer": row["answer"],
            "rationale": f"[{place}] says so.",
        }
        rows.append(
            {
                "ids": ["1", "2"],
                "parts": [f"{first}.", second],
                "made": [one],
                "right": row["right"],
            }
        )
    return rows


def pieces(data: Path) -> list[Row]:
    """A question beside a single piece: right where the piece is not enough."""
    return [
        {
            "question": row["question"],
            "answer": row["answer"],
            "chunks": [row["text"]],
            "right": not row["right"],
        }
        for row in other_passages(data)
    ]


STUDIES = {
    "negative": Study(
        "negative_check.judge", "passages that do not answer", found
    ),
    "found": Study(
        "passage_triplets.judge", "passages that do not answer", found
    ),
    "own": Study("passage_triplets.check", "passages that answer", graded),
    "faithful": Study(
        "passage_questions.check",
        "answers that stand in the text",
        other_answers,
        ("faithful",),
    ),
    "relevant": Study(
        "passage_questions.check",
        "answers to this question",
        answers_beside,
        ("relevant",),
    ),
    "answerable": Study(
        "passage_questions.check",
        "questions that the text answers",
        other_passages,
        ("answerable",),
    ),
    "coherent": Study(
        "grounded_questions.judge", "questions about these parts", parts
    ),
    "alone": Study(
        "linked_questions.alone", "pieces that are not enough", pieces
    ),
}
# The pack that decides by its export what its step says.
BY_EXPORT = {
    "negative_check.judge": Subset(field="judge.answers", values=("no",))
}


def opened_step(step: str) -> Step:
    """A step of a pack as it stands, by PACK.STEP."""
    name, _, step_name = step.partition(".")
    steps = Pack.load(name).steps
    return next(one for one in steps if one.name == step_name)


def cut(step: str, columns: Sequence[str], folder: Path) -> Path:
    """A pack of one step of another pack, without filters; the names that its templates read are
    its inputs.

    Args:
        step: PACK.STEP.
        columns: of the rows that it is asked about.
        folder: where it is written.

    Returns:
        The pack's folder.
    """
    name, _, step_name = step.partition(".")
    source = built_in() / name
    spec, _ = read_yaml(source / "pack.yaml")
    (asked,) = (one for one in spec["steps"] if one["name"] == step_name)
    asked.pop("filters", None)
    opened = opened_step(step)
    walked = [*(asked.get("each") or {}), *(asked.get("spread") or {})]
    read = {*opened.variables(), *walked}
    output = folder / f"{name}_{step_name}"
    output.mkdir(parents=True, exist_ok=True)
    made = {
        "name": output.name,
        "version": spec["version"],
        "about": spec["about"],
        "inputs": {one: {"type": "any"} for one in columns if one in read},
        "steps": [asked],
    }
    text = yaml.safe_dump(made, sort_keys=False, allow_unicode=True)
    (output / "pack.yaml").write_text(text, encoding="utf-8")
    for path in source.glob(f"*{TEMPLATES}"):
        is_of_step = path.name.startswith(f"{step_name}.")
        is_included = path.name.count(".") == 1
        if is_of_step or is_included:
            copied = output / path.name
            copied.write_bytes(path.read_bytes())
    return output


def filter_of(study: Study) -> Filter:
    """What decides whether a row stays: the last filter of the step, on the fields looked at."""
    if study.step in BY_EXPORT:
        return BY_EXPORT[study.step]
    last: Filter = opened_step(study.step).filters[-1]
    if isinstance(last, Bounds) and study.fields:
        return replace(last, fields=study.fields)
    return last


def counted(part: Filter, rows: Sequence[Row]) -> dict[str, int]:
    """Verdicts of a filter against labels."""
    counts = {"kept_right": 0, "kept_wrong": 0, "dropped_right": 0}
    counts |= {"dropped_wrong": 0, "unknown": 0}
    for row, _ in part.stream(rows):
        keep = row["marks"][part.name]["keep"]
        kind = "right" if row["right"] else "wrong"
        if keep is None:
            counts["unknown"] += 1
        else:
            counts[f"{'kept' if keep else 'dropped'}_{kind}"] += 1
    return counts


def ask(
    name: str, rows: Sequence[Row], teacher: str, url: str, folder: Path
) -> Result:
    """Counts of a checker's verdicts against the labels of some rows.

    Raises:
        WrongUse: calls that failed.
    """
    study = STUDIES[name]
    pack = study.step.partition(".")[0]
    pack_hash = hash_of(pack)
    place = folder / teacher / pack_hash[:12]
    one_step = cut(study.step, list(rows[0]), place / "packs")
    output = place / f"{name}-{len(rows)}"
    earlier = [path for path in place.glob("*-*") if path != output]
    run = synth.run(
        str(one_step),
        rows,
        reuse=[str(path) for path in earlier],
        teacher=dict.fromkeys(
            Pack.load(str(one_step)).roles, f"openai/{teacher}"
        ),
        api_base=url,
        api_key_env="",
        concurrency=4,
        timeout=900.0,
        same_teacher=True,
        keep_going=True,
        output=output,
    )
    check_whole(run)
    counts = counted(filter_of(study), [*run.kept])
    # Replies that nobody could read.
    counts["unknown"] += len(run.dropped)
    return {
        "checker": name,
        "teacher": teacher,
        "hash": pack_hash,
        **counts,
        "rows": len(rows),
    }


def lines(results: Sequence[Result]) -> str:
    """Markdown: how many of the kept rows are right, and how many of the right ones are kept."""
    head = (
        "| step | should keep | teacher | rows, half of them right "
        "| precision (95 % interval) | recall (95 % interval) | wrong rows dropped | unknown |"
    )
    text = [head, "|---|---|---|---:|---|---|---:|---:|"]
    for row in results:
        study = STUDIES[row["checker"]]
        kept = row["kept_right"] + row["kept_wrong"]
        wrong = row["kept_wrong"] + row["dropped_wrong"]
        right = row["rows"] // 2
        step = f"`{'.'.join((study.step, *study.fields))}`"
        cells = (
            step,
            study.keeps,
            row["teacher"],
            str(row["rows"]),
            share(row["kept_right"], kept),
            share(row["kept_right"], right),
            f"{row['dropped_wrong']} of {wrong}",
            str(row["unknown"]),
        )
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def current(path: Path = FILE) -> list[Result]:
    """The results that are of the packs as they stand now, in the order of the studies."""
    results = recorded(path, of="checker")
    rows = []
    for name, study in STUDIES.items():
        pack_hash = hash_of(study.step.partition(".")[0])
        for (checker, _), result in results.items():
            if checker == name and result["hash"] == pack_hash:
                rows.append(result)
    return rows


def page(path: Path = FILE) -> str:
    """The table of docs/real.md."""
    return lines(current(path))


def main() -> None:
    """Reads the command line; prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkers", nargs="*", default=[*STUDIES])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", choices=models.MODELS, default="qwen-0.5b")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument(
        "--output", type=Path, default=Path("runs/study-checkers")
    )
    parser.add_argument("--record", type=Path, default=FILE)
    options = parser.parse_args()
    try:
        with server.serving(
            models.fetch(options.teacher), slots=4, context=4096
        ) as url:
            for name in options.checkers:
                rows = drawn(
                    STUDIES[name].rows(options.data),
                    options.rows,
                    balanced=True,
                )
                result = ask(name, rows, options.teacher, url, options.output)
                record(result, options.record, of="checker")
                print(json.dumps(result), flush=True)
    except PotstillError as error:
        raise SystemExit(f"study_checkers: {error}") from error
    print(page(options.record))


if __name__ == "__main__":
    main()
