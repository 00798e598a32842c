"""Exact match of a student on held-out rows, by the parsers and verifiers that made its data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.prompts import (
    RECORD,
    Prompt,
    Template,
    ids_of,
    of_student,
    rendered,
    text_of,
)
from finetune.data.shapes import cleaned
from finetune.measuring.compare import ROOM, measures_of
from finetune.measuring.forms_of_thought import (
    Combine,
    Form,
    answer_of,
    combine,
    confidence,
    read_forms,
)
from finetune.measuring.votes import Ranker, Weigh, vote
from finetune.students import load as student
from synth.answers.golds import Gold, agrees, read_gold
from synth.core import registry
from synth.core.errors import Unreadable, WrongUse
from synth.core.records import Row
from synth.parsers.base import Parser
from synth.statistics.intervals import wilson
from synth.verifiers.arithmetic_steps import ArithmeticSteps

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What `finetune evaluate` is told.

    Attributes:
        data: rows with `target` (or `answer`) and `prompt` (or `question`).
        model: a path or a hub name.
        output: folder for evaluation.json and predictions.jsonl.
        parser: reads the student's text, NAME[:key=value,...].
        max_new_tokens: longest answer.
        batch: prompts generated side by side.
        limit: only the first N rows.
        before: another model that speaks first, to each row's `before`; its reply stands for
            `{before}` in the row's `prompt` (a rationale for a student that answers, sub-questions
            for one that solves).
        draws: answers a row; more than one are drawn at `temperature` and voted on, ties share the
            credit.
        temperature: of the draws.
        ranker: a folder of `finetune critic` whose scores weigh the votes.
        weigh: what a vote weighs: 1, s, 1+s or 1+2s, s being the ranker's score.
        forms: YAML of forms of thought (`cascade.Form`), each asked for behind every prompt;
            `parser` is not looked at.
        combine: how the forms' answers become one: `fallback` (the first that comes to an answer)
            or `vote`.
        template: whether prompts go through the student's chat template; None for the form in which
            it was trained.
        measures: what else to measure, NAME[:key=value,...] of `finetune.measures`.
        gate: 0 to 1: rows hold `knowledge` for `{knowledge}` in their prompt, which is left out
            where the student is surer than this.
    """

    data: str
    model: str
    output: Path
    parser: str = "final_number"
    max_new_tokens: int = 256
    batch: int = 64
    limit: int | None = None
    before: str | None = None
    draws: int = 1
    temperature: float = 0.7
    ranker: str | None = None
    weigh: Weigh = "1+s"
    forms: str | None = None
    combine: Combine = "fallback"
    gate: float | None = None
    template: Template | None = None
    measures: Sequence[str] = ()


def run(config: EvaluateConfig) -> JsonObject:
    """Generates greedily (or draws and votes), reads, compares; unreadable answers count as wrong
    and are reported apart.

    Returns:
        rows, exact_match and steps_right (share, low, high: Wilson 95 %), unreadable; with several
        draws they are those of single draws, and `vote` and `any_right` (the share of rows that
        some draw gets right) are those of the rows.
    """
    parser: Parser = registry.build("synth.parsers", config.parser, "--parser")
    for spec in config.measures:
        registry.build(ROOM, spec, "--measure")
    forms = read_forms(config.forms) if config.forms else []
    if forms and config.draws > 1:
        raise WrongUse(
            "--forms, --draws",
            f"{len(forms)} forms, {config.draws} draws",
            "one of them",
            "Vote over forms, or over draws.",
        )
    data = questions(config.data, config.limit)
    if config.before:
        data = _spoken_before(data, config)
    model, tokenizer = student.load_student(config.model)
    if config.gate is not None:
        data = _all_gated(data, config, config.gate, model, tokenizer)
    if forms:
        return _write(config, *_in_forms(config, forms, data, model, tokenizer))
    asked = [row for row in data for _ in range(config.draws)]
    judged = answered(model, tokenizer, asked, parser, config)
    return _write(
        config, judged, _votes(config, data, judged) if config.draws > 1 else {}
    )


