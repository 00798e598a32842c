"""Retrievers and rankers over sentence-transformers: bi-encoders, cross-encoders, and multi-vector
encoders.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from finetune.core import sharding as shards
from finetune.core.rows import JsonObject
from finetune.data import query_lists as lists
from finetune.data.query_lists import Listed
from finetune.settings import (
    TrainConfig,
    model_options,
    peft_config,
    trainer_config,
)
from finetune.students import load as student
from finetune.students.encoders import encoder_classes, open_encoder
from synth.core import registry
from synth.core.errors import WrongUse, did_you_mean
from synth.core.plugins import is_import
from synth.processes.ranks import is_first_process, is_launched

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from torch import nn
    from transformers import Trainer

    from finetune.list_losses.base import ListLoss

# Texts, scores or numbers, one a row.
Columns = dict[str, Sequence[object]]

# What a loss of sentence-transformers reads of a row, by kind of model.
_LISTWISE = (
    "list_net",
    "list_mle",
    "p_list_mle",
    "lambda",
    "rank_net",
    "adrmse",
)
_POINTWISE = ("binary_cross_entropy", "mse")
_SCORED = ("margin_mse", "distill_kl_div")


@dataclass(frozen=True, kw_only=True)
class RetrieverConfig:
    """What to train and by which loss.

    Attributes:
        kind: `bi` (one vector a text), `cross` (reads query and text together) or `multi` (a vector
            a token).
        loss: a name of `finetune.list_losses` (for `bi`), else of sentence-transformers in snake
            case without "loss".
        negatives: most texts a query besides the first; rows with fewer are filled by their own
            again where the loss cannot leave them out.
        scale: 1 / temperature, for losses of `finetune.list_losses`.
        teacher: a frozen encoder, for losses that learn from vectors.
    """

    kind: str = "bi"
    loss: str = "multiple_negatives_ranking"
    negatives: int = 4
    scale: float = 20.0
    teacher: str | None = None


def run(
    config: TrainConfig, *, retriever: RetrieverConfig | None = None
) -> JsonObject:
    """Trains a retriever or a ranker and saves it as sentence-transformers does.

    Returns:
        The content of OUTPUT/train.json: rows, steps, loss, kind and more.

    Raises:
        WrongUse: data, a model, a loss or a trainer field that cannot be used.
    """
    wanted = retriever or RetrieverConfig()
    listed = lists.load(config.data)
    spec = registry.parse_spec(wanted.loss, "--loss")
    own = wanted.kind == "bi" and (
        is_import(spec["name"])
        or spec["name"] in registry.names("finetune.list_losses")
    )
    if wanted.kind not in ("bi", "cross", "multi"):
        raise WrongUse(
            "--kind",
            repr(wanted.kind),
            "bi, cross or multi",
            did_you_mean(wanted.kind, ("bi", "cross", "multi")),
        )
    _check_processes(wanted, spec["name"], config)
    _, trainer_class, args_class = encoder_classes(wanted.kind)
    # Losses of this project know equal texts themselves; those of the library must not meet any in
    # a batch.
    given = (
        dict(config.trainer)
        if own or wanted.kind == "cross"
        else {"batch_sampler": "no_duplicates", **config.trainer}
    )
    args = trainer_config(
        args_class, replace(config, trainer=given), "retriever"
    )
    from transformers import set_seed  # noqa: PLC0415 - seconds of imports

    # Adapters and heads begin at random, and at the same place in all processes.
    set_seed(args.seed)
    model = open_encoder(
        wanted.kind, config.model, options=model_options(config)
    )
    if config.lora is not None:
        model.add_adapter(
            peft_config(
                config,
                "SEQ_CLS" if wanted.kind == "cross" else "FEATURE_EXTRACTION",
            )
        )
    width = 1 + min(
        wanted.negatives, max(len(row.documents) for row in listed) - 1
    )
    if own:
        loss, data = _own(
            model, listed, spec, wanted, width=width, start=config.model
        )
    else:
        loss, data = _library(model, listed, width, spec, wanted.kind)
    trainer = trainer_class(
        model=model, args=args, train_dataset=data, loss=loss
    )
    save = None
    if config.sharding is not None:
        save = _saving(model)
    info = student.train_and_keep(
        trainer,
        model.tokenizer,
        config,
        len(listed),
        keep=lambda: model.save_pretrained(str(config.output)),
        save=save,
    )
    info |= {"kind": wanted.kind, "retriever_loss": wanted.loss, "texts": width}
    return student.write_info(config, info)


def _check_processes(
    wanted: RetrieverConfig, name: str, config: TrainConfig
) -> None:
    """Refuses what several processes cannot train together.

    Raises:
        WrongUse: which option.
    """
    if is_launched() and wanted.kind == "cross" and name in _LISTWISE:
        raise WrongUse(
            f"--kind cross --loss {name}",
            "several processes",
            "one, since this loss reads its texts in several passes",
            f"Leave --processes out, or take one of {', '.join(_POINTWISE)}.",
        )
    if config.sharding is None:
        return
    found = {
        f"--kind {wanted.kind}": wanted.kind == "cross",
        f"--loss {name}": name.startswith("cached"),
        f"--teacher {wanted.teacher}": wanted.teacher is not None,
        "--resume-from-checkpoint": config.trainer.get(
            "resume_from_checkpoint"
        ),
    }
    for option, is_given in found.items():
        if is_given:
            raise WrongUse(
                f"{shards.OPTION} {config.sharding}",
                f"with {option}",
                "an encoder of one or several vectors a text, in one pass",
                "Leave one of them out.",
            )


def _saving(
    model: SentenceTransformer,
) -> Callable[[Trainer, str], None]:
    """Saves a model in shards: its weights go into a copy of what it was before the training."""
    before = deepcopy(model) if is_first_process() else None
    # accelerate looks for the last norm of a decoder, and would take what makes vectors of length
    # 1 for one, which cannot be wrapped: it looks in the first module alone then.
    model.base_model_prefix = "0"

    def save(_: Trainer, folder: str) -> None:
        weights = shards.whole(model)
        if before is not None:
            before.load_state_dict(weights)
            before.save_pretrained(folder)

    return save


def _own(
    model: SentenceTransformer,
    listed: Sequence[Listed],
    spec: JsonObject,
    wanted: RetrieverConfig,
    *,
    width: int,
    start: str,
) -> tuple[nn.Module, Dataset]:
    """A loss of this project, over texts in columns and the number of each row as its label."""
    import datasets  # noqa: PLC0415

    from finetune.trainers.list_module import ListModule  # noqa: PLC0415

    loss = registry.build("finetune.list_losses", spec, "--loss")
    _need(listed, loss, wanted)
    teacher = None
    if "teacher" in loss.needs:
        teacher = open_encoder(
            "bi", start if loss.previous else str(wanted.teacher), "--teacher"
        ).eval()
    module = ListModule(
        model, loss, listed, width=width, scale=wanted.scale, teacher=teacher
    )
    columns: Columns = {"anchor": [row.query for row in listed]}
    for position in range(width):
        name = "positive" if position == 0 else f"negative_{position}"
        columns[name] = [_text(row, position) for row in listed]
    columns["label"] = list(range(len(listed)))
    return module, datasets.Dataset.from_dict(columns)


def _text(row: Listed, position: int) -> str:
    """A list's text, its first one where there are too few."""
    there = position < len(row.documents)
    return row.documents[position if there else 0]


def _need(
    listed: Sequence[Listed], loss: ListLoss, wanted: RetrieverConfig
) -> None:
    """Raises WrongUse where rows or settings lack what a loss needs."""
    lacks = {
        "targets": any(row.scores is None for row in listed),
        "groups": not all(row.group for row in listed),
        "teacher": wanted.teacher is None and not loss.previous,
    }
    hints = {
        "targets": "rows with documents and scores (`synth export DIR --to ranked`)",
        "groups": "rows with `group`",
        "teacher": "--teacher M",
    }
    for need in loss.needs:
        if lacks[need]:
            raise WrongUse(
                f"--loss {wanted.loss}",
                f"no {need}",
                hints[need],
                "Give them, or take another loss.",
            )


def _library(
    model: SentenceTransformer,
    listed: Sequence[Listed],
    width: int,
    spec: JsonObject,
    kind: str,
) -> tuple[nn.Module, Dataset]:
    """A loss of sentence-transformers and the columns that it reads."""
    import datasets  # noqa: PLC0415

    name = spec["name"]
    parameters = {key: value for key, value in spec.items() if key != "name"}
    room = _losses(kind)
    made = room.get(name.replace("_", ""))
    if made is None:
        names = (
            *(registry.names("finetune.list_losses") if kind == "bi" else ()),
            *room,
        )
        raise WrongUse(
            f"--loss {name}",
            f"no such loss for --kind {kind}",
            "one that is there",
            did_you_mean(name, names),
        )
    gathers = "gather_across_devices"
    if is_launched() and gathers in inspect.signature(made).parameters:
        # Negatives of the joint batch.
        parameters.setdefault(gathers, True)
    if name in (*_LISTWISE, *_SCORED, "mse") and any(
        row.scores is None for row in listed
    ):
        raise WrongUse(
            f"--loss {name}",
            "rows without scores",
            "documents with scores",
            "Write them with `synth export DIR --to ranked`.",
        )
    try:
        if "guide" in parameters:
            parameters["guide"] = open_encoder(
                "bi", str(parameters["guide"]), "--loss guide"
            )
        loss = made(model, **parameters)
    except (TypeError, ValueError) as error:
        raise WrongUse(
            f"--loss {name}",
            str(error),
            f"parameters of {made.__name__}",
            "See the documentation of sentence-transformers.",
        ) from error
    return loss, datasets.Dataset.from_dict(_columns(listed, width, name, kind))


