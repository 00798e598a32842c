"""Servers with the batches of each provider, in memory, by the shapes of the providers' SDKs."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from contextlib import contextmanager
from itertools import count

from aiohttp import web

from tests.conftest import chat

KEY = "key-of-the-provider-0123456789"


def question_in(content):
    """The first line of a message, which is the row's question."""
    if isinstance(content, list):
        content = content[0]["text"]
    return content.split("\n", 1)[0]


class Provider:
    """Batches in memory. `fate` says what becomes of a line; `polls` how often a batch is looked at before it ends.

    `asked` counts the questions that came in batches, `online` those that came alone.
    """

    root = "/v1"
    teacher = "openai/m"
    variable = "OPENAI_API_KEY"
    # What a run is told besides, and whether the same requests can be asked online here.
    options = {}
    has_online = True

    def __init__(self, fate=lambda number: "ok", polls=1):
        self.fate, self.polls, self.port = fate, polls, 0
        self.files, self.batches, self.asked, self.online = (
            {},
            {},
            Counter(),
            [],
        )
        self.before_create = self.after_create = None
        self.end, self.reason, self.refuses = "completed", None, ""
        self.keys = set()
        self.numbers = count()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{self.root}"

    @property
    def environment(self):
        """Variables that a run sees."""
        return {self.variable: KEY} if self.variable != "OPENAI_API_KEY" else {}

    def key_of(self, request):
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    @web.middleware
    async def watch(self, request, handler):
        self.keys.add(self.key_of(request))
        return await handler(request)

    def started(self, lines, **more):
        """A batch of (name, question, body) of each line."""
        if self.before_create:
            self.before_create()
        made = {"id": f"batch-{next(self.numbers):04}", "lines": lines, "status": "in_progress", "looks": 0, **more}  # fmt: skip
        self.batches[made["id"]] = made
        for _, question, _ in lines:
            self.asked[question] += 1
        return made

    def answer_to_create(self, value):
        if self.after_create:
            status, self.after_create = self.after_create, None
            return web.Response(status=status)
        return web.json_response(value)

    def looked(self, id_):
        found = self.batches[id_]
        found["looks"] += 1
        if found["status"] == "in_progress" and found["looks"] > self.polls:
            self.finish(found, self.end)
        return found

    def cancelled(self, id_):
        found = self.batches[id_]
        if found["status"] == "in_progress":
            self.finish(found, "cancelled")
        return found

    def newest_first(self):
        return sorted(
            self.batches.values(), key=lambda b: b["id"], reverse=True
        )

    def finish(self, batch, status):
        batch["status"] = status
        batch["results"] = [
            self.outcome(name, question, body, self.fate(number))
            for number, (name, question, body) in enumerate(batch["lines"])
            if status != "failed" and self.fate(number) != "missing"
        ]