def questions(
    source: str, limit: int | None, flag: str = "--input"
) -> list[JsonObject]:
    """Rows that can be asked and judged.

    Args:
        source: where they stand.
        limit: only the first so many.
        flag: that names the source.

    Raises:
        WrongUse: rows without a target or a prompt.
    """
    data = [dict(row) for row in rows.load(source)][:limit]
    _check(data, f"{flag} {source}")
    return data


def answered(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[Row],
    parser: Parser,
    config: EvaluateConfig,
) -> list[JsonObject]:
    """What a model replies to rows, judged: `prompt`, `target`, `reply`, `answer` (None where it
    cannot be read), `right`, `steps_right` and `unreadable`, a reason.
    """
    prompts = [prompt_of(row) for row in asked]
    replies = generate(model, tokenizer, prompts, config)
    return [
        _judge(row, reply, parser)
        for row, reply in zip(asked, replies, strict=True)
    ]


def _spoken_before(
    data: Sequence[Row], config: EvaluateConfig
) -> list[JsonObject]:
    """The rows with what the first model says in their prompts.

    Raises:
        WrongUse: rows without `before`, or prompts without a place for it.
    """
    wrong = next(
        (
            n
            for n, row in enumerate(data, 1)
            if not row.get("before") or not _has_place(row, "{before}")
        ),
        None,
    )
    if wrong:
        todo = (
            "Write what the first model is asked into `before`, and {before} where its reply "
            "goes."
        )
        raise WrongUse(
            f"--input {config.data} row {wrong}",
            "no `before`, or no {before} in a `prompt` of text",
            "both",
            todo,
        )
    model, tokenizer = student.load_student(str(config.before))
    first = replace(config, draws=1, model=str(config.before), template=None)
    replies = generate(
        model, tokenizer, [str(row["before"]) for row in data], first
    )
    return [
        {**row, "prompt": str(row["prompt"]).replace("{before}", reply.strip())}
        for row, reply in zip(data, replies, strict=True)
    ]


def _has_place(row: Row, place: str) -> bool:
    """Whether a row's prompt is a text with such a place; messages have none."""
    prompt = row.get("prompt")
    return isinstance(prompt, str) and place in prompt


def _all_gated(
    data: Sequence[JsonObject],
    config: EvaluateConfig,
    gate: float,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> list[JsonObject]:
    template = config.template or of_student(config.model)
    return [
        _gated(
            row,
            model,
            tokenizer,
            gate,
            f"--input {config.data} row {number}",
            template=template,
        )
        for number, row in enumerate(data, 1)
    ]


def _gated(
    row: JsonObject,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    gate: float,
    where: str,
    *,
    template: Template,
) -> JsonObject:
    """The row with its knowledge in the prompt, or without it where the student is sure."""
    prompt = str(row.get("prompt"))
    knowledge = row.get("knowledge")
    if not _has_place(row, "{knowledge}") or not isinstance(knowledge, str):
        raise WrongUse(
            where,
            "no `knowledge`, or no {knowledge} in a `prompt` of text",
            "both",
            "Retrieve it with a pack that has `retrieve`.",
        )
    without = prompt.replace("{knowledge}", "").strip() + "\n"
    sure = confidence(model, tokenizer, without, template=template) > gate
    return {
        **row,
        "prompt": without if sure else prompt.replace("{knowledge}", knowledge),
    }


def _in_forms(
    config: EvaluateConfig,
    forms: Sequence[Form],
    data: Sequence[Row],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[list[JsonObject], JsonObject]:
    """One judged row a question, and how often each form alone is right."""
    answers: list[list[str | None]] = []
    for form in forms:
        replies = generate(
            model, tokenizer, [_cued(row, form.cue) for row in data], config
        )
        answers.append(
            [
                answer_of(form, reply, row)
                for reply, row in zip(replies, data, strict=True)
            ]
        )
    judged = []
    credit = 0.0
    for number, row in enumerate(data):
        of_row = [of_form[number] for of_form in answers]
        leading = combine(forms, of_row, config.combine)
        credit += sum(share for answer, share in leading if _same(answer, row))
        judged.append(_judged_by_forms(forms, row, of_row, leading))
    alone = {}
    for form, of_form in zip(forms, answers, strict=True):
        right = sum(map(_same, of_form, data))
        alone[form.name] = _interval(right, len(data))
    return judged, {
        "forms": alone,
        config.combine: _interval(credit, len(data)),
    }


def _judged_by_forms(
    forms: Sequence[Form],
    row: Row,
    answers: Sequence[str | None],
    leading: Sequence[tuple[str, float]],
) -> JsonObject:
    """A question with the answer of each form and the one that leads."""
    answer = leading[0][0] if leading else None
    names = [form.name for form in forms]
    return {
        "prompt": prompt_of(row),
        "target": str(target_of(row)),
        "answers": dict(zip(names, answers, strict=True)),
        "answer": answer,
        "right": _same(answer, row),
        "steps_right": False,
        "unreadable": None if leading else "no_form",
    }


def _same(answer: str | None, row: Row) -> bool:
    return (
        answer is not None
        and agrees(answer, _gold(row), row.get("choices")) is True
    )


def _gold(row: Row) -> Gold:
    return read_gold(target_of(row), row.get("choices"))


def target_of(row: Row) -> object:
    """A row's gold: its `target`, else its `answer`."""
    return row["target"] if row.get("target") is not None else row.get("answer")


def _votes(
    config: EvaluateConfig,
    data: Sequence[Row],
    judged: Sequence[Row],
) -> JsonObject:
    """How often the vote of a row's draws is right, and how often any of them."""
    scores = (
        Ranker(config.ranker).scores(
            [(text_of(prompt_of(row)), str(row["reply"])) for row in judged]
        )
        if config.ranker
        else None
    )
    credit = 0.0
    some = 0
    for position, row in enumerate(data):
        part = slice(position * config.draws, (position + 1) * config.draws)
        drawn = judged[part]
        led = vote(
            [draw["answer"] for draw in drawn],
            scores[part] if scores else None,
            config.weigh,
        )
        credit += sum(share for answer, share in led if _same(answer, row))
        some += any(draw["right"] for draw in drawn)
    return {
        "vote": _interval(credit, len(data)),
        "any_right": _interval(some, len(data)),
        "draws": config.draws,
    }


def _cued(row: Row, cue: str) -> str:
    """A row's prompt with a cue behind it, as such prompts are exported: the white space that the
    prompt ends in stays between them.

    A cue that begins with white space brings its own; behind a cue that ends in none stands a line
    end.
    """
    prompt = text_of(prompt_of(row))
    if not cue:
        return prompt
    if cue[0].isspace():
        prompt = prompt.rstrip()
    elif not prompt[-1:].isspace():
        prompt += " "
    return prompt + cue + ("" if cue[-1].isspace() else "\n")


def _check(data: Sequence[Row], where: str) -> None:
    columns = set(data[0]) if data else set()
    if not columns & {"target", "answer"} or not columns & {
        "prompt",
        "question",
    }:
        todo = "Name the gold `target` and the input `question`."
        raise WrongUse(
            where,
            f"columns {', '.join(sorted(columns))}",
            "`target` and `prompt` or `question`",
            todo,
        )
    for number, row in enumerate(data, 1):
        for names in (("target", "answer"), ("prompt", "question")):
            if all(row.get(name) is None for name in names):
                raise WrongUse(
                    f"{where} row {number}",
                    f"neither {names[0]} nor {names[1]}",
                    "one of them",
                    "Fill it in, or take the row out.",
                )


def prompt_of(row: Row) -> Prompt:
    """What a row asks: its prompt, a text or messages, or its question."""
    if isinstance(row.get("prompt"), list):
        return cast("Prompt", cleaned(row["prompt"]))
    if row.get("prompt") is not None:
        return str(row["prompt"])
    return f"{row['question']}\n"


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    config: EvaluateConfig,
) -> Iterator[str]:
    """Greedy completions, in order; batches are padded on the left. A student is asked as it was
    trained.
    """
    from finetune.generation.continuations import (  # noqa: PLC0415 - torch
        continuations,
    )

    model.eval()
    template = config.template or of_student(config.model)
    drawing: JsonObject = {"do_sample": False}
    if config.draws > 1:
        drawing = {
            "do_sample": True,
            "temperature": config.temperature,
            "top_k": 0,
        }
    for start in range(0, len(prompts), config.batch):
        part = prompts[start : start + config.batch]
        if model.config.is_encoder_decoder:
            asked = [rendered(prompt, tokenizer, template) for prompt in part]
            ids = [
                tokenizer(text, add_special_tokens=special)["input_ids"]
                for text, special in asked
            ]
        else:
            ids = [ids_of(prompt, tokenizer, template) for prompt in part]
        written = continuations(
            model,
            ids,
            pad=tokenizer.pad_token_id,
            max_new_tokens=config.max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            **drawing,
        )
        yield from tokenizer.batch_decode(written.ids, skip_special_tokens=True)


def _judge(row: Row, reply: str, parser: Parser) -> JsonObject:
    target = str(target_of(row))
    base = {"prompt": prompt_of(row), "target": target, "reply": reply}
    try:
        fields = parser.parse(reply, row)
    except Unreadable as error:
        return {
            **base,
            "answer": None,
            "right": False,
            "steps_right": False,
            "unreadable": error.reason,
        }
    right = _same(str(fields.get("answer")), row)
    steps = ArithmeticSteps().verify(str(fields.get("rationale", reply)))
    return {
        **base,
        "answer": str(fields.get("answer")),
        "right": right,
        "steps_right": bool(right and steps),
        "unreadable": None,
    }


def _write(
    config: EvaluateConfig,
    judged: Sequence[Row],
    votes: Row,
) -> JsonObject:
    config.output.mkdir(parents=True, exist_ok=True)
    info = {
        "model": config.model,
        "data": config.data,
        "template": config.template or of_student(config.model),
        "rows": len(judged),
        "exact_match": _share(judged, "right"),
        "steps_right": _share(judged, "steps_right"),
        "unreadable": sum(row["unreadable"] is not None for row in judged),
        **votes,
        "measures": measures_of(config.measures, judged),
        "tainted": _tainted(config),
    }
    (config.output / "evaluation.json").write_text(
        json.dumps(info, indent=2) + "\n", encoding="utf-8"
    )
    lines = (json.dumps(row, ensure_ascii=True) for row in judged)
    (config.output / "predictions.jsonl").write_text(
        "\n".join(lines) + "\n", encoding="utf-8"
    )
    return info


def _tainted(config: EvaluateConfig) -> list[str]:
    """Names in the student's training record that the evaluation data's own name holds: the teacher
    may have seen it.
    """
    record = Path(config.model) / RECORD
    names = (
        json.loads(record.read_text(encoding="utf-8")).get("taint", [])
        if record.is_file()
        else []
    )
    return [
        name
        for name in names
        if name.casefold() in Path(config.data).name.casefold()
    ]


def _share(judged: Sequence[Row], name: str) -> dict[str, float]:
    return _interval(sum(bool(row[name]) for row in judged), len(judged))


def _interval(hits: float, count: int) -> dict[str, float]:
    low, high = wilson(hits, count)
    return {
        "share": round(hits / max(1, count), 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }
