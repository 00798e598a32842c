"""How much `finetune senses` gains over its encoder on WordNet's own examples: `python -m
examples.study_senses --dict DIR --output DIR`.

The glossary has the nouns and verbs of a sample of words with several senses, and all that is
related to them, without their examples. Half of the examples, without their senses, are the
contexts; the other half is the test.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from synth.core.records import Fields, Row
from synth.tools.wordnet import read_synsets, sense_rows


def sampled(folder: Path, words: int) -> tuple[list[Row], list[Row]]:
    """(glossary, examples) of so many words with several senses, of which two or more have
    examples that say the word.
    """
    everything: list[Fields] = []
    for part in ("noun", "verb"):
        everything += sense_rows(read_synsets(folder / f"data.{part}"), part)
    of_term = defaultdict(list)
    of_sense = defaultdict(list)
    for row in everything:
        of_term[row["term"].casefold()].append(row)
        of_sense[row["sense"]].append(row)
    shown = {
        term: [found for row in entries for found in uses(term, row)]
        for term, entries in of_term.items()
    }
    useful = [
        term
        for term, found in shown.items()
        if len({one["sense"] for one in found}) > 1
    ]
    terms = random.Random(0).sample(sorted(useful), words)
    kept: dict[tuple[str, str], Row] = {}
    for term in terms:
        for row in of_term[term]:
            for sense in (row["sense"], *row["related"]):
                for one in of_sense[sense]:
                    plain = {**one, "examples": []}
                    kept[one["term"], one["sense"]] = plain
    examples = [one for term in terms for one in shown[term]]
    return list(kept.values()), examples


def uses(term: str, row: Row) -> Iterable[Row]:
    """The examples of a sense that say the word as it is."""
    for text in row["examples"]:
        if term in text.casefold().split():
            yield {"text": text, "word": term, "sense": row["sense"]}


def write(path: Path, rows: Iterable[Row]) -> Path:
    """Rows as lines of JSON."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dict", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--words", type=int, default=1000)
    parser.add_argument(
        "--model", default="sentence-transformers/all-MiniLM-L6-v2"
    )
    told, more = parser.parse_known_args()
    told.output.mkdir(parents=True, exist_ok=True)
    glossary, examples = sampled(told.dict, told.words)
    random.Random(1).shuffle(examples)
    half = len(examples) // 2
    line = [
        *("senses", "--model", told.model, "--output", told.output / "student"),
        *("--senses", write(told.output / "senses.jsonl", glossary)),
        *("--contexts", write(told.output / "contexts.jsonl", examples[:half])),
        *("--test", write(told.output / "test.jsonl", examples[half:])),
        *more,
    ]
    subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "finetune.cli", *map(str, line)], check=True
    )


if __name__ == "__main__":
    main()
