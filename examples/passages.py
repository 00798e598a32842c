"""Writes the retriever demo's reference work: `python -m examples.passages --output harbours`
(corpus, train, test).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from synth.inputs.seeds import write_jsonl
from synth.teachers.simulation.harbours import make_library

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    library = make_library()
    write_jsonl(
        folder / "corpus.jsonl", ({"text": text} for text in library.passages)
    )
    write_jsonl(
        folder / "train.jsonl", ({"passage": text} for text in library.train)
    )
    write_jsonl(
        folder / "test.jsonl",
        ({"query": query, "positive": text} for query, text in library.queries),
    )
    print(
        f"{len(library.passages)} passages, {len(library.queries)} queries -> {folder}"
    )
