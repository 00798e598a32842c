"""A TCP connection to a name that has several addresses: the next one is tried while the first is
silent (RFC 8305, section 5).
"""

from __future__ import annotations

import asyncio
import socket
from asyncio.staggered import staggered_race
from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from typing import Any, NamedTuple

# Seconds before the next address is tried: what RFC 8305 recommends.
NEXT_ADDRESS_SECONDS = 0.25


class Address(NamedTuple):
    """One line of `getaddrinfo`."""

    family: int
    kind: int
    protocol: int
    name: str
    place: Any


async def open_socket(host: str, port: int) -> socket.socket:
    """A connected socket, of the first address that answers.

    Raises:
        OSError: the name is unknown, or no address of it answers; the first one's error.
    """
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = interleaved(Address(*line) for line in infos)
    if not addresses:
        raise OSError(f"no address of {host}")
    if len(addresses) == 1:
        return await _connected(addresses[0])
    tries = [
        lambda address=address: _connected(address) for address in addresses
    ]
    won: socket.socket | None
    won, _, errors = await staggered_race(tries, NEXT_ADDRESS_SECONDS)
    if won is None:
        raise next(error for error in errors if error is not None)
    return won


def interleaved(addresses: Iterable[Address]) -> list[Address]:
    """Addresses of both families in turns, the family of the first one first."""
    listed = list(addresses)
    first = [
        address for address in listed if address.family == listed[0].family
    ]
    others = [
        address for address in listed if address.family != listed[0].family
    ]
    pairs: Iterator[Address | None] = chain.from_iterable(
        zip_longest(first, others)
    )
    return [address for address in pairs if address is not None]


async def _connected(address: Address) -> socket.socket:
    one = socket.socket(address.family, address.kind, address.protocol)
    one.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(one, address.place)
    except BaseException:
        one.close()
        raise
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one
