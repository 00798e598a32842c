"""The simulated teacher over real HTTP: `python -m synth.teachers.simulation.server simulated/slips
--port 8000`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter

from aiohttp import web

from synth.core.records import Fields
from synth.teachers.base import Settings
from synth.teachers.simulated import Simulated


def make_app(teacher: Simulated) -> web.Application:
    """An OpenAI-compatible app; the k-th time that a body comes, it is draw k."""
    asked: Counter[bytes] = Counter()

    async def chat(request: web.Request) -> web.Response:
        raw = await request.read()
        body: Fields = await request.json()
        draw = asked[raw]
        asked[raw] += 1
        texts = [str(message["content"]) for message in body["messages"]]
        reply = teacher.answer(texts, draw)
        return web.Response(body=reply.raw, content_type="application/json")

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", chat)
    return app


async def serve(teacher: Simulated, port: int) -> tuple[web.AppRunner, int]:
    """Starts serving on 127.0.0.1; returns what stops it and the port (0 asks for a free one)."""
    runner = web.AppRunner(make_app(teacher))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    _, served_port = runner.addresses[0]
    return runner, int(served_port)


async def _forever(name: str, port: int) -> None:
    model = name.removeprefix("simulated/")
    teacher = Simulated(model, Settings())
    _, port = await serve(teacher, port)
    # The address is this command's output.
    print(f"http://127.0.0.1:{port}/v1", flush=True)  # noqa: T201
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teacher")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    asyncio.run(_forever(options.teacher, options.port))
