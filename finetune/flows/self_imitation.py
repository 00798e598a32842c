"""Self-imitation: a model writes, a critic and rules keep what is good, the model learns it and
writes again (I2D2, arXiv:2212.09246).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from finetune.core.rows import JsonObject
from finetune.flows.rounds import play
from finetune.recipes import sft
from finetune.settings import TrainConfig, refuse_of_stages
from synth import run as synth_run
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.statistics.intervals import wilson


@dataclass(frozen=True, kw_only=True)
class ImitationConfig:
    """What `finetune self-imitation` is told.

    Attributes:
        seeds: rows for the pack.
        model: who writes first, and learns; each round goes on from the student of the round
            before.
        output: a folder for all rounds; a round that is finished there is not done again.
        pack: its prompt should be the question itself, so that the model is asked as it is trained.
        teacher: who writes in the first round; None for the model itself.
        critics: other roles of the pack and who plays them, the same in all rounds.
        rounds: at most; the paper has 2.
        patience: rounds without a better share of kept draws before the loop ends.
        trainer: fields of the TRL config.
        run: fields of a run, such as `draws`, `concurrency` or `api_base`.
    """

    seeds: str
    model: str
    output: Path
    pack: str = "generics_plain"
    teacher: str | None = None
    critics: Mapping[str, str] = field(default_factory=dict)
    rounds: int = 2
    patience: int = 1
    trainer: Row = field(default_factory=dict)
    run: Row = field(default_factory=dict)


def run(config: ImitationConfig) -> list[JsonObject]:
    """The rounds: {round, teacher, asked, kept, share: {share, low, high}, steps}, as
    OUTPUT/rounds.json holds them too.

    Raises:
        WrongUse: a round that keeps nothing.
    """
    refuse_of_stages(config.trainer)
    config.output.mkdir(parents=True, exist_ok=True)
    return play(
        config.output / "rounds.json",
        lambda number: _round(config, number),
        lambda result: float(result["share"]["share"]),
        rounds=config.rounds,
        patience=config.patience,
    )


def _round(config: ImitationConfig, number: int) -> JsonObject:
    folder = config.output / f"round{number}"
    writer = config.model
    teacher = config.teacher or f"local/{writer}"
    if number:
        writer = str(config.output / f"round{number - 1}" / "student")
        teacher = f"local/{writer}"
    made = synth_run(
        config.pack,
        config.seeds,
        teacher={"teacher": teacher, **config.critics},
        output=folder / "run",
        **config.run,
    )
    asked = made.counts["asked"]
    kept = made.counts["kept"]
    if not kept:
        raise WrongUse(
            f"round {number}",
            f"nothing of {teacher} was kept",
            "a row to learn from",
            "Begin with a --teacher that can do it.",
        )
    trained = sft.run(
        TrainConfig(
            data=str(made.folder),
            model=writer,
            output=folder / "student",
            trainer=config.trainer,
        )
    )
    return {
        "round": number,
        "teacher": teacher,
        "asked": asked,
        "kept": kept,
        "share": _share(kept, asked),
        "steps": trained["steps"],
    }


def _share(kept: int, asked: int) -> JsonObject:
    """With its 95 % Wilson interval."""
    low, high = wilson(kept, asked)
    return {"share": kept / asked, "low": low, "high": high}
