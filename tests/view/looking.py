"""A client of the pages, and what stands in their HTML."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp

from synth.view.browse import Site
from synth.view.labels import Labels
from synth.view.server import Gate, start


class Elements(HTMLParser):
    """Elements with their attributes, and the text around them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def links(self) -> list[str]:
        return [attrs["href"] for tag, attrs in self.found if tag == "a"]


class Visitor:
    """Somebody with the cookie."""

    def __init__(self, session: aiohttp.ClientSession, gate: Gate) -> None:
        self.session = session
        self.gate = gate
        self.url = f"http://127.0.0.1:{gate.port}"

    async def get(self, path: str, **more: Any) -> tuple[int, str]:
        async with self.session.get(self.url + path, **more) as response:
            return response.status, await response.text()

    async def page(self, path: str) -> str:
        status, text = await self.get(path)
        assert status == 200, text
        return text


def visit(
    folders: list[Path],
    work: Callable[[Visitor], Awaitable[None]],
    labels: Sequence[Path] = (),
) -> None:
    """Serves the folders and lets somebody look at them."""

    async def whole() -> None:
        gate = Gate()
        files = [Labels(path) for path in labels]
        labelled = [files[0], files[1:]] if files else []
        runner = await start(Site(folders, *labelled), gate)
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            visitor = Visitor(session, gate)
            await visitor.get(f"/?token={gate.token}")
            await work(visitor)
        await runner.cleanup()

    asyncio.run(whole())
