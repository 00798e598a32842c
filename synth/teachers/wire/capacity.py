"""What a server of the user's own says that it takes: how long a request, and how many at once.

Shapes that were seen: llama.cpp's (a server of November 2026). Those of vLLM and SGLang are read as
their sources write them, which nobody ran here. `transformers serve` lists the models in its cache
and says neither.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from synth.core.records import Fields, Request
from synth.teachers.wire.forms import LLAMA, SGLANG, VLLM

# Seconds that a server has to say what it takes; it is asked but once.
SECONDS = 3.0
# A larger number is a mistake, and passed over.
ABSURD = 10**9
# Names that no public server has.
_PRIVATE_NAMES = (
    *(".localhost", ".local", ".internal", ".lan", ".home.arpa"),
    *(".svc", ".test"),
)
# What a JSON endpoint says; None where there is none.
Get = Callable[[str], Awaitable[Fields | None]]


class Capacity(NamedTuple):
    """What a server takes; None where it does not say.

    Attributes:
        context: tokens of one request, its reply included.
        slots: requests that it works on at once.
        server: whose program it is, as it says itself: `llamacpp`, `vllm` or `sglang`; "" for
            others.
        is_there: whether somebody was there to be asked.
    """

    context: int | None = None
    slots: int | None = None
    server: str = ""
    is_there: bool = True


UNKNOWN = Capacity()
ABSENT = Capacity(is_there=False)


# Asked three times a row, of a few bases: an address takes as long to read as a row's own key.
@lru_cache(maxsize=1024)
def is_private(base: str) -> bool:
    """Whether a URL can only be a server of the user's own: a loopback or private address, or a
    name that no public server has.

    >>> is_private("http://gpu1:8000/v1"), is_private("https://api.openai.com/v1")
    (True, False)
    """
    host = (urlsplit(base).hostname or "").rstrip(".").lower()
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_NAMES)


async def capacity_at(base: str, model: str, get: Get) -> Capacity:
    """What the server at a base says of a model: one question, and a second one where the first
    shows that the server knows it.
    """
    listed = await get(f"{base}/models") or {}
    card = _card(listed, model)
    owner = card.get("owned_by")
    root = _root(base)
    if owner == LLAMA:
        props = await get(f"{root}/props")
        return _of_llama(props or {})
    context = _count(card, "max_model_len")
    if owner == SGLANG:
        info = await get(f"{root}/get_server_info")
        slots = _sglang_slots(info or {})
        return Capacity(context, slots, SGLANG)
    # vLLM: its number of sequences stands at no URL.
    return Capacity(context, server=VLLM if owner == VLLM else "")


def _of_llama(props: Fields) -> Capacity:
    """The tokens of one slot, and the slots: {"total_slots": 4, "default_generation_settings":
    {"n_ctx": 4096}}.
    """
    defaults = _fields(props.get("default_generation_settings"))
    context = _count(defaults, "n_ctx")
    slots = _count(props, "total_slots")
    return Capacity(context, slots, LLAMA)


def _sglang_slots(info: Fields) -> int | None:
    """The requests that SGLang runs at once, over all of its schedulers: {"internal_states":
    [{"effective_max_running_requests_per_dp": 48}]}.
    """
    slots = 0
    for state in _list(info, "internal_states"):
        count = _count(state, "effective_max_running_requests_per_dp")
        slots += count or 0
    return slots or None


def _card(listed: Fields, model: str) -> Fields:
    """What a list of models says of one: by its name, or of the only one there is."""
    cards = _list(listed, "data")
    for card in cards:
        if card.get("id") == model:
            return card
    return cards[0] if len(cards) == 1 else {}


def _root(base: str) -> str:
    """The server itself: its base without the version.

    >>> _root("http://gpu1:8000/v1")
    'http://gpu1:8000'
    """
    parts = urlsplit(base)
    path = re.sub(r"/v\d+$", "", parts.path)
    return urlunsplit(parts._replace(path=path))


def _fields(value: Any) -> Fields:
    return value if isinstance(value, dict) else {}


def _list(value: Fields, name: str) -> list[Fields]:
    """A list of objects; empty where it is none."""
    found = value.get(name)
    if not isinstance(found, list):
        return []
    return [_fields(item) for item in found]


def _count(value: Fields, name: str) -> int | None:
    """A number above 0; llama.cpp and others say 0 for what they do not know."""
    found = value.get(name)
    if not isinstance(found, int) or isinstance(found, bool):
        return None
    if not 0 < found < ABSURD:
        return None
    return found


def least_tokens(request: Request) -> int:
    """Tokens that a prompt has at least: tokenizers cut at white space, and make one or more of
    each word.
    """
    words = 0
    for message in request.messages:
        content = message.get("content")
        if isinstance(content, str):
            words += len(content.split())
    return words
