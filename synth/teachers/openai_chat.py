"""Any endpoint that speaks OpenAI's chat completions, over a client of our own (a fiftieth of the SDK's CPU a call)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import orjson

from synth.errors import Stopped, TeacherBusy, TeacherError, TeacherRefused, WrongUse
from synth.records import Request, canonical_json
from synth.teachers._http import BrokenReply, Endpoint
from synth.teachers.base import Reply, Settings, Teacher, announced, load_reply, read_chat, retry_after

PUBLIC = "https://api.openai.com/v1"
# Error codes of providers, and what they mean for the run.
_STOPS = {
    "insufficient_quota": "quota", "billing_hard_limit_reached": "quota", "invalid_api_key": "key", "model_not_found": "model",
}  # fmt: skip
_REFUSALS = {
    "context_length_exceeded": "context_length",
    "content_policy_violation": "policy",
    "content_filter": "policy",
}


def endpoint(model: str, settings: Settings) -> tuple[str, str]:
    """(base URL, key) of OpenAI or of the endpoint that the settings or the environment name; "" where no key is needed.

    Raises:
        WrongUse: OpenAI's own endpoint without a key, or no URL.
    """
    base = settings.api_base or os.environ.get("OPENAI_BASE_URL")
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key and not base:
        todo = "Set it: export OPENAI_API_KEY=...; or name another endpoint with --api-base URL."
        raise WrongUse(f"--teacher openai/{model}", "no key", "OPENAI_API_KEY in the environment", todo)
    base = (base or PUBLIC).rstrip("/")
    if urlsplit(base).scheme not in ("http", "https"):
        raise WrongUse("--api-base", f"{base!r}", "a URL", "For example http://127.0.0.1:8000/v1.")
    return base, key


class OpenaiChat(Teacher):
    """One model of one OpenAI-compatible endpoint.

    Args:
        model: the provider's name of the model.
        settings: `api_base` (else OPENAI_BASE_URL, else OpenAI's own) and `timeout` of one request in seconds.

    The key is read from OPENAI_API_KEY and never written anywhere. An endpoint given by `--api-base` may need none.
    """

    family = "openai"

    def __init__(self, model: str, settings: Settings) -> None:
        base, key = endpoint(model, settings)
        self.model, self._key, self._timeout = model, key, settings.timeout
        self._url = f"{base}/chat/completions"
        self._endpoint: Endpoint | None = None

    def __repr__(self) -> str:
        return f"OpenaiChat({self.model!r}, {self._url!r})"

    def _open(self) -> Endpoint:
        if self._endpoint is None:
            headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "potstill"}
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            self._endpoint = Endpoint(self._url, headers, self._timeout)
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
        value, line = load_reply(raw)
        if "error" in value and not value.get("choices"):
            raise error_of(200, {}, raw, self._scrub)
        return Reply(line, read_chat(value), announced(headers))

    def _scrub(self, text: str) -> str:
        return (text.replace(self._key, "[key]") if self._key else text)[:300]

    async def close(self) -> None:
        """Closes the connections."""
        if self._endpoint is not None:
            await self._endpoint.close()
            self._endpoint = None


def error_of(status: int, headers: Mapping[str, str], raw: bytes, scrub: Callable[[str], str]) -> TeacherError | Stopped:
    """Our error for a status and a body; `scrub` takes keys out of texts."""
    code, message = _explain(raw)
    text = scrub(f"HTTP {status} {message}".strip())
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
        return "", raw[:200].decode("utf-8", "replace")
    error = value.get("error", value) if isinstance(value, dict) else value
    if not isinstance(error, dict):
        return "", str(error)[:200]
    code = str(error.get("code") or error.get("type") or "")
    return code, str(error.get("message") or error)[:200]