class OpenAI(Provider):
    path = "/batches"

    def routes(self, router):
        router.add_post(f"{self.root}/files", self.upload)
        router.add_get(f"{self.root}/files/{{id}}/content", self.content)
        router.add_post(self.root + self.path, self.create)
        router.add_get(self.root + self.path, self.listing)
        router.add_get(f"{self.root}{self.path}/{{id}}", self.retrieve)
        router.add_post(f"{self.root}{self.path}/{{id}}/cancel", self.cancel)
        router.add_post(f"{self.root}/chat/completions", self.chat)

    async def upload(self, request):
        form = await request.post()
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()
        assert form["purpose"] == "batch"
        return web.json_response(
            {
                "id": name,
                "object": "file",
                "bytes": 1,
                "created_at": 1,
                "filename": "x",
                "purpose": "batch",
                "status": "processed",
            }
        )

    def lines(self, file):
        read = map(json.loads, self.files[file].splitlines())
        return [
            (
                line["custom_id"],
                question_in(line["body"]["messages"][-1]["content"]),
                line["body"],
            )
            for line in read
        ]

    async def create(self, request):
        body = await request.json()
        assert body["endpoint"] == "/v1/chat/completions"
        file = body["input_file_id"]
        made = self.started(
            self.lines(file),
            input_file_id=file,
            metadata=body.get("metadata"),
        )
        return self.answer_to_create(self.shown(made))

    def shown(self, batch):
        return {
            key: value
            for key, value in batch.items()
            if key not in ("lines", "results")
        }

    async def retrieve(self, request):
        return web.json_response(
            self.shown(self.looked(request.match_info["id"]))
        )

    async def cancel(self, request):
        return web.json_response(
            self.shown(self.cancelled(request.match_info["id"]))
        )

    async def listing(self, request):
        return web.json_response(
            {
                "object": "list",
                "data": [self.shown(b) for b in self.newest_first()],
                "has_more": False,
            }
        )

    async def content(self, request):
        return web.Response(body=self.files[request.match_info["id"]])

    async def chat(self, request):
        self.online.append(await request.json())
        question = question_in(self.online[-1]["messages"][-1]["content"])
        said = chat(f"It is so.\n#### {question}", **self.told)
        return web.json_response(said)

    # What a provider's replies say beside OpenAI's fields.
    told = {}

    def outcome(self, name, question, body, fate):
        record = {"id": "r", "custom_id": name, "response": None, "error": None}
        if self.refuses in body:
            words = f"Unsupported parameter: '{self.refuses}' is not supported with this model."
            code = "unsupported_parameter"
            said = {"message": words, "param": self.refuses, "code": code}
            record["response"] = {"status_code": 400, "body": {"error": said}}
        elif fate == "ok":
            said = chat(f"so {question}\n#### {question}")
            record["response"] = {"status_code": 200, "body": said}
        elif isinstance(fate, int):
            said = {"error": {"message": "no", "code": "x"}}
            record["response"] = {"status_code": fate, "body": said}
        elif fate == "expired":
            record["error"] = {"code": "batch_expired", "message": "too late"}
        else:
            record["error"] = {"code": fate, "message": "no"}
        return record

    # Names of the fields that hold the files of results.
    outputs = ("output_file_id", "error_file_id")

    def finish(self, batch, status):
        super().finish(batch, status)
        good, bad = [], []
        for record in batch["results"]:
            response = record["response"] or {}
            (good if response.get("status_code") == 200 else bad).append(record)
        for field, records in zip(self.outputs, (good, bad), strict=True):
            if records:
                batch[field] = f"file-{len(self.files)}"
                self.files[batch[field]] = b"".join(
                    json.dumps(r).encode() + b"\n" for r in reversed(records)
                )
        if status == "failed":
            batch["errors"] = {
                "object": "list",
                "data": [{"code": self.reason, "message": "why"}],
            }


class Groq(OpenAI):
    root = "/openai/v1"
    teacher = "groq/llama-3.3-70b-versatile"
    variable = "GROQ_API_KEY"
    told = {"service_tier": "on_demand"}


class Mistral(OpenAI):
    path = "/batch/jobs"
    teacher = "mistral/mistral-small-latest"
    variable = "MISTRAL_API_KEY"
    outputs = ("output_file", "error_file")
    words = {"in_progress": "RUNNING", "completed": "SUCCESS", "expired": "TIMEOUT_EXCEEDED", "failed": "FAILED", "cancelled": "CANCELLED"}  # fmt: skip

    async def create(self, request):
        body = await request.json()
        assert body["model"] == "mistral-small-latest"
        (file,) = body["input_files"]
        assert all("model" not in line[2] for line in self.lines(file))
        made = self.started(
            self.lines(file),
            input_files=body["input_files"],
            metadata=body["metadata"],
        )
        return self.answer_to_create(self.shown(made))

    def shown(self, batch):
        shown = super().shown(batch)
        if "errors" in shown:
            shown["errors"] = [{"message": "why", "count": 1}]
        return {**shown, "status": self.words[batch["status"]]}

    async def listing(self, request):
        assert request.query["order_by"] == "-created"
        page, size = (
            int(request.query[name]) for name in ("page", "page_size")
        )
        found = [self.shown(b) for b in self.newest_first()]
        return web.json_response(
            {
                "object": "list",
                "data": found[page * size : (page + 1) * size],
                "total": len(found),
            }
        )


