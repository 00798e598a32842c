"""Reinforcement of what a student writes, by TRL's GRPOTrainer, with synth's filters, verifiers and
critics as rewards (GRPO, arXiv:2402.03300, section 4.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.each_row import each_row
from finetune.data.prompts import (
    Template,
    in_training,
    messages_of,
    of_student,
    text_of,
)
from finetune.data.shapes import check_asked
from finetune.data.tokens import IGNORED
from finetune.measuring.evaluate import prompt_of, target_of
from finetune.recipes.rolling import give_weights, rollouts_of
from finetune.settings import (
    TrainConfig,
    built,
    model_options,
    peft_config,
    trainer_config,
)
from finetune.students import load as student
from finetune.students import scratch
from synth.core import registry
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.filters.base import Filter
from synth.processes.ranks import is_first_process, is_launched

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase
    from trl import GRPOConfig, GRPOTrainer

    from finetune.rollouts.served_texts import ServedTexts
    from finetune.rollouts.settings import Rollouts
    from synth.parsers.base import Parser

JOURNAL = "journal"


def run(
    config: TrainConfig,
    *,
    rewards: Sequence[str],
    parser: str = "final_number",
    graded: bool = False,
    weights: Sequence[float] = (),
    rollouts: Rollouts | None = None,
) -> JsonObject:
    """Lets a student write several texts to each prompt, and makes those likelier that earn more
    than the others.

    Args:
        config: data with `prompt` or `question` and what the rewards read (`target`, `tests`);
            model, output, fields of TRL's GRPOConfig.
        rewards: filters, NAME[:key=value,...]; a text's reward is their weighed sum.
        parser: reads the texts, NAME[:key=value,...].
        graded: a filter's score is its reward where it gives one, not its verdict.
        weights: one a reward; all 1 where none are given.
        rollouts: the server that writes the texts; None for the student here.

    Returns:
        The content of OUTPUT/train.json, with `rewards`, `completions` and `unreadable`.

    Raises:
        WrongUse: rows, model, reward or a trainer field that cannot be used; nothing was trained.
        BudgetReached: a critic's budget; what it said is in OUTPUT/journal, and the same command
            asks none of it again.
    """
    parts: list[Filter] = [
        registry.build("synth.filters", spec, "--reward") for spec in rewards
    ]
    reader = registry.build("synth.parsers", parser, "--parser")
    if weights and len(weights) != len(parts):
        raise WrongUse(
            "--reward-weights",
            f"{len(weights)} of them",
            f"one for each of the {len(parts)} rewards",
            "Give as many, or none: then all weigh 1.",
        )
    if scratch.is_scratch(config.model):
        raise WrongUse(
            "--model",
            config.model,
            "a trained student",
            "Run `finetune sft` first and give its folder: texts of chance earn nothing.",
        )
    data = [dict(row) for row in rows.load(config.data)]
    _check(data, parts, [*reader.produces()], config.data)
    from trl import GRPOConfig  # noqa: PLC0415 - 8 s of imports

    args = trainer_config(GRPOConfig, config, "grpo")
    if weights:
        args.reward_weights = list(weights)
    served = _served(config, rollouts, args)
    with closing(served) if served else nullcontext():
        return _train(
            config,
            data,
            args=args,
            reader=reader,
            parts=parts,
            graded=graded,
            served=served,
        )


def _served(
    config: TrainConfig, rollouts: Rollouts | None, args: GRPOConfig
) -> ServedTexts | None:
    """The server that writes, met before a model is loaded."""
    if rollouts is None:
        return None
    from finetune.trainers.grpo_served import check_drawn  # noqa: PLC0415 - torch

    check_drawn(args)
    return rollouts_of(config, rollouts, exact=True)


def _train(
    config: TrainConfig,
    data: Sequence[Row],
    *,
    args: GRPOConfig,
    reader: Parser,
    parts: Sequence[Filter],
    graded: bool,
    served: ServedTexts | None,
) -> JsonObject:
    from trl import GRPOTrainer  # noqa: PLC0415 - 8 s of imports

    from finetune.generation.continuations import end_tokens  # noqa: PLC0415
    from finetune.trainers.grpo_served import ServedGrpoTrainer  # noqa: PLC0415
    from finetune.trainers.rewards import (  # noqa: PLC0415
        TEXTS,
        Rewards,
        with_journal,
    )

    model, tokenizer = student.load_learner(config.model, model_options(config))
    if model.config.is_encoder_decoder:
        raise WrongUse(
            "--model",
            f"{config.model}, an encoder-decoder",
            "a decoder",
            "TRL's GRPOTrainer trains no other.",
        )
    form = _form(config, tokenizer)
    earned = Rewards(
        [{**row, "target": target_of(row)} for row in data],
        reader,
        [with_journal(part, config.output / JOURNAL) for part in parts],
        end_tokens(model, tokenizer),
        graded=graded,
        log=config.output / TEXTS if is_first_process() else None,
        whole_groups=not is_launched(),
    )
    prompts = _prompts(data, form)
    ends = end_tokens(model, tokenizer)
    more = {"rollouts": served, "ends": sorted(ends)} if served else {}
    trainer = built(
        ServedGrpoTrainer if served else GRPOTrainer,
        model=model,
        args=args,
        reward_funcs=earned.functions,
        train_dataset=prompts,
        processing_class=tokenizer,
        peft_config=peft_config(config, model),
        **more,
    )
    if served is not None:
        give_weights(served, trainer, _asked(trainer, prompts))
    facts = {"template": form}
    try:
        return student.train_and_keep(
            trainer,
            tokenizer,
            config,
            len(data),
            facts=facts,
            learnt=lambda _: {
                **earned.record(),
                **(served.told() if served else {}),
            },
        )
    finally:
        # Doors belong to the loop in which the rewards are asked.
        asyncio.run_coroutine_threadsafe(
            earned.close(), trainer.async_loop
        ).result()


def _asked(trainer: GRPOTrainer, prompts: Dataset) -> list[JsonObject]:
    """Prompts as rows whose last token is learnt: a server can be asked what stands there."""
    some = [
        row["prompt"] for row in prompts.select(range(min(8, len(prompts))))
    ]
    listed = trainer._tokenize_prompts(some)[0]  # noqa: SLF001 - as TRL reads them
    return [
        {"input_ids": ids, "labels": [*([IGNORED] * (len(ids) - 1)), ids[-1]]}
        for ids in listed
    ]


def _form(config: TrainConfig, tokenizer: PreTrainedTokenizerBase) -> Template:
    """How the student is asked: as it was trained, where nothing else is said; one of which no
    training is known by its chat template, if it has one.
    """
    form = config.template
    if form == "auto":
        form = of_student(config.model)
    return in_training(form, tokenizer, chat=True)


def _prompts(data: Sequence[Row], form: Template) -> Dataset:
    """What the trainer reads: a prompt, and the place of its row."""
    import datasets  # noqa: PLC0415 - a second of imports

    shape = messages_of if form == "always" else text_of
    return datasets.Dataset.from_list(
        [
            {"prompt": shape(prompt_of(row)), "row": place}
            for place, row in enumerate(data)
        ]
    )


def _check(
    data: Sequence[Row],
    parts: Sequence[Filter],
    read: Sequence[str],
    source: str,
) -> None:
    """Refuses data that cannot be asked, or that lacks what a reward reads."""
    each_row(
        data,
        lambda number, row: check_asked(row, f"--input {source} row {number}"),
    )
    columns = {name for row in data for name in row}
    given = columns | {*read, "completion", "finish_reason"}
    if "answer" in columns:
        given.add("target")
    for part in parts:
        missing = [name for name in part.needs() if name not in given]
        if missing:
            raise WrongUse(
                f"--reward {part.name}",
                f"columns {', '.join(sorted(columns))}",
                " and ".join(missing),
                "Name the columns so, or let --parser read them out of the text.",
            )
