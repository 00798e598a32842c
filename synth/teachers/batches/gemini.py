"""Gemini's batch mode: requests in one body, replies in the batch itself."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from math import inf
from typing import Any

import orjson

from synth.core.errors import TeacherBusy, TeacherRefused
from synth.core.records import Fields, Values, ordered_json
from synth.teachers.batches import translated
from synth.teachers.batches.exchange import Exchange
from synth.teachers.batches.service import (
    EXPIRED,
    MOST_LISTED,
    Ended,
    Outcome,
    Service,
    safe,
)
from synth.teachers.wire.batch_log import Pending

# Entries of a page of a list.
PAGE = 100
ENDS = {
    "SUCCEEDED": "completed",
    "PARTIALLY_SUCCEEDED": "completed",
    "EXPIRED": "expired",
    "CANCELLED": "cancelled",
    "FAILED": "failed",
}
# Codes of google.rpc, and the statuses that online calls have for them.
_STATUSES = {
    3: 400,
    4: 504,
    5: 404,
    7: 403,
    8: 429,
    9: 400,
    11: 400,
    13: 500,
    14: 503,
    16: 401,
}
_CANCELLED = 1


class Gemini(Service):
    """Batches of `gemini/MODEL`."""

    public = "https://generativelanguage.googleapis.com/v1beta"
    keys = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
    bases = ("GEMINI_API_BASE",)
    # Requests that stand in the body itself: 20 MB.
    most_bytes = 18_000_000

    def authority(self, key: str) -> Mapping[str, str]:
        """The key."""
        return {"x-goog-api-key": key} if key else {}

    async def spoken(self, body: Fields) -> Fields:
        """The body of a request for content."""
        said = await translated.spoken(body)
        return said.body

    async def heard(self, body: bytes, asked: Fields | None) -> Fields:
        """The chat completion in a reply."""
        known = asked or {"model": self.model}
        return await translated.heard(body, known)

    def line(self, name: str, spoken: Fields) -> bytes:
        """One of the requests."""
        return ordered_json({"request": spoken, "metadata": {"key": name}})

    async def create(self, batch: Pending, lines: Sequence[bytes]) -> str:
        """Sends all requests, under our name."""
        model = safe(self.model.partition("/")[2])
        body = (
            b'{"batch":{"displayName":%b,"inputConfig":{"requests":{"requests":[%b]}}}}'
            % (orjson.dumps(batch.name), b",".join(lines))
        )
        made = await self.exchange.ask(
            "POST", f"/models/{model}:batchGenerateContent", body, once=True
        )
        return _id(made)

    async def find(self, batch: Pending) -> str | None:
        """The batch that carries our name."""
        params: Fields = {"pageSize": PAGE}
        most = MOST_LISTED // PAGE
        async for page in pages(self.exchange, "/batches", params, most):
            for listed in page.get("operations") or []:
                told = _told(listed)
                if told.get("displayName") == batch.name:
                    return _id(listed)
        return None

    async def look(self, id_: str) -> Ended | None:
        """The batch, once it has ended."""
        value = await self.exchange.ask("GET", f"/batches/{safe(id_)}")
        told = _told(value)
        # BATCH_STATE_SUCCEEDED, also JOB_STATE_SUCCEEDED.
        state = str(told.get("state")).rpartition("_STATE_")
        status = ENDS.get(state[2])
        if status is None:
            return None
        error = value.get("error") or {}
        code = error.get("status") or error.get("code") or ""
        message = error.get("message") or ""
        return Ended(
            status,
            value,
            str(code),
            str(message),
        )

    async def cancel(self, id_: str) -> None:
        """Ends a batch early."""
        with contextlib.suppress(TeacherRefused):
            await self.exchange.ask(
                "POST",
                f"/batches/{safe(id_)}:cancel",
                {},
            )

    async def outcomes(self, id_: str, ended: Ended) -> AsyncIterator[Outcome]:  # noqa: ARG002
        """Every reply that stands in the batch."""
        told = _told(ended.value)
        answer = ended.value.get("response") or told.get("output") or {}
        replies = answer.get("inlinedResponses") or {}
        for reply in replies.get("inlinedResponses") or []:
            yield _outcome(reply)


async def pages(
    exchange: Exchange, path: str, params: Fields, most: float = inf
) -> AsyncIterator[Fields]:
    """Pages of one of Google's lists, so many at most: each names the next one."""
    asked = {**params}
    count = 0
    while count < most:
        page = await exchange.ask("GET", path, params=asked)
        yield page
        token = page.get("nextPageToken")
        if not token:
            return
        asked["pageToken"] = token
        count += 1


def _told(operation: Values) -> Values:
    """What an operation says of its batch."""
    told: Values = operation.get("metadata") or {}
    return told


def _id(operation: Values) -> str:
    """The batch's id, without the collection before it."""
    name = str(operation.get("name") or "")
    if not name.startswith("batches/"):
        raise TeacherBusy("invalid_reply", f"no batch in {name!r:.80}")
    return name.removeprefix("batches/")


def _outcome(reply: Values) -> Outcome:
    metadata = reply.get("metadata") or {}
    name = str(metadata.get("key"))
    response = reply.get("response")
    if response:
        return Outcome(
            name,
            200,
            orjson.dumps(response),
        )
    error: Any = reply.get("error") or {}
    code = error.get("code")
    if code == _CANCELLED:
        return Outcome(
            name,
            0,
            b"",
            EXPIRED,
        )
    body = orjson.dumps({"error": error})
    return Outcome(
        name,
        status_of(code),
        body,
    )


def status_of(code: Any) -> int:
    """The status of HTTP for a code of google.rpc; one from 400 on is one already.

    >>> status_of(8), status_of(400), status_of(None)
    (429, 400, 500)
    """
    if isinstance(code, int) and code >= 400:
        return code
    return _STATUSES.get(code, 500)