class Together(OpenAI):
    teacher = "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo"
    variable = "TOGETHER_API_KEY"

    def routes(self, router):
        super().routes(router)
        router.add_put("/signed/{id}", self.put)
        router.add_post(f"{self.root}/files/{{id}}/preprocess", self.seen)

    def key_of(self, request):
        if request.path.startswith("/signed/"):
            assert KEY not in str(request.headers)
            return KEY
        return super().key_of(request)

    async def upload(self, request):
        form = await request.post()
        assert form["purpose"] == "batch-api"
        assert form["file_type"] == "jsonl"
        name = f"file-{len(self.files)}"
        self.files[name] = None
        there = f"http://127.0.0.1:{self.port}/signed/{name}?Signature=abc"
        return web.Response(
            status=302,
            headers={"Location": there, "X-Together-File-Id": name},
        )

    async def put(self, request):
        self.files[request.match_info["id"]] = await request.read()
        return web.Response()

    async def seen(self, request):
        assert self.files[request.match_info["id"]]
        return web.json_response({"id": request.match_info["id"]})

    async def create(self, request):
        body = await request.json()
        assert "metadata" not in body
        file = body["input_file_id"]
        made = self.started(self.lines(file), input_file_id=file)
        return self.answer_to_create({"job": self.shown(made), "warning": None})

    def shown(self, batch):
        shown = super().shown(batch)
        if "errors" in shown:
            shown["error"] = "why"
            del shown["errors"]
        return {**shown, "status": shown["status"].upper()}

    async def listing(self, request):
        return web.json_response([self.shown(b) for b in self.newest_first()])


class Anthropic(Provider):
    root = ""
    teacher = "anthropic/claude-sonnet-4-5"
    variable = "ANTHROPIC_API_KEY"

    def routes(self, router):
        path = "/v1/messages/batches"
        router.add_post(path, self.create)
        router.add_get(path, self.listing)
        router.add_get(f"{path}/{{id}}", self.retrieve)
        router.add_post(f"{path}/{{id}}/cancel", self.cancel)
        router.add_get(f"{path}/{{id}}/results", self.results)
        router.add_post("/v1/messages", self.chat)

    def key_of(self, request):
        assert request.headers["anthropic-version"] == "2023-06-01"
        assert "Authorization" not in request.headers
        return request.headers.get("x-api-key", "")

    def message(self, question):
        text = f"so {question}\n#### {question}"
        usage = {
            "input_tokens": 5,
            "cache_read_input_tokens": 2,
            "cache_creation_input_tokens": 4,
            "output_tokens": 7,
        }
        return {
            "id": "msg",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }

    async def create(self, request):
        body = await request.json()
        names = [r["custom_id"] for r in body["requests"]]
        assert len(set(names)) == len(names)
        assert max(map(len, names)) <= 64
        lines = [
            (
                r["custom_id"],
                question_in(r["params"]["messages"][-1]["content"]),
                r["params"],
            )
            for r in body["requests"]
        ]
        return self.answer_to_create(self.shown(self.started(lines)))

    def shown(self, batch):
        ends = batch["status"] != "in_progress"
        counts = dict.fromkeys(
            ("processing", "succeeded", "errored", "canceled", "expired"), 0
        )
        counts["succeeded" if ends else "processing"] = len(batch["lines"])
        return {
            "id": batch["id"],
            "type": "message_batch",
            "processing_status": "ended" if ends else "in_progress",
            "request_counts": counts,
            "results_url": "http://127.0.0.1:9/elsewhere" if ends else None,
        }

    async def retrieve(self, request):
        return web.json_response(
            self.shown(self.looked(request.match_info["id"]))
        )

    async def cancel(self, request):
        return web.json_response(
            self.shown(self.cancelled(request.match_info["id"]))
        )

    async def listing(self, request):
        found = self.newest_first()
        ids = [b["id"] for b in found]
        begin = ids.index(request.query["after_id"]) + 1 if "after_id" in request.query else 0  # fmt: skip
        page = found[begin : begin + int(request.query["limit"])]
        return web.json_response(
            {
                "data": [self.shown(b) for b in page],
                "has_more": begin + len(page) < len(found),
                "first_id": page[0]["id"] if page else None,
                "last_id": page[-1]["id"] if page else None,
            }
        )

    async def results(self, request):
        found = self.batches[request.match_info["id"]]["results"]
        return web.Response(
            body=b"".join(
                json.dumps(r).encode() + b"\n" for r in reversed(found)
            )
        )

    async def chat(self, request):
        self.online.append(await request.json())
        question = question_in(self.online[-1]["messages"][-1]["content"])
        return web.json_response(self.message(question))

    def outcome(self, name, question, body, fate):
        types = {400: "invalid_request_error", 500: "api_error"}
        result = {"type": fate}
        if self.refuses in body:
            words = f"`{self.refuses}` is not supported for this model."
            fate = 400
        else:
            words = "no"
        if fate == "ok":
            result = {"type": "succeeded", "message": self.message(question)}
        elif isinstance(fate, int):
            error = {"type": types[fate], "message": words}
            result = {
                "type": "errored",
                "error": {"type": "error", "error": error},
            }
        return {"custom_id": name, "result": result}


