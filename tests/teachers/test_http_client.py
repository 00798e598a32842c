"""The HTTP client, byte by byte over real sockets: kept connections, odd replies, proxies."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import subprocess
import zlib

import pytest
import uvloop

from synth.core.errors import WrongUse
from synth.teachers.wire import http_client as _http
from synth.teachers.wire.http_client import BrokenReply, Endpoint

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(
    params=[asyncio.new_event_loop, uvloop.new_event_loop],
    ids=["asyncio", "uvloop"],
)
def run(request):
    def work(coroutine):
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(coroutine)

    return work


async def exchange(
    answers,
    *,
    posts=1,
    timeout=2.0,
    tls=None,
    url="http://127.0.0.1:{port}/v1?x=1",
    close=False,
    wait=0.0,
):
    """Posts to a server that sends `answers[i]` to the i-th request of all; returns (replies, heads, connections)."""
    heads, connections, left = [], [], list(answers)

    async def handle(reader, writer):
        connections.append(writer)
        try:
            while left:
                heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                if heads[-1].startswith("CONNECT"):
                    target = heads[-1].split()[1].split(":")
                    writer.write(left.pop(0))
                    await relay(reader, writer, int(target[1]))
                    return
                await reader.readexactly(2)
                for piece in left.pop(0):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.01)
                if close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    endpoint = Endpoint(
        url.format(port=server.sockets[0].getsockname()[1]), {"A": "b"}, timeout
    )
    try:
        found = []
        for _ in range(posts):
            found.append(await endpoint.post(b"{}"))
            await asyncio.sleep(wait)
        return found, heads, len(connections)
    finally:
        await endpoint.close()
        server.close()


async def relay(reader, writer, port):
    there_reader, there_writer = await asyncio.open_connection(
        "127.0.0.1", port
    )

    async def pump(source, sink):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()

    await asyncio.gather(
        pump(reader, there_writer),
        pump(there_reader, writer),
        return_exceptions=True,
    )


def test_one_connection_serves_many_requests(run):
    found, heads, connections = run(exchange([[OK]] * 3, posts=3))
    assert [a.body for a in found] == [b"ok"] * 3
    assert connections == 1
    assert heads[0].startswith("POST /v1?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "Content-Length: 2\r\n" in heads[0]


@pytest.mark.parametrize(
    "pieces",
    [
        [OK[:5], OK[5:20], OK[20:]],
        [b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", OK],
        [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n",
            b"1\r\nk\r\n0\r\n\r\n",
        ],
        [
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 22\r\n\r\n"
            + gzip.compress(b"ok")
        ],
        [
            b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 10\r\n\r\n"
            + zlib.compress(b"ok")
        ],
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\no", b"k"],
        [b"HTTP/1.0 200 OK\r\n\r\n", b"ok"],
    ],
    ids=[
        "in pieces",
        "after a 103",
        "chunked",
        "gzip",
        "deflate",
        "until the end",
        "HTTP/1.0",
    ],
)
def test_every_framing_brings_the_same_body(run, pieces):
    found, _, _ = run(exchange([pieces], close=True))
    assert (found[0].status, found[0].body) == (200, b"ok")


def test_a_connection_that_the_server_closes_or_soils_is_not_used_again(run):
    closing = (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    )
    for answer in (
        [closing],
        [OK + b"HTTP/1.1 500 unasked\r\n\r\n"],
        [OK, b"stray bytes"],
    ):
        found, _, connections = run(
            exchange([answer, [OK]], posts=2, wait=0.05)
        )
        assert [a.body for a in found] == [b"ok", b"ok"], answer
        assert connections == 2, answer


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"ok" * 100)[:-12], b"no gzip"],
    ids=["cut off", "not packed"],
)
def test_a_packed_body_that_is_not_whole_is_broken(run, body):
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    with pytest.raises(BrokenReply):
        run(exchange([[head + body]]))


def test_a_body_beyond_the_limit_is_given_up(run, monkeypatch):
    monkeypatch.setattr(_http, "MOST_BYTES", 1000)
    with pytest.raises(BrokenReply, match="1,000 bytes"):
        run(
            exchange(
                [
                    [
                        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
                        + b"x" * 5000
                    ]
                ]
            )
        )


def test_a_plain_url_goes_through_the_proxy_whole(run, monkeypatch):
    async def work():
        seen = []

        async def proxy(reader, writer):
            seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(OK)

        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        monkeypatch.setenv(
            "http_proxy",
            f"http://me:p%40ss@127.0.0.1:{server.sockets[0].getsockname()[1]}",
        )
        monkeypatch.setenv("no_proxy", "")
        endpoint = Endpoint("http://teacher.example/v1", {}, 2.0)
        answer = await endpoint.post(b"{}")
        await endpoint.close()
        server.close()
        return answer, seen

    answer, seen = run(work())
    assert answer.body == b"ok"
    assert seen[0].startswith(
        "POST http://teacher.example/v1 HTTP/1.1\r\nHost: teacher.example\r\n"
    )
    assert "Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in seen[0]


def certificate(folder):
    key, cert = folder / "key.pem", folder / "cert.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        ["openssl", *words.split(), "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


def test_tls_directly_through_a_tunnel_and_with_a_stranger(
    run, tmp_path, monkeypatch
):
    cert, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    here = "https://localhost:{port}/v1"
    found, _, _ = run(exchange([[OK]] * 2, posts=2, tls=context, url=here))
    assert [a.body for a in found] == [b"ok"] * 2

    async def tunnelled(answer):
        heads = []

        async def proxy(reader, writer):
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(answer)
            await relay(reader, writer, int(heads[-1].split()[1].split(":")[1]))

        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        monkeypatch.setenv(
            "https_proxy", f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        )
        monkeypatch.setenv("no_proxy", "")
        try:
            return await exchange(
                [[OK]] * 2, posts=2, tls=context, url=here
            ), heads
        finally:
            server.close()

    (found, _, _), heads = run(
        tunnelled(b"HTTP/1.1 200 Connection established\r\n\r\n")
    )
    assert [a.body for a in found] == [b"ok"] * 2
    assert len(heads) == 1
    assert heads[0].startswith("CONNECT localhost:")
    with pytest.raises(ConnectionError, match="HTTP 407"):
        run(tunnelled(b"HTTP/1.1 407 Who are you\r\n\r\n"))
    monkeypatch.delenv("https_proxy")
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ssl.SSLCertVerificationError):
        run(exchange([[OK]], tls=context, url=here))


def test_a_proxy_of_another_kind_is_refused_before_any_call(monkeypatch):
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(WrongUse, match="socks5"):
        Endpoint("https://api.example/v1", {}, 1.0)


def test_a_connection_that_took_all_the_time_is_a_timeout(run, monkeypatch):
    plain = Endpoint._connect

    async def slow(self):
        connection = await plain(self)
        await asyncio.sleep(0.2)
        return connection

    monkeypatch.setattr(Endpoint, "_connect", slow)
    with pytest.raises(TimeoutError):
        run(exchange([[OK]], timeout=0.1))


async def silence(counts, timeout=0.2):
    """Requests that nobody answers, so many at the same moment, one moment after another; (seconds until each was given
    up, timers that are left).
    """

    async def handle(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", {}, timeout)
    loop = asyncio.get_running_loop()

    async def given_up():
        began = loop.time()
        with pytest.raises(TimeoutError):
            await endpoint.post(b"{}")
        return loop.time() - began

    tasks = []
    for count in counts:
        tasks += [asyncio.create_task(given_up()) for _ in range(count)]
        await asyncio.sleep(timeout / 2)
    waited = await asyncio.gather(*tasks)
    left = endpoint._deadlines._timer
    await endpoint.close()
    server.close()
    return waited, left


def test_one_timer_gives_up_each_request_at_its_own_time(run):
    waited, left = run(silence([5, 1, 0, 3]))
    # Its own time, and not that of the first or the last; a busy machine is late.
    assert all(0.19 <= seconds < 1.0 for seconds in waited)
    assert len(waited) == 9
    assert left is None


def test_an_endpoint_serves_another_loop(run):
    """A timer of a loop that has ended holds up no request of the next one."""

    async def once(endpoint, answer):
        async def handle(reader, writer):
            await reader.readuntil(b"{}")
            if answer:
                writer.write(OK)
            await reader.read()

        server = await asyncio.start_server(
            handle, "127.0.0.1", endpoint._url.port
        )
        try:
            return (await endpoint.post(b"{}")).body
        finally:
            for connection in endpoint._idle:
                connection.transport.close()
            endpoint._idle.clear()
            server.close()

    async def free_port():
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        return port

    endpoint = Endpoint(f"http://127.0.0.1:{run(free_port())}/v1", {}, 0.3)
    assert run(once(endpoint, answer=True)) == b"ok"
    with pytest.raises(TimeoutError):
        run(once(endpoint, answer=False))
