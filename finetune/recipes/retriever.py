"""Retrievers and rankers over sentence-transformers: bi-encoders, cross-encoders, and multi-vector
encoders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from finetune.core import sharding as shards
from finetune.core.rows import JsonObject
from finetune.data import query_lists as lists
from finetune.data.instructions import by_task, instructed
from finetune.data.loss_columns import (
    PAIRS,
    Columns,
    Form,
    columns_of,
    form_of,
)
from finetune.data.query_lists import Least, Listed
from finetune.scoring.principal import shortened
from finetune.scoring.retrievers import check_one_score, open_scorer
from finetune.scoring.word_scores import WordScorer
from finetune.settings import (
    TrainConfig,
    model_options,
    peft_config,
    trainer_config,
)
from finetune.students import load as student
from finetune.students.encoders import encoder_classes, open_encoder
from finetune.students.layer_states import depth_of
from finetune.trainers.library_losses import (
    AROUND,
    FLOPS,
    OWN_KINDS,
    losses,
    made,
    plain_name,
    read_by,
)
from finetune.trainers.meta_alignment import META
from finetune.trainers.pair_losses import in_stages, numbered, separated
from finetune.trainers.retriever_checks import (
    ALIGNED,
    ALONE,
    check,
    check_answers,
    check_batch,
    check_equal,
    check_needs,
    check_negatives,
    check_order,
    check_rows,
)
from finetune.trainers.retriever_settings import RetrieverConfig
from finetune.trainers.source_separation import SEPARATED
from synth.core import registry
from synth.core.errors import WrongUse
from synth.core.plugins import is_import
from synth.processes.ranks import is_first_process

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from torch import nn
    from transformers import Trainer

    from finetune.list_losses.base import ListLoss
    from finetune.trainers.taught import Taught

    # The training rows, or those of each task.
    Data: TypeAlias = Dataset | dict[str, Dataset]

__all__ = ["RetrieverConfig", "run"]


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
    listed = _lists(config.data, wanted)
    plan = _plan(config, wanted, listed)
    _, trainer_class, args_class = encoder_classes(wanted.kind)
    # Losses of this project know equal texts themselves; those of the library that take other rows
    # of a batch for negatives must not meet any.
    given = (
        dict(config.trainer)
        if plan.is_own or wanted.kind == "cross"
        else {**_sampler(plan.spec, wanted.kind), **config.trainer}
    )
    args = trainer_config(
        args_class, replace(config, trainer=given), "retriever"
    )
    check_batch(args.train_batch_size, plan.seen, plan.least, wanted)
    from transformers import set_seed  # noqa: PLC0415 - seconds of imports

    # Adapters and heads begin at random, and at the same place in all processes.
    set_seed(args.seed)
    model = _opened(config, wanted, plan)
    loss, data = _module(model, listed, plan, wanted, start=config.model)
    trainer = trainer_class(
        model=model, args=args, train_dataset=data, loss=loss
    )
    save = None
    if config.sharding is not None:
        save = _saving(model)
    return student.train_and_keep(
        trainer,
        model.tokenizer,
        config,
        len(listed),
        keep=lambda: _keep(model, loss, config.output),
        save=save,
        facts={
            "kind": wanted.kind,
            "retriever_loss": wanted.loss,
            "texts": plan.width,
        },
    )


class _Plan(NamedTuple):
    """What is trained by, known before a model opens.

    Attributes:
        spec: of the loss.
        is_own: whether it is a loss of this project.
        own: the loss, if it is one of `finetune.list_losses`.
        form: how any other loss reads rows.
        width: texts of a row that count, at most.
    """

    spec: JsonObject
    is_own: bool
    own: ListLoss | None
    form: Form
    width: int

    @property
    def is_separated(self) -> bool:
        """Whether the vector is the mean of a distribution."""
        return self.is_own and self.spec["name"] == SEPARATED

    @property
    def least(self) -> Least:
        """Of what something is learnt."""
        return self.form.least if self.own is None else self.own.learns_of()

    @property
    def seen(self) -> int:
        """Texts of a row that the loss reads, at most."""
        return 1 if self.reads_first else self.width

    @property
    def reads_first(self) -> bool:
        """Whether the loss reads a row's first text alone."""
        return (self.form if self.own is None else self.own).reads_first


def _plan(
    config: TrainConfig, wanted: RetrieverConfig, listed: Sequence[Listed]
) -> _Plan:
    """The loss, and how it reads the rows.

    Raises:
        WrongUse: options or rows that do not go with the loss.
    """
    spec = registry.parse_spec(wanted.loss, "--loss")
    is_own = wanted.kind in OWN_KINDS and _is_own(spec["name"])
    check(wanted, spec, config, is_own=is_own)
    own = None
    if is_own and spec["name"] not in ALONE:
        own = registry.build("finetune.list_losses", spec, "--loss")
        check_needs(listed, own, wanted)
    most = max(len(row.documents) for row in listed)
    width = 1 + min(wanted.negatives, most - 1)
    plan = _Plan(spec, is_own, own, _form(spec, wanted), width)
    check_negatives(wanted, reads_first=plan.reads_first)
    check_rows(listed, width, plan.least, wanted)
    if own is not None:
        check_equal(listed, own, width, wanted.loss)
    if own is None and plan.form.orders:
        check_order(listed, width, wanted)
    if own is not None and own.seeks_answer:
        check_answers(listed, width, wanted)
    return plan


