"""A teacher's scores for lists of texts, and the queries on which a student can still learn from
it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.core.json_files import check_writable, write_whole
from finetune.core.own_files import check_apart, check_rows
from finetune.core.rows import JsonObject
from finetune.core.unread import refuse_unread
from finetune.data import query_lists as lists
from finetune.data.query_lists import Listed
from finetune.measuring.likelihoods import surprises
from finetune.scoring.reader_attention import AttentiveReader
from finetune.scoring.retrievers import check_finite, pair_scores
from finetune.scoring.word_scores import (
    YES_OR_NO,
    WordScorer,
    asked,
    check_template,
)
from synth.core.errors import WrongUse

# Kinds of teachers that are asked by a prompt.
_PROMPTED = ("words", "likelihood", "attention")
# Option -> what reads it.
_READERS = {
    "--template": "--kind words, likelihood or attention",
    "--words": "--kind words",
    "--band": "--student M",
}


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """What scores what.

    Attributes:
        data: lists (see `finetune.data.query_lists`).
        models: teachers; several are averaged (Hofstaetter et al., arXiv:2010.02666), so they
            should be of one kind and range.
        output: the lists with scores (.jsonl).
        kind: of the teachers: as for `finetune.scoring.retrievers.pair_scores`, or words: language
            models that answer a question with one of two words, or likelihood: how likely a
            language model finds a row's `answer` behind the query and a text, or attention: how
            much of it a reader pays to each text while it writes the `answer`, or answers: how like
            the row's `answer` that of each text is, by the cosine of an encoder or by bm25.
        student: with it, only queries whose right text the teachers rank first and this student at
            `band` stay.
        band: first and last such rank; PROD (arXiv:2209.13335) has 2 to 15.
        template: of a prompt for kinds `words`, `likelihood` and `attention`, with {query} and
            {document}.
        words: the answers for and against.
    """

    data: str
    models: tuple[str, ...]
    output: Path
    kind: str = "cross"
    student: str | None = None
    band: tuple[int, int] = (2, 15)
    template: str = ""
    words: tuple[str, str] = YES_OR_NO


def run(config: ScoreConfig) -> dict[str, int]:
    """Writes `{query, documents, scores, group, task}`, the right text first where no score says
    otherwise.

    Returns:
        rows read and rows written.

    Raises:
        WrongUse: data or a model that cannot be used, an output that holds something else, or an
            option that nothing reads.
    """
    _check(config)
    listed = lists.load(config.data)
    judged = [_judged(config, model, listed) for model in config.models]
    means = [_mean(each) for each in zip(*judged, strict=True)]
    student = None
    if config.student:
        pairs = _pairs(listed)
        by_student = pair_scores("bi", config.student, pairs)
        student = _by_list(by_student, listed)
    made = list(_rows(listed, means, student, config.band))
    config.output.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in made]
    write_whole(config.output, "".join(lines))
    return {"rows": len(listed), "written": len(made)}


def _check(config: ScoreConfig) -> None:
    """Raises WrongUse for what would be known only after hours of scoring, or never."""
    check_apart(config.output, config.data)
    check_rows(config.output, ("query", "documents", "scores"))
    check_writable(config.output.parent)
    first, last = config.band
    if not 1 <= first <= last:
        raise WrongUse(
            f"--band {first} {last}",
            "no ranks",
            "a first and a last rank, from 1 on, the first being the smaller",
            "For example --band 2 15.",
        )
    # Option -> whether it was given, and whether anything reads it.
    reads = {
        "--template": (config.template, config.kind in _PROMPTED),
        "--words": (config.words != YES_OR_NO, config.kind == "words"),
        "--band": (config.band != ScoreConfig.band, config.student is not None),
    }
    for option, (is_given, is_read) in reads.items():
        refuse_unread(
            option,
            is_given=bool(is_given),
            is_read=is_read,
            found=f"--kind {config.kind}, --student {config.student}",
            reader=_READERS[option],
        )


def _judged(
    config: ScoreConfig, model: str, listed: list[Listed]
) -> list[list[float]]:
    """A teacher's scores of each list's texts."""
    pairs = _pairs(listed)
    if config.kind == "likelihood":
        return _by_list(_likelihoods(config, model, listed), listed)
    if config.kind == "answers":
        return _by_list(_alike(config, model, listed), listed)
    if config.kind == "attention":
        return _attention(config, model, listed)
    if config.kind != "words":
        return _by_list(pair_scores(config.kind, model, pairs), listed)
    judge = WordScorer(
        model=model, template=config.template, words=config.words
    )
    scores = judge.scores(pairs)
    check_finite(scores, model)
    return _by_list(scores, listed)


def _likelihoods(
    config: ScoreConfig, model: str, listed: list[Listed]
) -> list[float]:
    """The mean log-likelihood, in nats, of a token of each row's answer behind each text.

    Raises:
        WrongUse: a row without an answer, or a template without its places.
    """
    check_template(config.template)
    _check_answers(config, listed)
    prompts = []
    answers = []
    for row in listed:
        for text in row.documents:
            prompts.append(asked(config.template, row.query, text))
            answers.append(row.answer)
    found = surprises(model, prompts, answers)
    scores = [-surprise.mean for surprise in found]
    check_finite(scores, model)
    return scores


def _attention(
    config: ScoreConfig, model: str, listed: list[Listed]
) -> list[list[float]]:
    """The attention that a reader pays to the texts of each list while it writes the answer.

    Raises:
        WrongUse: a row without an answer, or a template without its places.
    """
    _check_answers(config, listed)
    reader = AttentiveReader(model=model, template=config.template)
    found = [
        reader.scores(row.query, row.documents, row.answer) for row in listed
    ]
    for scores in found:
        check_finite(scores, model)
    return found


def _alike(
    config: ScoreConfig, model: str, listed: list[Listed]
) -> list[float]:
    """How like the right answer of each row that of each of its texts is: what an example would
    help (DeTriever, arXiv:2406.07913).

    Raises:
        WrongUse: a row without an answer, or without those of its texts.
    """
    _check_answers(config, listed)
    for number, row in enumerate(listed, 1):
        if not row.answers:
            raise WrongUse(
                f"--input {config.data} list {number}",
                "no answers",
                "a list `answers` beside `documents`: what each text answers",
                "Add the column, or take another kind.",
            )
    pairs = [(row.answer, answer) for row in listed for answer in row.answers]
    return pair_scores("bi", model, pairs)


def _check_answers(config: ScoreConfig, listed: list[Listed]) -> None:
    """Raises WrongUse for a row without an answer."""
    for number, row in enumerate(listed, 1):
        if not row.answer:
            raise WrongUse(
                f"--input {config.data} list {number}",
                "no answer",
                "a text in `answer`, which the teacher reads",
                "Add the column, or take another kind.",
            )


def _pairs(listed: list[Listed]) -> list[tuple[str, str]]:
    return [(row.query, text) for row in listed for text in row.documents]


def _by_list(
    scores: Sequence[float], listed: list[Listed]
) -> list[list[float]]:
    """The scores of all pairs, list by list."""
    by_list = []
    start = 0
    for row in listed:
        end = start + len(row.documents)
        by_list.append(list(scores[start:end]))
        start = end
    return by_list


def _mean(judged: Sequence[Sequence[float]]) -> list[float]:
    """The mean of several models' scores of each text of a list."""
    return [sum(each) / len(each) for each in zip(*judged, strict=True)]


def _rows(
    listed: list[Listed],
    means: list[list[float]],
    student: list[list[float]] | None,
    band: tuple[int, int],
) -> Iterator[JsonObject]:
    for number, (row, scores) in enumerate(zip(listed, means, strict=True)):
        if student and not _learnable(scores, student[number], band):
            continue
        made: JsonObject = {
            "query": row.query,
            "documents": list(row.documents),
            "scores": [round(score, 6) for score in scores],
        }
        if row.group:
            made["group"] = row.group
        if row.task:
            made["task"] = row.task
        yield made


def _learnable(
    teacher: list[float], student: list[float], band: tuple[int, int]
) -> bool:
    """Whether the teachers have the right text first, and the student has it in the band."""
    first, last = band
    if _rank(teacher) != 1:
        return False
    return first <= _rank(student) <= last


def _rank(scores: list[float]) -> int:
    """Of the first text, 1 for the best."""
    return 1 + sum(score > scores[0] for score in scores)
