"""Finds what should not be learned by heart: keys and passwords, addresses, numbers of accounts,
cards and telephones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, ClassVar

from synth.core.records import Row, Verdict
from synth.core.rows import text_of
from synth.filters.base import Names, RowFilter, several

MOST_CHARS = 200_000


def luhn(digits: str) -> bool:
    """Whether the check digit of a card number holds (ISO/IEC 7812-1).

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    total = sum(
        d if n % 2 == 0 else sum(divmod(2 * d, 10))
        for n, d in enumerate(map(int, reversed(digits)))
    )
    return total % 10 == 0


def iban(text: str) -> bool:
    """Whether the check digits of an account number hold (ISO 13616).

    >>> iban("GB82 WEST 1234 5698 7654 32"), iban("GB83 WEST 1234 5698 7654 32")
    (True, False)
    """
    plain = text.replace(" ", "")
    return (
        int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97
        == 1
    )


def _card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn(digits)


def _address(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return address.is_global


def _phone(text: str) -> bool:
    return 8 <= len(re.sub(r"\D", "", text)) <= 15


def _always(_: str) -> bool:
    return True


_KEYS = (
    r"sk-(?:proj-|ant-|or-)?[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36,}"
    r"|github_pat_[A-Za-z0-9_]{40,}|hf_[A-Za-z0-9]{30,}|AIza[0-9A-Za-z_-]{35}"
    r"|xox[abprs]-[A-Za-z0-9-]{10,}|glpat-[A-Za-z0-9_-]{20,}|(?:sk|rk|pk)_(?:live"
    r"|test)_[0-9a-zA-Z]{16,}|SG\.[\w-]{16,}\.[\w-]{16,}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}|-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"
)
# Most texts have none of these signs, and then no pattern is tried.
_SIGNS = {
    "secret": (
        "sk-",
        "AKIA",
        "gh",
        "hf_",
        "AIza",
        "xox",
        "glpat-",
        "k_live_",
        "k_test_",
        "SG.",
        "npm_",
        "pypi-",
        "eyJ",
        "-----BEGIN",
    ),
    "password": (":", "="),
    "email": ("@",),
    "phone": ("+", "("),
    "us_ssn": ("-",),
}
_DIGITS = re.compile(
    r"\d\D{0,2}\d\D{0,2}\d\D{0,3}\d\D{0,2}\d\D{0,2}\d\D{0,2}\d"
)
_NUMBERS = {"iban", "card", "phone", "us_ssn"}
_KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "secret": (re.compile(rf"(?<![\w-])(?:{_KEYS})"), _always),
    "password": (
        re.compile(
            r"(?i)\b(?:password|passwd|api[_-]?key|secret[_-]?key"
            r"|access[_-]?token)\b[\"']?\s*[:=]\s*[\"']?(?=[^\s\"']{0,99}\d)[^\s\"'<>{}]{8,100}"
        ),
        _always,
    ),
    "email": (
        re.compile(
            r"(?<![\w.+-])[\w.+-]{1,64}@(?!example\."
            r"|test\.)(?:[\w-]{1,63}\.){1,5}[A-Za-z]{2,24}(?![\w-])"
        ),
        _always,
    ),
    "iban": (
        re.compile(
            r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"
        ),
        iban,
    ),
    "card": (
        re.compile(
            r"(?<![\d.+-])(?:\d{4}[ -]?){3}\d{1,7}(?![\d.])"
            r"|(?<![\d.])3[47]\d{2}[ -]?\d{6}[ -]?\d{5}(?![\d.])"
        ),
        _card,
    ),
    "phone": (
        re.compile(
            r"(?<![\w.])\+\d{1,3}[ .-]?(?:\(\d{1,5}\)[ .-]?)?\d{1,5}(?:[ .-]\d{2,8}){1,4}(?!\w)"
            r"|(?<![\w.])\(\d{3}\) ?\d{3}-\d{4}(?!\w)"
        ),
        _phone,
    ),
    "address": (
        re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])"),
        _address,
    ),
    "us_ssn": (
        re.compile(
            r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])"
        ),
        _always,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Pii(RowFilter):
    """Patterns with check digits where the number has them; names and places are not looked for.

    Sees: one row. Costs: nothing; some 40,000 rows of 20 words a CPU-second.

    Args:
        fields: the fields that are looked at; None for every text in the row and its raw reply.
        kinds: what is looked for: `secret`, `password`, `email`, `iban`, `card`, `phone`, `address`
            (of the internet), `us_ssn`; None for all.

    Reasons:
        secret: a key or a password.
        personal: an address or a number of a person.

    Marks: `kinds`, `count`. What was found is not written down again.

    Example:
        >>> texts = (
        ...     "Write to ann@mail.org",
        ...     "key sk-abcdefghijklmnopqrstuvwx",
        ...     "card 4111 1111 1111 1111",
        ...     "4111 1111 1111 1112",
        ... )
        >>> [Pii().judge({"reply": text}).reason for text in texts]
        ['personal', 'secret', 'personal', '']
    """

    fields: Names = None
    kinds: Names = None

    reasons: ClassVar[dict[str, str]] = {
        "secret": "a key or a password",
        "personal": "an address or a number of a person",
    }

    def __post_init__(self) -> None:
        if unknown := [
            kind for kind in several(self.kinds) if kind not in _KINDS
        ]:
            raise ValueError(
                f"kind {unknown[0]!r}; use some of {', '.join(_KINDS)}"
            )

    def verdict(self, row: Row) -> Verdict:
        kinds = [
            kind
            for text in self._texts(row)
            for kind in _kinds_in(text, several(self.kinds) or _KINDS)
        ]
        if not kinds:
            return Verdict(True)
        reason = "secret" if {"secret", "password"} & set(kinds) else "personal"
        return Verdict(
            False, reason, {"kinds": sorted(set(kinds)), "count": len(kinds)}
        )

    def _texts(self, row: Row) -> Iterator[str]:
        names = (
            several(self.fields)
            if self.fields is not None
            else [
                name
                for name in row
                if name not in ("id", "marks", "meta", "reply", "completion")
            ]
        )
        yield from (
            str(row[name])[:MOST_CHARS]
            for name in names
            if isinstance(row.get(name), (str, list, tuple, Mapping))
        )
        if self.fields is None:
            yield text_of(row)[:MOST_CHARS]


def _kinds_in(text: str, kinds: Any) -> Iterator[str]:
    digits = _DIGITS.search(text) is not None
    for kind in kinds:
        if (kind in _NUMBERS and not digits) or (
            kind == "address" and text.count(".") < 3
        ):
            continue
        if kind in _SIGNS and not any(sign in text for sign in _SIGNS[kind]):
            continue
        pattern, holds = _KINDS[kind]
        yield from (kind for match in pattern.finditer(text) if holds(match[0]))
