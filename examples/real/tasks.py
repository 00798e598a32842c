"""Tasks whose answers people gave, as rows and packs: sentences of reviews, names in posts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from examples.real import texts
from synth.core.errors import WrongUse
from synth.inputs.seeds import read_rows
from synth.packs.pack import Pack

Row = Mapping[str, Any]
HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Task:
    """A question with a few possible answers, asked of many texts.

    Attributes:
        name: of the task and of its pack beside this file.
        rows: the pack's inputs with `target`, what people said; shuffled. Takes the folder of data.
        rule: what a critic is told that the labels mean.
    """

    name: str
    rows: Callable[[Path | None], Sequence[Row]]
    rule: str

    @property
    def folder(self) -> Path:
        """Of the pack."""
        return HERE / self.name

    @cached_property
    def pack(self) -> Pack:
        """What asks a teacher, and says what a student is asked."""
        return Pack.load(self.folder)

    @property
    def choices(self) -> list[str]:
        """The possible answers, as the pack names them."""
        choices: list[str] = self.pack.spec.constants["choices"]
        return choices

    def prompt(self, row: Row) -> list[dict[str, str]]:
        """What a student is asked, as the pack's export has it."""
        template = self.pack.exports["sft"]["sft"]["prompt"]
        text = template.render(row).rstrip("\n")
        return [{"role": "user", "content": text}]


def reviews(data: Path | None = None) -> list[dict[str, str]]:
    """Sentences of reviews from the package registry; they need no folder."""
    del data
    return texts.reviews()


def entities(data: Path | None = None) -> list[dict[str, str]]:
    """Names in posts and what they stand for (WNUT 2017, CC BY 4.0), each name once.

    Args:
        data: holds `wnut17/dev.jsonl` and `wnut17/test.jsonl`, with `tokens` and `tags` (BIO).

    Raises:
        WrongUse: it does not.
    """
    paths = [
        (data or Path()) / "wnut17" / f"{name}.jsonl"
        for name in ("dev", "test")
    ]
    if data is None or not all(path.is_file() for path in paths):
        raise WrongUse(
            "--data",
            f"no {paths[0]}",
            "a folder with wnut17/dev.jsonl and wnut17/test.jsonl",
            "Get WNUT 2017 (github.com/leondz/emerging_entities_17) as rows of tokens and tags.",
        )
    rows: dict[str, dict[str, str]] = {}
    for path in paths:
        for row in read_rows(path):
            sentence = " ".join(row["tokens"])
            for entity, kind in _spans(row["tokens"], row["tags"]):
                named = {"sentence": sentence, "entity": entity, "target": kind}
                # Where annotators gave several kinds, no answer is the right one.
                if "," not in kind:
                    rows.setdefault(entity.casefold(), named)
    out = list(rows.values())
    random.Random(0).shuffle(out)
    return out


def _spans(
    tokens: Sequence[str], tags: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """(name, its kind) of each span of BIO tags."""
    words: list[str] = []
    kind = ""
    for token, tag in zip([*tokens, ""], [*tags, "O"], strict=True):
        if words and not tag.startswith("I-"):
            yield " ".join(words), kind
            words = []
        if tag != "O":
            kind = tag[2:]
            words.append(token)


TASKS = {
    "reviews": Task(
        name="reviews",
        rows=reviews,
        rule="A sentence of a review is positive if its writer likes what it speaks of, and "
        "negative if its writer does not.",
    ),
    "entities": Task(
        name="entities",
        rows=entities,
        rule="A name in a post stands for a person, a location, a corporation (a company), a "
        "product, a group (a band, a team) or a creative-work (a song, a film, a book, a game).",
    ),
}
