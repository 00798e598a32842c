"""Any endpoint that speaks OpenAI's chat completions, over a client of our own (a fiftieth of the
SDK's CPU a call).
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from synth.core.errors import (
    Stopped,
    TeacherBusy,
    TeacherError,
    TeacherRefused,
    WrongUse,
)
from synth.core.records import Fields, Request, canonical_json, ordered_json
from synth.teachers.base import Reply, Settings, Teacher, announced
from synth.teachers.wire.access import Redactor, check_url, secret
from synth.teachers.wire.adapter import MOST_LESSONS, Adapter
from synth.teachers.wire.capacity import (
    ABSENT,
    SECONDS,
    UNKNOWN,
    Capacity,
    capacity_at,
    is_private,
    least_tokens,
)
from synth.teachers.wire.faults import (
    Problem,
    error_of,
    failure_in,
    read_problem,
)
from synth.teachers.wire.forms import HOSTED, OTHER, asked_for
from synth.teachers.wire.http_client import (
    Answer,
    BrokenReply,
    Endpoint,
    StaleConnection,
)
from synth.teachers.wire.replies import load_reply, read_chat
from synth.teachers.wire.streams import is_stream, joined
from synth.teachers.wire.thoughts import dialect_at, told_to_think

PUBLIC = "https://api.openai.com/v1"
_KEY = "OPENAI_API_KEY"
_PATH = "/chat/completions"


class Target(NamedTuple):
    """Where requests go: URL parts, the headers of the user's, and what takes their secrets out of
    texts.
    """

    base: str
    query: str
    key: str
    headers: Mapping[str, str]
    redact: Redactor

    def url(self, path: str) -> str:
        """The URL of a path behind the base; a base that names it already stays as it is."""
        whole = self.base if self.base.endswith(path) else self.base + path
        return f"{whole}?{self.query}" if self.query else whole


def target(model: str, settings: Settings) -> Target:
    """OpenAI, or the endpoint that the settings or the environment name.

    Raises:
        WrongUse: OpenAI's own endpoint without a key, no URL, or a variable that is not set.
    """
    given = settings.api_base or os.environ.get("OPENAI_BASE_URL") or ""
    parts = check_url(
        given or PUBLIC,
        "--api-base" if settings.api_base else "OPENAI_BASE_URL",
    )
    base = urlunsplit(parts._replace(query="", fragment="")).rstrip("/")
    headers = {
        name: secret(variable, f"--header {name}")
        for name, variable in settings.headers.items()
    }
    key = _key(settings.api_key_env)
    if not key and not given and not headers:
        todo = "Set it: export OPENAI_API_KEY=...; or name another endpoint with --api-base URL."
        raise WrongUse(
            f"--teacher openai/{model}",
            "no key",
            "OPENAI_API_KEY in the environment",
            todo,
        )
    return Target(
        base,
        parts.query,
        key,
        headers,
        Redactor([key, *headers.values()]),
    )


def _key(variable: str | None) -> str:
    """The key in a variable; "" where none is to be sent."""
    if variable is not None:
        return secret(variable, "--api-key-env") if variable else ""
    return secret(_KEY, "the key") if os.environ.get(_KEY, "").strip() else ""


class OpenaiChat(Teacher):
    """One model of one OpenAI-compatible endpoint.

    Args:
        model: the provider's name of the model.
        settings: `api_base` (else OPENAI_BASE_URL, else OpenAI's own), `api_key_env` (else
            OPENAI_API_KEY), `headers`, and `timeout` of one request in seconds.

    The key is read from its variable and never written anywhere. An endpoint that the user names
    may need none.

    Attributes:
        path: what is asked, behind the base.
    """

    family = "openai"
    path = _PATH

    def __init__(self, model: str, settings: Settings) -> None:
        self.model = model
        self._timeout = settings.timeout
        self._target = target(model, settings)
        self._url = self._target.url(self.path)
        self._endpoint: Endpoint | None = None
        self._looking: asyncio.Task[Capacity] | None = None
        self._known: Capacity | None = None
        self._adapter = Adapter(
            model,
            self._target.base,
            settings.folder,
            self.say,
        )

    @property
    def adapted(self) -> Mapping[str, str]:
        """What the model does not take."""
        return self._adapter.noted

    def __repr__(self) -> str:
        return f"OpenaiChat({self.model!r}, {self._url!r})"

    @property
    def endpoint(self) -> str:
        """The base URL."""
        return self._target.base

    def _open(self) -> Endpoint:
        if self._endpoint is None:
            self._endpoint = self.endpoint_at(self._url)
        return self._endpoint

    def endpoint_at(self, url: str, timeout: float | None = None) -> Endpoint:
        """A URL of this server, with its key and headers; a timeout other than its own."""
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "potstill",
        }
        if self._target.key:
            headers["Authorization"] = f"Bearer {self._target.key}"
        given = {name.lower() for name in self._target.headers}
        own = {
            name: value
            for name, value in headers.items()
            if name.lower() not in given
        }
        return Endpoint(
            url,
            {**own, **self._target.headers},
            timeout or self._timeout,
        )

    async def capacity(self) -> Capacity:
        """What a server of the user's own says that it takes.

        Nobody else is asked, and a server that does not know the question counts as one that
        does not say. One that was not there is asked again.
        """
        if not is_private(self._target.base):
            return UNKNOWN
        looking = self._looking
        # What failed once is no answer for all calls to come.
        if looking is None or (looking.done() and looking.exception()):
            look = capacity_at(self._target.base, self.model, self._told)
            looking = self._looking = asyncio.ensure_future(look)
        try:
            capacity = await asyncio.shield(looking)
        except ConnectionRefusedError:
            self.forget_capacity()
            return ABSENT
        if looking is self._looking:
            self._known = capacity
        return capacity

    def forget_capacity(self) -> None:
        """The server may be another one by now: its next call asks it again."""
        self._looking = self._known = None

    async def _told(self, url: str) -> Fields | None:
        """A JSON object at a URL of the server; None where there is none.

        Raises:
            ConnectionRefusedError: nobody is there.
        """
        endpoint = self.endpoint_at(url, min(SECONDS, self._timeout))
        try:
            status, _, raw = await endpoint.get()
            return load_reply(raw)[0] if status == 200 else None
        except ConnectionRefusedError:
            raise
        except (OSError, BrokenReply, TeacherBusy):
            return None
        finally:
            await endpoint.close()

    def _check_length(self, request: Request, context: int | None) -> None:
        """Raises TeacherRefused where a prompt is longer than the server can read."""
        if context is None:
            return
        least = least_tokens(request)
        if least >= context:
            raise TeacherRefused(
                "context_length",
                f"the prompt has {least:,} words, each a token or more; {self._target.base} says "
                f"that it takes {context:,} tokens with the reply: not asked",
            )

    async def ask(self, request: Request) -> Reply:
        """One reply over HTTP; what the model turns out not to take is left out, once and for
        all.
        """
        server = HOSTED
        if is_private(self._target.base):
            # Known but for the first calls: a coroutine less.
            capacity = self._known or await self.capacity()
            self._check_length(request, capacity.context)
            if request.schema is not None or request.sampling.thinks:
                # Whose program it is decides on the form of the question.
                server = capacity.server or OTHER
        for _ in range(MOST_LESSONS):
            adapted = self._adapted(request, server)
            status, headers, raw = await self._post(
                request.text if adapted is None else ordered_json(adapted),
            )
            if status == 200:
                return self._read(headers, raw, request)
            problem = read_problem(status, raw)
            if not self._adapter.learn(
                problem,
                adapted or request.body(),
                request,
                self._scrub,
            ):
                break
        raise self._refusal(problem, headers)

    def _adapted(self, request: Request, server: str) -> Fields | None:
        """The body as this server and this model take it; None where that is the request's own."""
        schema = request.schema
        thinks = request.sampling.thinks
        plain = schema is None and not thinks and not request.images
        if plain and not self._adapter.rules:
            return None
        body = request.sent()
        if thinks:
            dialect = server or dialect_at(self._target.base)
            body = told_to_think(body, dialect)
        if schema is not None:
            body = asked_for(body, schema, server)
        return self._adapter.fit(body, schema)

    def _refusal(
        self, problem: Problem, headers: Mapping[str, str]
    ) -> TeacherError | Stopped:
        where = f"at {self._url}. {hint(self._target.base)}"
        return error_of(problem, headers, self._scrub, where)

    def _post(self, body: bytes) -> Coroutine[Any, Any, Answer]:
        return self.answered(self._open().post(body))

    async def answered(self, exchange: Awaitable[Answer]) -> Answer:
        """What an exchange with the server brings.

        Raises:
            TeacherBusy: nothing whole.
        """
        try:
            return await exchange
        except TimeoutError as error:
            raise TeacherBusy(
                "timeout", f"no reply within {self._timeout:g} s"
            ) from error
        except OSError as error:
            stale = isinstance(error, StaleConnection)
            raise TeacherBusy(
                "connection", self._scrub(str(error)), at_once=stale
            ) from error
        except BrokenReply as error:
            raise TeacherBusy(
                "broken_reply", self._scrub(str(error))
            ) from error

    def _read(
        self, headers: Mapping[str, str], raw: bytes, request: Request
    ) -> Reply:
        """The reply in a body with status 200.

        Raises:
            TeacherBusy, TeacherRefused, Stopped: it is a failure all the same.
        """
        raw = self._target.redact.raw(raw)
        if is_stream(headers, raw):
            raw = canonical_json(joined(raw))
        value, line = self.loaded(headers, raw)
        if self._adapter.rules and self._adapter.mend(value, request):
            line = canonical_json(value)
        return Reply(line, read_chat(value), announced(headers))

    def loaded(
        self, headers: Mapping[str, str], raw: bytes
    ) -> tuple[Fields, bytes]:
        """The JSON of a body with status 200, and its spelling for the journal.

        Raises:
            TeacherBusy, TeacherRefused, Stopped: it is a failure all the same.
        """
        value, line = load_reply(raw)
        failure = failure_in(value)
        if failure is not None:
            raise error_of(failure, headers, self._scrub)
        return value, line

    def _scrub(self, text: str) -> str:
        return self._target.redact(text)[:300]

    async def close(self) -> None:
        """Closes the connections."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        if self._endpoint is not None:
            await self._endpoint.close()
            self._endpoint = None


def hint(base: str) -> str:
    """What may be wrong with a base under which nothing is found.

    >>> hint("http://127.0.0.1:8000")
    'Most servers want /v1 behind it: --api-base http://127.0.0.1:8000/v1'
    """
    parts = urlsplit(base)
    path = parts.path
    if path.count(_PATH) > 1 or f"{_PATH}/" in path or path.endswith("/v1/v1"):
        return "A part of the path stands there twice"
    if path.endswith(("/messages", "/v1/complete")) or (
        parts.hostname or ""
    ).endswith("anthropic.com"):
        return (
            "Anthropic's own path: say --teacher anthropic/MODEL, or --api-base "
            "https://api.anthropic.com/v1"
        )
    if (parts.hostname or "").endswith(".azure.com") and "/openai" not in path:
        return (
            "Azure wants --api-base https://NAME.openai.azure.com/openai/v1, or "
            "/openai/deployments/DEPLOYMENT?api-version=..."
        )
    if path.endswith(
        ("/completions", "/models", "/responses", "/embeddings")
    ) and not path.endswith(_PATH):
        return (
            f"The base ends before /{path.rpartition('/')[2]}: --api-base "
            f"{base.rpartition('/')[0]}"
        )
    if not re.search(r"/v\d|/openai|/deployments/", path):
        return f"Most servers want /v1 behind it: --api-base {base.removesuffix(_PATH)}/v1"
    return "Is the model's name right, and the base?"
