"""Litellm's table of models, read from its files: importing litellm would take seconds."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import orjson

from synth.core.records import Values


@cache
def model_table() -> Mapping[str, Values]:
    """Model -> its prices and abilities; empty where litellm is not installed."""
    spec = importlib.util.find_spec("litellm")
    for folder in list(spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "model_prices_and_context_window_backup.json"
        if path.is_file():
            return dict(orjson.loads(path.read_bytes()))
    return {}
