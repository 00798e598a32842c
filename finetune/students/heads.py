"""Encoders with the head of a task: masked words, classes of texts, classes of words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from finetune.students import truncate
from finetune.students.load import files_in
from finetune.students.number_types import opening_type
from finetune.students.opening import opening
from synth.core.records import Row
from synth.local_models.minilm import folder_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Task = Literal["mlm", "classify", "tokens"]
_KINDS = {
    "mlm": "AutoModelForMaskedLM",
    "classify": "AutoModelForSequenceClassification",
    "tokens": "AutoModelForTokenClassification",
}


def open_head(
    model: str,
    task: Task,
    *,
    where: str = "--model",
    classes: Mapping[int, str] | None = None,
    options: Row | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(encoder with the task's head, tokenizer) from a path or the hub, or from part of one
    (`truncate:PATH:layers=0,2,4`).

    Args:
        model: what to open.
        task: which head.
        where: what named it.
        classes: names of the classes by number, for a head that is made anew; None for those that
            the model has.
        options: of `from_pretrained`, such as `dtype`.

    Raises:
        WrongUse: nothing to open there.
    """
    import transformers  # noqa: PLC0415 - seconds of imports

    from finetune.students.shrinking import known  # noqa: PLC0415 - torch

    known()

    if truncate.is_truncated(model):
        whole, tokenizer = open_head(
            truncate.source_of(model),
            task,
            where=where,
            classes=classes,
            options=options,
        )
        return truncate.cut(whole, model), tokenizer
    opened = {"dtype": opening_type(), **(options or {})}
    if classes is not None:
        names = dict(classes)
        opened["id2label"] = names
        opened["label2id"] = {name: n for n, name in names.items()}
        opened["num_labels"] = len(names)
    todo = "Give a folder or a name of the hub, or truncate:PATH:layers=0,2,4."
    folder = folder_of(model)
    with opening(f"{where} {model}", model, "an encoder", todo):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, **files_in(opened)
        )
        kind = getattr(transformers, _KINDS[task])
        return kind.from_pretrained(folder, **opened), tokenizer
