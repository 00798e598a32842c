"""Public names of a room that are imported when they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

# `__getattr__` and `__dir__` of a module.
Face = tuple[Callable[[str], Any], Callable[[], list[str]]]


def public(room: str, names: Mapping[str, str]) -> Face:
    """`__getattr__` and `__dir__` of a room.

    Args:
        room: its dotted name.
        names: files of the room by the names that they hold, with blanks between those: {"pack":
            "Pack pack_names"}.
    """
    # A file of the same name is what `from room import name` means.
    files = {
        name: file
        for file, listed in names.items()
        for name in listed.split()
        if name not in names
    }

    def getattr_(name: str) -> Any:
        if name not in files:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        module = import_module(f"{room}.{files[name]}")
        return getattr(module, name)

    return getattr_, lambda: sorted(files)


def parts_of(room: str) -> Face:
    """The same for a room of parts: each file holds the class of its name in CamelCase."""
    from synth.core.registry import built_in, class_name  # noqa: PLC0415 - it reads a folder

    classes = {name: class_name(name) for name in built_in(room)}
    return public(room, classes)