def _opened(
    config: TrainConfig, wanted: RetrieverConfig, plan: _Plan
) -> SentenceTransformer:
    """The student with the parts and the adapters that are asked for."""
    model = open_encoder(
        wanted.kind, config.model, options=model_options(config)
    )
    _reshape(model, wanted, plan)
    _remember(model, wanted)
    if config.lora is not None:
        task = "SEQ_CLS" if wanted.kind == "cross" else "FEATURE_EXTRACTION"
        model.add_adapter(peft_config(config, model, task))
    return model


def _module(
    model: SentenceTransformer,
    listed: Sequence[Listed],
    plan: _Plan,
    wanted: RetrieverConfig,
    *,
    start: str,
) -> tuple[nn.Module, Data]:
    """The loss behind a trainer, and the columns that it reads."""
    if wanted.kind == "multi" and plan.spec["name"] == ALIGNED:
        return _aligned(model, listed, plan.spec, wanted)
    if plan.own is not None:
        return _own(
            model, listed, plan.own, wanted, width=plan.width, start=start
        )
    if plan.is_separated:
        return separated(model, listed, plan.spec, wanted)
    if plan.is_own:
        return in_stages(model, listed, plan.spec, wanted)
    return _library(model, listed, plan.width, plan.spec, wanted)


def _is_own(name: str) -> bool:
    """Whether a loss is no one of sentence-transformers."""
    own = {*registry.names("finetune.list_losses"), *ALONE}
    return name in own or is_import(name)


def _form(spec: JsonObject, wanted: RetrieverConfig) -> Form:
    """How a loss that is none of `finetune.list_losses` reads rows."""
    if spec["name"] == META:
        return PAIRS
    is_aligned = spec["name"] == ALIGNED and wanted.kind == "multi"
    if is_aligned or spec["name"] == SEPARATED:
        return replace(PAIRS, least="text")
    return form_of(read_by(spec), wanted.kind)


def _lists(source: str, wanted: RetrieverConfig) -> list[Listed]:
    """The training rows, with the instructions of their tasks."""
    listed = lists.load(source)
    if wanted.instructions is None:
        return listed
    return instructed(listed, wanted.instructions, f"--input {source}")


def _remember(model: SentenceTransformer, wanted: RetrieverConfig) -> None:
    """Keeps the instructions with the model, as sentence-transformers finds them."""
    for task, told in (wanted.instructions or {}).items():
        for side, text in asdict(told).items():
            model.prompts[f"{task}-{side}"] = text


def _reshape(
    model: SentenceTransformer, wanted: RetrieverConfig, plan: _Plan
) -> None:
    """What is asked of the student's vector."""
    from finetune.students.pair_parts import add_mean  # noqa: PLC0415

    if wanted.pooling is not None:
        _pool(model, wanted)
    if plan.is_separated:
        add_mean(model, wanted.size)
    elif wanted.size is not None:
        _shorten(model, wanted)
    if wanted.frozen:
        _freeze(model)


def _freeze(model: SentenceTransformer) -> None:
    """Leaves only the parts behind the layers of a model to learn.

    Raises:
        WrongUse: none of them has anything to learn.
    """
    model[0].requires_grad_(requires_grad=False)
    if not any(part.requires_grad for part in model.parameters()):
        raise WrongUse(
            "--frozen",
            "nothing behind the model's layers that learns",
            "--pooling attention or weighted, --vector-size, or a kind with a head",
            "Add one of them, or leave --frozen out.",
        )


def _pool(model: SentenceTransformer, wanted: RetrieverConfig) -> None:
    """Another way from the tokens' states to one vector.

    Raises:
        WrongUse: no such way, or a kind of model without one vector.
    """
    from finetune.students.pair_parts import pool  # noqa: PLC0415

    if wanted.kind not in OWN_KINDS:
        raise WrongUse(
            f"--pooling {wanted.pooling}",
            f"--kind {wanted.kind}",
            f"a model with a vector a text: kind {', '.join(OWN_KINDS)}",
            "Leave --pooling out.",
        )
    try:
        pool(model, str(wanted.pooling))
    except ValueError as error:
        raise WrongUse(
            f"--pooling {wanted.pooling}",
            str(error),
            "attention, joined, weighted, mean, cls, max or lasttoken",
            "Take one of them.",
        ) from error


def _shorten(model: SentenceTransformer, wanted: RetrieverConfig) -> None:
    """A layer that makes vectors of another length.

    Raises:
        WrongUse: a kind of model without one vector.
    """
    from finetune.students.pair_parts import shorten  # noqa: PLC0415

    if wanted.kind not in OWN_KINDS:
        raise WrongUse(
            f"--vector-size {wanted.size}",
            f"--kind {wanted.kind}",
            f"a model with a vector a text: kind {', '.join(OWN_KINDS)}",
            "Leave --vector-size out.",
        )
    shorten(model, int(wanted.size or 0))


