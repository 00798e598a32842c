"""Exact match of a student on held-out rows, by the parsers and verifiers that made its data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune import rows, student
from finetune.intervals import wilson
from synth import registry
from synth.errors import Unreadable, WrongUse
from synth.parsers.base import Parser
from synth.verifiers.arithmetic_steps import ArithmeticSteps
from synth.verifiers.math_equal import same_answer


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
    """

    data: str
    model: str
    output: Path
    parser: str = "final_number"
    max_new_tokens: int = 256
    batch: int = 64
    limit: int | None = None


def run(config: EvaluateConfig) -> dict[str, Any]:
    """Generates greedily, reads, compares; unreadable answers count as wrong and are reported apart.

    Returns:
        rows, exact_match and steps_right (share, low, high: Wilson 95 %), unreadable.
    """
    parser: Parser = registry.build("synth.parsers", config.parser, "--parser")
    data = [dict(row) for row in rows.load(config.data)][: config.limit]
    _check(data, config.data)
    model, tokenizer = student.load_student(config.model)
    replies = generate(model, tokenizer, [_prompt(row) for row in data], config)
    judged = [_judge(row, reply, parser) for row, reply in zip(data, replies, strict=True)]
    return _write(config, judged)


def _check(data: Sequence[Mapping[str, Any]], source: str) -> None:
    columns = set(data[0]) if data else set()
    if not columns & {"target", "answer"} or not columns & {"prompt", "question"}:
        todo = "Name the gold `target` and the input `question`."
        raise WrongUse(f"--data {source}", f"columns {', '.join(sorted(columns))}", "`target` and `prompt` or `question`", todo)


def _prompt(row: Mapping[str, Any]) -> str:
    return str(row["prompt"]) if row.get("prompt") is not None else f"{row['question']}\n"


def generate(model: Any, tokenizer: Any, prompts: Sequence[str], config: EvaluateConfig) -> Iterator[str]:
    """Greedy completions, in order; batches are padded on the left."""
    import torch  # noqa: PLC0415

    tokenizer.padding_side = "left"
    model.eval()
    for start in range(0, len(prompts), config.batch):
        tokens = tokenizer(list(prompts[start : start + config.batch]), return_tensors="pt", padding=True, return_token_type_ids=False)
        tokens = tokens.to(model.device)
        with torch.no_grad():
            out = model.generate(
                **tokens, max_new_tokens=config.max_new_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )  # fmt: skip
        yield from tokenizer.batch_decode(out[:, tokens["input_ids"].shape[1] :], skip_special_tokens=True)


def _judge(row: Mapping[str, Any], reply: str, parser: Parser) -> dict[str, Any]:
    target = str(row["target"] if row.get("target") is not None else row.get("answer"))
    base = {"prompt": _prompt(row), "target": target, "reply": reply}
    try:
        fields = parser.parse(reply, row)
    except Unreadable as error:
        return {**base, "right": False, "steps_right": False, "unreadable": error.reason}
    right = same_answer(str(fields.get("answer")), target)
    steps = ArithmeticSteps().verify(str(fields.get("rationale", reply)))
    return {**base, "right": right, "steps_right": bool(right and steps), "unreadable": None}


def _write(config: EvaluateConfig, judged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    config.output.mkdir(parents=True, exist_ok=True)
    info = {
        "model": config.model,
        "data": config.data,
        "rows": len(judged),
        "exact_match": _share(judged, "right"),
        "steps_right": _share(judged, "steps_right"),
        "unreadable": sum(row["unreadable"] is not None for row in judged),
    }
    (config.output / "evaluation.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    lines = (json.dumps(row, ensure_ascii=True) for row in judged)
    (config.output / "predictions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return info


def _share(judged: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    hits = sum(bool(row[name]) for row in judged)
    low, high = wilson(hits, len(judged))
    return {"share": round(hits / max(1, len(judged)), 4), "low": round(low, 4), "high": round(high, 4)}
