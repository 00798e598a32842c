"""One encoder with a head for each of several tasks (N-LTP, arXiv:2009.11616)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from finetune.core.rows import JsonObject
from finetune.core.unread import refuse_unread
from finetune.data import encoder_rows, rows
from finetune.data.arc_rows import of_arcs
from finetune.data.tokens import IGNORED
from finetune.recipes.distill_encoder import collator, terms_of
from finetune.settings import TrainConfig, built, model_options, trainer_config
from finetune.students import load as student
from finetune.students.heads import open_head
from finetune.students.several_heads import (
    HeadPlan,
    HeadTask,
    has_heads,
    load_heads,
    open_plans,
)
from finetune.teachers.opened_settings import Opening
from finetune.trainers.distill_checks import check_whole
from finetune.trainers.distill_settings import DistillConfig
from synth.core import registry
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        TrainingArguments,
    )

    from finetune.trainers.distill_heads import TaughtHead
    from finetune.trainers.loss_terms import Term

_MOST_TOKENS = 512
_TASKS = ("classify", "tokens", "arcs")
_FIELDS = {"name", "task", "rows", "teacher"}
# From the teacher alone to the labels alone (section 2.4).
ANNEALED = ("forward_kl:schedule=linear",)


@dataclass(frozen=True, kw_only=True)
class Head:
    """One task.

    Attributes:
        name: of its head.
        task: classify, tokens or arcs.
        rows: that it is learnt from.
        teacher: that knows this task alone; "" for labels alone.
    """

    name: str
    task: HeadTask
    rows: str
    teacher: str = ""


@dataclass(frozen=True, kw_only=True)
class HeadsConfig:
    """What `finetune heads` is told besides a training's own settings.

    Attributes:
        heads: one or more, of different names.
        losses: of heads with a teacher; see `DistillConfig`.
        likelihood: weight of the labels beside a teacher, at first.
        likelihood_to: that weight at the end.
    """

    heads: Sequence[Head]
    losses: tuple[str, ...] = ANNEALED
    likelihood: float = 0.0
    likelihood_to: float = 1.0


def read_heads(texts: Sequence[str]) -> list[Head]:
    """Heads as a command line has them.

    Raises:
        WrongUse: a setting that a head has not, or one that it lacks; a name that stands twice.
    """
    found = []
    for text in texts:
        spec = {
            key: str(value)
            for key, value in registry.parse_spec(text, "--head").items()
        }
        sound = {"name", "task", "rows"} <= set(spec) <= _FIELDS
        if not sound or spec["task"] not in _TASKS or not spec["name"]:
            raise WrongUse(
                "--head",
                repr(text),
                "NAME:task=tokens,rows=FILE or task=classify or arcs, maybe with teacher=M",
                "Write each head so.",
            )
        there = rows.there(spec["rows"], "--head")
        task = cast("HeadTask", spec["task"])
        teacher = spec.get("teacher", "")
        found.append(
            Head(name=spec["name"], task=task, rows=there, teacher=teacher)
        )
    names = [head.name for head in found]
    if len({*names}) < len(names) or not names:
        raise WrongUse(
            "--head",
            f"{', '.join(names) or 'none'}",
            "one or more heads of different names",
            "Give --head NAME:task=tokens,rows=FILE once for each task.",
        )
    return found


def run(config: TrainConfig, *, heads: HeadsConfig) -> JsonObject:
    """Trains an encoder on all tasks at once: each batch is of one of them.

    Args:
        config: model, output, fields of transformers' TrainingArguments; its data are those of the
            heads.
        heads: the tasks.

    Returns:
        The content of OUTPUT/train.json, with `heads`: name, task, rows, teacher and classes.

    Raises:
        WrongUse: data, model, teacher, loss or a trainer field that cannot be used; nothing was
            trained.
    """
    check_whole(config, "heads", "encoder")
    terms = _terms(config, heads)
    data = [_data(head) for head in heads.heads]
    # Seconds of imports.
    from transformers import TrainingArguments, set_seed  # noqa: PLC0415

    from finetune.trainers.distill_heads import (  # noqa: PLC0415
        HeadsCollator,
        HeadsTrainer,
    )

    args = trainer_config(TrainingArguments, config, "distill, encoder")
    args.remove_unused_columns = False
    teachers = [_teacher(head, args) for head in heads.heads]
    plans = [
        HeadPlan(head.name, head.task, _classes(head, read, teacher))
        for head, read, teacher in zip(heads.heads, data, teachers, strict=True)
    ]
    set_seed(args.seed)
    model, tokenizer = open_plans(config.model, plans, model_options(config))
    tokenizer.padding_side = "right"
    taught = [
        _taught(
            number,
            plan,
            data[number],
            teachers[number],
            tokenizer,
            where=f"--head {plan.name} {heads.heads[number].rows}",
        )
        for number, plan in enumerate(plans)
    ]
    for head, read in zip(heads.heads, taught, strict=True):
        _check_labels(head, read, heads)
    trainer = built(
        HeadsTrainer,
        model=model,
        args=args,
        heads=taught,
        processing_class=tokenizer,
        data_collator=HeadsCollator(
            [_collator(plan.task, tokenizer) for plan in plans]
        ),
        terms=terms,
        likelihood=heads.likelihood,
        likelihood_to=heads.likelihood_to,
        strength=1.0,
    )
    taint = {name for head in heads.heads for name in rows.taint(head.rows)}
    facts: JsonObject = {
        "loss_function": ", ".join(heads.losses) if terms else "cross_entropy",
        "data": ", ".join(head.rows for head in heads.heads),
        "taint": sorted(taint),
        "heads": [
            {**vars(head), "rows_read": len(read), "classes": len(plan.classes)}
            for head, read, plan in zip(heads.heads, data, plans, strict=True)
        ],
    }
    return student.train_and_keep(
        trainer,
        tokenizer,
        config,
        sum(map(len, data)),
        keep=lambda: model.save(config.output),
        facts=facts,
    )


def _terms(config: TrainConfig, heads: HeadsConfig) -> Sequence[Term]:
    """The losses; none where no head has a teacher.

    Raises:
        WrongUse: losses of more than logits.
    """
    teachers = [head.teacher for head in heads.heads if head.teacher]
    if not teachers:
        given = {
            "--loss": heads.losses != ANNEALED,
            "--likelihood": heads.likelihood != HeadsConfig.likelihood,
            "--likelihood-to": heads.likelihood_to != HeadsConfig.likelihood_to,
        }
        for option, is_given in given.items():
            refuse_unread(
                option,
                is_given=is_given,
                is_read=False,
                found="no head with a teacher",
                reader="a teacher (--head NAME:...,teacher=M)",
            )
        return []
    distill = DistillConfig(
        teachers=(teachers[0],),
        losses=heads.losses,
        likelihood=heads.likelihood,
        likelihood_to=heads.likelihood_to,
    )
    terms = terms_of(config, distill)
    from finetune.trainers.comparisons import looks_inside  # noqa: PLC0415 - torch

    for term in terms:
        if looks_inside(term.loss) or "band" in term.loss.needs:
            raise WrongUse(
                f"--loss {term.name}",
                "a loss that learns of one teacher's layers",
                "a loss of logits: each head has a teacher of its own",
                "Take forward_kl, jsd, logit_mse or sinkhorn.",
            )
    return terms


def _collator(task: HeadTask, tokenizer: PreTrainedTokenizerBase) -> Any:
    if task == "arcs":
        from finetune.trainers.arcs import ArcsCollator  # noqa: PLC0415 - torch

        return ArcsCollator(tokenizer)
    return collator(task, tokenizer)


def _data(head: Head) -> Dataset:
    return encoder_rows.read(head.rows, head.task, f"--head {head.name}")


def _teacher(head: Head, args: TrainingArguments) -> _Teacher | None:
    if not head.teacher:
        return None
    from finetune.teachers.in_process import settled  # noqa: PLC0415 - torch

    model, tokenizer = _opened(head, Opening().options(str(args.device)))
    ready = settled(model, args.device, Opening())
    return _Teacher(head.teacher, ready, tokenizer)


def _opened(
    head: Head, options: JsonObject
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A head's teacher: a model of its task, or the head of its name, or else the only one, in a
    folder of `finetune heads`.

    Raises:
        WrongUse: nothing to open there, or no head of the task.
    """
    where = f"--head {head.name} teacher"
    if has_heads(head.teacher):
        heads, tokenizer = load_heads(head.teacher, options)
        names = [plan.name for plan in heads.plans]
        name = names[0] if len(names) == 1 else head.name
        model, task = heads.alone(name, f"{where} {head.teacher}")
        if task == head.task:
            return model, tokenizer
        found = f"head {name} of task={task}"
    elif head.task == "arcs":
        found = "no heads.json"
    else:
        return open_head(head.teacher, head.task, where=where, options=options)
    raise WrongUse(
        f"{where} {head.teacher}",
        found,
        f"a folder of `finetune heads` with a head of task={head.task}",
        f"Train one with --head {head.name}:task={head.task},rows=FILE.",
    )


