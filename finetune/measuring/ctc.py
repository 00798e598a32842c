"""What a student that writes all tokens at once writes, beside what it should."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from finetune.core.own_files import PREDICTIONS, check_folder, write_evaluation
from finetune.core.rows import JsonObject
from finetune.data.prompts import RECORD
from finetune.data.text_pairs import pairs
from finetune.measuring.shares import share_of
from finetune.students.heads import open_head
from finetune.students.kinds import require_kind
from finetune.trainers.ctc import (
    CtcCollator,
    collapsed,
    places,
    source_tokens,
    stretch_of,
)

_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class CtcEvaluation:
    """What to measure.

    Attributes:
        model: a folder of `finetune ctc`.
        data: held-out rows of `prompt` and `completion`.
        output: where evaluation.json and predictions.jsonl go.
        rare: words of completions that stand at most so often among them are rare.
    """

    model: str
    data: str
    output: Path
    rare: int = 1


def run(config: CtcEvaluation) -> JsonObject:
    """Writes each completion in one pass.

    Returns:
        The content of OUTPUT/evaluation.json: `exact_match`, and the share of the words of
        completions that are written, of all (`words`) and of rare ones (`rare_words`), each with
        share, low and high (Wilson 95 %); `cut_rows`, rows of whose prompt the beginning is read.

    Raises:
        WrongUse: a model or rows that cannot be used.
    """
    check_folder(config.output, (PREDICTIONS,), ("model", "rare_words"))
    require_kind(config.model, "ctc", f"--model {config.model}")
    record = Path(config.model) / RECORD
    facts = json.loads(record.read_text(encoding="utf-8"))
    model, tokenizer = open_head(config.model, "mlm")
    model.eval()
    stretch = stretch_of(tokenizer, facts["stretch"])
    data = pairs(config.data, "--input")
    # As the training has it; of a longer prompt the beginning is read.
    most = source_tokens(model, stretch.times)
    collate = CtcCollator(stretch)
    said: list[str] = []
    cut = 0
    for start in range(0, len(data), _BATCH):
        part = data[start : start + _BATCH]
        whole = [
            tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]
            for row in part
        ]
        cut += sum(len(one) > most for one in whole)
        ids = [one[:most] for one in whole]
        batch = collate([{"source": one, "target": []} for one in ids])
        with torch.no_grad():
            best = places(model, batch, stretch).argmax(dim=-1).tolist()
        for source, tokens in zip(ids, best, strict=True):
            written = tokens[: len(source) * stretch.times]
            said.append(tokenizer.decode(collapsed(written, stretch.blank)))
    golds = [" ".join(row["completion"].split()) for row in data]
    info = {
        "model": config.model,
        "cut_rows": cut,
        **scores(golds, said, config.rare),
    }
    rows = [
        {**row, "reply": reply} for row, reply in zip(data, said, strict=True)
    ]
    write_evaluation(config.output, info, rows)
    return info


def scores(
    golds: Sequence[str], replies: Sequence[str], rare: int
) -> JsonObject:
    """`rows`, `exact_match`, `words` and `rare_words`; a word that stands twice must be written
    twice.

    Example:
        >>> found = scores(["a b", "a c"], ["a b", "a a"], 1)
        >>> found["exact_match"]["share"], found["words"]["share"], found["rare_words"]["share"]
        (0.5, 0.75, 0.5)
    """
    everywhere = Counter(word for gold in golds for word in gold.split())
    counts: Counter[str] = Counter()
    for gold, reply in zip(golds, replies, strict=True):
        wanted = Counter(gold.split())
        shared = wanted & Counter(reply.split())
        counts["right"] += gold == reply
        counts["words"] += wanted.total()
        counts["shared"] += shared.total()
        for word, number in wanted.items():
            if everywhere[word] <= rare:
                counts["rare"] += number
                counts["rare_shared"] += shared[word]
    return {
        "rows": len(golds),
        "exact_match": share_of(counts["right"], len(golds)),
        "words": share_of(counts["shared"], counts["words"]),
        "rare_words": share_of(counts["rare_shared"], counts["rare"]),
    }
