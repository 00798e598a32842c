"""Rows for encoders: texts whose words are masked, texts with a class, words with a class or a head
each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.each_row import each_row
from finetune.data.odd_cells import WHOLE, first_misfit, kind_of
from finetune.data.tokens import IGNORED
from finetune.data.trees import check_tree
from synth.core.errors import WrongUse
from synth.core.records import Row

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

# A teacher's own tokens in a batch, where it does not read the student's.
TEACHER_IDS = "teacher_input_ids"
TEACHER_MASK = "teacher_attention_mask"
# Task -> (columns that it needs, those that it may have).
COLUMNS = {
    "mlm": (("text",), ()),
    "classify": (("text",), ("text_pair", "label", "teacher_text")),
    "tokens": (("tokens",), ("tags",)),
    "arcs": (("tokens",), ("heads", "relations")),
}


def read(source: str, task: str, flag: str = "--input") -> Dataset:
    """The rows of a task, which an option names.

    Raises:
        WrongUse: a column is missing, a cell is of another kind, or heads are no tree.
    """
    needed, also = COLUMNS[task]
    dataset = rows.columns(rows.load(source), needed, source, also=also)
    if "label" in dataset.column_names:
        dataset = _with_classes(dataset, f"{flag} {source}")
    each_row(
        dataset,
        lambda number, row: _check(row, task, f"{flag} {source} row {number}"),
    )
    return dataset


def _check(row: Row, task: str, where: str) -> None:
    for name, value in row.items():
        if not _is_sound(name, value):
            raise _unsound(where, name, value)
    if task == "arcs":
        _check_arcs(row, where)


def _with_classes(dataset: Dataset, where: str) -> Dataset:
    """The rows with whole numbers of classes, which a table holds as fractions where a cell is
    empty.

    Raises:
        WrongUse: the row whose label is no class.
    """
    import datasets  # noqa: PLC0415 - a second of imports

    cells = list(dataset["label"])
    place = first_misfit(cells, _is_class)
    if place is not None:
        raise _unsound(f"{where} row {place + 1}", "label", cells[place])
    if not any(isinstance(cell, float) for cell in cells):
        return dataset
    return dataset.cast_column("label", datasets.Value("int64"))


def _is_class(cell: object) -> bool:
    if cell is None or isinstance(cell, str | bool):
        return True
    return kind_of(cell) == WHOLE


def _unsound(where: str, name: str, value: object) -> WrongUse:
    return WrongUse(
        f"{where} {name}",
        f"{value!r}"[:80],
        _WANTED[name],
        "Write it so, or leave the row out.",
    )


def _check_arcs(row: Row, where: str) -> None:
    """Refuses heads that are no tree, and relations that do not fit them."""
    words, heads = row["tokens"], row.get("heads")
    relations = row.get("relations")
    if heads is not None:
        check_tree(heads, words, f"{where} heads")
    if relations is None:
        return
    if heads is None or len(relations) != len(words):
        there = "no" if heads is None else len(heads)
        raise WrongUse(
            f"{where} relations",
            f"{len(relations)} relations, {there} heads of {len(words)} words",
            "a head and its relation for each word",
            "Correct the row.",
        )


# Column -> what stands in its cells.
_WANTED = {
    "text": "a text",
    "text_pair": "a text",
    "teacher_text": "a text",
    "tokens": "a list of words",
    "tags": "a list of tags, one a word",
    "heads": "a list of numbers, one a word",
    "relations": "a list of names, one a word",
    "label": "the name or the number of a class",
}
_NEEDED = ("text", "tokens")
_LISTS = ("tags", "heads", "relations")
# Task -> the column of its classes.
_CLASSES = {"classify": "label", "tokens": "tags", "arcs": "relations"}


def _is_sound(name: str, value: object) -> bool:
    """Whether a cell is of the kind of its column."""
    if value is None:
        return name not in _NEEDED
    if name == "label":
        return isinstance(value, str | int)
    if name in _LISTS:
        return isinstance(value, list)
    if name == "tokens":
        words = value if isinstance(value, list) else [None]
        return bool(words) and all(isinstance(word, str) for word in words)
    return isinstance(value, str) and bool(value or name not in _NEEDED)


def of_task(
    dataset: Sequence[Row],
    task: str,
    tokenizer: PreTrainedTokenizerBase,
    most: int,
    names: Mapping[int, str],
    *,
    where: str,
) -> list[JsonObject]:
    """Ids, `labels` (-100 where none is known) and `counted` (0 or 1: what a teacher speaks to) of
    each row; of words in pieces the first piece counts. Masked words are drawn later.

    Args:
        dataset: rows of `read`.
        task: mlm, classify or tokens.
        tokenizer: of both models.
        most: tokens of a row; the rest is cut off.
        names: of the classes, by number.
        where: the option that named the rows, and their file.

    Raises:
        WrongUse: a class that is none of these, or tags that do not fit their words.
    """
    numbers = {name: number for number, name in names.items()}
    made = []
    for number, row in enumerate(dataset, 1):
        place = f"{where} row {number}"
        if task == "tokens":
            made.append(_words(row, tokenizer, most, numbers, f"{place} tags"))
            continue
        encoded = dict(
            tokenizer(
                row["text"],
                row.get("text_pair"),
                truncation=True,
                max_length=most,
            )
        )
        if task == "classify":
            label = row.get("label")
            encoded["labels"] = class_number(label, numbers, f"{place} label")
            encoded["counted"] = 1
        made.append(encoded)
    return made


def classes_in(dataset: Dataset, task: str, where: str) -> dict[int, str]:
    """Names of the classes of labelled rows by number, in the order of their characters.

    Args:
        dataset: rows of `read`.
        task: classify, tokens or arcs.
        where: what named the rows.

    Raises:
        WrongUse: fewer than two classes.
    """
    column = _CLASSES[task]
    cells = dataset[column] if column in dataset.column_names else []
    labels: list[object] = []
    for cell in cells:
        labels.extend(cell if isinstance(cell, list) else [cell])
    names = {str(label) for label in labels if label is not None}
    if len(names) < 2:
        raise WrongUse(
            f"{where} {column}",
            f"{len(names)} classes",
            "two or more",
            f"Write `{column}` into each row that has some.",
        )
    return dict(enumerate(sorted(names)))


class Pieces(NamedTuple):
    """Words as a model reads them.

    Attributes:
        encoded: what a tokenizer says.
        firsts: word, from 0 -> place of its first token. Words that are cut off, and those without
            a token, are not among them.
    """

    encoded: JsonObject
    firsts: dict[int, int]


def pieces(
    words: Sequence[str], tokenizer: PreTrainedTokenizerBase, most: int
) -> Pieces:
    """The tokens of words, of which at most `most` are read."""
    encoded = tokenizer(
        words, is_split_into_words=True, truncation=True, max_length=most
    )
    firsts: dict[int, int] = {}
    for place, word in enumerate(encoded.word_ids()):
        if word is not None:
            firsts.setdefault(word, place)
    return Pieces(dict(encoded), firsts)


def _words(
    row: Row,
    tokenizer: PreTrainedTokenizerBase,
    most: int,
    numbers: Mapping[str, int],
    where: str,
) -> JsonObject:
    words = row["tokens"]
    tags = row.get("tags")
    if tags is None:
        tags = [None] * len(words)
    if len(tags) != len(words):
        raise WrongUse(
            where,
            f"{len(tags)} tags of {len(words)} words",
            "one a word",
            "Correct the row.",
        )
    read = pieces(words, tokenizer, most)
    labels = [IGNORED] * len(read.encoded["input_ids"])
    counted = [0] * len(labels)
    for word, place in read.firsts.items():
        labels[place] = class_number(tags[word], numbers, where)
        counted[place] = 1
    return {**read.encoded, "labels": labels, "counted": counted}


def class_number(value: object, numbers: Mapping[str, int], where: str) -> int:
    """The number of a class, from its name or its number; -100 for none.

    Raises:
        WrongUse: neither.

    >>> (
    ...     class_number(1, {"1": 0, "2": 1}, "label"),
    ...     class_number(1, {"no": 0, "yes": 1}, "label"),
    ... )
    (0, 1)
    """
    if value is None:
        return IGNORED
    # Stars from 1 to 5 are names of the classes 0 to 4: a name goes before a number.
    if str(value) in numbers:
        return numbers[str(value)]
    numbered = isinstance(value, int) and not isinstance(value, bool)
    for number in numbers.values():
        if numbered and value == number:
            return number
    raise WrongUse(
        where,
        f"{value!r}",
        f"one of {', '.join(numbers)}",
        "These are the classes of the teacher, or of the model.",
    )


def class_name(
    cell: object, classes: Mapping[int, str], where: str
) -> str | None:
    """The name of a class as the training reads it; one that the model does not know keeps its
    own.

    Raises:
        WrongUse: a number that is no class of the model.
    """
    numbers = {name: number for number, name in classes.items()}
    if cell is None:
        return None
    if isinstance(cell, str) and cell not in numbers:
        return cell
    return classes[class_number(cell, numbers, where)]
