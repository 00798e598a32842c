"""Whether this machine can run a program that it does not trust."""

from __future__ import annotations

from pathlib import Path

from synth.core.errors import WrongUse
from synth.verifiers.run_python import RunPython


def can_confine() -> bool:
    """Whether a confined program runs here and is refused a file, a socket and a process."""
    probe = (
        "import os, socket\n"
        "def file(): open('/etc/hostname')\n"
        "def folder(): os.listdir('/')\n"
        "for attempt in (file, folder, socket.socket, os.fork):\n"
        "    try: attempt()\n"
        "    except OSError: continue\n"
        "    raise SystemExit(3)\n"
    )
    try:
        return (
            Path("/etc/hostname").exists()
            and RunPython().run(probe).status == "passed"
        )
    except WrongUse:
        return False
