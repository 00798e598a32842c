"""Becomes another program, which ends with the process that started this one.

`python -m synth.processes.become WORDS` is started by `synth.processes.leash`: the kernel keeps the
tie across `exec`.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    words = sys.argv[1:]
    os.execvp(words[0], words)  # noqa: S606 - the user's own command
