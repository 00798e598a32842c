"""What an encoder with the head of a task says of held-out rows, beside what stands there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from finetune.core.own_files import PREDICTIONS, check_folder, write_evaluation
from finetune.core.rows import JsonObject
from finetune.data import encoder_rows
from finetune.data.each_row import each_row
from finetune.data.tags import OUTSIDE, Entity, entities, mark_entities
from finetune.measures.classes import report_of
from finetune.measures.spans import scores
from finetune.measuring.arcs import measured_arcs
from finetune.measuring.shares import share_of
from finetune.students.heads import open_head
from finetune.students.kinds import check_kind
from finetune.students.several_heads import HeadTask, has_heads, load_heads
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_MOST_TOKENS = 512
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """What to measure.

    Attributes:
        model: an encoder with the head of a task, or a folder of `finetune heads`.
        data: rows of the task with their labels or tags.
        output: where evaluation.json and predictions.jsonl go.
        task: classify or tokens; None for that of the head.
        head: of a folder with several; None elsewhere.
    """

    model: str
    data: str
    output: Path
    task: HeadTask | None = None
    head: str | None = None


def run(config: EncoderConfig) -> JsonObject:
    """Measures the rows of one task.

    Returns:
        The content of OUTPUT/evaluation.json. Of trees: what `measured_arcs` says. Of classes:
        `accuracy` of labelled texts or words (share, low, high: Wilson 95 %), the report of
        classes, and of tags that mark entities `entities` (see `entity_scores`). Also what counts
        as wrong or as "O" without being read: `strange`, how often a class stands in the rows that
        the model does not have, and `cut`, the tokens of texts or the words, in `cut_rows` rows,
        that lie behind what the model reads.

    Raises:
        WrongUse: a model or rows that cannot be used, or rows without a class of the model.
    """
    check_folder(config.output, (PREDICTIONS,), ("model", "task", "rows"))
    model, tokenizer, task = _opened(config)
    data = encoder_rows.read(config.data, task)
    if task == "arcs":
        where = f"--input {config.data}"
        more, told = measured_arcs(list(data), model, tokenizer, where)
        info = {**_said(config, task, data), **more}
        write_evaluation(config.output, info, told)
        return info
    classes = dict(model.config.id2label)
    golds = each_row(
        data,
        lambda number, row: _golds(
            row, task, classes, f"--input {config.data} row {number}"
        ),
    )
    strange = _strange(golds, classes, f"--input {config.data}")
    found, cut = predicted(model, tokenizer, task, list(data))
    pairs = Counter(
        (gold, answer)
        for row, answers in zip(golds, found, strict=True)
        for gold, answer in zip(row, answers, strict=True)
        if gold is not None
    )
    right = sum(n for (gold, answer), n in pairs.items() if gold == answer)
    info = {
        **_said(config, task, data),
        "labels": pairs.total(),
        "strange": dict(strange),
        "cut_rows": sum(map(bool, cut)),
        "cut": sum(cut),
        "accuracy": share_of(right, pairs.total()),
        **report_of(pairs),
    }
    if task == "tokens" and mark_entities(classes.values()):
        known = list(map(_marked, golds))
        info["entities"] = entity_scores(known, found)
    answers = [one if task == "tokens" else one[0] for one in found]
    rows = [
        {**row, "found": one} for row, one in zip(data, answers, strict=True)
    ]
    write_evaluation(config.output, info, rows)
    return info


def _said(
    config: EncoderConfig, task: HeadTask, data: Sequence[JsonObject]
) -> JsonObject:
    """What every measurement says of its model and rows."""
    return {
        "model": config.model,
        "head": config.head,
        "task": task,
        "rows": len(data),
    }


def _opened(
    config: EncoderConfig,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, HeadTask]:
    """The model of one task, its tokenizer, and the task."""
    check_kind(
        config.model,
        ("heads", "classify", "tokens"),
        f"--model {config.model}",
        "an encoder with the head of a task",
    )
    if has_heads(config.model):
        heads, tokenizer = load_heads(config.model)
        model, own = heads.alone(config.head or "")
        if config.task not in (None, own):
            raise WrongUse(
                f"--task {config.task}",
                f"--head {config.head}, which is of {own}",
                "the task of the head",
                "Leave --task out.",
            )
        return model, tokenizer, own
    task = config.task
    if config.head is not None or task is None or task == "arcs":
        raise WrongUse(
            f"--model {config.model}",
            f"one head, with --head {config.head} and --task {config.task}",
            "--task classify or tokens, and no --head",
            "Name the task of the model.",
        )
    model, tokenizer = open_head(config.model, task)
    return model, tokenizer, task


def _golds(
    row: JsonObject, task: HeadTask, classes: Mapping[int, str], where: str
) -> list[str | None]:
    """The classes of a text (one) or of its words by name; None for one that nobody says.

    Raises:
        WrongUse: a number that is no class of the model, or tags that do not fit their words.
    """
    if task == "classify":
        cells = [row.get("label")]
        place = f"{where} label"
    else:
        cells = row.get("tags") or [None] * len(row["tokens"])
        place = f"{where} tags"
        if len(cells) != len(row["tokens"]):
            raise WrongUse(
                place,
                f"{len(cells)} tags of {len(row['tokens'])} words",
                "one a word",
                "Correct the row.",
            )
    return [encoder_rows.class_name(cell, classes, place) for cell in cells]


def _marked(golds: Sequence[str | None]) -> list[str]:
    return [gold or OUTSIDE for gold in golds]


def _strange(
    golds: Sequence[Sequence[str | None]],
    classes: Mapping[int, str],
    where: str,
) -> Counter[str]:
    """How often each class stands in the rows that the model does not have.

    Raises:
        WrongUse: none stands there that it has.
    """
    said = Counter(gold for row in golds for gold in row if gold is not None)
    strange = Counter({name: said[name] for name in said})
    for name in classes.values():
        del strange[name]
    if strange.total() == said.total():
        listed = ", ".join(sorted(strange)[:8])
        raise WrongUse(
            where,
            f"labels {listed}"[:200] if listed else "no labels",
            f"`label`, or `tags` of words, among {', '.join(classes.values())}",
            "Write what is right into the rows, or measure another model.",
        )
    return strange


def predicted(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: HeadTask,
    rows: Sequence[JsonObject],
) -> tuple[list[list[str]], list[int]]:
    """(the likeliest class of each text (one), or of each of its words; how much of each row the
    model does not read: tokens of a text, or words).

    Words that are not read get "O".
    """
    tokenizer.padding_side = "right"
    most = min(_MOST_TOKENS, tokenizer.model_max_length)
    names = dict(model.config.id2label)
    read = [_read(row, task, tokenizer, most) for row in rows]
    model.eval()
    found: list[list[str]] = []
    for start in range(0, len(read), _BATCH):
        part = read[start : start + _BATCH]
        batch = tokenizer.pad(
            [one.encoded for one in part], return_tensors="pt"
        ).to(model.device)
        with torch.no_grad():
            best = model(**batch).logits.argmax(dim=-1).tolist()
        for one, numbers in zip(part, best, strict=True):
            if task == "classify":
                found.append([names[numbers]])
                continue
            said = [OUTSIDE] * one.words
            for word, place in one.firsts.items():
                said[word] = names[numbers[place]]
            found.append(said)
    return found, [one.cut for one in read]


class _Row(NamedTuple):
    """A row as the model reads it.

    Attributes:
        encoded: what its tokenizer says.
        firsts: word -> place of its first token; {} of a text.
        words: of the row; 0 of a text.
        cut: words, or tokens of a text, that are not read.
    """

    encoded: JsonObject
    firsts: Mapping[int, int]
    words: int
    cut: int


def _read(
    row: JsonObject,
    task: HeadTask,
    tokenizer: PreTrainedTokenizerBase,
    most: int,
) -> _Row:
    if task == "tokens":
        encoded, firsts = encoder_rows.pieces(row["tokens"], tokenizer, most)
        words = len(row["tokens"])
        return _Row(encoded, firsts, words, words - len(firsts))
    texts = (row["text"], row.get("text_pair"))
    whole = len(tokenizer(*texts)["input_ids"])
    encoded = dict(tokenizer(*texts, truncation=True, max_length=most))
    return _Row(encoded, {}, 0, whole - len(encoded["input_ids"]))


def entity_scores(
    golds: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]
) -> JsonObject:
    """Precision, recall and F1 of whole entities, as conlleval counts them: over all (micro), the
    mean F1 of the kinds that stand in the golds (`macro_f1`), and by `kinds`.

    Args:
        golds: tags of each row.
        answers: likewise.

    Example:
        >>> entity_scores([["B-A", "O", "B-B"]], [["B-A", "B-A", "B-B"]])["f1"]
        0.8
    """
    said: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    shared: Counter[str] = Counter()
    for gold, answer in zip(golds, answers, strict=True):
        theirs, ours = entities(gold), entities(answer)
        said += _kinds(ours)
        wanted += _kinds(theirs)
        shared += _kinds(ours & theirs)
    kinds = {
        kind: scores(shared[kind], said[kind], wanted[kind])
        for kind in sorted(said | wanted)
    }
    there = [kinds[kind]["f1"] for kind in sorted(wanted)]
    return {
        **scores(shared.total(), said.total(), wanted.total()),
        "macro_f1": round(sum(there) / max(1, len(there)), 4),
        "kinds": kinds,
    }


def _kinds(found: set[Entity]) -> Counter[str]:
    return Counter(one.kind for one in found)
