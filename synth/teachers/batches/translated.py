"""Requests and replies of providers with words of their own, by litellm: those of a batch are then
what the same calls online would be.

Nothing is sent: litellm is given a client that keeps what it would send, or that answers with a
reply which has come already. It sees no key.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple

import orjson

from synth.core.records import Fields
from synth.teachers.litellm import open_litellm
from synth.teachers.wire.replies import load_reply

# No key, and nobody's host: no request leaves.
_NO_KEY = "none"
# The function by which litellm asks some models of Anthropic's for JSON.
_JSON_CALL = b'"json_tool_call"'
_QUESTION: Fields = {
    "messages": [{"role": "user", "content": "-"}],
    "max_tokens": 16,
}
_JSON: Fields = {
    "type": "json_schema",
    "json_schema": {
        "name": "reply",
        "schema": {"type": "object", "properties": {}},
    },
}


class Spoken(NamedTuple):
    """A request as a provider takes it."""

    body: Fields
    headers: dict[str, str]


class _Kept(Exception):
    """A request that was kept instead of sent."""


# What answers the requests of one call of litellm's.
_HANDLE: ContextVar[Callable[[Any], Any]] = ContextVar("_HANDLE")


async def spoken(body: Fields) -> Spoken:
    """What litellm would send for a body of OpenAI's.

    Raises:
        Exception: litellm's own, where the provider does not take what stands in the body.
    """
    kept: list[Spoken] = []

    def keep(request: Any) -> Any:
        value = orjson.loads(request.content)
        kept.append(Spoken(value, dict(request.headers)))
        raise _Kept

    try:
        await _completion(body, keep)
    except Exception:
        if not kept:
            raise
    return kept[0]


async def heard(reply: bytes, asked: Fields) -> Fields:
    """A reply of the provider's as litellm reads it.

    Args:
        reply: the provider's body.
        asked: the question's body; its model alone where the question is not known.
    """
    import httpx  # noqa: PLC0415 - litellm has it loaded

    body = asked
    if "messages" not in asked:
        body = {**_QUESTION, **asked}
        if _JSON_CALL in reply:
            body["response_format"] = _JSON

    def answer(request: Any) -> Any:
        return httpx.Response(
            200,
            content=reply,
            headers={"content-type": "application/json"},
            request=request,
        )

    response = await _completion(body, answer)
    return load_reply(response.model_dump_json().encode())[0]


async def _completion(body: Fields, handle: Callable[[Any], Any]) -> Any:
    litellm = open_litellm()
    token = _HANDLE.set(handle)
    try:
        return await litellm.acompletion(
            **body,
            api_key=_NO_KEY,
            client=_client(),
            max_retries=0,
            num_retries=0,
        )
    finally:
        _HANDLE.reset(token)


@cache
def _client() -> Any:
    """A client of litellm's that has no connections."""
    import httpx  # noqa: PLC0415 - litellm has it loaded
    from litellm.llms.custom_httpx.http_handler import (  # noqa: PLC0415 - as above
        AsyncHTTPHandler,
    )

    client = AsyncHTTPHandler()
    transport = httpx.MockTransport(_handle)
    client.client = httpx.AsyncClient(transport=transport)
    return client


def _handle(request: Any) -> Any:
    return _HANDLE.get()(request)
