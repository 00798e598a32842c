"""Litellm's table of models, read from its files: importing litellm would take seconds."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

import orjson

from synth.core.records import Values


@cache
def _text() -> bytes:
    spec = importlib.util.find_spec("litellm")
    for folder in list(spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "model_prices_and_context_window_backup.json"
        if path.is_file():
            return path.read_bytes()
    return b"{}"


@cache
def _table() -> Mapping[str, Values]:
    return dict(orjson.loads(_text()))


@lru_cache(maxsize=256)
def model_entry(model: str) -> Values:
    """Prices and abilities of a model; {} where the table does not hold it, or litellm is not
    installed.
    """
    # Reading the table takes 20 ms. What stands nowhere in its text is none of its names.
    if model.isascii() and orjson.dumps(model) not in _text():
        return {}
    return _table().get(model) or {}
