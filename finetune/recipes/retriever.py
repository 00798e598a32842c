"""Retrievers and rankers over sentence-transformers: bi-encoders, cross-encoders, and multi-vector
encoders.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from finetune.core import sharding as shards
from finetune.core.rows import JsonObject
from finetune.data import query_lists as lists
from finetune.data.loss_columns import Columns, columns_of, form_of, ranked
from finetune.data.query_lists import Listed
from finetune.scoring.principal import shortened
from finetune.scoring.retrievers import open_scorer
from finetune.scoring.word_scores import WordScorer
from finetune.settings import (
    TrainConfig,
    model_options,
    peft_config,
    trainer_config,
)
from finetune.students import load as student
from finetune.students.encoders import KINDS, encoder_classes, open_encoder
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
    from finetune.trainers.taught import Taught

# Wants a cross-encoder with a head of several classes, which none here has.
# The last three learn the weights of another model of the same vocabulary, or are parts of losses.
_LEFT_OUT = (
    "CrossEntropyLoss",
    "SparseMSELoss",
    "FlopsLoss",
    "CSRReconstructionLoss",
)
# Kinds of students that learn by the losses of this project.
_OWN = ("bi", "heads", "pair")
# A loss of kind multi that learns a teacher's tokens.
_ALIGNED = "token_alignment"
# Losses that wrap another one.
_AROUND = (
    "matryoshka",
    "matryoshka2d",
    "adaptivelayer",
    "splade",
    "cachedsplade",
    "csr",
)
_INNER = "multiple_negatives_ranking"
# How much the weights of texts and of queries cost, as the documentation of the library has them.
_FLOPS = {
    "document_regularizer_weight": 3e-5,
    "query_regularizer_weight": 5e-5,
}
# The shortest vector that a Matryoshka loss is asked to make use of, unless it is told.
_SHORTEST = 32


@dataclass(frozen=True, kw_only=True)
class RetrieverConfig:
    """What to train and by which loss.

    Attributes:
        kind: `bi` (one vector a text), `cross` (reads query and text together), `multi` (a vector
            a token), `sparse` (a weight for each word of the vocabulary), `heads` (a vector a
            text, a weight a term and a vector a token by one encoder) or `pair` (a vector a text,
            and a small network that scores two of them).
        loss: a name of `finetune.list_losses` (for `bi`), else of sentence-transformers in snake
            case without "loss".
        negatives: most texts a query besides the first; rows with fewer are filled by their own
            again where the loss cannot leave them out.
        scale: 1 / temperature, for losses of `finetune.list_losses`.
        teacher: a frozen encoder, for losses that learn from vectors or from its scores.
        teacher_kind: of the teacher; other kinds than `bi` for losses that read scores alone, and
            `words` for a language model whose states a loss compares.
        template: of the prompt of a teacher of kind `words`, with {query} and {document}.
        pooling: how one vector is made of the tokens' states; None for the model's own way.
        size: numbers of the student's vector, by a layer more; None for the model's own. A teacher
            with longer vectors is shortened by its principal components.
    """

    kind: str = "bi"
    loss: str = "multiple_negatives_ranking"
    negatives: int = 4
    scale: float = 20.0
    teacher: str | None = None
    teacher_kind: str = "bi"
    template: str | None = None
    pooling: str | None = None
    size: int | None = None


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
    own = wanted.kind in _OWN and (
        is_import(spec["name"])
        or spec["name"] in registry.names("finetune.list_losses")
    )
    if wanted.kind not in KINDS:
        raise WrongUse(
            "--kind",
            repr(wanted.kind),
            ", ".join(KINDS),
            did_you_mean(wanted.kind, KINDS),
        )
    _check_processes(wanted, spec["name"], config)
    _, trainer_class, args_class = encoder_classes(wanted.kind)
    # Losses of this project know equal texts themselves; those of the library that take other rows
    # of a batch for negatives must not meet any.
    given = (
        dict(config.trainer)
        if own or wanted.kind == "cross"
        else {**_sampler(spec, wanted.kind), **config.trainer}
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
    _reshape(model, wanted)
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
    if wanted.kind == "multi" and spec["name"] == _ALIGNED:
        loss, data = _aligned(model, listed, spec, wanted)
    elif own:
        loss, data = _own(
            model, listed, spec, wanted, width=width, start=config.model
        )
    else:
        loss, data = _library(model, listed, width, spec, wanted)
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


def _reshape(model: SentenceTransformer, wanted: RetrieverConfig) -> None:
    """What is asked of the student's vector."""
    if wanted.pooling is not None:
        _pool(model, wanted)
    if wanted.size is not None:
        _shorten(model, wanted)