def _keep(model: SentenceTransformer, loss: nn.Module, folder: Path) -> None:
    """Saves the student, and a ranker or a teacher that learnt beside it."""
    model.save_pretrained(str(folder))
    taught = getattr(loss, "taught", None)
    reader = getattr(taught, "reader", None)
    if taught is not None and reader is not None:
        reader.save_pretrained(str(folder / taught.kept_as))


def _sampler(spec: JsonObject, kind: str) -> JsonObject:
    """The batch sampler that a loss of the library needs."""
    sampler = form_of(read_by(spec), kind).sampler
    return {} if sampler is None else {"batch_sampler": sampler}


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
    loss: ListLoss,
    wanted: RetrieverConfig,
    *,
    width: int,
    start: str,
) -> tuple[nn.Module, Data]:
    """A loss of this project, over texts in columns and the number of each row as its label."""
    import datasets  # noqa: PLC0415

    from finetune.trainers.list_module import module_of  # noqa: PLC0415

    taught = _taught(model, loss, listed, wanted, width=width, start=start)
    module = module_of(wanted.kind, loss)(
        model, loss, listed, width=width, scale=wanted.scale, taught=taught
    )
    columns: Columns = {"anchor": [row.query for row in listed]}
    for position in range(width):
        name = "positive" if position == 0 else f"negative_{position}"
        columns[name] = [_text(row, position) for row in listed]
    columns["label"] = list(range(len(listed)))
    data = datasets.Dataset.from_dict(columns)
    if wanted.instructions is None:
        return module, data
    tasks = by_task(listed)
    return module, {task: data.select(rows) for task, rows in tasks.items()}


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
    except (TypeError, ValueError) as error:
        raise WrongUse(
            f"--loss {wanted.loss}",
            str(error),
            "token_alignment:share=W",
            "Correct the parameter.",
        ) from error
    return module, datasets.Dataset.from_dict(numbered(listed))


def _taught(
    model: SentenceTransformer,
    loss: ListLoss,
    listed: Sequence[Listed],
    wanted: RetrieverConfig,
    *,
    width: int,
    start: str,
) -> Taught | None:
    """What a teacher makes of the rows; None where the loss reads none."""
    from finetune.list_losses.lead import Lead  # noqa: PLC0415
    from finetune.trainers.layered import LayeredTeacher  # noqa: PLC0415
    from finetune.trainers.taught import (  # noqa: PLC0415
        Ranker,
        TaughtPairs,
        taught_by,
    )

    if wanted.teacher_kind == "words" and wanted.teacher is not None:
        judge = WordScorer(
            model=wanted.teacher,
            template=wanted.template or "",
            words=wanted.words,
        )
        return TaughtPairs(judge, listed, width, loss.wants())
    if "ranker" in loss.needs:
        ranker = _teacher(wanted, "cross")
        check_one_score(ranker, f"--teacher {wanted.teacher}")
        return Ranker(ranker.train(), listed, width)
    if isinstance(loss, Lead):
        guide = open_encoder(wanted.teacher_kind, str(wanted.teacher))
        return LayeredTeacher(guide, loss, depth_of(model), listed, width)
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


def _library(
    model: SentenceTransformer,
    listed: Sequence[Listed],
    width: int,
    spec: JsonObject,
    wanted: RetrieverConfig,
) -> tuple[nn.Module, Data]:
    """A loss of sentence-transformers and the columns that it reads."""
    import datasets  # noqa: PLC0415

    form = form_of(read_by(spec), wanted.kind)
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
        own_size = _vector_size(model, wanted.kind)
        if wanted.size is not None and size > own_size:
            texts = [text for row in listed for text in row.documents]
            texts += [row.query for row in listed]
            encode = shortened(teacher.encode, texts, own_size)
        elif size != own_size:
            parameters.setdefault("projection_dim", size)
    loss = made(model, parameters, wanted.kind)
    if wanted.kind == "sparse" and plain_name(spec["name"]) not in AROUND:
        # The library's losses of sparse models are used inside of one that counts words.
        loss = losses("sparse")["splade"](model, loss, **FLOPS)

    def data_of(some: Sequence[Listed]) -> Dataset:
        columns = columns_of(some, width, form, encode)
        return datasets.Dataset.from_dict(columns)

    if wanted.instructions is None:
        return loss, data_of(listed)
    tasks = {}
    for task, places in by_task(listed).items():
        tasks[task] = data_of([listed[place] for place in places])
    return loss, tasks


def _vector_size(model: SentenceTransformer, kind: str) -> int:
    """Numbers of the student's vector."""
    size: int = model.get_embedding_dimension()
    if kind != "heads":
        return size
    from finetune.students.pair_parts import vector_size  # noqa: PLC0415 - seconds of imports

    return vector_size(model)


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
