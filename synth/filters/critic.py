"""A model's opinion: keeps rows that a critic accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from synth.core.aio import run_async
from synth.core.errors import (
    RowFault,
    TeacherError,
    WrongUse,
    did_you_mean,
    require_count,
)
from synth.core.records import Row, Verdict
from synth.filters.base_asking import MOST_VOTES, AskingFilter
from synth.statistics.curves import probability

if TYPE_CHECKING:
    from synth.calls.door import Doors
    from synth.calls.reading import Reading
    from synth.packs.pack import Pack
    from synth.packs.step import Step


@dataclass(frozen=True, kw_only=True)
class Critic(AskingFilter):
    """Asks a teacher, or a panel of them, with a pack's words, whether a row may stay.

    Sees: the pack's inputs in one row. Costs: `votes` calls a row and member, and one more for each
    unreadable verdict. An unreadable verdict is asked again once and is then unknown, never "no".
    Packs: `critic_faithful`, `critic_reference` (sees the gold), `critic_rubric` (1 to 5), or your
    own.

    Args:
        teacher: PROVIDER/MODEL, or inside a run the role of a `--teacher ROLE=T`.
        panel: further ones; each has the same weight, whatever share of its votes was readable.
            Take other families of models: one family is one opinion paid for several times.
        pack: name or folder of the critic's pack: one step, whose parser brings the verdict.
        votes: verdicts asked of each member for each row (draws of the critic).
        verdict_field: the parsed field that holds the verdict.
        accept: its text that keeps a row.
        scale: what verdicts are worth (0 to 1), e.g. {"1": 0, "2": 0.25, ...}; None: `accept` is
            worth 1, all others 0.
        weigh: `said` takes the verdict as it is said; `probability` weighs all verdicts of the
            scale with the probabilities of the verdict's token (G-Eval, Liu et al.,
            arXiv:2303.16634), and needs a teacher that returns log-probabilities.
        least: keep rows whose score, the mean over members and votes, is at least this (0 to 1);
            None for more than half.
        promise: what `calibrate` measured: the card of what this critic filters tells it, and rows
            get a `probability`.
        fooled: largest share (0 to 1) of forged rows that it may accept: it is tried on some 30
            before a run of 300 rows or more, and the run stops where it surely accepts more; 1
            tries none.
        journal: folder for the replies when used as a library, so that nothing is paid for twice;
            how it is asked then (`api_base`, `timeout`, `budget`, ...): see `CallOptions` of
            `synth.calls`.

    Reasons:
        critic_rejects: the critic said no.
        critic_unreadable: no member gave a verdict that can be read (unknown).
        critic_empty: a text that should be judged is empty; nobody is asked.
        critic_failed: no reply came (unknown).

    Marks: every field of the first reply (`verdict`, `critique`), `teacher`, `score`, of a panel
    `members`, calibrated `probability`.

    Example:
        >>> critic = Critic(teacher="simulated/critic:miss=0,false_alarm=0")
        >>> rows = [
        ...     {"question": "What is 8 + 5 ?", "rationale": f"8 + 5 = {n}", "answer": str(n)}
        ...     for n in (13, 3)
        ... ]
        >>> kept, dropped = critic.split(rows)
        >>> [r["answer"] for r in kept], dropped[0]["reason"]
        (['13'], 'critic_rejects')
    """

    pack: str = "critic_faithful"
    panel: tuple[str, ...] = ()
    votes: int = 1
    verdict_field: str = "verdict"
    accept: str = "yes"
    scale: Mapping[str, float] | None = None
    weigh: Literal["said", "probability"] = "said"
    least: float | None = None
    promise: Row | None = None
    fooled: float = 0.05

    reasons: ClassVar[dict[str, str]] = {
        "critic_rejects": "the critic said no",
        "critic_unreadable": "no verdict that can be read",
        "critic_failed": "no reply came",
        "critic_empty": "there is nothing to judge",
    }

    def __post_init__(self) -> None:
        require_count("votes", self.votes, 1, MOST_VOTES)
        if self.least is not None and not 0 <= self.least <= 1:
            raise ValueError(f"least {self.least:g}; 0 to 1")

    def check_pack(self, pack: Pack) -> None:
        """Raises WrongUse where a pack has no such verdict, or one that can never be `accept`."""
        kinds = pack.steps[0].produces()
        where = f"critic with pack {self.pack!r}: verdict_field"
        if self.verdict_field not in kinds:
            raise WrongUse(
                where,
                repr(self.verdict_field),
                "a field that the pack's reply is read into",
                did_you_mean(self.verdict_field, kinds),
            )
        if kinds[self.verdict_field] != "number" or self.scale is not None:
            return
        try:
            float(self.accept)
        except ValueError as error:
            raise WrongUse(
                where,
                f"{self.verdict_field!r}, a number, which is never {self.accept!r}",
                "a `scale` that says what each number is worth, or a number as `accept`",
                'Such as scale: {"1": 0, "2": 0.5, "3": 1}, or `accept: 1`.',
            ) from error

    def unknown_field(self, names: Collection[str]) -> tuple[str, str] | None:
        """The same, and the inputs that the pack cannot do without."""
        for name, spec in self.loaded.spec.inputs.items():
            there = {name, *spec.aliases} & {*names}
            if not there and not spec.optional:
                todo = (
                    f"The critic's pack {self.pack!r} needs it: name another pack, "
                    "or write the field before the filter."
                )
                return name, todo
        return super().unknown_field(names)

    def roles(self) -> tuple[str, ...]:
        """All members."""
        return (self.teacher, *self.panel)

    def calls(self, draws: int) -> float:
        """Each member's votes."""
        return draws * self.votes * len(self.roles())

    def step(self, teacher: str | None = None) -> Step:
        """The one question; with log-probabilities where they are weighed."""
        step = super().step(teacher)
        if self.weigh == "said":
            return step
        top = step.sampling.top_logprobs or 20
        return replace(
            step,
            sampling=replace(step.sampling, logprobs=True, top_logprobs=top),
        )

    async def about(self, row: Row, doors: Doors) -> Verdict:
        """Asks all members for all votes."""
        if empty := self.empty_input(row):
            return Verdict(False, "critic_empty", {"empty": empty})
        values = self.values(row)
        outcomes = await asyncio.gather(
            *(
                self.ask(
                    values,
                    doors,
                    draw=vote,
                    again=self.votes,
                    teacher=member,
                )
                for member in self.roles()
                for vote in range(self.votes)
            ),
            return_exceptions=True,
        )
        failed = [
            outcome
            for outcome in outcomes
            if isinstance(outcome, BaseException)
        ]
        if any(not isinstance(error, TeacherError) for error in failed):
            raise next(
                error for error in failed if not isinstance(error, TeacherError)
            )
        members = []
        for start in range(0, len(outcomes), self.votes):
            votes = outcomes[start : start + self.votes]
            members.append([vote for vote in votes if self._readable(vote)])
        if any(members):
            return self._read(members)  # type: ignore[arg-type]
        if failed:
            return Verdict(
                None,
                "critic_failed",
                {"failure": getattr(failed[0], "kind", "")},
            )
        reply = outcomes[0].completion.text[:200]  # type: ignore[union-attr]
        return Verdict(None, "critic_unreadable", {"reply": reply})

    @staticmethod
    def _readable(reading: Reading | BaseException) -> bool:
        return not isinstance(reading, BaseException) and not reading.unreadable

    def _read(self, members: Sequence[Sequence[Reading]]) -> Verdict:
        scores = [
            sum(map(self.worth, readings)) / len(readings)
            for readings in members
            if readings
        ]
        score = sum(scores) / len(scores)
        keep = score > 0.5 if self.least is None else score >= self.least
        first = next(readings[0] for readings in members if readings)
        marks = {
            **first.fields,
            "teacher": first.meta["teacher"],
            "score": round(score, 4),
        }
        if self.promise and "curve" in self.promise:
            marks["probability"] = round(
                probability(self.promise["curve"], score), 4
            )
        if self.panel:
            marks["members"] = {
                readings[0].meta["teacher"]: round(s, 4)
                for readings, s in zip(
                    filter(None, members), scores, strict=True
                )
            }
        return Verdict(keep, "" if keep else "critic_rejects", marks)

    def worth(self, reading: Reading) -> float:
        """What a verdict is worth, 0 to 1.

        Raises:
            WrongUse: log-probabilities are to be weighed and the teacher returns none.
        """
        from synth.critics.verdict_odds import expected  # noqa: PLC0415 - few need it

        scale = {
            str(word).casefold(): float(worth)
            for word, worth in (self.scale or {self.accept: 1.0}).items()
        }
        verdict = str(reading.fields.get(self.verdict_field, "")).casefold()
        if self.weigh == "said":
            return scale.get(verdict, 0.0)
        if not reading.completion.logprobs:
            todo = (
                'Use weigh="said" with several votes, or a teacher that returns '
                "log-probabilities."
            )
            raise RowFault(
                f"{self.name}:weigh=probability",
                f"no log-probabilities from {reading.meta['teacher']}",
                "them",
                todo,
            )
        return expected(reading.completion.logprobs, verdict, scale)

    def calibrate(
        self,
        labelled: Iterable[Row],
        *,
        label: str = "is_correct",
        group: str = "question",
        target_precision: float,
        confidence: float = 0.9,
    ) -> Critic:
        """This critic with the loosest `least` whose precision is promised, asked about labelled
        rows.

        Args:
            labelled: rows with the pack's inputs and the label.
            label: the column that says whether a row is right.
            group: the column that draws of one question share; rows of one question count as one
                cluster.
            target_precision: share of right rows among the kept ones, to be promised.
            confidence: of the promise.

        Raises:
            NotEnoughEvidence: no threshold can be promised; says how many labels are missing.
        """
        from synth.critics.calibration import promised  # noqa: PLC0415 - as above

        promise = promised(
            self,
            labelled,
            label=label,
            group=group,
            target_precision=target_precision,
            confidence=confidence,
        )
        return replace(self, least=promise["least"], promise=promise)

    def canaries(self, right: Iterable[Row]) -> dict[str, float]:
        """Share of forged rows that this critic accepts, by kind of forgery; 0 everywhere is what a
        run deserves.

        Args:
            right: a few rows with a right `rationale` and `answer`; each is forged in every way.
        """
        from synth.critics.canaries import fooled, shares  # noqa: PLC0415 - as above

        accepted = run_async(fooled(self, right))
        return {
            kind: share
            for kind, share in shares(accepted).items()
            if kind != "right"
        }
