"""Potstill: prompt packs in, distillation datasets out.

`synth.run(...)` makes a dataset; `synth.filters.*` work alone; everything heavy is imported when it
is used. A room imports from rooms of a smaller number alone:

core           1  records, errors, the registry of parts, strict readers
processes      2  interrupts, workers, and a leash that no worker outlives
text           3  what a word is, and how alike two texts are
statistics     4  how sure a number is
inputs         5  files of rows as people have them, and rows that are made
local_models   6  small models on this machine, asked in processes of their own
replies        7  what stands in a reply, whatever the parser
answers        8  what an answer is worth, whatever its spelling
sandbox        9  code of strangers, run where it can harm nobody
verifiers     10  answer, gold -> true, false or unknown
search        11  texts near a text
parsers       12  reply -> fields, or a reason
packs         13  a folder of prompts, checked whole
teachers      14  request -> reply
calls         15  the only way to a teacher
critics       16  how far a judge can be believed
filters       17  rows -> verdicts
runs          18  a run's folder, written and read
exports       19  a run -> training rows
pipeline      20  the order of the line
tools         21  used beside runs
view          22  pages about runs, for people
cli           23  the command `synth`
"""

from __future__ import annotations

from synth.core import moved
from synth.core.lazy import public

moved.install()

__all__ = [
    "Critic",
    "Pack",
    "Run",
    "RunConfig",
    "merge",
    "plan_shards",
    "run",
]

__getattr__, __dir__ = public(
    __name__,
    {
        "pipeline.run": "run plan_shards",
        "runs.result": "Run",
        "pipeline.merge": "merge",
        "pipeline.prepare": "RunConfig",
        "packs.pack": "Pack",
        "filters.critic": "Critic",
    },
)
