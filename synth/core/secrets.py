"""Secrets of the environment: which of its variables hold one, by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


def environment_secrets(least: int) -> Iterator[tuple[str, str]]:
    """(name, value) of the variables that are named as keys and passwords are.

    Args:
        least: characters of a value; a shorter one may stand anywhere by chance.

    >>> os.environ["OF_A_DOCTEST_API_KEY"] = "sk-0123456789"
    >>> [value for name, value in environment_secrets(12) if "DOCTEST" in name]
    ['sk-0123456789']
    >>> del os.environ["OF_A_DOCTEST_API_KEY"]
    """
    for name, value in os.environ.items():
        if _NAME.search(name) and len(value) >= least:
            yield name, value
