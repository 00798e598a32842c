"""A loopback teacher for the benchmarks: fast, with any latency, and with a memory of what it was
asked.

`GET /asked` brings how often each question was asked, `GET /forget` clears that.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import uvloop

TEXT = (
    "A shop sells 17 pens at 3 cents each, so all of them cost 17 * 3 = 51 cents. "
    * 3
)
_NUMBER = re.compile(rb"\[(\d+)\]")


def question(number: int) -> dict[str, str]:
    """The k-th question; its number stands in brackets, and the reply repeats it."""
    return {
        "question": f"[{number}] A shop sells {number % 83} pens at 3 cents each. What do all of "
        "them cost?"
    }


def run_words(
    url: str,
    source: Path,
    output: Path,
    *more: str,
    reach: str = "--api-base",
) -> list[str]:
    """The command line of a run; `reach` is the option that takes the URL, or many."""
    words = [
        sys.executable,
        "-m",
        "synth.cli",
        "run",
        "cot",
        "--input",
        str(source),
        "--output",
        str(output),
        "--quiet",
    ]
    return [*words, "--teacher", "openai/bench", reach, url, *more]


def _reply(number: int) -> bytes:
    body = json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "model": "bench",
            "usage": {"prompt_tokens": 60, "completion_tokens": 80},
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": f"[{number}] {TEXT}\n#### 51",
                    },
                    "finish_reason": "stop",
                }
            ],
        }
    ).encode()
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body)
    )


class Answers(asyncio.Protocol):
    """The cheapest HTTP server that keeps connections."""

    asked: ClassVar[Counter[int]] = Counter()
    latency = 0.0

    def connection_made(self, transport: Any) -> None:
        """Keeps the way back."""
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answers once the body that the head announces is there."""
        self.buffer += data
        head, gap, rest = self.buffer.partition(b"\r\n\r\n")
        if gap and head.startswith(b"GET"):
            self.buffer = b""
            self._tell(head)
            return
        length = int(
            head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]
            or 0
        )
        if gap and len(rest) >= length:
            self.buffer = rest[length:]
            found = _NUMBER.search(rest)
            number = int(found[1]) if found else -1
            Answers.asked[number] += 1
            if self.latency:
                asyncio.get_running_loop().call_later(
                    self.latency, self._answer, number
                )
            else:
                self._answer(number)

    def _answer(self, number: int) -> None:
        if not self.transport.is_closing():
            self.transport.write(_reply(number))

    def _tell(self, head: bytes) -> None:
        body = json.dumps(list(Answers.asked.items())).encode()
        if b"/forget" in head:
            Answers.asked.clear()
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        self.transport.close()


def _serve(port: Any, latency: float) -> None:
    async def work() -> None:
        Answers.latency = latency
        server = await asyncio.get_running_loop().create_server(
            Answers, "127.0.0.1", 0, backlog=4096
        )
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


@contextmanager
def teacher(latency: float = 0.0) -> Iterator[str]:
    """Serves in a process of its own; the value is the base URL. `latency` in seconds."""
    ports: Any = multiprocessing.Queue()
    server = multiprocessing.Process(
        target=_serve, args=(ports, latency), daemon=True
    )
    server.start()
    try:
        yield f"http://127.0.0.1:{ports.get()}/v1"
    finally:
        server.terminate()
        server.join()


def asked(url: str, word: str = "asked") -> Counter[int]:
    """Question number -> how often it was asked; the word `forget` clears the count afterwards."""
    with urllib.request.urlopen(  # noqa: S310
        f"{url.removesuffix('/v1')}/{word}"
    ) as response:
        return Counter(dict(json.loads(response.read())))
