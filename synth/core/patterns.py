"""Regular expressions that cost nothing until they are used."""

from __future__ import annotations

import re
from typing import AnyStr, Generic, cast


class _Pattern(Generic[AnyStr]):
    """What stands for a pattern: its methods are the pattern's own from the first use on."""

    def __init__(self, pattern: AnyStr, flags: int) -> None:
        self.pattern: AnyStr = pattern
        self._flags = flags

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(re.compile(self.pattern, self._flags), name)
        # From here on the name is found without a call.
        self.__dict__[name] = value
        return value


def lazy_pattern(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """A pattern that is compiled when it is first used.

    The parsers and the readers of answers hold some 170 patterns, of which a run uses a few:
    compiling all of them took 60 ms at each start.

    >>> lazy_pattern("a+").sub("b", "caat")
    'cbt'
    """
    return cast("re.Pattern[AnyStr]", _Pattern(pattern, flags))
