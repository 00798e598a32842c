"""A loopback teacher that answers by every kind of fault, each request by one drawn from its seed, or as planned."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import threading
from collections import Counter
from contextlib import contextmanager

from tests.conftest import chat

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def reply(status, body, *headers, reason=b"X"):
    lines = [
        b"HTTP/1.1 %d %b" % (status, reason),
        *headers,
        b"Content-Length: %d" % len(body),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def error(status, *headers, code=""):
    return reply(
        status,
        json.dumps({"error": {"message": "no", "code": code}}).encode(),
        *headers,
    )


def good(text="8 + 5 = 13\n#### 13"):
    return reply(
        200, json.dumps(chat(text)).encode(), b"Content-Type: application/json"
    )


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
# Faults that go by when the request is asked again: what is sent, behind which the connection ends.
TEMPORARY = {
    "429": error(429),
    "429 with a wait": error(429, b"Retry-After: 0.1"),
    "429 with milliseconds": error(429, b"retry-after-ms: 50"),
    "429 with a reset": error(429, b"x-ratelimit-reset-requests: 80ms"),
    "429 with garbage": error(429, b"Retry-After: -5, nan"),
    "529": error(529),
    "408": error(408),
    "409": error(409),
    "500": error(500),
    "502 of HTML": reply(502, b"<html>bad gateway"),
    "503 with a wait": error(503, b"Retry-After: 0.05"),
    "504": error(504),
    "500 and a wait of an hour": error(500, b"Retry-After: 3600"),
    "reset before the reply": b"",
    "reset in the head": HEAD + b"Content-Le",
    "reset in the body": HEAD + b"Content-Length: 500\r\n\r\n{",
    "reset in the chunks": CHUNKED + b'5\r\n{"a"',
    "no HTTP": b"220 smtp ready\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "bad chunks": CHUNKED + b"zz\r\n{}",
    "too many headers": HEAD + b"a: b\r\n" * 10_000 + b"\r\n",
    "announcements without end": b"HTTP/1.1 103 E\r\n\r\n" * 1000,
    "another encoding": reply(200, b"{}", b"Content-Encoding: gzip"),
    "HTML with 200": reply(200, b"<html>hello"),
    "half of the JSON": reply(200, b'{"choices": [{"mess'),
    "a list": reply(200, b"[1]"),
    "no choices": reply(200, json.dumps(chat("x", choices=[])).encode()),
    "null choices": reply(200, json.dumps(chat("x", choices=None)).encode()),
    "an error with 200": reply(200, b'{"error": {"message": "overloaded"}}'),
}
# Faults that take the client's timeout.
HANGING = {
    "hangs": b"",
    "hangs in the head": HEAD,
    "hangs in the body": HEAD + b"Content-Length: 9\r\n\r\n{",
}
# Faults that are the request's own.
FINAL = {
    "400": error(400),
    "context": error(400, code="context_length_exceeded"),
    "policy": error(400, code="content_filter"),
    "422": error(422),
}


class FaultyServer:
    """Counts what it was asked, question by question.

    Args:
        kind: (question, how often it was asked before) -> the name of a fault, "" for a good reply.
        latency: seconds before each answer.
    """

    def __init__(self, kind, latency=0.0):
        self.kind, self.latency = kind, latency
        self.asked, self.sent, self.url = Counter(), Counter(), ""

    async def handle(self, reader, writer):
        with contextlib.suppress(
            asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
        ):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = json.loads(
                    await reader.readexactly(int(_LENGTH.search(head)[1]))
                )
                if not await self.answer(writer, str(body["messages"])):
                    break
        writer.close()

    async def answer(self, writer, question):
        """Whether the connection goes on."""
        kind = self.kind(question, self.asked[question])
        self.asked[question] += 1
        self.sent[kind] += 1
        await asyncio.sleep(self.latency)
        writer.write(
            {**TEMPORARY, **HANGING, **FINAL}.get(kind) if kind else good()
        )
        await writer.drain()
        if kind in HANGING:
            await asyncio.sleep(30)
        return kind == "" or kind in FINAL or kind.startswith(("429", "50"))


@contextmanager
def faulty(kind, latency=0.0):
    """Serves in a thread."""
    server, loop, ready = (
        FaultyServer(kind, latency),
        asyncio.new_event_loop(),
        threading.Event(),
    )

    async def serve():
        there = await asyncio.start_server(
            server.handle, "127.0.0.1", 0, backlog=1024
        )
        server.url = f"http://127.0.0.1:{there.sockets[0].getsockname()[1]}/v1"
        ready.set()
        await stop.wait()
        there.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stop = asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(serve()), daemon=True
    )
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def drawn(seed, share, kinds):
    """Each request by itself draws a fault with this chance, the same for the same question and try."""

    def kind(question, before):
        rng = random.Random(f"{seed} {question} {before}")
        return rng.choice(sorted(kinds)) if rng.random() < share else ""

    return kind
