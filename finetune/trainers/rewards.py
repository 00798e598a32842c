"""Filters and critics of synth as rewards of what a student writes in training."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from finetune.core.rows import JsonObject
from finetune.students.checkpoints import cut
from synth.calls.door import Doors
from synth.core.errors import Unreadable, WrongUse
from synth.core.records import Row, Verdict
from synth.filters.base import Filter
from synth.filters.base_asking import AskingFilter
from synth.parsers.base import Parser, Reply

# Under the output folder: every text that was written, with its rewards.
TEXTS = "completions.jsonl"
# The share of all batches that a training's beginning and its end are measured on.
_END = 0.1


@dataclass
class Rewards:
    """What each text of a student earns: 1 where a filter keeps it, 0 where it does not, nothing
    where the filter cannot tell. A text that the parser cannot read earns 0 of all.

    Args:
        rows: of the data, with their golds as `target`; their columns are what filters see beside
            what the parser reads.
        parser: reads the texts.
        parts: a filter a reward, none of which compares all rows.
        end_tokens: with which a text ends by itself.
        graded: a filter's score, or a critic's probability, is its reward where it gives one.
        log: file for the texts; None to write none.
        whole_groups: whether all texts of a prompt come together.

    Raises:
        WrongUse: a filter that needs more rows than there are at once.
    """

    rows: Sequence[Row]
    parser: Parser
    parts: Sequence[Filter]
    end_tokens: Collection[int]
    graded: bool = False
    log: Path | None = None
    whole_groups: bool = True

    def __post_init__(self) -> None:
        taken: Counter[str] = Counter()
        self.functions: list[Reward] = []
        for part in self.parts:
            self._check(part)
            taken[part.name] += 1
            number = taken[part.name]
            name = part.name if number == 1 else f"{part.name}_{number}"
            self.functions.append(Reward(name, part, self))
        self.doors: dict[str, Doors] = {}
        self.texts = 0
        self.unreadable: Counter[str] = Counter()
        self._batch: Batch | None = None
        self._is_cut = False

    def _check(self, part: Filter) -> None:
        if part.group == "corpus":
            found = "a filter that compares all rows"
            todo = "Filter the rows before the training: `synth filter`."
        elif part.group and not self.whole_groups:
            found = "a filter that compares the texts of a prompt, which several processes write"
            todo = "Train with one process, or take another reward."
        else:
            return
        raise WrongUse(
            f"--reward {part.name}", found, "one that judges each text", todo
        )

    def batch(
        self,
        texts: Sequence[Any],
        ids: Sequence[Sequence[int]],
        rows: list[int],
    ) -> Batch:
        """The texts of one step as filters see them; read once for all rewards.

        Args:
            texts: as the trainer hands them to each reward: the same list.
            ids: their tokens.
            rows: the place of each one's row.
        """
        if self._batch is None or self._batch.texts is not texts:
            self._batch = Batch(texts, [])
            for text, tokens, row in zip(texts, ids, rows, strict=True):
                self._batch.views.append(self._view(text, tokens, row))
            self.texts += len(texts)
        return self._batch

    def _view(self, text: Any, tokens: Sequence[int], place: int) -> View:
        said = text if isinstance(text, str) else str(text[-1]["content"])
        ended = bool(tokens) and int(tokens[-1]) in self.end_tokens
        row = self.rows[place]
        seen = {
            **row,
            "completion": said,
            "finish_reason": "stop" if ended else "length",
        }
        try:
            read = self.parser.parse_reply(Reply(said, whole=ended), row)
        except Unreadable as error:
            self.unreadable[error.reason] += 1
            return View(place, seen, error.reason)
        return View(place, {**seen, **read})

    def written(self, step: int, batch: Batch) -> None:
        """Writes a step's texts down, once all rewards are known."""
        if self.log is None or len(batch.rewards) < len(self.functions):
            return
        if not self._is_cut:
            self._is_cut = True
            cut(self.log, step)
        with self.log.open("a", encoding="utf-8") as file:
            for number, view in enumerate(batch.views):
                line = {
                    "step": step,
                    "row": view.place,
                    "completion": view.row["completion"],
                    "answer": view.row.get("answer")
                    if not view.fault
                    else None,
                    "unreadable": view.fault or None,
                    "rewards": {
                        name: values[number]
                        for name, values in batch.rewards.items()
                    },
                    "reasons": {
                        name: reasons[number]
                        for name, reasons in batch.reasons.items()
                        if reasons[number]
                    },
                }
                file.write(json.dumps(line, default=str) + "\n")

    def record(self) -> JsonObject:
        """What a training writes down: of each reward its mean over the first and the last tenth of
        the steps and over all, and how many texts could not be read, by reason.
        """
        means = {
            function.__name__: _course(function.means)
            for function in self.functions
        }
        return {
            "completions": self.texts,
            "unreadable": dict(self.unreadable),
            "rewards": means,
        }

    async def close(self) -> None:
        """Closes what critics opened."""
        for doors in self.doors.values():
            await doors.close()


