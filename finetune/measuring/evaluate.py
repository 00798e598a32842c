"""Exact match of a student on held-out rows, by the parsers and verifiers that made its data."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from finetune.answering.cascade import Asked, Cascade
from finetune.answering.chain import Chain, Question, check_places
from finetune.answering.inference import Inference
from finetune.core.json_files import write_json
from finetune.core.own_files import PREDICTIONS, check_folder, write_evaluation
from finetune.core.rows import JsonObject, Tools
from finetune.data import rows
from finetune.data.each_row import each_row
from finetune.data.prompts import (
    RECORD,
    Prompt,
    Template,
    ids_of,
    of_student,
    rendered,
    text_of,
)
from finetune.data.shapes import check_asked, cleaned, tools_of
from finetune.measures.base import OF_GROUPS
from finetune.measuring.compare import ROOM, measures_of
from finetune.measuring.forms_of_thought import (
    Combine,
    Form,
    answer_of,
    combine,
    read_forms,
)
from finetune.measuring.votes import Ranker, Weigh, vote
from finetune.students import load as student
from synth.answers.golds import Gold, agrees, read_gold
from synth.core import registry
from synth.core.aio import run_async
from synth.core.errors import Unreadable, WrongUse
from synth.core.records import Row
from synth.parsers.base import Parser
from synth.statistics.intervals import wilson
from synth.verifiers.arithmetic_steps import ArithmeticSteps

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


# What became of a student's replies before a teacher.
CASCADE = "cascade.json"


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Inference):
    """What `finetune evaluate` is told, beside how the student is asked. Of `before` and `gate`: a
    row may bring what the first model is asked (`before`) and what was looked up (`knowledge`), and
    its prompt the places for both.

    Attributes:
        data: rows with `target` (or `answer`) and `prompt` (or `question`).
        model: a path or a hub name.
        output: folder for evaluation.json and predictions.jsonl.
        parser: reads the student's text, NAME[:key=value,...].
        max_new_tokens: longest answer.
        batch: prompts generated side by side.
        limit: only the first N rows.
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
    """

    data: str
    model: str
    output: Path
    parser: str = "final_number"
    max_new_tokens: int = 256
    batch: int = 64
    limit: int | None = None
    draws: int = 1
    temperature: float = 0.7
    ranker: str | None = None
    weigh: Weigh = "1+s"
    forms: str | None = None
    combine: Combine = "fallback"
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
    keys = ("model", "data", "exact_match")
    check_folder(config.output, (PREDICTIONS,), keys)
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
    config.check()
    data = questions(config.data, config.limit)
    model, tokenizer = student.load_student(config.model)
    config.ways().check(model)
    if (
        config.before
        or config.knowledge
        or config.wrap
        or config.gate is not None
    ):
        data = _chained(data, config, model, tokenizer)
    if forms:
        return _write(config, *_in_forms(config, forms, data, model, tokenizer))
    asked = [row for row in data for _ in range(config.draws)]
    judged = answered(model, tokenizer, asked, parser, config)
    more = _votes(config, data, judged) if config.draws > 1 else {}
    return _write(config, judged, more)


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
    tools = [tools_of(row) for row in asked]
    replies = list(generate(model, tokenizer, prompts, config, tools))
    sources: list[JsonObject] = [{}] * len(replies)
    if config.cascade is not None:
        template = config.template or of_student(config.model)
        sure = [
            _sure(model, tokenizer, prompt, reply, template)
            for prompt, reply in zip(prompts, replies, strict=True)
        ]
        replies, sources = _weighed(asked, prompts, replies, sure, config)
    return [
        {**_judge(row, reply, parser), **source}
        for row, reply, source in zip(asked, replies, sources, strict=True)
    ]


def _weighed(
    asked: Sequence[Row],
    prompts: Sequence[Prompt],
    replies: Sequence[str],
    sure: Sequence[float],
    config: EvaluateConfig,
) -> tuple[list[str], list[JsonObject]]:
    """The replies that count, a teacher's among them, and of each how sure the student was and
    whose it is. What became of them stands in cascade.json.
    """
    # A teacher reads the question, not what is put around it for the student.
    plain = [
        row.get("asked", prompt)
        for row, prompt in zip(asked, prompts, strict=True)
    ]
    said = list(map(Asked, plain, replies, sure))
    better = run_async(_taught(config, said))
    sources = []
    for own, theirs, share in zip(replies, better, sure, strict=True):
        whose = "student" if theirs is None else "teacher"
        sources.append({"sure": round(share, 6), "source": whose, "own": own})
    texts = [
        own if theirs is None else theirs
        for own, theirs in zip(replies, better, strict=True)
    ]
    return texts, sources


async def _taught(
    config: EvaluateConfig, said: Sequence[Asked]
) -> list[str | None]:
    """What the teacher says in the place of each reply; None where the student's is kept."""
    config.output.mkdir(parents=True, exist_ok=True)
    folder = config.output / "journal"
    cascade = Cascade(config, config.max_new_tokens, folder)
    try:
        taught = await asyncio.gather(*map(cascade.said, said))
    finally:
        await cascade.close()
    write_json(config.output / CASCADE, cascade.told())
    return [None if reply is None else reply.text for reply in taught]


