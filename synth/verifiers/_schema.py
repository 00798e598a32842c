"""Checks JSON against schemas whose work has no bound, in a process that its caller ends: patterns, references, comparisons.

`python -m synth.verifiers._schema SECONDS` answers one line with one line, as `synth.worker` asks.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from typing import Any

from synth import worker
from synth.errors import WrongUse
from synth.verifiers.json_schema import misfit

MOST_MEMORY = 1024 * 1024 * 1024


class Checker:
    """Answers within `seconds`, or is ended by the alarm."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def answer(self, message: dict[str, str]) -> dict[str, Any]:
        """{"misfit"}: where and what, "" where it fits; or {"error"}: the four parts of a WrongUse."""
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            return {"misfit": misfit(message["schema"], json.loads(message["value"]))}
        except WrongUse as error:
            return {"error": [str(part) for part in error.args]}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    worker.serve(Checker(float(sys.argv[1])).answer)
