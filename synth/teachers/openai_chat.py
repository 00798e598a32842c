"""Any endpoint that speaks OpenAI's chat completions, over a client of our own (a fiftieth of the SDK's CPU a call)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlunsplit

import orjson

from synth.errors import Stopped, TeacherBusy, TeacherError, TeacherRefused, WrongUse
from synth.records import Request, canonical_json
from synth.teachers._access import Redactor, check_url, secret
from synth.teachers._http import BrokenReply, Endpoint
from synth.teachers.base import Reply, Settings, Teacher, announced, load_reply, read_chat, retry_after

PUBLIC = "https://api.openai.com/v1"
_KEY = "OPENAI_API_KEY"
_PATH = "/chat/completions"
# Error codes of providers, and what they mean for the run.
_STOPS = {
    "insufficient_quota": "quota", "billing_hard_limit_reached": "quota", "invalid_api_key": "key", "model_not_found": "model",
}  # fmt: skip
_REFUSALS = {
    "context_length_exceeded": "context_length",
    "content_policy_violation": "policy",
    "content_filter": "policy",
}


class Target(NamedTuple):
    """Where requests go: URL parts, the headers of the user's, and what takes their secrets out of texts."""

    base: str
    query: str
    key: str
    headers: Mapping[str, str]
    redact: Redactor

    @property
    def url(self) -> str:
        """The URL that chat completions are asked at; a base that names it already stays as it is."""
        path = self.base if self.base.endswith(_PATH) else self.base + _PATH
        return f"{path}?{self.query}" if self.query else path


def target(model: str, settings: Settings) -> Target:
    """OpenAI, or the endpoint that the settings or the environment name.

    Raises:
        WrongUse: OpenAI's own endpoint without a key, no URL, or a variable that is not set.
    """
    given = settings.api_base or os.environ.get("OPENAI_BASE_URL") or ""
    parts = check_url(given or PUBLIC, "--api-base" if settings.api_base else "OPENAI_BASE_URL")
    base = urlunsplit(parts._replace(query="", fragment="")).rstrip("/")
    headers = {name: secret(variable, f"--header {name}") for name, variable in settings.headers.items()}
    key = _key(settings.api_key_env)
    if not key and not given and not headers:
        todo = "Set it: export OPENAI_API_KEY=...; or name another endpoint with --api-base URL."
        raise WrongUse(f"--teacher openai/{model}", "no key", "OPENAI_API_KEY in the environment", todo)
    return Target(base, parts.query, key, headers, Redactor([key, *headers.values()]))


def _key(variable: str | None) -> str:
    """The key in a variable; "" where none is to be sent."""
    if variable is not None:
        return secret(variable, "--api-key-env") if variable else ""
    return secret(_KEY, "the key") if os.environ.get(_KEY, "").strip() else ""


class OpenaiChat(Teacher):
    """One model of one OpenAI-compatible endpoint.

    Args:
        model: the provider's name of the model.
        settings: `api_base` (else OPENAI_BASE_URL, else OpenAI's own), `api_key_env` (else OPENAI_API_KEY), `headers`, and
            `timeout` of one request in seconds.

    The key is read from its variable and never written anywhere. An endpoint that the user names may need none.
    """

    family = "openai"

    def __init__(self, model: str, settings: Settings) -> None:
        self.model, self._timeout = model, settings.timeout
        self._target = target(model, settings)
        self._url = self._target.url
        self._endpoint: Endpoint | None = None

    def __repr__(self) -> str:
        return f"OpenaiChat({self.model!r}, {self._url!r})"

    @property
    def endpoint(self) -> str:
        """The base URL."""
        return self._target.base

    def _open(self) -> Endpoint:
        if self._endpoint is None:
            headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "potstill"}
            if self._target.key:
                headers["Authorization"] = f"Bearer {self._target.key}"
            given = {name.lower() for name in self._target.headers}
            own = {name: value for name, value in headers.items() if name.lower() not in given}
            self._endpoint = Endpoint(self._url, {**own, **self._target.headers}, self._timeout)
        return self._endpoint

    async def ask(self, request: Request) -> Reply:
        """One reply over HTTP."""
        try:
            status, headers, raw = await self._open().post(canonical_json(request.body()))
        except TimeoutError as error:
            raise TeacherBusy("timeout", f"no reply within {self._timeout:g} s") from error
        except OSError as error:
            raise TeacherBusy("connection", self._scrub(str(error))) from error
        except BrokenReply as error:
            raise TeacherBusy("broken_reply", self._scrub(str(error))) from error
        if status != 200:
            raise error_of(status, headers, raw, self._scrub)
        value, line = load_reply(self._target.redact.raw(raw))
        if "error" in value and not value.get("choices"):
            raise error_of(200, {}, raw, self._scrub)
        return Reply(line, read_chat(value), announced(headers))

    def _scrub(self, text: str) -> str:
        return self._target.redact(text)[:300]

    async def close(self) -> None:
        """Closes the connections."""
        if self._endpoint is not None:
            await self._endpoint.close()
            self._endpoint = None


def error_of(status: int, headers: Mapping[str, str], raw: bytes, scrub: Callable[[str], str]) -> TeacherError | Stopped:
    """Our error for a status and a body; `scrub` takes keys out of texts."""
    code, message = _explain(raw)
    # Keys go before the text is cut: half a key is part of a key.
    text = scrub(f"HTTP {status} {scrub(message)[:200]}".strip())
    if code in _STOPS:
        return Stopped(_STOPS[code], text)
    if status in (401, 403):
        return Stopped("key", text)
    if status in (402, 404) or 300 <= status < 400:
        return Stopped({402: "quota", 404: "model"}.get(status, "redirect"), text)
    if code in _REFUSALS:
        return TeacherRefused(_REFUSALS[code], text)
    if status in (408, 409, 425, 429) or status >= 500 or status == 200:
        limited = status in {429, 529}
        kind = "rate_limit" if limited else f"http_{status}"
        return TeacherBusy(kind, text, retry_after=retry_after(headers), limited=limited)
    return TeacherRefused("bad_request", text)


def _explain(raw: bytes) -> tuple[str, str]:
    """(code, message) of a provider's error body, ("", start of the text) where it is none."""
    try:
        value = orjson.loads(raw)
    except ValueError:
        return "", raw[:2000].decode("utf-8", "replace")
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return "", str(error)
    code = str(error.get("code") or error.get("type") or "")
    return code, str(error.get("message") or error)
