"""What a provider's refusal says, and what it means for the run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from synth.core.errors import Stopped, TeacherBusy, TeacherError, TeacherRefused
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Values
from synth.teachers.base import retry_after

# Error codes of providers, and what they mean for the run.
_STOPS = {
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "invalid_api_key": "key",
    "model_not_found": "model",
}
_STOPPING = {401: "key", 403: "key", 402: "quota", 404: "model", 405: "model"}
_REFUSALS = {
    "context_length_exceeded": "context_length",
    "exceed_context_size_error": "context_length",  # llama.cpp, as a type
    "content_policy_violation": "policy",
    "content_filter": "policy",
}
# Servers without codes say it in words.
_TOO_LONG = lazy_pattern(
    r"maximum context length|context window|context length exceed|prompt is too long"
    r"|input is too long"
    r"|(longer than|exceeds?) the (available |model'?s? )?(maximum|context)",
    re.IGNORECASE,
)
# Characters of a refusal that are shown; and that are searched for what is refused.
SHOWN = 200
SEARCHED = 2000


class Problem(NamedTuple):
    """A refusal.

    Attributes:
        status: of HTTP; where a body with status 200 names another one, that.
        code: the provider's, "" where it says none.
        field: the field of the request that it names as such.
        message: its own words.
    """

    status: int
    code: str
    field: str
    message: str

    def text(self, scrub: Callable[[str], str]) -> str:
        """Status and words as they may be shown. Keys go before the text is cut: half a key is part
        of a key.
        """
        return scrub(
            f"HTTP {self.status} {scrub(self.message)[:SHOWN]}".strip()
        )


def read_problem(status: int, raw: bytes) -> Problem:
    """The refusal in a status and a body, in any of the shapes of providers."""
    try:
        value = orjson.loads(raw)
    except ValueError:
        return Problem(
            status,
            "",
            "",
            raw[:SEARCHED].decode("utf-8", "replace"),
        )
    if isinstance(value, list) and value:
        # Gemini wraps its errors in a list.
        value = value[0]
    error = _error_in(value)
    if not isinstance(error, dict):
        return Problem(status, "", "", str(error)[:SEARCHED])
    inner = _passed_on(error)
    if inner is not None:
        problem = read_problem(status, inner)
        if problem.message:
            return problem
    if (
        isinstance(detail := _detail_of(error), list)
        and detail
        and isinstance(detail[0], dict)
    ):
        return _validation(status, detail)
    code = str(error.get("code") or error.get("type") or "")
    if status == 200 and code.isdecimal() and 400 <= int(code) < 600:
        status = int(code)
    message = error.get("message") or error.get("detail") or error
    return Problem(
        status,
        code,
        str(error.get("param") or ""),
        str(message)[:SEARCHED],
    )


def _error_in(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return value.get("error") or value.get("errors") or value


def _passed_on(error: Values) -> bytes | None:
    """The provider's own body, where a gateway hands it on (OpenRouter's `metadata.raw`)."""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, dict):
        return orjson.dumps(raw)
    if isinstance(raw, str) and raw.strip():
        return raw.encode("utf-8", "replace")
    return None


def _detail_of(error: Values) -> Any:
    """The list of faults of a server that validates requests (FastAPI; Mistral puts it into the
    message).
    """
    message = error.get("message")
    return error.get("detail") or (
        message.get("detail") if isinstance(message, dict) else None
    )


def _validation(status: int, faults: list[Fields]) -> Problem:
    """The first fault names the field, all of them are the message."""
    named = []
    for fault in faults[:5]:
        location = fault.get("loc") or []
        parts = (
            [str(part) for part in location if part != "body"]
            if isinstance(location, list)
            else []
        )
        named.append((".".join(parts), str(fault.get("msg") or fault)))
    words = "; ".join(
        f"{field}: {message}" if field else message for field, message in named
    )
    return Problem(
        status,
        str(faults[0].get("type") or ""),
        named[0][0],
        words[:SEARCHED],
    )


def error_of(
    problem: Problem,
    headers: Mapping[str, str],
    scrub: Callable[[str], str],
    where: str = "",
) -> TeacherError | Stopped:
    """Our error for a refusal.

    Args:
        problem: the refusal.
        headers: of the reply, names in lower case.
        scrub: takes keys out of texts.
        where: the URL that was asked and a hint, for a place that does not exist.
    """
    status = problem.status
    code = problem.code
    text = problem.text(scrub)
    if code in _STOPS:
        return Stopped(_STOPS[code], text)
    if status in _STOPPING:
        return Stopped(
            _STOPPING[status],
            f"{text} {where}".strip() if status in (404, 405) else text,
        )
    if 300 <= status < 400:
        return Stopped("redirect", f"{text} {where}".strip())
    if code in _REFUSALS:
        return TeacherRefused(_REFUSALS[code], text)
    if status in (408, 409, 425, 429) or status >= 500 or status == 200:
        limited = status in {429, 529}
        kind = "rate_limit" if limited else f"http_{status}"
        return TeacherBusy(
            kind,
            text,
            retry_after=retry_after(headers, status),
            limited=limited,
        )
    if status in (400, 413, 422) and _TOO_LONG.search(problem.message):
        return TeacherRefused("context_length", text)
    return TeacherRefused("bad_request", text)


# Words of providers for a reply that they could not finish.
_FAILED = frozenset(
    {
        "error",
        "failed",
        "failure",
        "abort",
        "aborted",
        "cancelled",
        "canceled",
        "timeout",
        "insufficient_system_resource",
        "server_error",
        "internal_error",
        "internal_server_error",
        "network_error",
        "engine_error",
        "engine_overloaded",
        "overloaded",
        "model_error",
        "unexpected_error",
        "malformed_response",
        "upstream_error",
        "error_finish",
    }
)


def failure_in(value: Values) -> Problem | None:
    """The failure in a reply with status 200; None where it is a reply.

    A reply that says something and ends well is one, whatever stands beside it.
    """
    choices = value.get("choices")
    if (
        choices
        and "error" not in value
        and isinstance(choices, list)
        and len(choices) == 1
        and _ended_well(choices[0])
    ):
        return None
    listed = (
        [choice for choice in choices if isinstance(choice, dict)]
        if isinstance(choices, list)
        else []
    )
    errors = [value.get("error"), *(choice.get("error") for choice in listed)]
    error = next((candidate for candidate in errors if candidate), None)
    ended = str(listed[0].get("finish_reason") or "").lower() if listed else ""
    if ended in _FAILED:
        return _named_failure(error or f"finish_reason {ended}")
    if error and not any(map(_says_something, listed)):
        return _named_failure(error)
    if not listed and value.get("object") == "error":
        return _named_failure(value)
    return None


def _ended_well(choice: Any) -> bool:
    return (
        isinstance(choice, dict)
        and choice.get("finish_reason") in ("stop", "length")
        and "error" not in choice
    )


def _named_failure(error: Any) -> Problem:
    return read_problem(
        200,
        orjson.dumps(
            {"error": error}, default=str, option=orjson.OPT_NON_STR_KEYS
        ),
    )


def _says_something(choice: Values) -> bool:
    message = choice.get("message")
    message_ = message if isinstance(message, dict) else {}
    return bool(
        choice.get("text")
        or any(
            message_.get(name)
            for name in ("content", "tool_calls", "function_call", "refusal")
        )
    )
