"""Terms with their definitions and what they are a kind of, from the files of WordNet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from synth.core.errors import WrongUse
from synth.core.records import Fields, hash_share

_UP = ("@", "@i")
_OPPOSITE = "!"
# What WordNet puts behind an adjective that stands only before or behind a noun.
_POSITION = re.compile(r"\((?:a|p|ip)\)$")


@dataclass(frozen=True)
class Synset:
    """Words that mean the same.

    Attributes:
        words: as they are written.
        gloss: their definition.
        parents: places of what they are a kind of.
        related: places of all synsets of the same part of speech that WordNet joins to it, but for
            opposites.
        examples: sentences and phrases that use one of the words so.
    """

    words: tuple[str, ...]
    gloss: str
    parents: tuple[str, ...]
    related: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


def read_synsets(path: Path) -> dict[str, Synset]:
    """The synsets of a `data.noun` (or data.verb) file by their place, in the format of WordNet 3
    (wndb(5WN)).

    Raises:
        WrongUse: no such file, or lines of another format.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        todo = (
            "Give the folder with data.noun; Debian's wordnet-base puts it into "
            "/usr/share/wordnet."
        )
        raise WrongUse(
            f"--dict {path.parent}",
            str(error),
            "WordNet's data.noun",
            todo,
        ) from error
    try:
        return dict(
            _synset(line) for line in lines if line and not line.startswith(" ")
        )
    except (ValueError, IndexError) as error:
        raise WrongUse(
            str(path),
            f"a line of another format ({error})",
            "lines of WordNet 3",
            "Take data.noun as it ships.",
        ) from error


def _synset(line: str) -> tuple[str, Synset]:
    facts, _, gloss = line.partition("|")
    parts = facts.split()
    count = int(parts[3], 16)
    words = tuple(
        dict.fromkeys(
            _POSITION.sub("", word).replace("_", " ")
            for word in parts[4 : 4 + 2 * count : 2]
        )
    )
    start = 5 + 2 * count
    pointers = [
        parts[start + 4 * n : start + 4 * n + 4]
        for n in range(int(parts[start - 1]))
    ]
    # Satellites of an adjective (s) stand in one file with it.
    ours = ("a", "s") if parts[2] in "as" else (parts[2],)
    near = [pointer for pointer in pointers if pointer[2] in ours]
    related = dict.fromkeys(p[1] for p in near if p[0] != _OPPOSITE)
    definition, *examples = gloss.split('; "')
    return parts[0], Synset(
        words,
        definition.strip(),
        tuple(p[1] for p in near if p[0] in _UP),
        tuple(related),
        tuple(example.split('"')[0].strip() for example in examples),
    )


def sense_rows(synsets: dict[str, Synset], part: str) -> Iterator[Fields]:
    """One row a word of a synset: `term`, `sense` (the part of speech and the synset's place, the
    same for all of its words), `gloss`, `related` (senses) and `examples`.

    Args:
        synsets: of `read_synsets`.
        part: noun, verb, adj or adv.
    """
    for place, synset in synsets.items():
        related = [one for one in synset.related if one in synsets]
        for word in synset.words:
            yield {
                "term": word,
                "sense": f"{part}.{place}",
                "gloss": synset.gloss,
                "related": [f"{part}.{one}" for one in related],
                "examples": list(synset.examples),
            }


def rows(synsets: dict[str, Synset], held_out: float = 0.1) -> Iterator[Fields]:
    """One row a synset with parents: `term`, `gloss`, `parents`, `split`, `prompt`, `completion`.

    Args:
        synsets: of `read_synsets`.
        held_out: share of the synsets that go to `test`, by a hash of their place: no training row
            is about such a term or names it as a parent, so that what is tested was never an answer
            (Moskvoretskii et al., TaxoLLaMA, arXiv:2403.09207, has it "clean").
    """
    test = {
        synset_id for synset_id in synsets if hash_share(synset_id) < held_out
    }
    for synset_id, synset in synsets.items():
        parents = [parent for parent in synset.parents if parent in synsets]
        if synset_id not in test:
            parents = [parent for parent in parents if parent not in test]
        if parents and synset.gloss:
            term = synset.words[0]
            names = [synsets[parent].words[0] for parent in parents]
            yield {
                "id": synset_id,
                "term": term,
                "gloss": synset.gloss,
                "parents": names,
                "split": "test" if synset_id in test else "train",
                "prompt": f"{term} ({synset.gloss}) is a kind of:\n",
                "completion": ", ".join(names),
            }
