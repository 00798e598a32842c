"""Items as short codes, for students that write what a user chooses next: vectors of items by what
users chose and by what their texts say become one, and one becomes a code (after PRORec,
arXiv:2502.06269).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from finetune.core.json_files import as_people_read, write_together
from finetune.core.own_files import MEASURED, check_folder
from finetune.core.rows import JsonObject
from finetune.data.histories import Catalogue, read_catalogue, read_histories
from finetune.measuring.embeddings import unit_vectors
from finetune.scoring.residual_codes import residual_codes
from finetune.trainers.collaborative import collaborative_vectors
from finetune.trainers.in_modality import fused_vectors
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from finetune.scoring.residual_codes import Points

ITEMS = "items.jsonl"
ROWS = "rows.jsonl"
HELD_OUT = "held_out.jsonl"
# The signs of the levels, then that of items which have all of them in common.
LETTERS = "abcdefgh"
LAST = "z"
# A history with as many items has one to hold out, the last.
_TO_HOLD_OUT = 3
# Items whose likenesses are compared: 1,000 have some 500,000 pairs.
_MOST_COMPARED = 1000
# Of two items there is one pair, whose likeness correlates with nothing.
_LEAST_COMPARED = 3

# Numbers of items, in their order.
History = Sequence[int]


@dataclass(frozen=True, kw_only=True)
class ItemCodesConfig:
    """What `finetune item-codes` is told.

    Attributes:
        data: rows with `items`, what a user chose, the earliest first.
        items: rows with `item` and `text`.
        model: an encoder of the texts, or hashing.
        output: folder for the codes and the rows.
        width: numbers of an item's vector.
        levels: signs of a code, 1 to 8.
        size: signs of a level.
        epochs: times that every choice, and then every item, is learnt.
        align: weight of the alignment of choices and texts.
        semantic: weight of the likenesses by the texts; those by the choices have 1.
        most: items of a history that a student reads, the latest ones.
        seed: of the vectors, their order and the first means.
    """

    data: str
    items: str
    model: str
    output: Path
    width: int = 64
    levels: int = 3
    size: int = 16
    epochs: int = 100
    align: float = 0.1
    semantic: float = 1.0
    most: int = 20
    seed: int = 0


def run(config: ItemCodesConfig) -> JsonObject:
    """Writes OUTPUT/items.jsonl (item, text, code), rows.jsonl (prompt, completion: codes of a
    history and the code that comes next) and held_out.jsonl (prompt, target: the last item of
    each history of three or more, from which nothing is learnt).

    Returns:
        The content of OUTPUT/evaluation.json: items, histories, rows, held_out, `codes` (different
        ones before the last sign), `common` (see `common_signs`) and `kept`, correlations from -1
        to 1 of the cosines of decoded codes with those by the choices and by the texts.

    Raises:
        WrongUse: rows without their columns, more signs than items, a folder of others.
    """
    check_folder(config.output, (ITEMS, ROWS, HELD_OUT), ("codes", "common"))
    catalogue = read_catalogue(config.items)
    whole = read_histories(config.data, catalogue.numbers)
    count = len(catalogue.items)
    if config.size > count:
        raise WrongUse(
            f"--size {config.size}",
            f"{count:,} items",
            "at most as many signs of a level as there are items",
            "Lower it.",
        )
    histories = [
        history[:-1] if len(history) >= _TO_HOLD_OUT else history
        for history in whole
    ]
    texts = torch.from_numpy(unit_vectors(config.model, catalogue.texts))
    torch.manual_seed(config.seed)
    chosen = collaborative_vectors(
        histories,
        texts,
        width=config.width,
        epochs=config.epochs,
        align=config.align,
    )
    fused = fused_vectors(
        chosen,
        texts,
        width=config.width,
        epochs=config.epochs,
        semantic=config.semantic,
    )
    made = residual_codes(
        fused.double().numpy(), config.levels, config.size, config.seed
    )
    codes = written(made.codes.tolist())
    learnt = list(_learnt(histories, codes, config.most))
    held_out = list(_held_out(whole, codes, config.most))
    decoded = made.decoded()
    info: JsonObject = {
        "model": config.model,
        "items": count,
        "histories": len(whole),
        "rows": len(learnt),
        "held_out": len(held_out),
        "codes": len({*map(tuple, made.codes.tolist())}),
        "common": common_signs(made.codes.tolist(), histories),
        "kept": {
            "collaborative": _kept(decoded, chosen.double().numpy()),
            "semantic": _kept(decoded, texts.double().numpy()),
        },
    }
    config.output.mkdir(parents=True, exist_ok=True)
    write_together(
        {
            config.output / ITEMS: _lines(_items(catalogue, codes)),
            config.output / ROWS: _lines(learnt),
            config.output / HELD_OUT: _lines(held_out),
            config.output / MEASURED: as_people_read(info),
        }
    )
    return info


def written(codes: Sequence[Sequence[int]]) -> list[str]:
    """Codes as words, a letter a level; where some items have all signs in common, one more word
    tells them apart.

    >>> written([[0, 2], [1, 0], [0, 2]])
    ['a0 b2 z0', 'a1 b0 z0', 'a0 b2 z1']
    """
    texts = []
    for code in codes:
        signs = zip(LETTERS, code, strict=False)
        texts.append(" ".join(f"{letter}{number}" for letter, number in signs))
    if len({*texts}) == len(texts):
        return texts
    seen: Counter[str] = Counter()
    apart = []
    for text in texts:
        apart.append(f"{text} {LAST}{seen[text]}")
        seen[text] += 1
    return apart


def common_signs(
    codes: Sequence[Sequence[int]], histories: Sequence[History]
) -> JsonObject:
    """Signs from the first on that two items have in common, 0 to the number of levels: the mean
    over items that stand beside each other in a history (`together`), and over all pairs of the
    first 1,000 items (`all`).
    """
    beside = []
    for history in histories:
        for left, right in pairwise(history):
            if left != right:
                beside.append(_shared(codes[left], codes[right]))
    table = codes[:_MOST_COMPARED]
    pairs = []
    for place, left_code in enumerate(table):
        pairs += [_shared(left_code, other) for other in table[:place]]
    return {"together": _mean(beside), "all": _mean(pairs)}


def _shared(left: Sequence[int], right: Sequence[int]) -> int:
    for level, (one, other) in enumerate(zip(left, right, strict=True)):
        if one != other:
            return level
    return len(left)


def _mean(values: Sequence[int]) -> float:
    return round(sum(values) / max(1, len(values)), 4)


def _kept(decoded: Points, teacher: Points) -> float:
    """The correlation of cosines over pairs of items; 0 where all of one side are alike, as
    those of fewer than three items are.
    """
    count = min(len(decoded), _MOST_COMPARED)
    upper = np.triu_indices(count, 1)
    if count < _LEAST_COMPARED:
        return 0.0
    sides = []
    for vectors in (decoded[:count], teacher[:count]):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = vectors / np.maximum(lengths, 1e-12)
        sides.append((unit @ unit.T)[upper])
    if min(side.std() for side in sides) < 1e-12:
        return 0.0
    return round(float(np.corrcoef(*sides)[0, 1]), 4)


def prompt(history: History, codes: Sequence[str]) -> str:
    r"""What a student reads of a history.

    >>> prompt([1, 0], ["a0 b1", "a2 b0"])
    'chosen: a2 b0 ; a0 b1\nnext:'
    """
    before = " ; ".join(codes[item] for item in history)
    return f"chosen: {before}\nnext:"


def _learnt(
    histories: Sequence[History], codes: Sequence[str], most: int
) -> Iterator[JsonObject]:
    """A row for each item that comes behind others."""
    for history in histories:
        for place in range(1, len(history)):
            before = history[max(0, place - most) : place]
            yield {
                "prompt": prompt(before, codes),
                "completion": f" {codes[history[place]]}",
            }


def _held_out(
    histories: Sequence[History], codes: Sequence[str], most: int
) -> Iterator[JsonObject]:
    """The last item of each history that is long enough."""
    for history in histories:
        if len(history) >= _TO_HOLD_OUT:
            before = history[:-1][-most:]
            yield {
                "prompt": prompt(before, codes),
                "target": codes[history[-1]],
            }


def _items(catalogue: Catalogue, codes: Sequence[str]) -> Iterator[JsonObject]:
    for item, text, code in zip(
        catalogue.items, catalogue.texts, codes, strict=True
    ):
        yield {"item": item, "text": text, "code": code}


def _lines(made: Iterable[JsonObject]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