class Gemini(Provider):
    root = "/v1beta"
    teacher = "gemini/gemini-2.5-flash"
    variable = "GEMINI_API_KEY"

    def routes(self, router):
        router.add_post("/v1beta/models/{call}", self.model)
        router.add_get("/v1beta/batches", self.listing)
        router.add_get("/v1beta/batches/{id}", self.retrieve)
        router.add_post("/v1beta/batches/{id}", self.cancel)

    def key_of(self, request):
        assert "key" not in request.query
        return request.headers.get("x-goog-api-key", "")

    def content(self, question):
        text = f"so {question}\n#### {question}"
        usage = {
            "promptTokenCount": 11,
            "candidatesTokenCount": 7,
            "totalTokenCount": 18,
        }
        return {
            "candidates": [
                {
                    "content": {"role": "model", "parts": [{"text": text}]},
                    "finishReason": "STOP",
                    "index": 0,
                }
            ],
            "usageMetadata": usage,
            "modelVersion": "gemini-2.5-flash",
        }

    @staticmethod
    def question(body):
        return question_in(body["contents"][-1]["parts"])

    async def model(self, request):
        model, _, call = request.match_info["call"].partition(":")
        assert model == "gemini-2.5-flash"
        body = await request.json()
        if call == "generateContent":
            self.online.append(body)
            return web.json_response(self.content(self.question(body)))
        assert call == "batchGenerateContent"
        lines = [
            (r["metadata"]["key"], self.question(r["request"]), r["request"])
            for r in body["batch"]["inputConfig"]["requests"]["requests"]
        ]
        made = self.started(lines, name=body["batch"]["displayName"])
        return self.answer_to_create(self.shown(made))

    def shown(self, batch):
        words = {"in_progress": "RUNNING", "completed": "SUCCEEDED"}
        state = words.get(batch["status"], batch["status"].upper())
        told = {"displayName": batch["name"], "state": f"BATCH_STATE_{state}"}
        if batch.get("results"):
            replies = {"inlinedResponses": batch["results"]}
            told["output"] = {"inlinedResponses": replies}
        shown = {"name": f"batches/{batch['id']}", "metadata": told}
        if batch["status"] == "failed":
            shown["error"] = {"code": 8, "message": "why", "status": self.reason}  # fmt: skip
        return shown

    async def retrieve(self, request):
        return web.json_response(
            self.shown(self.looked(request.match_info["id"]))
        )

    async def cancel(self, request):
        id_, _, call = request.match_info["id"].partition(":")
        assert call == "cancel"
        self.cancelled(id_)
        return web.json_response({})

    async def listing(self, request):
        found = self.newest_first()
        begin = int(request.query.get("pageToken") or 0)
        end = begin + 1  # the smallest pages there can be
        more = {"nextPageToken": str(end)} if end < len(found) else {}
        return web.json_response(
            {"operations": [self.shown(b) for b in found[begin:end]], **more}
        )

    def outcome(self, name, question, body, fate):
        codes = {400: 3, 500: 13, "expired": 1}
        reply = {"metadata": {"key": name}}
        settings = body.get("generationConfig", {})
        if self.refuses in settings or self.refuses in body:
            words = f"`{self.refuses}` is not supported for this model."
            return {**reply, "error": {"code": 3, "message": words}}
        if fate == "ok":
            return {**reply, "response": self.content(question)}
        return {**reply, "error": {"code": codes[fate], "message": "no"}}


PROTOCOLS = (OpenAI, Anthropic, Gemini, Mistral, Together, Groq)


@contextmanager
def provider(kind=OpenAI, **how):
    found, ready, loop = (
        kind(**how),
        threading.Event(),
        asyncio.new_event_loop(),
    )

    async def start():
        app = web.Application(
            client_max_size=1 << 28, middlewares=[found.watch]
        )
        found.routes(app.router)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.port = runner.addresses[0][1]
        ready.set()

    def work():
        loop.run_until_complete(start())
        loop.run_forever()

    threading.Thread(target=work, daemon=True).start()
    assert ready.wait(10)
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(loop.stop)
