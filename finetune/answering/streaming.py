"""A reply as server-sent events, part by part."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiohttp import web

from finetune.answering import protocol
from finetune.answering.desk import Job
from finetune.core.rows import JsonObject


class Events:
    """The events of one reply; nothing is sent before the first of them.

    Args:
        request: that is answered.
        chat: whether it is one of messages.
        model: named in each event.
        choices: texts of the reply.
    """

    def __init__(
        self, request: web.Request, *, chat: bool, model: str, choices: int
    ) -> None:
        name = "chat.completion.chunk" if chat else "text_completion"
        self.request = request
        self.chat = chat
        self.choices = choices
        self.head = protocol.head(name, model)
        self.response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
            }
        )

    async def send(self, choices: Sequence[JsonObject], **more: Any) -> None:
        """Sends choices; the first event of a chat says whose words follow."""
        if not self.response.prepared:
            await self.response.prepare(self.request)
            if self.chat:
                opening = [
                    protocol.opening(index) for index in range(self.choices)
                ]
                await self._write({**self.head, "choices": opening})
        await self._write({**self.head, "choices": list(choices), **more})

    async def fail(self, error: protocol.Refused) -> None:
        """Says what went wrong: as an event, or as an error where none was sent.

        Raises:
            Refused: none was sent.
        """
        if not self.response.prepared:
            raise error
        await self._write(error.body)
        await self.response.write_eof()

    async def end(self) -> None:
        """The last event."""
        await self.response.write(b"data: [DONE]\n\n")
        await self.response.write_eof()

    async def _write(self, value: JsonObject) -> None:
        line = json.dumps(value).encode()
        await self.response.write(b"data: " + line + b"\n\n")


async def streamed(
    events: Events,
    job: Job,
    work: asyncio.Future[list[JsonObject]],
    *,
    tells_usage: bool,
) -> web.StreamResponse:
    """Sends a reply as it is written.

    Args:
        events: of the reply.
        job: that is answered.
        work: the replies that count, once they are whole.
        tells_usage: whether the tokens that were counted are told at the end.

    Raises:
        Refused: something went wrong before anything was sent.
    """
    chat = events.chat
    try:
        async for index, part in _parts(job, work):
            choice = protocol.part_choice(index, part, chat=chat)
            await events.send([choice])
        replies = await work
    except protocol.Refused as error:
        await events.fail(error)
        return events.response
    finally:
        work.cancel()
    for index, reply in enumerate(replies):
        await events.send([protocol.last_choice(reply, index, chat=chat)])
    if tells_usage:
        await events.send([], usage=protocol.usage(replies, job.choices))
    await events.end()
    return events.response


async def _parts(
    job: Job, work: asyncio.Future[list[JsonObject]]
) -> AsyncIterator[tuple[int, str]]:
    """(index, part of a text) as they are written; where nobody listens each text is one part."""
    if job.stream is None:
        for index, reply in enumerate(await work):
            (choice,) = reply["choices"]
            yield index, str(choice["message"]["content"])
        return
    while not work.done() or not job.stream.empty():
        hears = asyncio.ensure_future(job.stream.get())
        both: set[asyncio.Future[Any]] = {hears, work}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if hears.done():
            yield hears.result()
        else:
            hears.cancel()
