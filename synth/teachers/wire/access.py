"""How each teacher is reached: its endpoint, key variable, headers and limits, by role, as the user
said them.

What is said without a role reaches teachers of OpenAI's protocol (`openai/MODEL`) alone: every
other provider has a host of its own, and a key that no other host may see.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

from synth.core.errors import WrongUse, did_you_mean
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields

T = TypeVar("T")

# The place in a mapping of what was said for no role in particular.
EVERY = ""
# Backends that ask nobody over a network.
WITHOUT_ENDPOINT = ("simulated", "replay", "local", "rehearsed")
# Headers that frame a request or steer the connection: the client writes them itself.
_FRAMING = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "accept-encoding",
    }
)
_HEADER_NAME = lazy_pattern(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VARIABLE = lazy_pattern(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
# Names of query fields that carry a secret: `?api-version=` is none.
_SECRET_FIELD = lazy_pattern(
    r"key|token|secret|passw|signature|^sig$|credential|^auth", re.IGNORECASE
)
# Texts that people set where a server wants some key and checks none. Replacing them in an error
# would garble it.
_PLACEHOLDERS = frozenset(
    {
        "anything",
        "api-key",
        "apikey",
        "api_key",
        "lm-studio",
        "no-key",
        "no-key-required",
        "nokey",
        "not-needed",
        "ollama",
        "placeholder",
        "sk-no-key-required",
        "unused",
    }
)
# A shorter text is a word that may stand in any message, and no secret.
_LEAST_SECRET = 6
# A key of this length is part of no word, wherever it stands.
_LONG_SECRET = 16


def by_role(value: T | Mapping[str, T] | None) -> dict[str, T]:
    """Role -> value; what stands alone is said for every role.

    >>> by_role(60.0), by_role({"critic": 10.0}), by_role(None)
    ({'': 60.0}, {'critic': 10.0}, {})
    """
    if value is None:
        return {}
    return dict(value) if isinstance(value, Mapping) else {EVERY: value}


def for_role(values: Mapping[str, T], role: str) -> T | None:
    """What was said for a role, else for every role, else None."""
    return values.get(role, values.get(EVERY))


@dataclass(frozen=True, kw_only=True)
class Access:
    """Endpoints, key variables and headers by role.

    Attributes:
        api_base: role -> URL.
        endpoints: role -> many endpoints of one model; see `synth.calls.fleet`.
        api_key_env: role -> environment variable that holds the key; an empty name sends no key.
        header: role -> {header name: environment variable that holds its value}.
    """

    api_base: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    api_key_env: Mapping[str, str] = field(default_factory=dict)
    header: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def check(self, teachers: Mapping[str, str]) -> None:
        """Checks everything that was said against role -> PROVIDER/MODEL, before any call.

        Raises:
            WrongUse: a role that no teacher has, a teacher without an endpoint, a URL with a
                password, a variable that is not set.
        """
        for option, values in (
            ("--api-base", self.api_base),
            ("--endpoints", self.endpoints),
            ("--api-key-env", self.api_key_env),
            ("--header", self.header),
        ):
            for role in values:
                _check_role(option, role, teachers)
        self._check_fleets(teachers)
        for url in self.api_base.values():
            check_url(url, "--api-base")
        for name in self.api_key_env.values():
            if name:
                secret(name, "--api-key-env")
        for headers in self.header.values():
            for header, name in headers.items():
                check_header(header)
                secret(name, f"--header {header}")

    def _check_fleets(self, teachers: Mapping[str, str]) -> None:
        for role, given in self.endpoints.items():
            name = teachers.get(role, "openai/")
            if not name.startswith("openai/"):
                raise WrongUse(
                    f"--endpoints {role}={given}",
                    f"teacher {name}",
                    "a teacher openai/MODEL",
                    "Say openai/MODEL, with the name that the servers give the model.",
                )
            if role in self.api_base:
                raise WrongUse(
                    "--endpoints, --api-base",
                    "both",
                    "one of them",
                    "Name every server in --endpoints.",
                )

    def reach(self, role: str, teacher: str) -> Fields:
        """The fields of `Settings` for the teacher of a role: `api_base`, `api_key_env`,
        `headers`.
        """
        general = teacher.startswith("openai/")
        headers = {
            **(self.header.get(EVERY, {}) if general else {}),
            **self.header.get(role, {}),
        }
        return {
            "api_base": for_role(self.api_base, role)
            if general
            else self.api_base.get(role),
            "endpoints": for_role(self.endpoints, role) if general else None,
            "api_key_env": for_role(self.api_key_env, role)
            if general
            else self.api_key_env.get(role),
            "headers": headers,
        }


def _check_role(option: str, role: str, teachers: Mapping[str, str]) -> None:
    if role == EVERY:
        if not any(name.startswith("openai/") for name in teachers.values()):
            got = f"teachers {', '.join(sorted(set(teachers.values())))}"
            role, teacher = next(iter(teachers.items()), ("teacher", "MODEL"))
            todo = f"Name the role it is for: {option} {role}=..."
            if "/" not in teacher:
                todo = f"A server of OpenAI's protocol is asked as openai/{teacher}."
            raise WrongUse(
                option,
                got,
                "a teacher openai/MODEL, or a role",
                todo,
            )
        return
    check_known_role(option, role, teachers)
    if teachers[role].partition("/")[0] in WITHOUT_ENDPOINT:
        raise WrongUse(
            f"{option} {role}=...",
            f"teacher {teachers[role]}, which has no endpoint",
            "a teacher behind an API",
            "Leave it out.",
        )


def check_known_role(option: str, role: str, teachers: Iterable[str]) -> None:
    """Raises WrongUse where a value is for a role that no teacher has."""
    if role != EVERY and role not in teachers:
        raise WrongUse(
            f"{option} {role}=...",
            f"role {role!r}",
            "a role of the run",
            did_you_mean(role, teachers),
        )


def check_url(url: str, where: str) -> SplitResult:
    """The parts of an endpoint's URL.

    Raises:
        WrongUse: no http(s) URL, or one that holds a password or a key; the message holds neither.
    """
    try:
        parts = urlsplit(url)
        sound = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
        )
    except ValueError:
        sound = False
    if not sound or re.search(r"[\x00-\x20\x7f]", url):
        raise WrongUse(
            where,
            f"{redacted_url(url)!r}",
            "a URL",
            "For example http://127.0.0.1:8000/v1.",
        )
    secrets = [
        name
        for name, _ in parse_qsl(parts.query, keep_blank_values=True)
        if _SECRET_FIELD.search(name)
    ]
    if "@" in parts.netloc or secrets:
        got = (
            "a URL with a password"
            if "@" in parts.netloc
            else f"a URL with {secrets[0]}=..."
        )
        todo = (
            "Take it out and send it as a header: --header Authorization=VARIABLE, or "
            "--api-key-env VARIABLE."
        )
        raise WrongUse(
            where,
            f"{got} ({redacted_url(url)})",
            "a URL without secrets",
            todo,
        )
    return parts


def redacted_url(url: str) -> str:
    """A URL without what stands before `@` and behind `?`.

    >>> redacted_url("https://me:secret@host/v1?key=abc")
    'https://host/v1'
    """
    start, slashes, rest = url.partition("://")
    rest = re.split(r"[?#]", rest if slashes else start)[0]
    authority, slash, path = rest.partition("/")
    stripped = f"{authority.rpartition('@')[2]}{slash}{path}"
    return f"{start}://{stripped}" if slashes else stripped.rpartition("@")[2]


def check_header(name: str) -> None:
    """Raises WrongUse where a header's name is none, or one that the client writes itself."""
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _FRAMING:
        todo = "For example --header X-Team=TEAM_VARIABLE."
        raise WrongUse(
            "--header",
            f"{name[:40]!r}",
            "a header that is yours to set",
            todo,
        )


