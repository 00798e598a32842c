"""Rows of dependency trees as an encoder reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from finetune.core.rows import JsonObject
from finetune.data.encoder_rows import class_number, pieces
from finetune.data.tokens import IGNORED
from finetune.data.trees import ROOT
from synth.core.records import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class ReadWords(NamedTuple):
    """Words as a model reads them.

    Attributes:
        encoded: what a tokenizer says, and `firsts`: the place of the first token of each word that
            has one.
        words: numbers of these words in the row, from 1.
    """

    encoded: JsonObject
    words: list[int]


def read_words(
    words: Sequence[str], tokenizer: PreTrainedTokenizerBase, most: int
) -> ReadWords:
    """The tokens of words, of which at most `most` are read."""
    read = pieces(words, tokenizer, most)
    firsts = list(read.firsts.values())
    numbers = [word + 1 for word in read.firsts]
    return ReadWords({**read.encoded, "firsts": firsts}, numbers)


def of_arcs(
    dataset: Sequence[Row],
    tokenizer: PreTrainedTokenizerBase,
    most: int,
    names: Mapping[int, str],
    *,
    where: str,
) -> list[JsonObject]:
    """Of each row its ids, and of each word that is read `firsts`, `labels` (its head among the
    words that are read, from 1; 0 for the root), `relations` and `counted` (1). A label is -100
    where none is known, or where the head is not read.

    Args:
        dataset: rows of `encoder_rows.read`.
        tokenizer: of both models.
        most: tokens of a row; the rest is cut off.
        names: of the relations, by number.
        where: the option that named the rows, and their file.

    Raises:
        WrongUse: a relation that is none of these.
    """
    numbers = {name: number for number, name in names.items()}
    made = []
    for number, row in enumerate(dataset, 1):
        place = f"{where} row {number} relations"
        encoded, words = read_words(row["tokens"], tokenizer, most)
        bare = [None] * len(row["tokens"])
        heads = row.get("heads") or bare
        relations = row.get("relations") or bare
        slots: dict[object, int] = {
            word: slot for slot, word in enumerate(words, 1)
        }
        slots[ROOT] = ROOT
        labels = [slots.get(heads[word - 1], IGNORED) for word in words]
        classes = [
            class_number(relations[word - 1], numbers, place) for word in words
        ]
        made.append(
            {
                **encoded,
                "labels": labels,
                # A relation is that to a head.
                "relations": [
                    IGNORED if label == IGNORED else one
                    for label, one in zip(labels, classes, strict=True)
                ],
                "counted": [1] * len(words),
            }
        )
    return made
