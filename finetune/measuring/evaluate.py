"""Exact match of a student on held-out rows, by the parsers and verifiers that made its data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

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
from synth.parsers.base import Parser
from synth.statistics.intervals import wilson
from synth.verifiers.arithmetic_steps import ArithmeticSteps


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


def run(config: EvaluateConfig) -> dict[str, Any]:
    """Generates greedily (or draws and votes), reads, compares; unreadable answers count as wrong
    and are reported apart.

    Returns:
        rows, exact_match and steps_right (share, low, high: Wilson 95 %), unreadable; with several
        draws they are those of single draws, and `vote` and `any_right` (the share of rows that
        some draw gets right) are those of the rows.
    """
    parser: Parser = registry.build("synth.parsers", config.parser, "--parser")
    forms = read_forms(config.forms) if config.forms else []
    if forms and config.draws > 1:
        raise WrongUse(
            "--forms, --draws",
            f"{len(forms)} forms, {config.draws} draws",
            "one of them",
            "Vote over forms, or over draws.",
        )
    data = [dict(row) for row in rows.load(config.data)][: config.limit]
    _check(data, config.data)
    if config.before:
        data = _spoken_before(data, config)
    model, tokenizer = student.load_student(config.model)
    if config.gate is not None:
        form = config.template or of_student(config.model)
        data = [
            _gated(
                row,
                model,
                tokenizer,
                config.gate,
                f"--data {config.data} row {n}",
                template=form,
            )
            for n, row in enumerate(data, 1)
        ]
    if forms:
        return _write(config, *_in_forms(config, forms, data, model, tokenizer))
    asked = [row for row in data for _ in range(config.draws)]
    replies = generate(
        model, tokenizer, [_prompt(row) for row in asked], config
    )
    judged = [
        _judge(row, reply, parser)
        for row, reply in zip(asked, replies, strict=True)
    ]
    return _write(
        config, judged, _votes(config, data, judged) if config.draws > 1 else {}
    )


def _spoken_before(
    data: Sequence[Mapping[str, Any]], config: EvaluateConfig
) -> list[dict[str, Any]]:
    """The rows with what the first model says in their prompts.

    Raises:
        WrongUse: rows without `before`, or prompts without a place for it.
    """
    wrong = next(
        (
            n
            for n, row in enumerate(data, 1)
            if not row.get("before") or "{before}" not in str(row.get("prompt"))
        ),
        None,
    )
    if wrong:
        todo = (
            "Write what the first model is asked into `before`, and {before} where its reply "
            "goes."
        )
        raise WrongUse(
            f"--data {config.data} row {wrong}",
            "no `before`, or no {before} in `prompt`",
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


def _gated(
    row: dict[str, Any],
    model: Any,
    tokenizer: Any,
    gate: float,
    where: str,
    *,
    template: Template,
) -> dict[str, Any]:
    """The row with its knowledge in the prompt, or without it where the student is sure."""
    prompt = str(row.get("prompt"))
    knowledge = row.get("knowledge")
    if "{knowledge}" not in prompt or not isinstance(knowledge, str):
        raise WrongUse(
            where,
            "no `knowledge`, or no {knowledge} in `prompt`",
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
    data: Sequence[Mapping[str, Any]],
    model: Any,
    tokenizer: Any,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
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
    names = [form.name for form in forms]
    judged = []
    credit = 0.0
    for place, row in enumerate(data):
        each = [found[place] for found in answers]
        target = _target(row)
        led = combine(forms, each, config.combine)
        credit += sum(share for answer, share in led if _same(answer, row))
        said = led[0][0] if led else None
        judged.append(
            {
                "prompt": _prompt(row),
                "target": target,
                "answers": dict(zip(names, each, strict=True)),
                "answer": said,
                "right": _same(said, row),
                "steps_right": False,
                "unreadable": None if led else "no_form",
            }
        )
    alone = {}
    for form, found in zip(forms, answers, strict=True):
        right = sum(map(_same, found, data))
        alone[form.name] = _interval(right, len(data))
    return judged, {
        "forms": alone,
        config.combine: _interval(credit, len(data)),
    }


def _same(answer: str | None, row: Mapping[str, Any]) -> bool:
    return (
        answer is not None
        and agrees(answer, _gold(row), row.get("choices")) is True
    )


def _gold(row: Mapping[str, Any]) -> Gold:
    return read_gold(
        row["target"] if row.get("target") is not None else row.get("answer"),
        row.get("choices"),
    )


def _target(row: Mapping[str, Any]) -> str:
    return str(
        row["target"] if row.get("target") is not None else row.get("answer")
    )


def _votes(
    config: EvaluateConfig,
    data: Sequence[Mapping[str, Any]],
    judged: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """How often the vote of a row's draws is right, and how often any of them."""
    scores = (
        Ranker(config.ranker).scores(
            [(text_of(_prompt(row)), str(row["reply"])) for row in judged]
        )
        if config.ranker
        else None
    )
    credit = 0.0
    some = 0
    for place, row in enumerate(data):
        part = slice(place * config.draws, (place + 1) * config.draws)
        drawn = judged[part]
        led = vote(
            [found["answer"] for found in drawn],
            scores[part] if scores else None,
            config.weigh,
        )
        credit += sum(share for answer, share in led if _same(answer, row))
        some += any(found["right"] for found in drawn)
    return {
        "vote": _interval(credit, len(data)),
        "any_right": _interval(some, len(data)),
        "draws": config.draws,
    }