def _sure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Prompt,
    reply: str,
    template: Template,
) -> float:
    """How sure a student is of its reply, 0 to 1."""
    import torch  # noqa: PLC0415 - for those who ask a student

    from finetune.generation.confidence import sure_of  # noqa: PLC0415 - torch

    text, special = rendered(prompt, tokenizer, template)
    ids = tokenizer(text, add_special_tokens=special)["input_ids"]
    said = tokenizer(reply, add_special_tokens=False)["input_ids"]
    before = ids or [student.start_of(tokenizer)]
    device = model.device
    return sure_of(
        model,
        torch.tensor(before, device=device),
        torch.tensor(said, dtype=torch.long, device=device),
    )


def _chained(
    data: Sequence[Row],
    config: EvaluateConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> list[JsonObject]:
    """The rows with the prompts that the student is asked; `asked` is what they were."""

    def say(
        speaker: PreTrainedModel,
        own: PreTrainedTokenizerBase,
        name: str,
        prompts: Sequence[Prompt],
    ) -> list[str]:
        plain = replace(config, draws=1, model=name)
        if speaker is not model:
            plain = replace(plain, template=None, think_end="", contrast=None)
        return list(generate(speaker, own, prompts, plain))

    asked = []
    for number, row in enumerate(data, 1):
        where = f"--input {config.data} row {number}"
        knowledge = row.get("knowledge")
        question = Question(
            prompt_of(row),
            where,
            before=str(row.get("before") or ""),
            knowledge=knowledge if isinstance(knowledge, str) else None,
        )
        check_places(config, question)
        if config.before and not config.wrap and not question.before:
            raise WrongUse(
                where,
                "no `before`",
                "what the first model is asked",
                "Write it into `before`, or give --wrap with {prompt} and {before}.",
            )
        asked.append(question)
    chain = Chain(
        config,
        model,
        tokenizer,
        name=config.model,
        say=say,
        template=config.template,
    )
    made = []
    for row, question, prompt in zip(
        data, asked, chain.prompts(asked), strict=True
    ):
        whole = {"asked": question.prompt} if config.wrap else {}
        made.append({**row, **whole, "prompt": prompt})
    return made


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
        **_told(row),
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

    def check(number: int, row: Row) -> None:
        place = f"{where} row {number}"
        if row.get("target") is None and row.get("answer") is None:
            raise WrongUse(
                place,
                "neither target nor answer",
                "one of them",
                "Fill it in, or take the row out.",
            )
        check_asked(row, place)

    each_row(data, check)


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
    tools: Sequence[Tools] = (),
) -> Iterator[str]:
    """Greedy completions, in order; batches are padded on the left. A student is asked as it was
    trained, with the tools of each prompt where there are any.
    """
    from finetune.generation.ways import behind, written  # noqa: PLC0415 - torch

    model.eval()
    ways = config.ways()
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
        shown = tools[start : start + config.batch] or [None] * len(part)
        amateurs: list[list[int]] = []
        if ways.contrast:
            misled = [behind(ways.contrast, prompt) for prompt in part]
            amateurs = _ids(model, tokenizer, misled, template, shown)
        ids = written(
            model,
            tokenizer,
            _ids(model, tokenizer, part, template, shown),
            ways=ways,
            amateurs=amateurs,
            max_new_tokens=config.max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            **drawing,
        )
        yield from tokenizer.batch_decode(ids, skip_special_tokens=True)


def _ids(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    template: Template,
    tools: Sequence[Tools],
) -> list[list[int]]:
    """Token ids of prompts, as a decoder or an encoder reads them."""
    pairs = list(zip(prompts, tools, strict=True))
    if not model.config.is_encoder_decoder:
        return [
            ids_of(prompt, tokenizer, template, shown)
            for prompt, shown in pairs
        ]
    asked = [
        rendered(prompt, tokenizer, template, shown) for prompt, shown in pairs
    ]
    return [
        tokenizer(text, add_special_tokens=special)["input_ids"]
        for text, special in asked
    ]


def _told(row: Row) -> JsonObject:
    """What a prediction says of its row."""
    kept = {name: row[name] for name in OF_GROUPS if row.get(name) is not None}
    return {
        **kept,
        "prompt": prompt_of(row),
        "target": str(target_of(row)),
    }


def _judge(row: Row, reply: str, parser: Parser) -> JsonObject:
    base = {**_told(row), "reply": reply}
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
    answer = None
    if fields.get("answer") is not None:
        answer = str(fields["answer"])
    right = _same(answer, row)
    steps = ArithmeticSteps().verify(str(fields.get("rationale", reply)))
    return {
        **base,
        "answer": answer,
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
    write_evaluation(config.output, info, judged)
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