def _pool(model: SentenceTransformer, wanted: RetrieverConfig) -> None:
    """Another way from the tokens' states to one vector.

    Raises:
        WrongUse: no such way, or a kind of model without one vector.
    """
    from finetune.students.pair_parts import pool  # noqa: PLC0415

    if wanted.kind not in _OWN:
        raise WrongUse(
            f"--pooling {wanted.pooling}",
            f"--kind {wanted.kind}",
            f"a model with a vector a text: kind {', '.join(_OWN)}",
            "Leave --pooling out.",
        )
    try:
        pool(model, str(wanted.pooling))
    except ValueError as error:
        raise WrongUse(
            f"--pooling {wanted.pooling}",
            str(error),
            "attention, mean, cls, max or lasttoken",
            "Take one of them.",
        ) from error


def _shorten(model: SentenceTransformer, wanted: RetrieverConfig) -> None:
    """A layer that makes vectors of another length.

    Raises:
        WrongUse: a kind of model without one vector.
    """
    from finetune.students.pair_parts import shorten  # noqa: PLC0415

    if wanted.kind not in _OWN:
        raise WrongUse(
            f"--vector-size {wanted.size}",
            f"--kind {wanted.kind}",
            f"a model with a vector a text: kind {', '.join(_OWN)}",
            "Leave --vector-size out.",
        )
    shorten(model, int(wanted.size or 0))


def _sampler(spec: JsonObject, kind: str) -> JsonObject:
    """The batch sampler that a loss of the library needs."""
    sampler = form_of(_read_by(spec), kind).sampler
    return {} if sampler is None else {"batch_sampler": sampler}


