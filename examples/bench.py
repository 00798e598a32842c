"""What `synth run cot` costs beside a bare aiohttp loop: `make bench`. One run, one server, ratios.

The server is a loopback one without latency that answers every prompt with a short chain of thought. The bare
loop asks the same prompts through aiohttp, 64 at a time, and writes each reply as a JSON line. CPU is user and
system time of the whole client process, imports included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from synth.seeds import write_jsonl

TEXT = "A shop sells 17 pens at 3 cents each, so all of them cost 17 * 3 = 51 cents. " * 3 + "\n#### 51"
REPLY = {
    "id": "x", "object": "chat.completion", "model": "bench", "usage": {"prompt_tokens": 60, "completion_tokens": 80, "total_tokens": 140},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
}  # fmt: skip


class Answers(asyncio.Protocol):
    """The cheapest HTTP server that keeps connections: one reply for every whole request."""

    body = json.dumps(REPLY).encode()
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    def connection_made(self, transport: Any) -> None:
        """Keeps the way back."""
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answers once the body that the head announces is there."""
        self.buffer += data
        head, gap, rest = self.buffer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0] or 0)
        if gap and len(rest) >= length:
            self.buffer = rest[length:]
            self.transport.write(self.reply)


def serve(port: Any) -> None:
    """Serves for ever; tells its port."""

    async def work() -> None:
        server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(work())


async def bare(url: str, source: Path, output: Path, most: int = 64) -> None:
    """The loop that everybody writes first."""
    lines = iter(source.read_text().splitlines())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=most)) as session:
        with output.open("w") as out:

            async def worker() -> None:
                for line in lines:
                    body = {"model": "bench", "messages": [{"role": "user", "content": json.loads(line)["question"]}]}
                    async with session.post(f"{url}/chat/completions", json=body) as response:
                        out.write(json.dumps(await response.json()) + "\n")

            await asyncio.gather(*(worker() for _ in range(most)))


def cost(command: list[str]) -> tuple[float, float]:
    """(CPU seconds, peak MB) of a process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own words
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--bare", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        asyncio.run(bare(options.bare[0], Path(options.bare[1]), Path(options.bare[2])))
        return
    ports: Any = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(ports,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ports.get()}/v1"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.jsonl"
        write_jsonl(
            source, ({"question": f"[{n}] A shop sells {n % 83} pens at 3 cents each. What do all cost?"} for n in range(options.rows))
        )
        run = [sys.executable, "-m", "synth.cli", "run", "cot", "--input", str(source), "--teacher", "openai/bench", "--api-base", url]
        loop, memory = cost([sys.executable, "-m", "examples.bench", "--bare", url, str(source), f"{folder}/bare.jsonl"])
        print(f"bare aiohttp loop: {1000 * loop / options.rows:.3f} ms CPU a row, {memory:.0f} MB")
        first, memory = cost([*run, "--output", f"{folder}/run"])
        print(f"synth run cot:     {1000 * first / options.rows:.3f} ms CPU a row, {memory:.0f} MB; {first / loop:.2f} times the loop")
        started = time.monotonic()
        again, _ = cost([*run, "--output", f"{folder}/run"])
        print(f"the same again:    {1000 * again / options.rows:.3f} ms CPU a row, {time.monotonic() - started:.1f} s, no call")
    server.terminate()


if __name__ == "__main__":
    main()
