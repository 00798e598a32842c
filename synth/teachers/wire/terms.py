"""What the terms of a teacher say about training other models on its replies, as `terms.yaml`
beside this file has it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from synth.core.errors import WrongUse
from synth.core.records import Fields
from synth.core.strict_yaml import read_yaml
from synth.teachers.wire.access import WITHOUT_ENDPOINT
from synth.teachers.wire.capacity import is_private

Training = Literal["allowed", "conditions", "unknown", "restricted"]
FILE = Path(__file__).with_name("terms.yaml")
# From the mildest on: of several terms the strictest counts.
ORDER: tuple[Training, ...] = ("allowed", "conditions", "unknown", "restricted")


class Terms(NamedTuple):
    """Terms that apply to a teacher's replies.

    Attributes:
        name: whose they are.
        training: what they say about training other models on replies.
        says: the same in more words; "" where they were not read.
        link: where they stand; "" where that is not known.
        checked: the day, YYYY-MM-DD; "" for never.
        hosted: whether they are a provider's, not a model's licence.
    """

    name: str
    training: Training
    says: str
    link: str
    checked: str
    hosted: bool

    @property
    def line(self) -> str:
        """The same in one line.

        >>> Terms("Acme", "unknown", "", "", "", True).line
        'unknown: the terms of Acme were not read here'
        """
        words = self.says or f"the terms of {self.name} were not read here"
        if self.says:
            words = f"{self.name}: {words}"
        where = " ".join(filter(None, (self.link, self.checked)))
        return f"{self.training}: {words}" + (f" ({where})" if where else "")


@cache
def table() -> Fields:
    """The content of `terms.yaml`."""
    return read_yaml(FILE)[0]


def terms_of(teacher: str, api_base: str | None = None) -> list[Terms]:
    """The terms that apply to a teacher, the strictest first; [] where no provider is asked and the
    model's family is not known.

    Args:
        teacher: PROVIDER/MODEL.
        api_base: the endpoint that is asked in the place of the provider's own; None for that.
    """
    provider, _, model = teacher.partition("/")
    if provider in set(WITHOUT_ENDPOINT) - {"local"} or ":" in provider:
        return []
    found = [*_of_host(provider, api_base), *_of_model(model)]
    return sorted(found, key=lambda one: -ORDER.index(one.training))


def _of_host(provider: str, api_base: str | None) -> Iterator[Terms]:
    """The terms of whoever runs the server; none for a server of the user's own."""
    if api_base:
        if is_private(api_base):
            return
        host = urlsplit(api_base).hostname or ""
        name = _provider_at(host) or host
    elif provider == "local" or provider in table()["own"]:
        return
    else:
        name = provider
    name = table()["aliases"].get(name, name)
    entry = table()["providers"].get(name)
    if entry is None:
        yield Terms(name, "unknown", "", "", "", hosted=True)
    else:
        yield _terms(entry, hosted=True)


def _provider_at(host: str) -> str:
    """Whose a host is; "" where nobody knows."""
    hosts: Mapping[str, str] = table()["hosts"]
    for known, provider in hosts.items():
        if host == known or host.endswith(f".{known}"):
            return provider
    return ""


def _of_model(model: str) -> Iterator[Terms]:
    """The licences of the open models that a name holds."""
    for family, entry in table()["families"].items():
        if family in model.lower():
            yield _terms(entry, hosted=False)


def _terms(entry: Fields, *, hosted: bool) -> Terms:
    return Terms(
        entry["name"],
        entry["training"],
        entry.get("says", ""),
        entry["link"],
        entry["checked"],
        hosted,
    )


def asked_at(teacher: str, api_base: str | None) -> str | None:
    """The endpoint that a teacher is asked at, OPENAI_BASE_URL included; None for its provider's.

    Args:
        teacher: PROVIDER/MODEL.
        api_base: as the user said it.
    """
    if api_base or not teacher.startswith("openai/"):
        return api_base
    return os.environ.get("OPENAI_BASE_URL") or None


def doubtful(terms: list[Terms]) -> Terms | None:
    """The terms that a user should know of before the first call: those that restrict training, and
    those of a provider that are not known. None where there are none.

    Args:
        terms: of `terms_of`.
    """
    for one in terms:
        if one.training == "restricted" or (
            one.training == "unknown" and one.hosted
        ):
            return one
    return None


def refusal(teacher: str, terms: Terms) -> WrongUse:
    """What --strict-terms says of a teacher whose terms are in doubt."""
    return WrongUse(
        f"--strict-terms, teacher {teacher}",
        terms.line,
        "terms that are known to allow training on replies",
        "Read them and leave --strict-terms out, or take another teacher.",
    )
