"""Computer algebra behind a guard, as a program that `synth.processes.worker` asks.

It answers {"gold": ..., "answer": ...} with {"same": ...}.
"""

from __future__ import annotations

import os
import resource
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from synth.processes.worker import serve
from synth.sandbox import jail, system_calls

_MEGABYTES = 2048


@lru_cache(maxsize=1024)
def parsed(text: str) -> Any:
    """What math-verify reads in a text; a bare formula is put between dollars first, without which
    it reads few.
    """
    from math_verify import parse  # noqa: PLC0415 - three seconds to import, in this process only

    expressions = parse(
        f"${text}$" if "$" not in text and "\\boxed" not in text else text,
        parsing_timeout=None,
        raise_on_error=False,
    )
    return expressions or parse(
        text, parsing_timeout=None, raise_on_error=False
    )


def same(message: dict[str, str]) -> dict[str, bool | None]:
    """Whether two formulas are equal; None where either cannot be read."""
    from math_verify import verify  # noqa: PLC0415 - as above

    gold = parsed(message["gold"])
    answer = parsed(message["answer"])
    if not gold or not answer:
        return {"same": None}
    return {
        "same": bool(
            verify(gold, answer, timeout_seconds=None)
            or verify(answer, gold, timeout_seconds=None)
        )
    }


def confine() -> None:
    """Leaves this process its library to read and nothing else, where the kernel can do that.

    Formulas are no programs: where it cannot, they are still compared.
    """
    machine = system_calls.this_machine()
    try:
        libc = jail.library()
        if machine is not None:
            program = system_calls.filter_program(
                machine, os.getpid(), threads=False
            )
            folders = [
                folder
                for folder in jail.readable_folders()
                if folder != str(Path.cwd())
            ]
            jail.close(libc, machine, program, folders)
    except jail.Refused as why:
        sys.stderr.write(f"computer algebra runs without a sandbox: {why}\n")


def main() -> None:
    """Answers until the input ends; the deadline is the caller's."""
    size = _MEGABYTES << 20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    try:
        import math_verify  # noqa: F401, PLC0415 - as above
    except ImportError:
        sys.stdout.write(
            '{"error": "math-verify is not installed", "todo": "pip install \'potstill[math]\'"}\n'
        )
        return
    same({"gold": "x", "answer": "2x"})  # what is loaded late is loaded now
    serve(same, confine=confine)


if __name__ == "__main__":
    main()
