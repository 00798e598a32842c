"""Packages that only some uses need: extras of the installation."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from synth.core.errors import WrongUse


def optional(module: str, extra: str, where: str) -> Any:
    """A module of an extra.

    Args:
        module: its dotted name.
        extra: the extra of the installation that brings it.
        where: what needs it, as an error names it.

    Raises:
        WrongUse: it is not installed; the message says how it comes.
    """
    require(module, extra, where)
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        # One package may be spread over several installations.
        raise _missing(str(error.name), extra, where) from error


def require(module: str, extra: str, where: str) -> None:
    """Raises the same without loading it: for parts that are made before they are used."""
    package = module.partition(".")[0]
    if find_spec(package) is None:
        raise _missing(package, extra, where)


def _missing(package: str, extra: str, where: str) -> WrongUse:
    todo = f"pip install 'potstill[{extra}]'"
    return WrongUse(where, f"no package {package}", "it installed", todo)