def _losses(kind: str) -> JsonObject:
    """The classes of a kind of model by their plain names."""
    from importlib import import_module  # noqa: PLC0415

    package = {
        "bi": "sentence_transformer",
        "cross": "cross_encoder",
        "multi": "multi_vector_encoder",
    }[kind]
    module = import_module(f"sentence_transformers.{package}.losses")
    return {
        _plain(name): getattr(module, name)
        for name in dir(module)
        if name.endswith("Loss")
    }


def _plain(name: str) -> str:
    """A class's name as it is asked for, without underscores: MultiVectorMarginMSELoss is
    margin_mse.
    """
    return name.removesuffix("Loss").replace("MultiVector", "").casefold()


def _columns(
    listed: Sequence[Listed], width: int, name: str, kind: str
) -> Columns:
    """Rows as a loss of the library reads them."""
    if kind == "cross" and name in _LISTWISE:
        scores = [list((row.scores or ())[:width]) for row in listed]
        return {
            "query": [row.query for row in listed],
            "documents": [list(row.documents[:width]) for row in listed],
            "label": scores,
        }
    if kind == "cross" and name in _POINTWISE:
        pairs = [
            (row, position)
            for row in listed
            for position in range(min(width, len(row.documents)))
        ]
        labels = [
            float(position == 0) if row.scores is None else row.scores[position]
            for row, position in pairs
        ]
        return {
            "query": [row.query for row, _ in pairs],
            "document": [row.documents[position] for row, position in pairs],
            "label": labels,
        }
    filled = [_filled(row, width) for row in listed]
    columns: Columns = {
        "anchor": [row.query for row in listed],
        "positive": [row.documents[0] for row in filled],
    }
    for position in range(1, width):
        negatives = [row.documents[position] for row in filled]
        columns[f"negative_{position}"] = negatives
    if name in _SCORED:
        return {**columns, "label": [list(row.scores or ()) for row in filled]}
    return columns


def _filled(row: Listed, width: int) -> Listed:
    """The row with exactly `width` texts: its negatives again where there are too few.

    Raises:
        WrongUse: a row without a negative where others have some.
    """
    if len(row.documents) == 1 < width:
        raise WrongUse(
            "--input",
            f"no negative for {row.query[:60]!r}",
            "one for every row, or for none",
            "Mine some, or give --negatives 0.",
        )
    positions = (
        [
            0,
            *(
                1 + position % (len(row.documents) - 1)
                for position in range(width - 1)
            ),
        ]
        if width > 1
        else [0]
    )
    scores = (
        tuple(row.scores[position] for position in positions)
        if row.scores
        else None
    )
    return Listed(
        row.query,
        tuple(row.documents[position] for position in positions),
        scores,
        row.group,
    )
