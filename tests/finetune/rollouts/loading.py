"""A loopback server of a real tiny model that writes, and is given weights, as vLLM, SGLang or a plain server does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from aiohttp import web

from finetune.students.load import load_student
from tests.conftest import hosted

NAME = "student"


class LoadingServer:
    """What a server has: a model, adapters by their names, and a version that it was told.

    Args:
        style: `vllm`, `vllm-lora`, `sglang`, `sglang-lora` or `plain`.
        path: of the model that it starts with.

    Attributes:
        refuses: whether it refuses new weights.
        forgets: texts after which it restarts, once.
        seconds: that a load takes.
        versions: whether it tells its version.
        hangs_up: requests that are cut off without a word.
        lies: nats that are added to each log-probability.
        calls: (path, body) of each request.
        wrote: of each text the folder whose weights wrote it.
    """

    def __init__(self, style: str, path: str) -> None:
        self.style = style
        self.path = path
        self.refuses = False
        self.forgets = 0
        self.seconds = 0.0
        self.versions = True
        self.lies = 0.0
        self.hangs_up = 0
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.wrote: list[str] = []
        self.port = 0
        self.restart()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def loads(self) -> list[str]:
        """The folders that were given."""
        keys = ("lora_path", "model_path")
        found = []
        for path, body in self.calls:
            named = {**body, **body.get("kwargs", {})}
            if "unload" not in path:
                found += [
                    named[key]
                    for key in (*keys, "weights_path")
                    if key in named and not path.endswith("generate")
                ]
        return found

    def restart(self) -> None:
        """With the weights that it started with."""
        self.model, self.tokenizer = load_student(self.path)
        self.has = self.path
        self.version = "default"
        self.adapters: dict[str, Any] = {}

    def read(self, folder: str, version: str) -> None:
        """The weights in a folder."""
        if "lora" in self.style:
            self.adapters[version] = load_student(folder)[0]
        else:
            self.model = load_student(folder)[0]
            self.has, self.version = folder, version

    async def loaded(self, folder: str, version: str) -> web.Response:
        if self.refuses:
            error = {"success": False, "message": "no room for it"}
            return web.json_response(error, status=400)
        await asyncio.sleep(self.seconds)
        self.read(folder, version)
        return web.json_response({"success": True})

    async def handle(  # noqa: C901, PLR0911 - one line a place
        self, request: web.Request
    ) -> web.Response:
        body = await request.json() if request.can_read_body else {}
        path = request.path
        if self.hangs_up:
            self.hangs_up -= 1
            assert request.transport is not None
            request.transport.close()
        self.calls.append((path, body))
        if path == "/v1/models":
            return web.json_response({"data": [{"id": NAME}]})
        if path in ("/v1/completions", "/generate"):
            return self.written(body)
        if path not in PLACES[self.style]:
            return web.json_response({"detail": "Not Found"}, status=404)
        if path in ("/weight_info", "/model_info"):
            if not self.versions:
                return web.json_response({}, status=404)
            return web.json_response({"weight_version": self.version})
        if path == "/update_weight_version" and body:
            self.version = body["new_version"]
        if "unload" in path and body:
            self.adapters.pop(body["lora_name"], None)
        elif "lora_path" in body:
            return await self.loaded(body["lora_path"], body["lora_name"])
        elif "model_path" in body:
            version = body["weight_version"]
            return await self.loaded(body["model_path"], version)
        elif "kwargs" in body:
            assert body["method"] == "reload_weights"
            return await self.loaded(body["kwargs"]["weights_path"], "")
        elif path == "/collective_rpc" or not body:
            empty = path == "/reset_prefix_cache"
            return web.json_response({}, status=200 if empty else 422)
        return web.json_response({})

    def written(self, body: dict[str, Any]) -> web.Response:
        """A text, with its tokens in the words of the server."""
        if self.forgets and len(self.wrote) >= self.forgets:
            self.forgets = 0
            self.restart()
        native = "input_ids" in body
        how = body.get("sampling_params", body)
        name = body.get("lora_path" if native else "model") or NAME
        if name != NAME and name not in self.adapters:
            said = {"error": {"message": f"The lora model `{name}` is unknown"}}
            return web.json_response(said, status=400 if native else 404)
        model = self.adapters.get(name, self.model)
        ids = body["input_ids" if native else "prompt"]
        most = how["max_new_tokens" if native else "max_tokens"]
        seed = how["sampling_seed" if native else "seed"]
        tokens, logs, reason = drawn(
            model, ids, most, set(how["stop_token_ids"]), seed
        )
        logs = [log + self.lies for log in logs]
        self.wrote.append(name if self.adapters else self.has)
        if native:
            said = [[p, t, "x"] for p, t in zip(logs, tokens, strict=True)]
            told = {
                "output_token_logprobs": said,
                "finish_reason": {"type": reason},
            }
            return web.json_response({"text": "x", "meta_info": told})
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason}
        choice["text"] = self.tokenizer.decode(tokens)
        if self.style == "plain":
            content = [
                {"id": t, "token": "x", "logprob": p}
                for p, t in zip(logs, tokens, strict=True)
            ]
            choice["logprobs"] = {"content": content}
        else:
            choice["token_ids"] = tokens
            choice["logprobs"] = {
                "tokens": [f"token_id:{token}" for token in tokens],
                "token_logprobs": logs,
            }
        return web.json_response({"model": name, "choices": [choice]})


PLACES = {
    "vllm": (
        *("/collective_rpc", "/reset_prefix_cache"),
        *("/update_weight_version", "/weight_info"),
    ),
    "vllm-lora": ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"),
    "sglang": ("/update_weights_from_disk", "/model_info"),
    "sglang-lora": ("/load_lora_adapter", "/unload_lora_adapter"),
    "plain": (),
}


def drawn(
    model: Any, ids: list[int], most: int, ends: set[int], seed: int
) -> tuple[list[int], list[float], str]:
    """Tokens drawn one by one from the model's own probabilities."""
    generator = torch.Generator().manual_seed(seed)
    tokens: list[int] = []
    logs: list[float] = []
    model.eval()
    while len(tokens) < most:
        given = torch.tensor([[*ids, *tokens]])
        with torch.no_grad():
            row = model(given).logits[0, -1].double().log_softmax(-1)
        token = int(row.exp().multinomial(1, generator=generator))
        tokens.append(token)
        logs.append(float(row[token]))
        if token in ends:
            return tokens, logs, "stop"
    return tokens, logs, "length"


@contextmanager
def loading(style: str, path: str) -> Iterator[LoadingServer]:
    """Serves a model."""
    server = LoadingServer(style, str(Path(path)))

    def app() -> web.Application:
        made = web.Application()
        made.router.add_route("*", "/{tail:.*}", server.handle)
        return made

    with hosted(app) as port:
        server.port = port
        yield server