def _cued(row: Mapping[str, Any], cue: str) -> str:
    """A row's prompt with a cue behind it, as such prompts are exported: the white space that the
    prompt ends in stays between them.

    A cue that begins with white space brings its own; behind a cue that ends in none stands a line
    end.
    """
    prompt = text_of(_prompt(row))
    if not cue:
        return prompt
    if cue[0].isspace():
        prompt = prompt.rstrip()
    elif not prompt[-1:].isspace():
        prompt += " "
    return prompt + cue + ("" if cue[-1].isspace() else "\n")


def _check(data: Sequence[Mapping[str, Any]], source: str) -> None:
    columns = set(data[0]) if data else set()
    if not columns & {"target", "answer"} or not columns & {
        "prompt",
        "question",
    }:
        todo = "Name the gold `target` and the input `question`."
        raise WrongUse(
            f"--data {source}",
            f"columns {', '.join(sorted(columns))}",
            "`target` and `prompt` or `question`",
            todo,
        )


def _prompt(row: Mapping[str, Any]) -> Prompt:
    if isinstance(row.get("prompt"), list):
        return cast("Prompt", cleaned(row["prompt"]))
    if row.get("prompt") is not None:
        return str(row["prompt"])
    return f"{row['question']}\n"


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    config: EvaluateConfig,
) -> Iterator[str]:
    """Greedy completions, in order; batches are padded on the left. A student is asked as it was
    trained.
    """
    import torch  # noqa: PLC0415

    tokenizer.padding_side = "left"
    model.eval()
    template = config.template or of_student(config.model)
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
        tokens = tokenizer.pad(
            {"input_ids": ids}, padding=True, return_tensors="pt"
        ).to(model.device)
        with torch.no_grad():
            out = model.generate(
                **tokens,
                max_new_tokens=config.max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                **(
                    {
                        "do_sample": True,
                        "temperature": config.temperature,
                        "top_k": 0,
                    }
                    if config.draws > 1
                    else {"do_sample": False}
                ),
            )
        yield from tokenizer.batch_decode(
            student.written(model, out, tokens["input_ids"].shape[1]),
            skip_special_tokens=True,
        )


def _judge(
    row: Mapping[str, Any], reply: str, parser: Parser
) -> dict[str, Any]:
    target = _target(row)
    base = {"prompt": _prompt(row), "target": target, "reply": reply}
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
    judged: Sequence[Mapping[str, Any]],
    votes: Mapping[str, Any],
) -> dict[str, Any]:
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


def _share(judged: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    return _interval(sum(bool(row[name]) for row in judged), len(judged))


def _interval(hits: float, count: int) -> dict[str, float]:
    low, high = wilson(hits, count)
    return {
        "share": round(hits / max(1, count), 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }
