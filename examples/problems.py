"""Writes the demo's word problems to a file: `python -m examples.problems --count 3000 --output
problems.jsonl`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from synth.inputs.seeds import write_jsonl
from synth.teachers.simulation.word_problems import make_problems

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    print(
        f"{write_jsonl(options.output, make_problems(options.count, options.seed)):,} problems "
        f"-> {options.output}"
    )