def _check_processes(
    wanted: RetrieverConfig, name: str, config: TrainConfig
) -> None:
    """Refuses what several processes cannot train together.

    Raises:
        WrongUse: which option.
    """
    if is_launched() and wanted.kind in ("heads", "pair"):
        raise WrongUse(
            f"--kind {wanted.kind}",
            "several processes",
            "one, since all texts of a batch are compared in one place",
            "Leave --processes out.",
        )
    is_list = form_of(name, wanted.kind).make is ranked
    if is_launched() and wanted.kind == "cross" and is_list:
        raise WrongUse(
            f"--kind cross --loss {name}",
            "several processes",
            "one, since this loss reads its texts in several passes",
            "Leave --processes out, or take binary_cross_entropy or mse.",
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

    from finetune.trainers.list_module import module_of  # noqa: PLC0415

    loss = registry.build("finetune.list_losses", spec, "--loss")
    _need(listed, loss, wanted)
    taught = _taught(loss, listed, wanted, width, start)
    module = module_of(wanted.kind)(
        model, loss, listed, width=width, scale=wanted.scale, taught=taught
    )
    columns: Columns = {"anchor": [row.query for row in listed]}
    for position in range(width):
        name = "positive" if position == 0 else f"negative_{position}"
        columns[name] = [_text(row, position) for row in listed]
    columns["label"] = list(range(len(listed)))
    return module, datasets.Dataset.from_dict(columns)


def _aligned(
    model: SentenceTransformer,
    listed: Sequence[Listed],
    spec: JsonObject,
    wanted: RetrieverConfig,
) -> tuple[nn.Module, Dataset]:
    """A teacher's tokens for a query in another language and its translation, the first text.

    Raises:
        WrongUse: no teacher, one with vectors of another width, or unknown parameters.
    """
    import datasets  # noqa: PLC0415

    from finetune.trainers.token_alignment import TokenAlignment  # noqa: PLC0415

    teacher = _teacher(wanted, "multi")
    widths = [
        len(encoder.encode_query(["text"])[0][0])
        for encoder in (model, teacher)
    ]
    if widths[0] != widths[1]:
        raise WrongUse(
            f"--teacher {wanted.teacher}",
            f"vectors of {widths[1]} numbers, the student's have {widths[0]}",
            "a teacher whose vectors are as long",
            "Start the student from the teacher, or from one of its width.",
        )
    parameters = {key: value for key, value in spec.items() if key != "name"}
    try:
        module = TokenAlignment(model, teacher, listed, **parameters)
    except TypeError as error:
        raise WrongUse(
            f"--loss {wanted.loss}",
            str(error),
            "token_alignment:share=W",
            "Correct the parameter.",
        ) from error
    columns: Columns = {
        "anchor": [row.query for row in listed],
        "positive": [row.documents[0] for row in listed],
        "label": list(range(len(listed))),
    }
    return module, datasets.Dataset.from_dict(columns)


def _taught(
    loss: ListLoss,
    listed: Sequence[Listed],
    wanted: RetrieverConfig,
    width: int,
    start: str,
) -> Taught | None:
    """What a teacher makes of the rows; None where the loss reads none."""
    from finetune.trainers.taught import TaughtPairs, taught_by  # noqa: PLC0415

    if wanted.teacher_kind == "words" and wanted.teacher is not None:
        judge = WordScorer(model=wanted.teacher, template=wanted.template or "")
        return TaughtPairs(judge, listed, width)
    if "teacher" not in loss.wants():
        return None
    kind = "bi" if loss.previous else wanted.teacher_kind
    name = start if loss.previous else str(wanted.teacher)
    teacher = open_scorer(kind, name, "--teacher")
    return taught_by(kind, teacher, listed, width)


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
        "heads": wanted.kind != "heads",
        "features": (wanted.kind, wanted.teacher_kind) != ("pair", "words")
        or wanted.teacher is None,
    }
    hints = {
        "targets": "rows with documents and scores (`synth export DIR --to ranked`)",
        "groups": "rows with `group`",
        "teacher": "--teacher M",
        "heads": "--kind heads",
        "features": "--kind pair, --teacher M and --teacher-kind words",
    }
    for need in loss.wants():
        if lacks[need]:
            raise WrongUse(
                f"--loss {wanted.loss}",
                f"no {need}",
                hints[need],
                "Give them, or take another loss.",
            )
    kind = wanted.teacher_kind
    if kind != "bi" and kind not in loss.teacher_kinds:
        raise WrongUse(
            f"--loss {wanted.loss}",
            f"--teacher-kind {kind}",
            f"a teacher that this loss reads: {', '.join(loss.teacher_kinds)}",
            "Take batch_kl, which reads scores, or another teacher.",
        )


def _library(
    model: SentenceTransformer,
    listed: Sequence[Listed],
    width: int,
    spec: JsonObject,
    wanted: RetrieverConfig,
) -> tuple[nn.Module, Dataset]:
    """A loss of sentence-transformers and the columns that it reads."""
    import datasets  # noqa: PLC0415

    form = form_of(_read_by(spec), wanted.kind)
    if form.is_scored and any(row.scores is None for row in listed):
        raise WrongUse(
            f"--loss {spec['name']}",
            "rows without scores",
            "documents with scores",
            "Write them with `synth export DIR --to ranked`.",
        )
    parameters = dict(spec)
    encode = None
    if form.has_vectors:
        teacher = _teacher(wanted)
        encode = teacher.encode
        size = teacher.get_embedding_dimension()
        own_size = model.get_embedding_dimension()
        if wanted.size is not None and size > own_size:
            texts = [text for row in listed for text in row.documents]
            texts += [row.query for row in listed]
            encode = shortened(teacher.encode, texts, own_size)
        elif size != own_size:
            parameters.setdefault("projection_dim", size)
    loss = _made(model, parameters, wanted.kind)
    if wanted.kind == "sparse" and _plain(spec["name"]) not in _AROUND:
        # The library's losses of sparse models are used inside of one that counts words.
        loss = _losses("sparse")["splade"](model, loss, **_FLOPS)
    columns = columns_of(listed, width, form, encode)
    return loss, datasets.Dataset.from_dict(columns)


