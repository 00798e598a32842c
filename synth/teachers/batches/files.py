"""OpenAI's batches, and those of others who speak its protocol: files under /files, batches under
/batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

from synth.core.errors import TeacherRefused
from synth.core.records import Fields, Values, canonical_json
from synth.teachers.base import Settings
from synth.teachers.batches.service import (
    EXPIRED,
    MARK,
    MOST_LISTED,
    Ended,
    Outcome,
    Service,
    openai_line,
    safe,
)
from synth.teachers.openai_chat import PUBLIC, Target, target
from synth.teachers.wire.batch_log import Pending
from synth.teachers.wire.replies import load_reply

_PAGE = 100
# What a provider calls the end of a batch: our word.
_ENDS = {
    "completed": "completed",
    "success": "completed",
    "expired": "expired",
    "timeout_exceeded": "expired",
    "cancelled": "cancelled",
    "failed": "failed",
}
# Fields that hold the files of what became of a batch.
_RESULTS = (
    "output_file_id",
    "error_file_id",
    "output_file",
    "error_file",
)
# Codes of lines that the batch ended before.
_UNDONE = ("batch_expired", "batch_cancelled")


class Files(Service):
    """Any server with /files and /batches as OpenAI has them.

    Attributes:
        purpose: the provider's word for a file of requests.
        path: of batches.
    """

    public = PUBLIC
    most_bytes = 190_000_000
    purpose: ClassVar[str] = "batch"
    path: ClassVar[str] = "/batches"

    def reached(self, settings: Settings) -> Target:
        """As a chat of OpenAI's reaches its endpoint."""
        return target(self.model, settings)

    def line(self, name: str, spoken: Fields) -> bytes:
        """One request of a file."""
        return openai_line(name, spoken)

    async def prepare(self, batch: Pending, lines: Sequence[bytes]) -> str:
        """Sends the file; its id finds the batch again."""
        made = await self.exchange.ask(
            "POST",
            "/files",
            files={
                "purpose": (None, self.purpose),
                "file": (f"{batch.name}.jsonl", b"\n".join(lines)),
            },
        )
        return str(made["id"])

    def order(self, batch: Pending) -> Fields:
        """What creates a batch."""
        return {
            "input_file_id": batch.trace,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {MARK: batch.name},
        }

    async def create(self, batch: Pending, lines: Sequence[bytes]) -> str:  # noqa: ARG002
        """Creates the batch of a file."""
        made = await self.exchange.ask(
            "POST", self.path, self.order(batch), once=True
        )
        return str(made["id"])

    async def find(self, batch: Pending) -> str | None:
        """The batch that carries our name, or that was made of our file."""
        async for listed in self.listed():
            metadata = listed.get("metadata") or {}
            marked = metadata.get(MARK) == batch.name
            filed = batch.trace and batch.trace in files_of(listed)
            if marked or filed:
                return str(listed["id"])
        return None

    async def listed(self) -> AsyncIterator[Values]:
        """Batches of the account, the newest first."""
        after: str | None = None
        for _ in range(MOST_LISTED // _PAGE):
            params: Fields = {"limit": _PAGE}
            if after:
                params["after"] = after
            page = await self.exchange.ask(
                "GET",
                self.path,
                params=params,
            )
            found = page.get("data") or []
            for batch in found:
                yield batch
            if not found or not page.get("has_more"):
                return
            after = str(found[-1]["id"])

    async def look(self, id_: str) -> Ended | None:
        """The batch, once it has ended."""
        value = await self.exchange.ask("GET", f"{self.path}/{safe(id_)}")
        status = _ENDS.get(str(value.get("status")).lower())
        if status is None:
            return None
        return Ended(
            status,
            value,
            *_why(value),
        )

    async def cancel(self, id_: str) -> None:
        """Ends a batch early."""
        with contextlib.suppress(TeacherRefused):
            await self.exchange.ask("POST", f"{self.path}/{safe(id_)}/cancel")

    async def outcomes(self, id_: str, ended: Ended) -> AsyncIterator[Outcome]:  # noqa: ARG002
        """Every line of the files of replies and of errors."""
        for file in results_of(ended.value):
            async for line in self.exchange.lines(
                f"/files/{safe(file)}/content"
            ):
                yield read_line(line)


def files_of(batch: Values) -> list[Any]:
    """Ids of the files that a batch was made of."""
    one = batch.get("input_file_id")
    several = batch.get("input_files") or []
    return [one, *several]


def results_of(batch: Values) -> list[str]:
    """Ids of the files that hold what became of a batch."""
    ids = map(batch.get, _RESULTS)
    return [str(id_) for id_ in ids if id_]


def read_line(line: bytes) -> Outcome:
    """What became of one request, by a line of a file of results."""
    record, _ = load_reply(line)
    name = str(record.get("custom_id"))
    response = record.get("response") or {}
    if response:
        status = int(response.get("status_code") or 500)
        body = canonical_json(response.get("body"))
        return Outcome(
            name,
            status,
            body,
        )
    error: Any = record.get("error") or {}
    code = error
    if isinstance(error, dict):
        code = error.get("code")
    fault = str(code or "batch_error")
    if fault in _UNDONE:
        fault = EXPIRED
    return Outcome(
        name,
        0,
        b"",
        fault,
    )


def _why(batch: Values) -> tuple[str, str]:
    """(code, message) of a batch that failed."""
    first: Any = batch.get("errors") or batch.get("error")
    if isinstance(first, dict):
        first = first.get("data")
    if isinstance(first, list) and first:
        first = first[0]
    if not isinstance(first, dict):
        return "", str(first or "")
    code = first.get("code") or ""
    message = first.get("message") or ""
    return str(code), str(message)
