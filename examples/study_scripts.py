"""Twins in many scripts: `make study-scripts DATA=folder`. One table; no call is made.

DATA holds a file LANGUAGE.txt for each language, a sentence a line. A text is three sentences in
a row; half of the texts get a twin. Near duplicates are looked for among all of them together.
"""

from __future__ import annotations

import argparse
import random
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from synth.filters.near_duplicate import NearDuplicate, by_length
from synth.text.joins import Neighbours, token_sets
from synth.text.words import kind, words

SENTENCES, MOST_TEXTS = 3, 60
UNSEEN = "\u200b\u200d\u2060\u00ad\ufeff"


class Found(NamedTuple):
    """Twins that were made, those that were found, and pairs of strangers that were."""

    made: int
    right: int
    wrong: int

    def line(self) -> str:
        """Recall and precision as two cells."""
        pairs = self.right + self.wrong
        precision = f"{self.right / pairs:.3f}" if pairs else "-"
        return f"{self.right / self.made:.3f} | {precision}"


def forms(text: str, draw: random.Random) -> str:
    """The same text as another program writes it: decomposed, wide, with signs that are not
    seen.
    """
    text = unicodedata.normalize("NFD", text)
    wide = [
        chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text
    ]
    for place in draw.sample(range(len(wide)), max(1, len(wide) // 20)):
        wide[place] += draw.choice(UNSEEN)
    return "".join(wide)


def edited(text: str, draw: random.Random) -> str:
    """One word becomes another one of the text; one character where no spaces part words."""
    parts = text.split()
    bare = sum(kind(word) > 0 for word in words(text)) * 2 > len(words(text))
    signs = [place for place, sign in enumerate(text) if sign.isalpha()]
    if bare:
        place, other = draw.sample(signs, 2)
        return text[:place] + text[other] + text[place + 1 :]
    place, other = draw.sample(range(len(parts)), 2)
    return " ".join([*parts[:place], parts[other], *parts[place + 1 :]])


def texts_of(path: Path) -> list[str]:
    """Texts of three sentences."""
    lines = path.read_text(encoding="utf-8").splitlines()
    starts = range(0, len(lines) - SENTENCES + 1, SENTENCES)
    return [" ".join(lines[start : start + SENTENCES]) for start in starts][
        :MOST_TEXTS
    ]


def found(
    texts: Sequence[str], change: Callable[[str, random.Random], str]
) -> Found:
    """All pairs that `near_duplicate` would call similar at its defaults."""
    draw = random.Random(0)
    twins = [change(text, draw) for text in texts[::2]]
    every, part = [*texts, *twins], NearDuplicate()
    index, right, wrong = (
        Neighbours(token_sets(every, part.words), part.similarity),
        0,
        0,
    )
    for place in by_length(every):
        for other, _ in index.similar(place):
            low, high = sorted((place, other))
            twin = high >= len(texts) and low == 2 * (high - len(texts))
            right, wrong = right + twin, wrong + (not twin)
        index.add(place)
    return Found(len(twins), right, wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    print(
        "| language | texts | forms: recall | precision | edits: recall | precision |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for path in sorted(parser.parse_args().data.glob("*.txt")):
        texts = texts_of(path)
        same, near = found(texts, forms), found(texts, edited)
        print(f"| {path.stem} | {len(texts)} | {same.line()} | {near.line()} |")
