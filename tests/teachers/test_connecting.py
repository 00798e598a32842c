"""Names with several addresses, and connections that rested."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from synth.teachers.wire import connecting, http_client
from synth.teachers.wire.connecting import Address, interleaved, open_socket
from synth.teachers.wire.http_client import Endpoint
from tests.conftest import chat, serving

STREAM = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")


@pytest.fixture
def silent():
    """An address that answers no connection: its queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.2", 0))
    listener.listen(0)
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
        waiting.append(one)
    yield listener.getsockname()
    for one in (*waiting, listener):
        one.close()


def resolving(monkeypatch, *places):
    """Names have these addresses."""
    found = [(socket.AF_INET, *STREAM, place) for place in places]

    async def getaddrinfo(self, *_, **__):
        return found

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


def test_a_silent_address_holds_up_for_a_quarter_of_a_second(
    monkeypatch, silent
):
    with serving(lambda body, count: chat("fine")) as server:
        resolving(monkeypatch, silent, ("127.0.0.1", server.port))
        started = time.monotonic()
        with asyncio.run(open_socket("name", server.port)) as won:
            assert won.getpeername() == ("127.0.0.1", server.port)
        assert connecting.NEXT_ADDRESS_SECONDS <= time.monotonic() - started < 5


def test_an_address_that_refuses_gives_way_at_once(monkeypatch):
    with serving(lambda body, count: chat("fine")) as server:
        resolving(monkeypatch, ("127.0.0.1", 1), ("127.0.0.1", server.port))
        with asyncio.run(open_socket("name", server.port)) as won:
            assert won.getpeername() == ("127.0.0.1", server.port)


def test_where_none_answers_the_first_error_is_said(monkeypatch):
    resolving(monkeypatch, ("127.0.0.1", 1), ("127.0.0.1", 2))
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(open_socket("name", 1))
    resolving(monkeypatch)
    with pytest.raises(OSError, match="no address of name"):
        asyncio.run(open_socket("name", 1))


def test_families_take_turns():
    six = [Address(socket.AF_INET6, *STREAM, ("::1", n)) for n in range(3)]
    four = [
        Address(socket.AF_INET, *STREAM, ("127.0.0.1", n)) for n in range(2)
    ]
    assert interleaved([*six, *four]) == [
        six[0],
        four[0],
        six[1],
        four[1],
        six[2],
    ]
    assert interleaved(four) == four
    assert interleaved([]) == []


def test_a_connection_that_rested_too_long_is_not_used_again(monkeypatch):
    peers = []

    async def twice(url):
        endpoint = Endpoint(f"{url}/chat/completions", {}, 10)
        for _ in range(2):
            await endpoint.post(b"{}")
            peers.append(endpoint._idle[-1])
        monkeypatch.setattr(http_client, "IDLE_SECONDS", 0.0)
        await endpoint.post(b"{}")
        peers.append(endpoint._idle[-1])
        await endpoint.close()

    with serving(lambda body, count: chat("fine")) as server:
        asyncio.run(twice(server.url))
    assert peers[0] is peers[1]
    assert peers[2] is not peers[1]
