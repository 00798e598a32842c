"""Encoders with the head of a task: masked words, classes of texts, classes of words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from finetune.students import truncate
from finetune.students.load import files_in
from finetune.students.number_types import opening_type
from finetune.students.opening import opening
from finetune.students.padding import settle_padding
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.local_models.minilm import folder_of

if TYPE_CHECKING:
    from transformers import (
        PreTrainedConfig,
        PreTrainedModel,
        PreTrainedTokenizerBase,
    )

Task = Literal["mlm", "classify", "tokens"]
# How the names of transformers' classes end.
_KINDS = {
    "mlm": "ForMaskedLM",
    "classify": "ForSequenceClassification",
    "tokens": "ForTokenClassification",
}
_SPOKEN = {
    "mlm": "masked words",
    "classify": "classes of texts",
    "tokens": "classes of words",
}
_ADAPTER = "adapter_config.json"


def open_head(
    model: str,
    task: Task,
    *,
    where: str = "--model",
    classes: Mapping[int, str] | None = None,
    anew: bool = False,
    options: Row | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(encoder with the task's head, tokenizer) from a path or the hub, or from part of one
    (`truncate:PATH:layers=0,2,4`).

    Args:
        model: what to open.
        task: which head.
        where: what named it.
        classes: names of the classes by number, for a head that begins with random weights where
            the model has none for as many; None for those that the model has.
        anew: likewise of a head without classes, of masked words.
        options: of `from_pretrained`, such as `dtype`.

    Raises:
        WrongUse: nothing to open there, or no head of the task; a tokenizer that cannot pad, or
            that does not say to which word a token belongs.
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
            anew=anew,
            options=options,
        )
        return truncate.cut(whole, model), tokenizer
    opened = {"dtype": opening_type(), **(options or {})}
    if classes is not None:
        names = dict(classes)
        opened["id2label"] = names
        opened["label2id"] = {name: n for n, name in names.items()}
        opened["num_labels"] = len(names)
        # A head for another number of classes is made anew; nothing else may be.
        opened["ignore_mismatched_sizes"] = True
    todo = "Give a folder or a name of the hub, or truncate:PATH:layers=0,2,4."
    folder = folder_of(model)
    with opening(f"{where} {model}", model, "an encoder", todo):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, **files_in(opened)
        )
        kind = getattr(transformers, f"AutoModel{_KINDS[task]}")
        made, report = kind.from_pretrained(
            folder, output_loading_info=True, **opened
        )
    named = f"{where} {model}"
    _check_body(made, report["mismatched_keys"], named)
    adapted = (Path(folder) / _ADAPTER).is_file()
    if not anew and classes is None and not adapted:
        _check_head(made, report["missing_keys"], task, named)
    settle_tokenizer(tokenizer, task, named, made.config)
    return made, tokenizer


def _check_body(
    model: PreTrainedModel,
    mismatched: Iterable[tuple[str, object, object]],
    where: str,
) -> None:
    """Refuses weights of the encoder that are of another shape than its config says."""
    body = f"{model.base_model_prefix}."
    wrong = sorted(name for name, *_ in mismatched if name.startswith(body))
    if wrong:
        raise WrongUse(
            where,
            f"{wrong[0]} of another shape than config.json says",
            "an encoder whose files fit together",
            "Copy or save the model again.",
        )


def _check_head(
    model: PreTrainedModel, missing: Iterable[str], task: Task, where: str
) -> None:
    """Refuses a head that the files do not have, which would speak at random, and one that they
    have for another task.
    """
    lacking = sorted(missing)
    found = f"no weights of {lacking[0]}" if lacking else ""
    others = {kind for name, kind in _KINDS.items() if name != task}
    for trained in model.config.architectures or ():
        if trained.endswith(tuple(others)):
            found = f"a {trained}"
    if found:
        raise WrongUse(
            where,
            found,
            f"a model with a head for {_SPOKEN[task]}",
            "Take another model, or train one with finetune heads or finetune distill.",
        )


def settle_tokenizer(
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    where: str,
    config: PreTrainedConfig | None = None,
) -> None:
    """Sees to it that a tokenizer can read rows of a task (see `settle_padding`).

    Args:
        tokenizer: is changed.
        task: that it reads rows of.
        where: what named it.
        config: of its model.

    Raises:
        WrongUse: it cannot pad; or no words of tokens, which tags need.
    """
    settle_padding(tokenizer, where, config)
    if task == "tokens" and not tokenizer.is_fast:
        raise WrongUse(
            where,
            f"{type(tokenizer).__name__}, which does not say which word a token is of",
            "a fast tokenizer (tokenizer.json)",
            "Take a model that has one.",
        )