@dataclass
class View:
    """One text: the place of its row, the row as filters see it, and why it cannot be read."""

    place: int
    row: JsonObject
    fault: str = ""


@dataclass
class Batch:
    """The texts of one step, and what each reward says of them by its name."""

    texts: Sequence[Any]
    views: list[View]
    rewards: dict[str, list[float | None]] = field(default_factory=dict)
    reasons: dict[str, list[str]] = field(default_factory=dict)


class Reward:
    """One filter, as TRL's GRPOTrainer asks for a reward.

    Args:
        name: in logs.
        part: the filter.
        of: all rewards of the training.
    """

    def __init__(self, name: str, part: Filter, of: Rewards) -> None:
        self.__name__ = name
        self.part = part
        self.of = of
        self.means: list[float] = []

    async def __call__(
        self,
        *,
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        row: list[int],
        trainer_state: Any,
        **_: Any,
    ) -> list[float | None]:
        """A reward a text; None where the filter cannot tell.

        Args:
            completions: texts, or messages.
            completion_ids: their tokens.
            row: the place of each one's row.
            trainer_state: whose `global_step` is written down.
        """
        batch = self.of.batch(completions, completion_ids, row)
        verdicts = await self._verdicts(batch.views)
        values = [self._value(verdict) for verdict in verdicts]
        batch.rewards[self.__name__] = values
        batch.reasons[self.__name__] = [
            "" if verdict.keep else self.part.why(verdict)
            for verdict in verdicts
        ]
        known = [value for value in values if value is not None]
        if known:
            self.means.append(sum(known) / len(known))
        self.of.written(trainer_state.global_step, batch)
        return values

    async def _verdicts(self, views: Sequence[View]) -> list[Verdict]:
        """One verdict a text: those that can be read are judged, in the groups that the filter
        compares.
        """
        verdicts = [Verdict(False, view.fault) for view in views]
        groups: dict[int, list[int]] = {}
        for number, view in enumerate(views):
            if not view.fault:
                key = view.place if self.part.group else 0
                groups.setdefault(key, []).append(number)
        for numbers in groups.values():
            rows = [views[number].row for number in numbers]
            judged = await self.part.verdicts(rows, self._doors())
            for number, verdict in zip(numbers, judged, strict=True):
                verdicts[number] = verdict
        return verdicts

    def _doors(self) -> Doors | None:
        """A critic's doors, opened once a training: its budget is of the whole."""
        if not isinstance(self.part, AskingFilter):
            return None
        held = self.of.doors
        if self.__name__ not in held:
            held[self.__name__] = self.part.open_doors(counted=True)
        return held[self.__name__]

    def _value(self, verdict: Verdict) -> float | None:
        score = verdict.marks.get(
            "probability", verdict.marks.get(self.part.score)
        )
        if (
            self.of.graded
            and isinstance(score, int | float)
            and not isinstance(score, bool)
        ):
            return float(score)
        return None if verdict.keep is None else float(verdict.keep)


def with_journal(part: Filter, folder: Path) -> Filter:
    """A critic whose replies are kept in a folder, where it names none: a training that is begun
    again asks nothing twice.
    """
    if isinstance(part, AskingFilter) and part.journal is None:
        return cast("Filter", replace(part, journal=str(folder)))
    return part


def _course(means: Sequence[float]) -> Mapping[str, float | None]:
    """The mean of a reward at the beginning, at the end, and over all steps."""
    if not means:
        return {"first": None, "last": None, "mean": None}
    count = max(1, round(len(means) * _END))
    parts = {"first": means[:count], "last": means[-count:], "mean": means}
    return {
        name: round(sum(values) / len(values), 4)
        for name, values in parts.items()
    }
