"""A decoder with experts by task, and the plain model of each task (arXiv:2110.03742)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.core.json_files import write_json
from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.prompts import RECORD
from finetune.data.tokens import prepared
from finetune.settings import TrainConfig, built, trainer_config
from finetune.students import load as student
from finetune.trainers.distill_checks import check_whole
from synth.core.errors import WrongUse
from synth.core.records import Row

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROUTES = "experts.json"
# A task's folder has its name.
_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True, kw_only=True)
class ExpertsConfig:
    """What `finetune experts` is told besides a training's own settings.

    Attributes:
        experts: of each layer.
        chosen: experts that a task uses.
        balance: weight of an even use of experts.
    """

    experts: int = 4
    chosen: int = 2
    balance: float = 0.01


def run(config: TrainConfig, *, experts: ExpertsConfig) -> JsonObject:
    """Trains experts on rows with a `task`, and writes a plain model for each task.

    Args:
        config: data (`prompt`, `completion` and `task`), a decoder, output, fields of transformers'
            TrainingArguments.
        experts: how many, and how they are chosen.

    Returns:
        The content of OUTPUT/train.json; OUTPUT/TASK is the model of a task, OUTPUT/experts.json
        says which experts are in it.

    Raises:
        WrongUse: rows without tasks, a model of another form, or a trainer field that cannot be
            used; nothing was trained.
    """
    _check(config, experts)
    data = rows.sft_rows(config.data)
    tasks = _tasks(config)
    # Seconds of imports.
    from transformers import TrainingArguments, set_seed  # noqa: PLC0415

    from finetune.students.task_experts import add_experts, routes  # noqa: PLC0415
    from finetune.trainers.experts import TASK, ExpertsTrainer  # noqa: PLC0415

    args = trainer_config(TrainingArguments, config, "distill, encoder")
    args.remove_unused_columns = False
    set_seed(args.seed)
    model, tokenizer = student.open_student(config, data, args.seed)
    where = f"--input {config.data}"
    made = prepared(data, tokenizer, template=config.template, where=where)
    names = sorted(set(tasks))
    route = add_experts(
        model,
        tasks=len(names),
        experts=experts.experts,
        chosen=experts.chosen,
    )
    of_rows = [names.index(tasks[place]) for place in made.positions]
    marked = [
        {**row, TASK: task}
        for task, row in sorted(
            zip(of_rows, made.rows, strict=True), key=lambda pair: pair[0]
        )
    ]
    sizes = [of_rows.count(number) for number in range(len(names))]
    if not all(sizes):
        raise WrongUse(
            f"--input {config.data}",
            f"no row left of {names[sizes.index(0)]!r}",
            "rows of every task that have room for an answer",
            "Shorten its prompts, or leave the task out.",
        )
    trainer = built(
        ExpertsTrainer,
        model=model,
        args=args,
        train_dataset=marked,
        processing_class=tokenizer,
        data_collator=_collator(tokenizer),
        route=route,
        sizes=sizes,
        balance=experts.balance,
    )

    def learnt(info: JsonObject) -> Row:
        for name in names:
            write_json(config.output / name / RECORD, info)
        write_json(config.output / ROUTES, routes(model, names))
        return {}

    return student.train_and_keep(
        trainer,
        tokenizer,
        config,
        len(marked),
        keep=lambda: _keep(config, model, tokenizer, names),
        facts={**made.record(), **vars(experts), "tasks": names},
        learnt=learnt,
    )


def _check(config: TrainConfig, experts: ExpertsConfig) -> None:
    check_whole(config, "experts", "mixture", decoder=True)
    if experts.chosen > experts.experts:
        raise WrongUse(
            f"--chosen {experts.chosen}",
            f"--experts {experts.experts}",
            "at most as many",
            "Lower it.",
        )


def _tasks(config: TrainConfig) -> Sequence[str]:
    """The task of each row."""
    given = rows.weighting(config.data)
    tasks = given["tasks"] if given else []
    bad = [name for name in tasks if not _NAME.fullmatch(name)]
    if bad or len(set(tasks)) < 2:
        raise WrongUse(
            f"--input {config.data} task",
            f"{bad[0]!r}" if bad else f"{len(set(tasks))} tasks",
            "a `task` in each row, two or more in all, that names a folder",
            "Write it into the rows, as `synth export --to multitask` does.",
        )
    return tasks


def _collator(tokenizer: PreTrainedTokenizerBase) -> object:
    """Pads rows, and says which task they are of."""
    import torch  # noqa: PLC0415
    from transformers import DataCollatorForSeq2Seq  # noqa: PLC0415

    from finetune.core.rows import without  # noqa: PLC0415
    from finetune.trainers.experts import TASK  # noqa: PLC0415

    tokenizer.padding_side = "right"
    plain = DataCollatorForSeq2Seq(tokenizer)

    def collate(made: Sequence[JsonObject]) -> JsonObject:
        batch = dict(plain([without(row, (TASK,)) for row in made]))
        batch[TASK] = torch.tensor([row[TASK] for row in made])
        return batch

    return collate


def _keep(
    config: TrainConfig,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    names: Sequence[str],
) -> None:
    """Writes the plain model of each task."""
    from finetune.students.task_experts import plain  # noqa: PLC0415 - torch

    for number, name in enumerate(names):
        plain(model, number).save_pretrained(config.output / name)
        tokenizer.save_pretrained(config.output / name)
