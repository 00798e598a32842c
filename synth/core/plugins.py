"""Parts that are no part of this package: what installed packages announce, and what the user names
as `module:Class`.

A package announces its parts as entry points of the groups `potstill.filters`, `potstill.parsers`
and so on. Nobody but the user installs a package or types an import string, so both are the user's
word. A file is not: an import string in a pack counts only where the user allowed its module.
Standard library only; installed packages are looked through once a process, when they are needed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_IMPORT = re.compile(rf"{_MODULE.pattern}:[A-Za-z_]\w*", re.ASCII)
# Without `:`, `/`, `,` and blanks, which end a name wherever one is written.
_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


def is_import(name: str) -> bool:
    """Whether a part's name is an import string.

    >>> is_import("my_module:MyFilter"), is_import("length"), is_import("length:least=3")
    (True, False, False)
    """
    return _IMPORT.fullmatch(name) is not None


@cache
def installed(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Name -> what installed packages announce under it in `potstill.GROUP`; several only where
    packages disagree.
    """
    # Reading the lists of all installed packages takes some 0.1 s.
    from importlib.metadata import entry_points  # noqa: PLC0415

    listed: dict[str, dict[str, EntryPoint]] = {}
    for entry in entry_points(group=f"potstill.{group}"):
        if _NAME.fullmatch(entry.name):
            listed.setdefault(entry.name, {}).setdefault(entry.value, entry)
    return {name: tuple(by.values()) for name, by in sorted(listed.items())}


def forget() -> None:
    """Installed packages are looked through again when they are next needed."""
    installed.cache_clear()


def package_of(entry: EntryPoint) -> str:
    """The distribution that announces a part, with its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""


def announced(group: str, name: str, where: str) -> Any:
    """What an installed package announces under a name.

    Raises:
        WrongUse: two packages announce different things, or it cannot be imported.
    """
    entries = installed(group)[name]
    if len(entries) > 1:
        values = ", ".join(f"{e.value} ({package_of(e)})" for e in entries)
        raise WrongUse(
            where,
            f"{name!r}, which is {values}",
            "one part of this name",
            "Uninstall one of the packages, or write the import string of one.",
        )
    entry = entries[0]
    try:
        return entry.load()
    except Exception as error:
        raise WrongUse(
            where,
            f"{name!r} of {package_of(entry)}, which fails: {_cause(error)}",
            "a part that can be imported",
            "Mend or uninstall that package.",
        ) from error


def imported(name: str, where: str) -> Any:
    """What an import string names; a module may also lie in the current folder.

    Raises:
        WrongUse: no such module or name in it, or the module raises.
    """
    module, _, attribute = name.partition(":")
    loaded = _module(module, where)
    if not hasattr(loaded, attribute):
        raise WrongUse(
            where,
            f"{name!r}: {module} has no {attribute}",
            "a class of that module",
            f"Look into {getattr(loaded, '__file__', None) or module}.",
        )
    return getattr(loaded, attribute)


def _module(name: str, where: str) -> Any:
    """A module of the user's."""
    try:
        with _current_folder_last():
            return import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise WrongUse(
                where,
                f"module {name!r}, which is not there",
                "a module that Python finds, or one in the current folder",
                "Check its name, or set PYTHONPATH to the folder that holds it. "
                "Parameters are written NAME:key=value.",
            ) from error
        raise _fails(name, where, error) from error
    except Exception as error:
        raise _fails(name, where, error) from error


def _fails(name: str, where: str, error: Exception) -> WrongUse:
    return WrongUse(
        where,
        f"module {name!r}, which fails: {_cause(error)}",
        "a module that can be imported",
        "Mend the module.",
    )


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


@contextmanager
def _current_folder_last() -> Iterator[None]:
    """A module of the user's is found in the current folder, but takes the place of no other one.

    The folder stands last, and only while a module that the user named is imported: a file
    `rich.py` in the folder of a stranger's pack replaces nothing.
    """
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def check_allowed(modules: Iterable[str]) -> tuple[str, ...]:
    """The modules of `--plugin`, once each of them can be imported.

    Raises:
        WrongUse: no module's name, or a module that cannot be imported.
    """
    listed = (modules,) if isinstance(modules, str) else tuple(modules)
    for name in listed:
        if not isinstance(name, str) or _MODULE.fullmatch(name) is None:
            raise WrongUse(
                "--plugin",
                repr(name),
                "the name of a module",
                "For example --plugin my_module.",
            )
        _module(name, f"--plugin {name}")
    return listed


def require_allowed(name: str, allowed: Collection[str], where: str) -> None:
    """Raises WrongUse where a file names a part by an import string and the user did not allow its
    module, or a package that the module is in.
    """
    module = name.partition(":")[0]
    if not any(f"{module}.".startswith(f"{root}.") for root in allowed):
        raise WrongUse(
            where,
            f"import string {name!r}",
            "parts that are built in, installed, or allowed by the user",
            f"Where you trust this module's code, allow it: --plugin {module}.",
        )
