"""What a run would take, before it asks anything: calls, tokens, dollars, time, and how sure that
is.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from synth.calls.price import FREE, Price, most_tokens
from synth.calls.token_counter import (
    A_MESSAGE,
    A_REQUEST,
    BY_BYTES,
    TokenCounter,
    counter,
)
from synth.core.errors import WrongUse
from synth.core.money import dollars
from synth.core.records import Fields, Request, Row, canonical_json, in_text
from synth.critics.canaries import calls_of
from synth.inputs.seeds import read_rows
from synth.packs.choosing import Asking
from synth.packs.pack import Pack
from synth.packs.step import NOTHING_SAID, Said, Step, Tooling
from synth.pipeline.prepare import Prepared
from synth.runs.ownership import read_run
from synth.statistics.label_budget import Prices, advise, describe, read_pilot

# Seeds that are rendered to measure prompts.
SAMPLE = 200
# What is taken for a list whose length nobody knows yet, and for a reply where neither a measure
# nor a bound is known.
LIST_LENGTH = 4
# About as long as a call of a tool, or its answer.
_CALL = "word " * 40
REPLY_TOKENS = 256


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """One question of a pack or of a critic: calls at most, mean tokens a call.

    Attributes:
        prompt_tokens: mean tokens of a prompt, over a sample of the seeds.
        error: standard error of `prompt_tokens`, as a share of it, with the tokenizer's own.
        completion_tokens: tokens of a reply as measured in earlier runs, None where none was.
        most: tokens of a call's replies at most, None where unbounded.
        sure: whether the prompt was rendered from real fields alone.
    """

    name: str
    role: str
    teacher: str
    calls: float
    prompt_tokens: float
    error: float
    completion_tokens: float | None
    most: int | None
    price: Price | None
    sure: bool

    def usd(self, completion_tokens: float) -> float:
        """Dollars where every reply has so many tokens."""
        return self.calls * self.usd_a_call(
            self.prompt_tokens, completion_tokens
        )

    def usd_a_call(
        self, prompt_tokens: float, completion_tokens: float
    ) -> float:
        """Dollars of a call with so many tokens."""
        price = self.price or FREE
        return (
            prompt_tokens * price.input + completion_tokens * price.output
        ) / 1e6


@dataclass(frozen=True)
class Plan:
    """All questions of a run over `rows` seeds."""

    name: str
    rows: int
    steps: tuple[StepPlan, ...]

    def most_usd_a_call(self) -> float:
        """Dollars of the dearest call, with the longest reply that it may have; 0 without calls."""
        calls = [
            step.usd_a_call(step.prompt_tokens, step.most or 0)
            for step in self.steps
        ]
        return max(calls, default=0.0)

    def summary(self) -> Fields:
        """Calls, tokens in, tokens out at most, dollars at most: what run.json and the card set
        against the facts.
        """
        bounded = all(s.most for s in self.steps)
        priced = all(s.price for s in self.steps)
        most = [s.most or 0 for s in self.steps]
        return {
            "calls": round(sum(s.calls for s in self.steps)),
            "prompt_tokens": round(
                sum(s.calls * s.prompt_tokens for s in self.steps)
            ),
            "completion_tokens": round(
                sum(s.calls * m for s, m in zip(self.steps, most, strict=True))
            )
            if bounded
            else None,
            "usd": round(
                sum(s.usd(m) for s, m in zip(self.steps, most, strict=True)), 6
            )
            if bounded and priced
            else None,
        }


def make_plan(
    prepared: Prepared,
    count: Callable[[str], TokenCounter] = lambda _: BY_BYTES,
) -> Plan:
    """A plan from a sample of rendered prompts and from what earlier runs measured (`--reuse`, or
    the run's own folder).
    """
    if not prepared.scan.rows:
        # A shard that no seed fell into.
        return Plan(prepared.pack.name, 0, ())
    measured = _measured([prepared.output, *map(Path, prepared.config.reuse)])
    filled: Fields = {}
    if prepared.library is not None:
        filled.update(prepared.library.samples())
    steps = []
    for step, pack, calls in _questions(prepared):
        means = measured.get(step.name, {})
        if step.gathers:
            filled[step.gathers.into] = _like(step.gathers.kinds, "word word")
        teacher = prepared.teachers()[step.role]
        tokens = [
            _tokens(r, count(teacher))
            for r in _requests(prepared, pack, step, filled)
        ]
        mean = statistics.fmean(tokens)
        most = calls * (1 + step.repairs)
        error = (
            statistics.stdev(tokens) / len(tokens) ** 0.5 / mean
            if len(tokens) > 1
            else 0.0
        )
        steps.append(
            StepPlan(
                name=step.name,
                role=step.role,
                teacher=teacher,
                calls=means["calls"] * prepared.scan.rows if means else most,
                prompt_tokens=mean,
                error=2 * error + count(teacher).error,
                completion_tokens=means.get("completion_tokens"),
                most=most_tokens(step.sampling.body) or None,
                price=prepared.price(step.role),
                sure=not (step.variables() & filled.keys()),
            )
        )
        filled.update(
            _filler(
                step,
                means.get("completion_tokens") or _reply_tokens(step),
            )
        )
    return Plan(prepared.pack.name, prepared.scan.rows, tuple(steps))


def _questions(prepared: Prepared) -> Iterator[tuple[Step, Pack, float]]:
    """(step, its pack, calls at most) of every step and of the critics behind it."""
    pack = prepared.pack
    rows = prepared.scan.rows
    sample = [seed.fields for seed in islice(prepared.seeds, SAMPLE)]
    samples = float(rows)
    for step in pack.steps:
        # A rescue asks about one lost sample a seed; those that were kept walk on beside it.
        # A step that gathers asks about one row a seed.
        walking = rows if step.rescues or step.gathers else samples
        walking *= step.draws * _length(pack, step.spread, sample)
        asked = walking * _length(pack, step.each, sample)
        # A talk begins with the step's question, which costs no call.
        turns = step.talk.turns if step.talk else 1
        calls = step.tooling.most_calls if step.tooling else 0
        yield step, pack, asked * (turns + calls)
        if step.talk:
            yield step.talk.second, pack, asked * (turns - 1)
        if step.tooling and step.tooling.players:
            for player in _players(step.tooling):
                yield player, pack, asked * calls
        samples = max(samples, walking) if step.rescues else walking
        for part in step.filters:
            asked = part.questions(round(samples / max(1, rows)))
            for question, its_pack, calls in asked:
                yield (
                    question,
                    its_pack,
                    rows * calls
                    + calls_of(part, prepared.critic_rows) / len(asked),
                )


def _players(tooling: Tooling) -> list[Step]:
    """Who plays tools, one for each role: its calls are at most those of all tools together."""
    by_role = {player.role: player for player in tooling.players.values()}
    return list(by_role.values())


def _requests(
    prepared: Prepared, pack: Pack, step: Step, filled: Row
) -> Iterator[Request]:
    """The question to the first seeds, fields that only a run can bring filled with text of about
    their length.
    """
    lost = (
        {
            "attempt": {
                "reason": "wrong_answer",
                "reply": filled.get("reply", "word"),
                **filled,
            }
        }
        if step.rescues
        else {}
    )
    played: Fields = {}
    if step.name.endswith(".tool"):
        text = "word " * (_reply_tokens(step) // 2)
        played = {"tool": "tool", "about": text, "arguments": "{}", "calls": []}
    for seed in islice(prepared.seeds, SAMPLE):
        row = {**filled, **seed.fields}
        inputs = (
            row
            if pack is prepared.pack
            else {name: row.get(name, "word") for name in pack.spec.inputs}
        )
        whole = {**pack.values(inputs), **lost, **played}
        library = prepared.library if pack is prepared.pack else None
        if library is None:
            values = step.first_of(whole)
            shown = step
        else:
            asking = Asking(seed.id)
            # A file is searched by the run alone; its first rows stand for those that it finds.
            whole |= library.listed(step, whole, asking)
            values = step.first_of(whole)
            shown = library.showing(step, values, asking)
        said = _talked(prepared, step)
        # A plan reads no image. A copy of a step makes anew what it keeps.
        if shown.gallery is not None:
            shown = replace(shown, gallery=None)
        yield shown.request(values, model="", family="", said=said)


def _talked(prepared: Prepared, step: Step) -> Said:
    """What a mean call of a talk sees of it: as many turns as the longest has before its last call,
    each of half the length.
    """
    for one in prepared.pack.steps:
        said: list[Row] = []
        text = "word " * (_reply_tokens(one) // 2)
        if one.talk and step in (one, one.talk.second):
            pair = [
                {"role": "assistant", "content": text},
                {"role": "user", "content": text},
            ]
            said += pair * (one.talk.turns - 1)
        if one.tooling and step is one:
            pair = [
                {"role": "assistant", "content": _CALL},
                {"role": "tool", "content": _CALL},
            ]
            # A mean call sees half of those that the last one sees.
            said += pair * (one.tooling.most_calls // 2)
        if said:
            return Said(tuple(said))
    return NOTHING_SAID


def _reply_tokens(step: Step) -> int:
    """Tokens of a reply where no run has measured any."""
    return step.sampling.max_tokens or REPLY_TOKENS


def _filler(step: Step, tokens: float) -> Fields:
    """What a step's fields may look like: its text fields share the reply's length."""
    produced = step.produces()
    words = "word " * max(1, int(tokens / max(1, len(produced))))
    return {name: _like(kind, words) for name, kind in produced.items()}


def _like(kind: Any, words: str) -> Any:
    """A value of a kind."""
    if isinstance(kind, Mapping):
        return [
            {name: _like(inner, "word word") for name, inner in kind.items()}
        ] * LIST_LENGTH
    many = {"list": ["word word"] * LIST_LENGTH, "numbers": [1.0] * LIST_LENGTH}
    return {"number": 1.0, "bool": True, **many}.get(kind, words)


def _length(
    pack: Pack, walked: tuple[str, str] | None, sample: Sequence[Row]
) -> float:
    """Elements of the list that a step spreads or walks: known of what is retrieved, of constants
    and of seeds, else a guess.
    """
    if walked is None:
        return 1
    for block in pack.spec.retrieves.values():
        if walked[0] == block.into and block.choose != "all":
            return block.most
    values = [pack.spec.constants.get(walked[0])]
    values.extend(row.get(walked[0]) for row in sample)
    lengths = [len(value) for value in values if isinstance(value, list)]
    return statistics.fmean(lengths) if lengths else LIST_LENGTH


def _tokens(request: Request, counter: TokenCounter) -> float:
    form = request.response_format
    asked = counter.count(canonical_json(form).decode()) if form else 0
    if request.tools:
        declared = canonical_json(list(request.tools)).decode()
        asked += counter.count(declared)
    return (
        A_REQUEST
        + asked
        + sum(
            A_MESSAGE + counter.count(in_text(m["content"]))
            for m in request.messages
        )
    )


def _measured(folders: list[Path]) -> dict[str, Mapping[str, float]]:
    """Per step, from the last of the runs that know it: calls a seed, mean tokens of a reply."""
    measures: dict[str, Mapping[str, float]] = {}
    for folder in folders:
        info = read_run(folder)
        try:
            seeds = max(1, info.get("seeds", 0))
            for name, step in info.get("steps", {}).items():
                calls = step["calls"]
                tokens = step["completion_tokens"]
                measures[name] = {
                    "calls": calls / seeds,
                    "completion_tokens": tokens / max(1, calls),
                }
        except (TypeError, KeyError, AttributeError):
            continue  # a run.json that somebody changed measures nothing
    return measures


def describe_plan(prepared: Prepared) -> str:
    """The plan as text, counted with the teachers' own tokenizers where they are at hand."""
    plan = make_plan(prepared, counter)
    lines = [
        f"{plan.name} over {plan.rows:,} seeds",
        *(_line(step) for step in plan.steps),
        _money(plan),
        *_time(plan, prepared),
    ]
    names = sorted({counter(step.teacher).name for step in plan.steps})
    sample = min(SAMPLE, plan.rows)
    lines.append(
        f"  how sure: tokens in are counted with {', '.join(names)} on {sample} rendered prompts "
        "a step; no call was made"
    )
    if any(not step.sure for step in plan.steps):
        lines.append(
            "  later questions hold fields that only a run brings: their calls are upper bounds, "
            "their tokens rough"
        )
    return "\n".join(lines)


def describe_choice(
    prepared: Prepared,
    *,
    annotate: float,
    pilot: str | None,
    budget: float | None,
    fixed: float = 0.0,
) -> str:
    """Labels by people or rows by the teacher: what `synth.statistics.label_budget` says of a
    pilot, at the price of a kept row of this plan.

    Raises:
        WrongUse: no pilot, no budget, or a teacher without a price.
    """
    if not pilot or not budget:
        raise WrongUse(
            "--annotate",
            "no --pilot or no --budget",
            "both",
            "Measure students of three sizes of each strategy first.",
        )
    plan = make_plan(prepared, counter)
    usd = plan.summary()["usd"]
    if not usd:
        raise WrongUse(
            "--annotate",
            "a plan of unknown cost",
            "teachers with a price and steps with max_tokens",
            "Give --price IN,OUT.",
        )
    share_kept = _kept_share(
        [prepared.output, *map(Path, prepared.config.reuse)]
    )
    prices = Prices(
        label=annotate, row=usd / max(1, plan.rows) / share_kept, fixed=fixed
    )
    return describe(
        advise(read_pilot(list(read_rows(pilot))), prices, budget),
        budget,
        prices,
    )


def _kept_share(folders: list[Path]) -> float:
    """Kept rows a seed in the last run that says so; 1 where none does."""
    share = 1.0
    for info in map(read_run, folders):
        counts = info.get("counts")
        seeds = info.get("seeds")
        if (
            isinstance(counts, dict)
            and isinstance(counts.get("kept"), int)
            and isinstance(seeds, int)
        ):
            share = max(1e-6, counts["kept"] / max(1, seeds))
    return share


def _line(step: StepPlan) -> str:
    out = (
        "unbounded"
        if step.most is None
        else f"at most {step.calls * step.most:,.0f}"
    )
    likely = (
        ""
        if step.completion_tokens is None
        else f", likely {step.calls * step.completion_tokens:,.0f} as measured"
    )
    price = (
        ""
        if step.price
        else f"\n    no known price for {step.teacher}; give --price IN,OUT"
    )
    return (
        f"  {step.name} ({step.teacher}): "
        f"{'at most ' if step.completion_tokens is None else 'about '}{step.calls:,.0f} calls, "
        f"{step.calls * step.prompt_tokens:,.0f} tokens in (± {100 * step.error:.0f} %), {out} "
        f"out{likely}{price}"
    )


def _money(plan: Plan) -> str:
    if not all(step.price for step in plan.steps):
        return "  cost: unknown"
    low = sum(step.usd(0) for step in plan.steps)
    if not all(step.most for step in plan.steps):
        return (
            f"  cost: from {dollars(low)} (input alone), without a bound: a "
            "step has no max_tokens"
        )
    high = sum(step.usd(step.most or 0) for step in plan.steps)
    likely = (
        sum(step.usd(step.completion_tokens or 0) for step in plan.steps)
        if all(step.completion_tokens is not None for step in plan.steps)
        else None
    )
    likely_cost = (
        ""
        if likely is None
        else f"; likely {dollars(likely)} at measured lengths"
    )
    return (
        f"  cost: from {dollars(low)} (input alone) to {dollars(high)} (every reply at "
        f"max_tokens){likely_cost}"
    )


def _time(plan: Plan, prepared: Prepared) -> list[str]:
    """What the limits a minute leave as the shortest time."""
    lines = []
    for role in sorted({step.role for step in plan.steps}):
        steps = [step for step in plan.steps if step.role == role]
        calls = sum(step.calls for step in steps)
        tokens = sum(
            step.calls
            * (step.prompt_tokens + (step.completion_tokens or step.most or 0))
            for step in steps
        )
        rpm, tpm = prepared.config.limits(role)
        whose = f", {role}" if len(plan.steps) > len(steps) else ""
        for limit, amount, what in (
            (rpm, calls, "requests"),
            (tpm, tokens, "tokens"),
        ):
            if limit:
                lines.append(
                    f"  time{whose}: at least {_clock(60 * amount / limit)} at {limit:g} {what} "
                    "a minute"
                )
    return lines


def _clock(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:,.0f} s"
    if seconds < 36_000:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds / 3600:,.1f} h"
