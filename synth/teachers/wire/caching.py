"""Marks for a provider's prompt cache: where a request shares its beginning with an earlier one.

Anthropic keeps the beginning of a prompt only where a mark stands behind it. Writing it costs a
quarter more than reading it anew, and reading it back a tenth. So nothing is marked when it is seen
for the first time; the second request writes, and those after it read. A mark is no part of a
request's key.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from synth.core.records import Fields, Values, canonical_json

_MARK = {"type": "ephemeral"}
# Characters of a beginning that is worth a mark: providers keep none below 1,024 tokens.
LEAST = 4096
# Beginnings that are remembered.
MOST_SEEN = 100_000
# Providers of litellm that pass a mark on to models of Anthropic's.
_PROVIDERS = frozenset({"anthropic", "bedrock", "openrouter", "vertex_ai"})
# Messages that can carry a mark, whatever the provider.
_ROLES = ("system", "user")


def wants_marks(model: str) -> bool:
    """Whether the cache of a model's provider waits for marks.

    >>> wants_marks("anthropic/claude-sonnet-4-5"), wants_marks("openai/gpt-4o-mini")
    (True, False)
    """
    provider = model.partition("/")[0]
    return provider in _PROVIDERS and "claude" in model


class Beginnings:
    """What the prompts of one model began with.

    Args:
        model: PROVIDER/MODEL of litellm's.
    """

    def __init__(self, model: str) -> None:
        self._marks = wants_marks(model)
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def marked(self, body: Fields) -> Fields:
        """A body with a mark behind the longest beginning that an earlier one had; without one it
        stays as it is.

        Args:
            body: of a request, as OpenAI has it. It is not changed.
        """
        if not self._marks:
            return body
        messages: list[Values] = body["messages"]
        place = None
        for at, (length, digest) in enumerate(_beginnings(body)):
            shared = digest in self._seen
            self._remember(digest)
            if shared and length >= LEAST and _can_carry(messages[at]):
                place = at
        if place is None:
            return body
        before = messages[:place]
        after = messages[place + 1 :]
        return {
            **body,
            "messages": [*before, _carrying(messages[place]), *after],
        }

    def refused(self, words: str) -> bool:
        """Whether a refusal speaks of marks; none is set from then on."""
        refused = self._marks and "cache_control" in words
        if refused:
            self._marks = False
        return refused

    def _remember(self, digest: bytes) -> None:
        self._seen[digest] = None
        self._seen.move_to_end(digest)
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)


def _beginnings(body: Values) -> Iterator[tuple[int, bytes]]:
    """Length in characters and digest of the prompt up to each message; tools stand before all."""
    tools = canonical_json(body.get("tools") or [])
    length = len(tools)
    state = hashlib.sha256(tools)
    for message in body["messages"]:
        text = canonical_json(message)
        length += len(text)
        state.update(text)
        yield length, state.digest()[:16]


def _can_carry(message: Values) -> bool:
    content = message.get("content")
    if message.get("role") not in _ROLES or not content:
        return False
    return isinstance(content, str) or isinstance(content[-1], dict)


def _carrying(message: Values) -> Fields:
    """A message with the mark behind its last part."""
    content: Any = message["content"]
    parts = content
    if isinstance(content, str):
        parts = [{"type": "text", "text": content}]
    last = {**parts[-1], "cache_control": _MARK}
    return {**message, "content": [*parts[:-1], last]}
