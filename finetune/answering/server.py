"""A student behind OpenAI's protocol: `finetune serve`."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from finetune.answering import protocol
from finetune.answering.cascade import Asked, Cascade
from finetune.answering.chain import Chain
from finetune.answering.desk import Desk, Job
from finetune.answering.inference import Inference
from finetune.answering.protocol import ChatBody, Refused, TextBody
from finetune.answering.streaming import Events, streamed
from finetune.core.rows import JsonObject
from finetune.data.prompts import Template
from finetune.generation.chat_worker import Answerer
from synth.core.errors import WrongUse
from synth.teachers.wire.access import secret

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# Bytes of a request.
_MOST_BYTES = 16 * 1024 * 1024
# Seconds that replies under way have to come once the server ends.
_LAST_SECONDS = 30.0
# Seconds after which who was turned away may come again.
_AGAIN = "1"


@dataclass(frozen=True, kw_only=True)
class ServeConfig(Inference):
    """What `finetune serve` is told, beside how the student is asked.

    Attributes:
        model: a path or a hub name.
        host: address that is listened on.
        port: 0 asks for a free one.
        api_key_env: variable that holds the key that requests must bring; None for no key.
        name: of the model in replies; None for the name of its folder.
        queue: replies that may wait, those under way included; 1 or more.
        max_new_tokens: longest reply, also where a request says nothing.
        template: whether prompts go through the student's chat template; None for the form in which
            it was trained.
    """

    model: str
    host: str = "127.0.0.1"
    port: int = 8000
    api_key_env: str | None = None
    name: str | None = None
    queue: int = 256
    max_new_tokens: int = 512
    template: Template | None = None


class Student:
    """A student that is open, with all that requests need of it.

    Args:
        config: how it is served.

    Raises:
        WrongUse: a model, a file, a teacher or a variable that cannot be used.
    """

    def __init__(self, config: ServeConfig) -> None:
        config.check()
        self.config = config
        self.key = ""
        if config.api_key_env is not None:
            self.key = secret(config.api_key_env, "--api-key-env")
        self.name = config.name or Path(config.model).resolve().name
        self.answerer = Answerer(
            config.model,
            ways=config.ways(),
            sure=config.cascade is not None,
        )
        if config.template is not None:
            self.answerer.template = config.template
        self.context = _context(self.answerer)
        # A prompt needs room too.
        half = (self.context or 1 << 30) // 2
        self.most = min(config.max_new_tokens, half)
        self.created = int(time.time())
        self.cascade: Cascade | None = None
        self.desk = Desk(
            self.answerer,
            self._chain(),
            context=self.context,
            most=config.queue,
        )

    def _chain(self) -> Chain | None:
        how = self.config
        if not (how.before or how.knowledge or how.wrap):
            return None
        if not how.wrap:
            raise WrongUse(
                "--before, --knowledge",
                "no --wrap",
                "the student's prompt, with places for the question and other texts",
                "For example --wrap '{before}\n{prompt}'.",
            )
        if how.gate is not None and not how.knowledge:
            raise WrongUse(
                "--gate",
                "no --knowledge",
                "a file of texts to look up",
                "Give --knowledge FILE too.",
            )
        return Chain(
            how,
            self.answerer.model,
            self.answerer.tokenizer,
            name=how.model,
            say=self._say,
            template=self.answerer.template,
        )

    def _say(
        self, model: Any, tokenizer: Any, name: str, prompts: Sequence[Any]
    ) -> list[str]:
        """Greedy replies of a model, in the thread of the desk."""
        speaker = self.answerer
        if model is not self.answerer.model:
            speaker = self.answerer.beside(model, tokenizer, name)
        said = []
        for prompt in prompts:
            # A text goes through the template of a model that has one, as in an evaluation.
            body = {
                "model": name,
                "temperature": 0,
                "max_tokens": self.most,
                "messages": prompt,
            }
            (reply,) = speaker.answer([body])
            said.append(str(reply["choices"][0]["message"]["content"]))
        return said

    async def open(self) -> None:
        """Opens what needs the loop that requests come in."""
        if self.config.cascade is not None:
            self.cascade = Cascade(self.config, self.config.max_new_tokens)

    async def close(self) -> None:
        """Ends all that was opened."""
        await self.desk.close()
        if self.cascade is not None:
            await self.cascade.close()

    def told(self) -> JsonObject:
        """What became of the requests so far."""
        told: JsonObject = {
            "status": "ok",
            "waiting": self.desk.waiting,
            "batches": self.desk.batches,
            "replies": self.desk.replies,
        }
        if self.cascade is not None:
            told["cascade"] = self.cascade.told()
        return told


def _context(answerer: Answerer) -> int | None:
    """Tokens of a prompt and its reply that the student has positions for; None where that is not
    known, or where the encoder's are not the decoder's.
    """
    config = answerer.model.config
    found = getattr(config, "max_position_embeddings", None)
    if config.is_encoder_decoder or not isinstance(found, int):
        return None
    return found


def make_app(student: Student) -> web.Application:
    """The app of a student."""
    guard = _guard(student)
    app = web.Application(middlewares=[guard], client_max_size=_MOST_BYTES)
    card = {
        "id": student.name,
        "object": "model",
        "created": student.created,
        "owned_by": "potstill",
        "max_model_len": student.context,
    }

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [card]})

    async def model(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name != student.name:
            raise Refused(
                404,
                f"The model {name[:200]!r} does not exist; this is {student.name}.",
                param="model",
                code="model_not_found",
            )
        return web.json_response(card)

    async def health(_: web.Request) -> web.Response:
        return web.json_response(student.told())

    app.router.add_get("/v1/models", models)
    app.router.add_get("/v1/models/{name:.+}", model)
    app.router.add_get("/health", health)
    for path, kind in (
        ("/v1/chat/completions", ChatBody),
        ("/v1/completions", TextBody),
    ):
        app.router.add_post(path, partial(_answer, student, kind))
    return app


def _guard(student: Student) -> Any:
    """What every request passes: the key, the sender, and a shape for what goes wrong."""

    @web.middleware
    async def guarded(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        try:
            _check_sender(request, student)
            return await handler(request)
        except Refused as error:
            return _refusal(error)
        except web.HTTPException as error:
            kind = "invalid_request_error"
            shaped = Refused(error.status, error.reason, kind=kind)
            return _refusal(shaped)

    return guarded


def _refusal(error: Refused) -> web.Response:
    headers = {"Retry-After": _AGAIN} if error.status in (429, 503) else None
    return web.json_response(error.body, status=error.status, headers=headers)


def _check_sender(request: web.Request, student: Student) -> None:
    """A request brings the key; without a key, it is no page of a browser's.

    Raises:
        Refused: it does not.
    """
    if student.key:
        given = request.headers.get("Authorization", "")
        wanted = f"Bearer {student.key}"
        if not secrets.compare_digest(given.encode(), wanted.encode()):
            raise Refused(
                401,
                "Incorrect API key provided, or none.",
                code="invalid_api_key",
            )
        return
    # A page of another site may send requests to this machine; its browser names it.
    if "Origin" in request.headers or not _is_own(request, student):
        raise Refused(
            403,
            "A web page may not ask a server without a key (--api-key-env).",
            code="origin",
        )


def _is_own(request: web.Request, student: Student) -> bool:
    """Whether a request was meant for this address, and not for a name that points at it."""
    host = request.headers.get("Host", "").rpartition(":")[0]
    host = host or request.headers.get("Host", "")
    if host in ("localhost", student.config.host):
        return True
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host.strip("[]"))
        return True
    return student.config.host not in ("127.0.0.1", "localhost", "::1")


async def _answer(
    student: Student,
    kind: type[ChatBody | TextBody],
    request: web.Request,
) -> web.StreamResponse:
    """A reply to one request, whole or as it is written."""
    if request.content_type != "application/json":
        raise Refused(
            415, f"Content-Type {request.content_type}; send application/json."
        )
    body = protocol.read(kind, await request.read())
    _check_way(student, body)
    made = body.bodies(student.most)
    loop = asyncio.get_running_loop()
    # Behind a cascade nothing is said before the student's whole reply is weighed.
    listens = body.stream and student.cascade is None
    stream: asyncio.Queue[tuple[int, str]] | None = None
    if listens:
        stream = asyncio.Queue()
    job = Job(made, loop, stream, choices=body.choices)
    student.desk.take(job)
    try:
        if body.stream:
            events = Events(
                request,
                chat=kind is ChatBody,
                model=student.name,
                choices=len(made),
            )
            work = asyncio.ensure_future(_replies(student, job))
            return await streamed(
                events, job, work, tells_usage=body.tells_usage
            )
        replies = await _replies(student, job)
        return web.json_response(_whole(student, kind, body, replies))
    finally:
        student.desk.leave(job)


def _check_way(student: Student, body: ChatBody | TextBody) -> None:
    """The request can be obeyed by this student.

    Raises:
        Refused: it cannot.
    """
    if student.answerer.ways.contrast and body.temperature:
        raise Refused(
            400,
            "This student is served with --contrast, which is greedy: leave temperature out, or "
            "send 0.",
            param="temperature",
        )
    is_echo = isinstance(body, TextBody) and body.echo
    if is_echo and student.answerer.model.config.is_encoder_decoder:
        raise Refused(
            400,
            "An encoder-decoder does not continue its prompt.",
            param="echo",
        )
    if is_echo and body.stream:
        raise Refused(400, "echo is not streamed.", param="echo")


async def _replies(student: Student, job: Job) -> list[JsonObject]:
    """The replies that count, those of the teacher among them.

    Raises:
        Refused: none came.
    """
    try:
        replies = await job.done
    except Refused:
        raise
    except Exception as error:
        raise Refused(
            500,
            f"{type(error).__name__}: {error}"[:300],
            kind="server_error",
        ) from error
    if student.cascade is None:
        return replies
    better = [
        _weighed(student.cascade, body, reply)
        for body, reply in zip(job.bodies, replies, strict=True)
    ]
    return list(await asyncio.gather(*better))


async def _weighed(
    cascade: Cascade, body: JsonObject, reply: JsonObject
) -> JsonObject:
    """A reply of the student, or the teacher's in its place; `source` says whose it is."""
    prompt = body.get("messages", body.get("prompt"))
    (choice,) = reply["choices"]
    if prompt is None:
        return reply
    text = str(choice["message"]["content"])
    asked = Asked(prompt, text, float(choice["confidence"]))
    said = await cascade.said(asked, int(body["max_tokens"]))
    if said is None:
        return {**reply, "choices": [{**choice, "source": "student"}]}
    message = {"role": "assistant", "content": said.text}
    taught = {
        "index": 0,
        "message": message,
        "finish_reason": said.finish_reason,
        "confidence": choice["confidence"],
        "source": "teacher",
    }
    return {**reply, "choices": [taught]}


