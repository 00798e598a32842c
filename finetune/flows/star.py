"""STaR: the student writes its own rationales, the right ones train the base model anew
(arXiv:2203.14465, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from finetune.core.rows import JsonObject
from finetune.flows.rounds import play
from finetune.measuring import evaluate
from finetune.recipes import sft
from finetune.settings import TrainConfig, refuse_of_stages
from synth import run as synth_run
from synth.core.errors import WrongUse
from synth.core.records import Row


@dataclass(frozen=True, kw_only=True)
class StarConfig:
    """What `finetune star` is told.

    Attributes:
        seeds: rows for the pack, with their right answers.
        held_out: rows to measure on, none of which is a seed.
        model: the base model: every round trains from it anew, never from the student of the round
            before.
        output: a folder for all rounds; a round that is finished there is not done again.
        teacher: who writes the rationales of the first round; None for the base model itself.
        pack: a pack that keeps right rationales, and asks again with the answer in sight where none
            is.
        rounds: at most.
        growth: how many times as many steps each round trains (the paper: 1.2).
        patience: rounds without a better share of right answers before the loop ends.
        max_new_tokens: of an answer at most.
        trainer: fields of the TRL config; `max_steps` is that of the first round.
        run: fields of a run, such as `draws` or `concurrency`.
    """

    seeds: str
    held_out: str
    model: str
    output: Path
    teacher: str | None = None
    pack: str = "star"
    rounds: int = 5
    growth: float = 1.2
    patience: int = 1
    max_new_tokens: int = 256
    trainer: Row = field(default_factory=dict)
    run: Row = field(default_factory=dict)


def run(config: StarConfig) -> list[JsonObject]:
    """The rounds: {round, teacher, kept, steps, exact_match: {share, low, high}}, as
    OUTPUT/rounds.json holds them too.

    A crash costs the round under way at most, and no call twice: each round's run resumes from its
    journal.

    Raises:
        WrongUse: no `max_steps`, or a first round that keeps nothing.
    """
    refuse_of_stages(config.trainer)
    steps = config.trainer.get("max_steps")
    if (
        isinstance(steps, bool)
        or not isinstance(steps, int)
        or steps < 1
        or config.growth < 1
    ):
        raise WrongUse(
            "star",
            f"max_steps={steps}, growth={config.growth}",
            "steps of the first round, growth of at least 1",
            "Give --max-steps.",
        )
    config.output.mkdir(parents=True, exist_ok=True)
    return play(
        config.output / "rounds.json",
        lambda number: _round(
            config, number, round(steps * config.growth**number)
        ),
        lambda result: float(result["exact_match"]["share"]),
        rounds=config.rounds,
        patience=config.patience,
    )


def _round(config: StarConfig, number: int, steps: int) -> JsonObject:
    folder = config.output / f"round{number}"
    learner = folder / "student"
    student = config.output / f"round{number - 1}" / "student"
    teacher = config.teacher or f"local/{config.model}"
    if number:
        teacher = f"local/{student}"
    made = synth_run(
        config.pack,
        config.seeds,
        teacher=teacher,
        output=folder / "run",
        **config.run,
    )
    kept = made.counts["kept"]
    if not kept:
        raise WrongUse(
            f"round {number}",
            f"no right rationale of {teacher}",
            "at least one",
            "Begin with a --teacher that solves some of them, or with easier seeds.",
        )
    trained = sft.run(
        TrainConfig(
            data=str(made.folder),
            model=config.model,
            output=learner,
            trainer={**config.trainer, "max_steps": steps},
        )
    )
    measured = evaluate.run(
        evaluate.EvaluateConfig(
            data=config.held_out,
            model=str(learner),
            output=learner,
            max_new_tokens=config.max_new_tokens,
        )
    )
    return {
        "round": number,
        "teacher": teacher,
        "kept": kept,
        "steps": trained["steps"],
        "exact_match": measured["exact_match"],
    }