class _Teacher(NamedTuple):
    """A teacher of one head.

    Attributes:
        name: what was opened.
        model: frozen.
        tokenizer: its own.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def _classes(
    head: Head, data: Dataset, teacher: _Teacher | None
) -> Mapping[int, str]:
    """Those of the teacher; without one those of the rows, in the order of their characters."""
    if teacher is not None:
        return dict(teacher.model.config.id2label)
    where = f"--head {head.name} {head.rows}"
    return encoder_rows.classes_in(data, head.task, where)


def _check_labels(head: Head, read: TaughtHead, heads: HeadsConfig) -> None:
    """Refuses labels that are to be learnt beside a teacher and that no row has: at the end nothing
    would be learnt.
    """
    if not head.teacher or not (heads.likelihood or heads.likelihood_to):
        return
    if all(_is_bare(row["labels"]) for row in read.rows):
        raise WrongUse(
            f"--head {head.name} {head.rows}",
            f"no label, with --likelihood-to {heads.likelihood_to:g}",
            "labels that are learnt at the end, in the place of the teacher",
            "Write them into the rows, or give --likelihood-to 0 and --loss forward_kl.",
        )


def _is_bare(labels: object) -> bool:
    """Whether a row has no label, of its text or of its words."""
    each = labels if isinstance(labels, list) else [labels]
    return all(label == IGNORED for label in each)


def _taught(
    number: int,
    plan: HeadPlan,
    data: Dataset,
    teacher: _Teacher | None,
    tokenizer: PreTrainedTokenizerBase,
    *,
    where: str,
) -> TaughtHead:
    """The rows of a head as the models read them.

    Raises:
        WrongUse: a teacher of another tokenizer; rows that do not fit the classes.
    """
    from finetune.teachers.in_process import SAME_TOKENS, same_tokens  # noqa: PLC0415 - torch
    from finetune.trainers.distill_heads import HEAD, TaughtHead  # noqa: PLC0415

    if teacher is not None:
        named = f"--head {plan.name} teacher"
        own = teacher.tokenizer
        same_tokens(teacher.name, own, tokenizer, named, SAME_TOKENS)
    most = min(_MOST_TOKENS, tokenizer.model_max_length)
    reading = (tokenizer, most, plan.classes)
    if plan.task == "arcs":
        made = of_arcs(data, *reading, where=where)
    else:
        made = encoder_rows.of_task(data, plan.task, *reading, where=where)
    marked = [{**row, HEAD: number} for row in made]
    model = None if teacher is None else teacher.model
    return TaughtHead(marked, model, plan.name, plan.task)
