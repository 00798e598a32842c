"""What a training is told of rows that it is measured on and does not learn."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from finetune.core.rows import JsonObject
from finetune.data.teacher_prompts import first_learnt
from synth.cli.command_group import say
from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import Row

EXACT_MATCH = "exact_match"
# Measure -> whether more of it is better.
MEASURES = {
    "loss": False,
    "kl": False,
    "cross_entropy": False,
    "agreement": True,
    "accuracy": True,
    EXACT_MATCH: True,
}
# Those of an encoder, which answers no prompts; the last one of classes alone.
OF_ENCODERS = ("loss", "kl", "cross_entropy", "agreement", "accuracy")
# Those that need no teacher.
ALONE = ("loss", EXACT_MATCH)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Rows held out, and what is done with what they show.

    Attributes:
        data: a run folder, an exported folder or file, or a dataset name.
        keep_best: the measure of `MEASURES` whose best checkpoint becomes the student; "" for the
            last one, whatever it measures.
        patience: measurements without a better one after which the training ends; 0 for never.
        measure: `exact_match`, where answers are generated; "" for none.
        rows: that are answered, at most.
        parser: that reads the answers, NAME[:key=value,...].
        new_tokens: of an answer, at most.
    """

    data: str
    keep_best: str = ""
    patience: int = 0
    measure: str = ""
    rows: int = 100
    parser: str = "final_number"
    new_tokens: int = 256

    @property
    def decides(self) -> str:
        """The measure by which a checkpoint is better than another."""
        return self.keep_best or "loss"

    @property
    def chooses(self) -> bool:
        """Whether anything hangs on which checkpoint is better."""
        return bool(self.keep_best or self.patience)

    @property
    def answers(self) -> bool:
        """Whether rows are answered."""
        return EXACT_MATCH in (self.measure, self.keep_best)

    def check(self, measures: Iterable[str] = MEASURES) -> None:
        """Refuses a measure that a training does not take.

        Args:
            measures: that it takes.

        Raises:
            WrongUse: another one.
        """
        known = tuple(measures)
        if self.chooses and self.decides not in known:
            raise WrongUse(
                f"--keep-best {self.decides}, --patience {self.patience}",
                "no measure of this training",
                f"one of {', '.join(known)}",
                did_you_mean(self.decides, known),
            )

    def fields(self, given: Mapping[str, object]) -> JsonObject:
        """The fields of a trainer's config that follow, which what is given overrules.

        A best checkpoint holds weights alone, and the last best one stays, where nothing else is
        said of checkpoints.
        """
        stepwise = given.get("eval_steps") is not None
        made: JsonObject = {"eval_strategy": "steps" if stepwise else "epoch"}
        if self.chooses:
            made["metric_for_best_model"] = self.decides
            made["greater_is_better"] = MEASURES[self.decides]
        if self.keep_best:
            made["load_best_model_at_end"] = True
        if self.keep_best and "save_strategy" not in given:
            made["save_strategy"] = "best"
            made["save_only_model"] = True
            made["save_total_limit"] = 1
        return made


class HeldRows(NamedTuple):
    """Rows held out, as a trainer takes them.

    Attributes:
        data: where they stand.
        rows: that are measured.
        twice: of these, how many have a prompt that stands in the training rows too.
        positions: of these rows in their file, from 0; () where that does not matter.
    """

    data: str
    rows: list[JsonObject]
    twice: int
    positions: Sequence[int] = ()

    def record(self) -> JsonObject:
        """What a training writes down of them."""
        facts = {
            "data": self.data,
            "rows": len(self.rows),
            "in_training": self.twice,
        }
        return {"held_out": facts}


def read_tokens(row: Row) -> Hashable:
    """The prompt of a row of ids and labels; all of it where it has none."""
    # A start token alone is no prompt.
    first = first_learnt(row["labels"])
    ids = row["input_ids"]
    return tuple(ids[:first] if 1 < first < len(ids) else ids)


def apart(
    data: str,
    held: list[JsonObject],
    learnt: Iterable[Row],
    prompt_of: Callable[[Row], Hashable] = read_tokens,
) -> HeldRows:
    """Rows held out, after a look for their prompts among the training rows; how many stand in both
    is said.

    Raises:
        WrongUse: all of them do, and what they show is what was learnt.
    """
    known = {prompt_of(row) for row in learnt}
    twice = sum(prompt_of(row) in known for row in held)
    if twice == len(held):
        raise WrongUse(
            f"--held-out {data}",
            f"{twice:,} rows whose prompts all stand in the training rows",
            "rows that are not learnt",
            "Split the file: a row belongs to one side.",
        )
    if twice:
        text = f"{twice:,} of {len(held):,} rows held out"
        say(f"{text} have a prompt that stands in the training rows", err=True)
    return HeldRows(data, held, twice)