def secret(variable: str, where: str) -> str:
    """The value of an environment variable, as it may stand in a header.

    Raises:
        WrongUse: no variable's name (a key itself, perhaps: it is not repeated), not set, or signs
            that no key has.
    """
    if not _VARIABLE.fullmatch(variable):
        todo = "Put the key into a variable and give its name: export MY_KEY=..., then MY_KEY."
        raise WrongUse(
            where,
            "a text that is no variable's name",
            "the name of an environment variable",
            todo,
        )
    value = os.environ.get(variable, "").strip()
    if not value:
        raise WrongUse(
            where,
            f"{variable}, which is not set",
            "a variable with the value",
            f"Set it: export {variable}=...",
        )
    bad = next((sign for sign in value if not "\x20" <= sign <= "\x7e"), None)
    if bad is not None or (value[0] in "\"'" and value[0] == value[-1]):
        got = (
            f"{variable} with U+{ord(bad):04X} in it"
            if bad is not None
            else f"{variable} with quotes around its value"
        )
        raise WrongUse(
            where,
            got,
            "plain signs alone",
            f"Copy the value again, without quotes and line ends: export {variable}=...",
        )
    return value


class Redactor:
    """Takes keys out of texts; it replaces whole words alone, and no word that is too short or
    common to be a secret.

    >>> redact = Redactor(["sk-12345678", "EMPTY"])
    >>> redact("key sk-12345678 refused: EMPTY reply")
    'key [key] refused: EMPTY reply'
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        words = {
            word
            for text in secrets
            for word in (text, text.rpartition(" ")[2])
            if _is_secret(word)
        }
        listed = sorted(words, key=len, reverse=True)
        # No word of a message holds a long key. A short one counts where no letter, digit, - or _
        # adjoins it.
        patterns = [
            _anywhere(word) if len(word) >= _LONG_SECRET else _alone(word)
            for word in listed
        ]
        self._pattern = re.compile("|".join(patterns)) if listed else None
        self._raw = [
            word.encode() for word in listed if len(word) >= _LONG_SECRET
        ]

    def __call__(self, text: str) -> str:
        """The text with `[key]` in the place of each key."""
        return self._pattern.sub("[key]", text) if self._pattern else text

    def raw(self, body: bytes) -> bytes:
        """A reply without keys that its server echoes: what is journaled may be published."""
        for word in self._raw:
            if word in body:
                body = body.replace(word, b"[key]")
        return body


def _anywhere(word: str) -> str:
    return re.escape(word)


def _alone(word: str) -> str:
    return rf"(?<![\w-]){re.escape(word)}(?![\w-])"


def _is_secret(word: str) -> bool:
    return len(word) >= _LEAST_SECRET and word.lower() not in _PLACEHOLDERS