def _whole(
    student: Student,
    kind: type[ChatBody | TextBody],
    body: ChatBody | TextBody,
    replies: Sequence[JsonObject],
) -> JsonObject:
    """A completion in OpenAI's shape."""
    if kind is ChatBody:
        name, choice = "chat.completion", protocol.chat_choice
    else:
        name, choice = "text_completion", protocol.text_choice
    return {
        **protocol.head(name, student.name),
        "choices": [choice(reply, n) for n, reply in enumerate(replies)],
        "usage": protocol.usage(replies, body.choices),
    }


async def start(student: Student) -> web.AppRunner:
    """Listens; returns what stops it.

    Raises:
        OSError: the address is taken.
    """
    await student.open()
    runner = web.AppRunner(
        make_app(student),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=_LAST_SECONDS,
    )
    await runner.setup()
    config = student.config
    await web.TCPSite(runner, config.host, config.port).start()
    return runner


async def serve(student: Student, say: Callable[[str], None]) -> None:
    """Serves a student until it is cancelled; replies under way come first.

    Args:
        student: that is open.
        say: prints the address.

    Raises:
        WrongUse: the address cannot be listened on.
    """
    config = student.config
    try:
        runner = await start(student)
    except OSError as error:
        await student.close()
        raise WrongUse(
            f"--host {config.host} --port {config.port}",
            str(error.strerror or error),
            "an address that is free",
            "Take another port; 0 asks for a free one.",
        ) from error
    port = runner.addresses[0][1]
    say(f"http://{config.host}:{port}/v1")
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
        await student.close()
