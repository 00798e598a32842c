"""A loopback server of a real tiny model that scores tokens as vLLM, OpenAI's first completions or llama.cpp do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from aiohttp import web

from finetune.students.load import load_student
from tests.conftest import Server, serving

PATHS = ("/v1/completions", "/v1/models", "/tokenize")
# What a test does to a reply before it is sent.
Change = Callable[[dict[str, Any], int], Any]


class Model:
    """What the server knows: log-probabilities of a causal model, in float64."""

    def __init__(self, path: str) -> None:
        model, self.tokenizer = load_student(path)
        self.model = model.eval()

    def logs(self, ids: list[int]) -> torch.Tensor:
        """[tokens, vocabulary]: row n predicts token n + 1."""
        with torch.no_grad():
            logits = self.model(torch.tensor([ids])).logits[0]
        return logits.double().log_softmax(-1)

    def top(self, row: torch.Tensor, k: int) -> dict[int, float]:
        best = row.topk(min(k, len(row)))
        return dict(
            zip(best.indices.tolist(), best.values.tolist(), strict=True)
        )

    def text(self, token: int) -> str:
        return str(self.tokenizer.decode([token]))


def vllm(model: Model, body: dict[str, Any]) -> dict[str, Any]:
    """A list over the prompt: null, then id -> {"logprob", "rank", "decoded_token"}, the token itself always among them."""
    ids, k = body["prompt"], body.get("prompt_logprobs")
    choice: dict[str, Any] = {"text": " x", "finish_reason": "length"}
    if k is not None:
        logs = model.logs(ids)
        cells: list[Any] = [None]
        for row, token in zip(logs, ids[1:], strict=False):
            named = model.top(row, k) | {token: float(row[token])}
            cells.append(
                {
                    str(one): {
                        "logprob": log,
                        "rank": int((row > row[one]).sum()) + 1,
                        "decoded_token": model.text(one),
                    }
                    for one, log in named.items()
                }
            )
        choice["prompt_logprobs"] = cells
    return choice


def openai(model: Model, body: dict[str, Any]) -> dict[str, Any]:
    """`echo`: texts, with one more token that was written."""
    if not body.get("echo"):
        return {"text": " x", "finish_reason": "length"}
    ids, k = body["prompt"], body["logprobs"]
    logs = model.logs(ids)
    written = int(logs[-1].argmax())
    tokens = [*ids, written]
    tops = [
        {model.text(one): log for one, log in model.top(row, k).items()}
        for row in logs
    ]
    said = {
        "tokens": [model.text(token) for token in tokens],
        "token_logprobs": [
            None,
            *(float(row[tokens[n + 1]]) for n, row in enumerate(logs)),
        ],
        "top_logprobs": [None, *tops],
    }
    return {"text": "", "finish_reason": "length", "logprobs": said}


def llama(model: Model, body: dict[str, Any]) -> dict[str, Any]:
    """Only of the token that is written, with ids, in chat's form."""
    if not body.get("logprobs"):
        return {"text": " x", "finish_reason": "length"}
    row = model.logs(body["prompt"])[-1]
    listed = [
        {"id": one, "token": model.text(one), "logprob": log}
        for one, log in model.top(row, body["logprobs"]).items()
    ]
    written = {**listed[-1], "top_logprobs": listed}
    return {
        "text": written["token"],
        "finish_reason": "length",
        "logprobs": {"content": [written]},
    }


@contextmanager
def scoring(
    path: str,
    style: Callable[[Model, dict[str, Any]], dict[str, Any]] = vllm,
    *,
    name: str = "large",
    change: Change = lambda reply, _: reply,
    most: int = 1000,
    tokens: bool = True,
) -> Iterator[Server]:
    """Serves a model.

    Args:
        path: its folder.
        style: of the replies.
        name: under which it is served.
        change: of a reply, with the number of the call.
        most: tokens at a place; more are refused as vLLM does.
        tokens: whether it has `/tokenize`.
    """
    model = Model(path)
    scored = 0

    def answer(body: dict[str, Any], _: int) -> Any:
        nonlocal scored
        if not body:
            return {"data": [{"id": name}]}
        if "content" in body:
            ids = model.tokenizer(body["content"], add_special_tokens=False)
            if tokens:
                return {"tokens": list(ids["input_ids"])}
            return web.json_response({"error": "no such place"}, status=404)
        asked = max(
            body.get(field) or 0 for field in ("prompt_logprobs", "logprobs")
        )
        if asked > most:
            said = f"Requested prompt logprobs of {asked}, which is greater than max allowed: {most}"
            return web.json_response(
                {"error": {"message": said, "type": "BadRequestError"}},
                status=400,
            )
        scored += 1
        count = len(body["prompt"])
        usage = {"prompt_tokens": count, "completion_tokens": 1}
        choice = {"index": 0, **style(model, body)}
        reply = {"model": name, "choices": [choice], "usage": usage}
        return change(reply, scored)

    with serving(answer, PATHS) as server:
        yield server


def calls(server: Server) -> list[dict[str, Any]]:
    """What was asked about tokens."""
    return [
        body
        for body in server.bodies
        if "prompt" in body and "content" not in body
    ]
