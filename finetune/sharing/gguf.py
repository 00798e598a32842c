"""A folder of weights as one file of llama.cpp, by llama.cpp's own converter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from synth.core.errors import WrongUse

Precision = Literal["f32", "f16", "bf16", "q8_0"]
SCRIPT = "convert_hf_to_gguf.py"
VARIABLE = "POTSTILL_GGUF_CONVERTER"
# Characters of a converter's words that an error quotes.
_MOST_SAID = 600


def converter() -> list[str]:
    """The words that start the converter: the one that POTSTILL_GGUF_CONVERTER names, or one on the
    path. A Python file is run by this Python; another file runs itself.

    Raises:
        WrongUse: there is none.
    """
    named = os.environ.get(VARIABLE)
    if named and not Path(named).is_file():
        raise WrongUse(
            f"{VARIABLE}={named}",
            "no file",
            f"llama.cpp's {SCRIPT}",
            "Correct the path.",
        )
    found = named or shutil.which(SCRIPT)
    if not found:
        raise WrongUse(
            "--to gguf",
            f"no {SCRIPT} on the path",
            "llama.cpp's converter",
            f"Get llama.cpp (git clone https://github.com/ggml-org/llama.cpp), and set {VARIABLE} "
            f"to its {SCRIPT}.",
        )
    if found.endswith(".py"):
        return [sys.executable, found]
    return [found]


def convert(folder: Path, target: Path, precision: Precision) -> None:
    """Writes a folder of weights as a GGUF file.

    Args:
        folder: as transformers opens it.
        target: the file.
        precision: of the weights; q8_0 takes about a byte a weight.

    Raises:
        WrongUse: no converter, or one that fails, with its last words.
    """
    words = [
        *converter(),
        str(folder),
        *("--outfile", str(target), "--outtype", precision),
    ]
    done = subprocess.run(  # noqa: S603 - the user's own converter
        words, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode == 0 and target.is_file():
        return
    found = f"exit code {done.returncode}"
    if done.returncode == 0:
        found = "no file written"
    raise WrongUse(
        f"{SCRIPT} ({words[-6]})",
        f"{found}: {_last_words(done)}",
        "a GGUF file",
        "Where a package is missing, install it beside the converter; where the tokenizer or the "
        "architecture is unknown to it, llama.cpp cannot run this student: --to vllm can.",
    )


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = list(_said(done.stderr)) or list(_said(done.stdout))
    return " | ".join(lines[-2:])[-_MOST_SAID:] or "nothing said"


def _said(text: str) -> Iterator[str]:
    """Lines that say something: its bars of progress do not."""
    for line in text.splitlines():
        if line.strip() and not line.startswith("Writing:"):
            yield line.strip()
