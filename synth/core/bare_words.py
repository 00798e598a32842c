"""Words of YAML that stand without quotes and that its version 1.1 reads as something else."""

from __future__ import annotations

import re

_FLAGS = {"yes": True, "no": False, "on": True, "off": False}
# Digits in groups, as in 1_000 and 1_000.5.
_GROUPED = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)+(?:\.[0-9]+)?")


class BareWord(str):
    """A text that is also a flag (`no`) or a number (`1_000`) to those who want one.

    >>> BareWord("No").flag, BareWord("1_000").number, BareWord("no").number
    (False, 1000, None)
    """

    __slots__ = ()

    @property
    def flag(self) -> bool | None:
        """What it says as a flag, None where it says none."""
        return _FLAGS.get(self.lower())

    @property
    def number(self) -> int | float | None:
        """What it says as a number, None where it says none."""
        if not _GROUPED.fullmatch(self):
            return None
        return float(self) if "." in self else int(self)

    @property
    def other(self) -> bool | int | float | None:
        """The flag or the number that it is, too."""
        return self.number if self.flag is None else self.flag


def read_like(value: object, like: object) -> object:
    """The value, a bare word as the flag or the number that stands in its place; any other stays
    as it is.

    >>> read_like(BareWord("no"), True), read_like(BareWord("no"), "nb")
    (False, 'no')
    """
    if not isinstance(value, BareWord):
        return value
    said: object = None
    if isinstance(like, bool):
        said = value.flag
    elif isinstance(like, int | float):
        said = value.number
    return value if said is None else said


def is_bare(text: str) -> bool:
    """Whether a text without quotes has another reading."""
    return text.lower() in _FLAGS or bool(_GROUPED.fullmatch(text))
