"""The pages of `synth view`, served to this machine alone.

A random token stands in the address that the command prints. Whoever brings it first gets a cookie,
and the token is worth nothing after that. A request under another Host, without the cookie, or, if
it writes, from another origin is refused.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path

from aiohttp import web

from synth.core.errors import PotstillError
from synth.view.browse import Page, Site, Wanted
from synth.view.labels import Labels
from synth.view.page import HERE, render
from synth.view.pages import answer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action "
    "'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # A page that names no referrer names no origin in its forms either, which are refused then.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# Files that are served as they are, and what they are.
STATIC = {
    "view.css": "text/css",
    "view.js": "text/javascript",
}
# Bytes of a form.
_MOST_FORM = 1 << 16


@dataclass
class Gate:
    """Who may see the pages.

    Attributes:
        token: what the printed address holds, until somebody brought it.
        session: what the cookie holds.
        port: the server's; 0 before it listens.
    """

    token: str = field(default_factory=secrets.token_urlsafe)
    session: str = field(default_factory=secrets.token_urlsafe)
    port: int = 0

    @property
    def cookie(self) -> str:
        """The cookie's name: all ports of a machine share their cookies."""
        return f"synth_view_{self.port}"

    def knows_host(self, host: str) -> bool:
        """Whether a request was meant for this server, and not for a name that somebody pointed
        at this machine.
        """
        return host in {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}

    def has_cookie(self, header: str) -> bool:
        """Whether a Cookie header holds the session."""
        cookies = SimpleCookie(header)
        brought = cookies.get(self.cookie)
        value = brought.value if brought else ""
        return secrets.compare_digest(value.encode(), self.session.encode())

    def takes(self, token: str) -> bool:
        """Whether this is the token; it is so once."""
        given = self.token.encode()
        fits = bool(given) and secrets.compare_digest(token.encode(), given)
        if fits:
            self.token = ""
        return fits


def make_app(site: Site, gate: Gate) -> web.Application:
    """The app; `gate.port` has to be set before the first request."""
    # One page after another: a person looks at one, and the files' readers are not for threads.
    pages = ThreadPoolExecutor(1, "pages")

    @web.middleware
    async def guarded(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        refusal = _refused(request, gate)
        response = refusal or await handler(request)
        response.headers.update(HEADERS)
        return response

    async def page(request: web.Request) -> web.StreamResponse:
        form = dict(await request.post()) if request.method == "POST" else {}
        wanted = Wanted(
            request.path,
            dict(request.query),
            {name: str(value) for name, value in form.items()},
            request.method,
        )
        loop = asyncio.get_running_loop()
        made = await loop.run_in_executor(
            pages,
            _safely,
            site,
            wanted,
        )
        if made.moved:
            return web.Response(
                status=303,
                headers={"Location": made.moved},
            )
        return web.Response(
            body=made.body.encode("utf-8", "replace"),
            status=made.status,
            content_type=made.kind,
            charset="utf-8",
        )

    async def static(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in STATIC:
            return _page(404, "There is no such file.")
        text = (HERE / "static" / name).read_text(encoding="utf-8")
        return web.Response(
            text=text,
            content_type=STATIC[name],
        )

    app = web.Application(
        middlewares=[guarded],
        client_max_size=_MOST_FORM,
    )
    app.router.add_get("/static/{name}", static)
    app.router.add_route(
        "*",
        "/{path:.*}",
        page,
    )
    return app


def _refused(request: web.Request, gate: Gate) -> web.Response | None:
    """The refusal of a request; None where it may pass. Bringing the token is answered here."""
    if not gate.knows_host(request.headers.get("Host", "")):
        return _page(421, "This server answers to 127.0.0.1 alone.")
    own = f"http://{request.headers['Host']}"
    if request.method not in {"GET", "HEAD", "POST"}:
        return _page(405, "This server shows pages and takes labels.")
    if request.method == "POST" and request.headers.get("Origin") != own:
        return _page(403, "Another page sent this form.")
    known = gate.has_cookie(request.headers.get("Cookie", ""))
    token = request.query.get("token")
    if token is None or request.path != "/":
        if known:
            return None
        return _page(403, "Open the address that `synth view` printed.")
    if not known and not gate.takes(token):
        return _page(403, "This token is wrong, or was used before.")
    response = web.Response(
        status=303,
        headers={"Location": "/"},
    )
    response.set_cookie(
        gate.cookie,
        gate.session,
        httponly=True,
        samesite="Strict",
        path="/",
    )
    return response


def _safely(site: Site, wanted: Wanted) -> Page:
    """A page, or what went wrong as one."""
    try:
        return answer(site, wanted)
    except (PotstillError, OSError, ValueError) as error:
        return Page(
            render(
                "message.html",
                text=str(error),
            ),
            500,
        )


def _page(status: int, text: str) -> web.Response:
    return web.Response(
        text=render(
            "message.html",
            text=text,
        ),
        status=status,
        content_type="text/html",
    )


async def start(
    site: Site,
    gate: Gate,
    port: int = 0,
) -> web.AppRunner:
    """Listens on 127.0.0.1; returns what stops it.

    Args:
        site: what is shown.
        gate: gets the port.
        port: 0 asks for a free one.
    """
    runner = web.AppRunner(
        make_app(site, gate),
        access_log=None,
    )
    await runner.setup()
    await web.TCPSite(
        runner,
        "127.0.0.1",
        port,
    ).start()
    gate.port = runner.addresses[0][1]
    return runner


async def serve(
    folders: Sequence[Path],
    say: Callable[[str], None],
    *,
    port: int = 0,
    labels: Sequence[Path] = (),
) -> None:
    """Serves pages about folders until it is cancelled.

    Args:
        folders: of runs, or of `finetune`.
        say: prints the address.
        port: 0 asks for a free one.
        labels: the file that labels are written to, then those of other labellers; none allows no
            labelling.

    Raises:
        WrongUse: a folder that nothing can be shown of.
    """
    files = [Labels(path) for path in labels]
    own = files[0] if files else None
    site = Site(folders, own, files[1:])
    gate = Gate()
    runner = await start(
        site,
        gate,
        port,
    )
    say(f"http://127.0.0.1:{gate.port}/?token={gate.token}")
    ahead = asyncio.create_task(asyncio.to_thread(site.read_ahead))
    try:
        await asyncio.Event().wait()
    finally:
        ahead.cancel()
        await runner.cleanup()
