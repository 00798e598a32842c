"""What a provider's batches differ in; everything else is `synth.teachers.batch`."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import ClassVar, NamedTuple
from urllib.parse import quote, urlunsplit

from synth.core.errors import WrongUse
from synth.core.records import Fields, ordered_json
from synth.teachers.base import Settings
from synth.teachers.batches.exchange import Exchange
from synth.teachers.openai_chat import Target
from synth.teachers.wire.access import Redactor, check_url, secret
from synth.teachers.wire.batch_log import Pending
from synth.teachers.wire.replies import load_reply

# Batches that are looked through for one of ours.
MOST_LISTED = 2000
# The metadata field that carries our name of a batch, where a provider keeps some.
MARK = "potstill"
# The fault of a request whose batch ended first.
EXPIRED = "expired"


class Ended(NamedTuple):
    """A batch that has ended.

    Attributes:
        status: completed, expired, cancelled or failed.
        value: what the provider says of it.
        code: of a batch that failed, why; "" where it is not said.
        message: the same in words.
    """

    status: str
    value: Fields
    code: str = ""
    message: str = ""


class Outcome(NamedTuple):
    """What became of one request of a batch.

    Attributes:
        name: its own name in the batch.
        status: of HTTP; 0 where it has none.
        body: the reply, or the refusal, as the provider writes it.
        fault: where there is no status: EXPIRED, or the provider's word.
    """

    name: str
    status: int
    body: bytes
    fault: str = ""


class Service(ABC):
    """One provider's batches.

    Attributes:
        public: the provider's own base.
        keys: variables that hold its key, in the order in which they are looked at.
        bases: variables that name another base.
        most_requests: of one batch.
        most_bytes: of one batch, some room left.
    """

    public: ClassVar[str]
    keys: ClassVar[tuple[str, ...]] = ()
    bases: ClassVar[tuple[str, ...]] = ()
    most_requests: ClassVar[int] = 50_000
    most_bytes: ClassVar[int] = 95_000_000

    def __init__(self, model: str, settings: Settings) -> None:
        self.model = model
        self.target = self.reached(settings)
        self.exchange = Exchange(
            self.target,
            self.authority(self.target.key),
            settings.timeout,
        )

    def reached(self, settings: Settings) -> Target:
        """Where the provider is asked, with which key.

        Raises:
            WrongUse: no key, no URL, or a variable that is not set.
        """
        named = filter(None, map(os.environ.get, self.bases))
        given = settings.api_base or next(named, "")
        parts = check_url(given or self.public, "--api-base")
        base = urlunsplit(parts._replace(query="", fragment="")).rstrip("/")
        headers = {
            name: secret(variable, f"--header {name}")
            for name, variable in settings.headers.items()
        }
        key = self._key(settings)
        if not key and not headers:
            raise WrongUse(
                f"--teacher {self.model}",
                "no key",
                f"{' or '.join(self.keys)} in the environment",
                f"Set it: export {self.keys[0]}=...; or name the variable with --api-key-env.",
            )
        return Target(
            base, parts.query, key, headers, Redactor([key, *headers.values()])
        )

    def _key(self, settings: Settings) -> str:
        variable = settings.api_key_env
        if variable is None:
            variable = next(filter(_is_set, self.keys), "")
        return secret(variable, "the key") if variable else ""

    def authority(self, key: str) -> Mapping[str, str]:
        """The headers that carry the key."""
        return {"Authorization": f"Bearer {key}"} if key else {}

    def custom_id(self, batch: str, place: int, key: str) -> str:  # noqa: ARG002
        """The name of a request within a batch; `key` where a batch can be found again without."""
        return key

    async def spoken(self, body: Fields) -> Fields:
        """A body of OpenAI's as the provider takes it."""
        return body

    async def heard(self, body: bytes, asked: Fields | None) -> Fields:  # noqa: ARG002
        """A reply of the provider's as a chat completion of OpenAI's.

        Args:
            body: the provider's.
            asked: the body of the question, as OpenAI has it; None where nobody knows it.
        """
        return load_reply(body)[0]

    async def close(self) -> None:
        """Closes the connections."""
        await self.exchange.close()

    @abstractmethod
    def line(self, name: str, spoken: Fields) -> bytes:
        """One request of a batch, in one line."""

    async def prepare(
        self,
        batch: Pending,  # noqa: ARG002
        lines: Sequence[bytes],  # noqa: ARG002
    ) -> str:
        """What comes before a batch is created, such as an upload.

        Returns: what finds the batch again at a provider that keeps no name of ours. It is on the
        disk before `create` is called.
        """
        return ""

    @abstractmethod
    async def create(self, batch: Pending, lines: Sequence[bytes]) -> str:
        """Creates the batch, asking once; returns the provider's id.

        Raises:
            TeacherBusy: nobody knows whether it exists.
        """

    @abstractmethod
    async def find(self, batch: Pending) -> str | None:
        """The provider's id of a batch of ours; None where there is none."""

    @abstractmethod
    async def look(self, id_: str) -> Ended | None:
        """The batch, once it has ended."""

    @abstractmethod
    async def cancel(self, id_: str) -> None:
        """Ends a batch early; one that has ended already is no error."""

    @abstractmethod
    def outcomes(self, id_: str, ended: Ended) -> AsyncIterator[Outcome]:
        """What became of each request that the batch names."""


def _is_set(variable: str) -> bool:
    value = os.environ.get(variable, "")
    return bool(value.strip())


def safe(id_: str) -> str:
    """An id of the provider's as one part of a path."""
    return quote(id_, safe="")


def openai_line(name: str, spoken: Fields) -> bytes:
    """A line of OpenAI's files of requests."""
    return ordered_json(
        {
            "custom_id": name,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": spoken,
        }
    )
