"""What a head for dependency trees says of held-out rows, beside what stands there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch

from finetune.core.rows import JsonObject
from finetune.data.arc_rows import read_words
from finetune.data.each_row import each_row
from finetune.data.encoder_rows import class_name
from finetune.data.trees import ROOT
from finetune.measuring.shares import share_of
from finetune.scoring.spanning_tree import best_tree
from finetune.students.arcs import ArcsModel, HeadScores
from finetune.trainers.arcs import ArcsCollator, filled
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_MOST_TOKENS = 512
_BATCH = 32


class Tree(NamedTuple):
    """What a model says of a row.

    Attributes:
        heads: of each word, from 1; 0 for the root, None where the word was not read.
        relations: of each word to that head; None likewise.
    """

    heads: list[int | None]
    relations: list[str | None]


def trees_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[JsonObject],
) -> list[Tree]:
    """The likeliest tree of each row, with one root, over the words that are read, and the
    likeliest relation of each of its arcs.

    Args:
        model: of a head for arcs.
        tokenizer: its own.
        rows: with `tokens`.
    """
    # Of no other task.
    parser = cast("ArcsModel", model)
    tokenizer.padding_side = "right"
    most = min(_MOST_TOKENS, tokenizer.model_max_length)
    names = dict(parser.config.id2label)
    read = [read_words(row["tokens"], tokenizer, most) for row in rows]
    collate = ArcsCollator(tokenizer)
    parser.eval()
    found: list[Tree] = []
    for start in range(0, len(rows), _BATCH):
        part = read[start : start + _BATCH]
        batch = collate([one.encoded for one in part])
        inputs = {
            name: value.to(parser.device) for name, value in batch.items()
        }
        firsts = inputs.pop("firsts")
        with torch.no_grad():
            states = parser.states(firsts, inputs)
            logits = parser.scorer.heads(states, firsts >= 0)
            heads = _trees(logits, [len(one.words) for one in part])
            given = filled("firsts", heads).clamp(min=ROOT).to(parser.device)
            best = parser.scorer.relations(states, given).argmax(dim=-1)
        for row, one, tree, classes in zip(
            rows[start : start + _BATCH],
            part,
            heads,
            best.tolist(),
            strict=True,
        ):
            said = [names[number] for number in classes[: len(tree)]]
            found.append(_placed(tree, said, one.words, len(row["tokens"])))
    return found


def _trees(logits: HeadScores, counts: Sequence[int]) -> list[list[int]]:
    """The best tree of each row, by the likelihood of its heads.

    Args:
        logits: of a batch.
        counts: words of each row.
    """
    logs = logits.double().log_softmax(dim=-1).cpu().numpy()
    return [
        best_tree(np.ascontiguousarray(one[:count, : count + 1]))
        for one, count in zip(logs, counts, strict=True)
    ]


def _placed(
    tree: Sequence[int],
    relations: Sequence[str],
    words: Sequence[int],
    count: int,
) -> Tree:
    """A tree among the words that are read, in their places among all words.

    Args:
        tree: heads by the numbers of the words that are read.
        relations: of them.
        words: their numbers in the row, from 1.
        count: of all words of the row.
    """
    heads: list[int | None] = [None] * count
    said: list[str | None] = [None] * count
    numbers = [ROOT, *words]
    for word, head, relation in zip(words, tree, relations, strict=True):
        heads[word - 1] = numbers[head]
        said[word - 1] = relation
    return Tree(heads, said)


def attachment(
    golds: Sequence[Tree], answers: Sequence[Tree]
) -> dict[str, dict[str, float]]:
    """`uas`, the share of words whose head is found, and `las`, that of words whose head and
    relation are (share, low, high: Wilson 95 %). All words count that have one, punctuation too.

    Args:
        golds: trees that are right, with None for what nobody says.
        answers: trees that were found.

    Example:
        >>> gold, said = Tree([2, 0], ["det", "root"]), Tree([2, 0], ["obj", "root"])
        >>> {name: share["share"] for name, share in attachment([gold], [said]).items()}
        {'uas': 1.0, 'las': 0.5}
    """
    heads = relations = words = labels = 0
    for gold, answer in zip(golds, answers, strict=True):
        for head, relation, found, said in zip(*gold, *answer, strict=True):
            right = head == found
            words += head is not None
            heads += head is not None and right
            labels += relation is not None
            relations += relation is not None and right and relation == said
    return {"uas": share_of(heads, words), "las": share_of(relations, labels)}


def measured_arcs(
    data: Sequence[JsonObject],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    where: str,
) -> tuple[JsonObject, list[JsonObject]]:
    """(what was measured: `words` with a head, `uas`, `las`, `cut` words that were not read, in
    `cut_rows` rows, which count as wrong; the rows with the trees that were `found`).

    Args:
        data: rows of `encoder_rows.read`.
        model: of a head for arcs.
        tokenizer: its own.
        where: what named the rows.

    Raises:
        WrongUse: rows without a tree.
    """
    classes = dict(model.config.id2label)
    golds = each_row(
        data,
        lambda number, row: _gold(row, classes, f"{where} row {number}"),
    )
    words = sum(head is not None for gold in golds for head in gold.heads)
    if not words:
        raise WrongUse(
            where,
            "no `heads`",
            "`heads` and `relations` of words",
            "Write what is right into the rows.",
        )
    found = trees_of(model, tokenizer, data)
    cut = [tree.heads.count(None) for tree in found]
    info: JsonObject = {
        "words": words,
        "cut_rows": sum(map(bool, cut)),
        "cut": sum(cut),
        **attachment(golds, found),
    }
    rows = [
        {**row, "found": tree._asdict()}
        for row, tree in zip(data, found, strict=True)
    ]
    return info, rows


def _gold(row: JsonObject, classes: Mapping[int, str], where: str) -> Tree:
    """What stands in a row. A relation that the model does not know keeps its name, and is never
    found.
    """
    bare = [None] * len(row["tokens"])
    heads = row.get("heads") or bare
    cells = row.get("relations") or bare
    place = f"{where} relations"
    names = [class_name(cell, classes, place) for cell in cells]
    return Tree(list(heads), names)