def _read_by(spec: JsonObject) -> str:
    """The loss that decides how rows are read: that which another one is wrapped around."""
    name = str(spec["name"])
    if _plain(name) in _AROUND:
        return str(spec.get("loss", _INNER))
    return name


def _teacher(wanted: RetrieverConfig, kind: str = "bi") -> SentenceTransformer:
    """The frozen encoder whose vectors are learnt.

    Raises:
        WrongUse: none was given.
    """
    if wanted.teacher is None:
        raise WrongUse(
            f"--loss {wanted.loss}",
            "no teacher",
            "an encoder whose vectors are learnt",
            "Give --teacher M.",
        )
    return open_encoder(kind, wanted.teacher, "--teacher").eval()


def _made(model: SentenceTransformer, spec: JsonObject, kind: str) -> nn.Module:
    """A loss of the library with its parameters.

    Raises:
        WrongUse: no such loss, or parameters that it does not take.
    """
    name = str(spec["name"])
    parameters = {key: value for key, value in spec.items() if key != "name"}
    plain = _plain(name)
    room = _losses(kind)
    made = room.get(plain)
    if made is None:
        names = (
            *(registry.names("finetune.list_losses") if kind in _OWN else ()),
            *room,
        )
        raise WrongUse(
            f"--loss {name}",
            f"no such loss for --kind {kind}",
            "one that is there",
            did_you_mean(name, names),
        )
    if plain in _AROUND:
        inner = {"name": parameters.get("loss", _INNER)}
        parameters["loss"] = _made(model, inner, kind)
    taken = inspect.signature(made).parameters
    for key, value in _usual(model, plain).items():
        if key in taken:
            parameters.setdefault(key, value)
    try:
        if "guide" in parameters:
            parameters["guide"] = open_encoder(
                "bi", str(parameters["guide"]), "--loss guide"
            )
        return cast("nn.Module", made(model, **parameters))
    except (TypeError, ValueError) as error:
        raise WrongUse(
            f"--loss {name}",
            str(error),
            f"parameters of {made.__name__}",
            "See the documentation of sentence-transformers.",
        ) from error


def _usual(model: SentenceTransformer, plain: str) -> JsonObject:
    """Parameters that a loss takes unless others are given."""
    usual: JsonObject = {}
    if is_launched():
        # Negatives of the joint batch.
        usual["gather_across_devices"] = True
    if plain.startswith("matryoshka"):
        usual["matryoshka_dims"] = _halves(model.get_embedding_dimension())
    if plain.endswith("splade"):
        usual |= _FLOPS
    if plain == "softmax":
        # Whether a text answers.
        usual["num_labels"] = 2
        usual["embedding_dimension"] = model.get_embedding_dimension()
    return usual


def _halves(size: int) -> list[int]:
    """The lengths that a Matryoshka vector is cut to.

    >>> _halves(384)
    [384, 192, 96, 48]
    """
    sizes: list[int] = []
    while size >= _SHORTEST or not sizes:
        sizes.append(size)
        size //= 2
    return sizes


def _losses(kind: str) -> JsonObject:
    """The classes of a kind of model by their plain names."""
    from importlib import import_module  # noqa: PLC0415

    package = {
        "bi": "sentence_transformer",
        "heads": "sentence_transformer",
        "pair": "sentence_transformer",
        "cross": "cross_encoder",
        "multi": "multi_vector_encoder",
        "sparse": "sparse_encoder",
    }[kind]
    module = import_module(f"sentence_transformers.{package}.losses")
    return {
        _plain(name): getattr(module, name)
        for name in dir(module)
        if name.endswith("Loss") and name not in _LEFT_OUT
    }


def _plain(name: str) -> str:
    """A class's name as it is asked for, without underscores: MultiVectorMarginMSELoss and
    SparseMarginMSELoss are margin_mse.
    """
    short = name.removesuffix("Loss").replace("MultiVector", "")
    return short.removeprefix("Sparse").replace("_", "").casefold()
