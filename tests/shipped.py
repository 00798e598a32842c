"""The packs that come along, each loaded once a test process."""

from __future__ import annotations

from functools import cache

from synth.packs.pack import Pack


@cache
def shipped(name: str) -> Pack:
    """A built-in pack as it is."""
    return Pack.load(name)
