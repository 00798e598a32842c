"""A process that renders templates that are more than plain ones, under limits that no template can
talk round.

`python -m synth.packs.render SECONDS` answers one line with one line, as `synth.processes.worker`
asks. What it may use is for the kernel to say: memory and open files by rlimits, time by an alarm
that ends it.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path

from synth.core.errors import WrongUse
from synth.core.records import Fields
from synth.packs.template_box import Compiled
from synth.packs.templates import Templates
from synth.processes import worker

# The interpreter and its libraries take 27 MiB of address space.
MOST_MEMORY = 96 * 1024 * 1024
_MOST_TEMPLATES = 256
_MOST_WORDS = 1000


def limit() -> None:
    """Takes away what rendering does not need."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


class Renderer:
    """Compiles each template once.

    Args:
        seconds: for one answer.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.compiled: dict[str, Compiled] = {}

    def answer(self, message: Fields) -> Fields:
        """{"text"} or {"variables"}, or {"error"}: the four parts of a WrongUse.

        Args:
            message: `id`, `folder` (or None), `source`, `where`; `values` as JSON text where it is
                to be rendered.
        """
        # The default action of this signal ends the process, in whatever library it is.
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            return self._answer(message)
        except WrongUse as error:
            return {"error": [str(part)[:_MOST_WORDS] for part in error.args]}
        except MemoryError:
            return {
                "error": [
                    message["where"],
                    "a template that fills the memory",
                    "a text",
                    "Correct the template.",
                ]
            }
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _answer(self, message: Fields) -> Fields:
        if message["id"] not in self.compiled:
            if len(self.compiled) >= _MOST_TEMPLATES:
                self.compiled.clear()
            templates = Templates(
                Path(message["folder"]) if message["folder"] else None
            )
            self.compiled[message["id"]] = templates.compiled(
                message["source"], message["where"]
            )
        template = self.compiled[message["id"]]
        if message["values"] is None:
            return {"variables": sorted(template.variables)}
        values = json.loads(message["values"])
        return {"text": template.text(values, message["where"])}


if __name__ == "__main__":
    limit()
    worker.serve(Renderer(float(sys.argv[1])).answer)
