"""Anthropic's Message Batches: requests in one body, and no name of ours on the batch.

A request's own name begins with that of our batch. So a batch whose id a crash swallowed is known
again by its results: among those that are newer than the newest one before it, and of as many
requests.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

import orjson

from synth.core.errors import TeacherRefused
from synth.core.records import Fields, Values, ordered_json
from synth.teachers.base import Settings
from synth.teachers.batches import translated
from synth.teachers.batches.service import (
    EXPIRED,
    MOST_LISTED,
    Ended,
    Outcome,
    Service,
    safe,
)
from synth.teachers.openai_chat import Target
from synth.teachers.wire.batch_log import Pending
from synth.teachers.wire.replies import load_reply

_VERSION = "2023-06-01"
_PATH = "/v1/messages/batches"
_PAGE = 100
# Seconds between looks at a batch that may be ours.
LOOK = 30.0
# The provider's names of refusals, and the statuses that online calls have for them.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
# What became of requests that the batch ended before.
_UNDONE = ("expired", "canceled")
# Stands before the newest batch where there is none yet.
_NONE_YET = "-"


class Anthropic(Service):
    """Batches of `anthropic/MODEL`."""

    public = "https://api.anthropic.com"
    keys = ("ANTHROPIC_API_KEY",)
    bases = ("ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL")

    def __init__(self, model: str, settings: Settings) -> None:
        super().__init__(model, settings)
        # Names of features that requests use, as a header of the batch says them.
        self._betas: set[str] = set()

    def reached(self, settings: Settings) -> Target:
        """The base, before /v1."""
        reached = super().reached(settings)
        base = reached.base.removesuffix("/messages")
        base = base.removesuffix("/v1")
        return reached._replace(base=base)

    def authority(self, key: str) -> Mapping[str, str]:
        """The key, and the version of the protocol."""
        headers = {"anthropic-version": _VERSION}
        if key:
            headers["x-api-key"] = key
        return headers

    def custom_id(self, batch: str, place: int, key: str) -> str:  # noqa: ARG002
        """The batch's name and a place in it: 64 signs at most."""
        return f"{batch}-{place}"

    async def spoken(self, body: Fields) -> Fields:
        """The body of a message."""
        said = await translated.spoken(body)
        betas = said.headers.get("anthropic-beta", "")
        for beta in betas.split(","):
            self._betas.add(beta.strip())
        return said.body

    async def heard(self, body: bytes, asked: Fields | None) -> Fields:
        """The chat completion in a message."""
        known = asked or {"model": self.model}
        return await translated.heard(body, known)

    def line(self, name: str, spoken: Fields) -> bytes:
        """One of the requests."""
        return ordered_json({"custom_id": name, "params": spoken})

    async def prepare(self, batch: Pending, lines: Sequence[bytes]) -> str:  # noqa: ARG002
        """Looks which batch is the newest: ours will be newer."""
        page = await self.exchange.ask(
            "GET",
            _PATH,
            params={"limit": 1},
        )
        found = page.get("data") or []
        return str(found[0]["id"]) if found else _NONE_YET

    async def create(self, batch: Pending, lines: Sequence[bytes]) -> str:  # noqa: ARG002
        """Sends all requests."""
        betas = ",".join(sorted(self._betas - {""}))
        headers = {"anthropic-beta": betas} if betas else {}
        made = await self.exchange.ask(
            "POST",
            _PATH,
            b'{"requests":[%b]}' % b",".join(lines),
            once=True,
            headers=headers,
        )
        return str(made["id"])

    async def find(self, batch: Pending) -> str | None:
        """The newer batch whose results are ours; one under way is waited for, since nothing else
        says whose it is.
        """
        if not batch.trace:
            # The crash came before anything could be created.
            return None
        async for listed in self._newer(batch.trace):
            counts = listed.get("request_counts") or {}
            if sum(counts.values()) != len(batch.keys):
                continue
            id_ = str(listed["id"])
            ended = await self.look(id_)
            while ended is None:
                await asyncio.sleep(LOOK)
                ended = await self.look(id_)
            if await self._is_ours(
                id_,
                ended,
                batch.name,
            ):
                return id_
        return None

    async def _newer(self, than: str) -> AsyncIterator[Values]:
        """Batches of the account that are newer than one, the newest first."""
        params: Fields = {"limit": _PAGE}
        for _ in range(MOST_LISTED // _PAGE):
            page = await self.exchange.ask(
                "GET",
                _PATH,
                params=params,
            )
            for batch in page.get("data") or []:
                if batch["id"] == than:
                    return
                yield batch
            last = page.get("last_id")
            if not page.get("has_more") or not last:
                return
            params["after_id"] = last

    async def _is_ours(self, id_: str, ended: Ended, name: str) -> bool:
        async for outcome in self.outcomes(id_, ended):
            return outcome.name.startswith(f"{name}-")
        return False

    async def look(self, id_: str) -> Ended | None:
        """The batch, once it has ended; each request says then how."""
        value = await self.exchange.ask("GET", f"{_PATH}/{safe(id_)}")
        if value.get("processing_status") != "ended":
            return None
        return Ended("completed", value)

    async def cancel(self, id_: str) -> None:
        """Ends a batch early."""
        with contextlib.suppress(TeacherRefused):
            await self.exchange.ask("POST", f"{_PATH}/{safe(id_)}/cancel")

    async def outcomes(self, id_: str, ended: Ended) -> AsyncIterator[Outcome]:  # noqa: ARG002
        """Every line of the results, under our own path: `results_url` may name any host."""
        path = f"{_PATH}/{safe(id_)}/results"
        async for line in self.exchange.lines(path):
            yield _outcome(load_reply(line)[0])


def _outcome(record: Values) -> Outcome:
    name = str(record.get("custom_id"))
    result = record.get("result") or {}
    fault = str(result.get("type"))
    if fault == "succeeded":
        message = orjson.dumps(result.get("message"))
        return Outcome(
            name,
            200,
            message,
        )
    if fault == "errored":
        response = result.get("error") or {}
        error = response.get("error") or {}
        status = _STATUSES.get(str(error.get("type")), 500)
        body = orjson.dumps({"error": error})
        return Outcome(
            name,
            status,
            body,
        )
    if fault in _UNDONE:
        fault = EXPIRED
    return Outcome(
        name,
        0,
        b"",
        fault,
    )
