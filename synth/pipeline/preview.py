"""What the commands print about packs and runs."""

from __future__ import annotations

import shlex
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from synth.calls.journal import Journal, Totals, records
from synth.core.errors import Unreadable, WrongUse
from synth.core.money import dollars
from synth.core.records import Fields, Values, in_text
from synth.inputs.seeds import read_rows, write_jsonl
from synth.packs.choice_schema import ChoiceSpec
from synth.packs.choosing import Asking
from synth.packs.library import Library, open_demonstrations
from synth.packs.pack import Pack
from synth.packs.step import Step
from synth.packs.tooling import Misuse
from synth.runs.card import tally_table
from synth.runs.ledger import are_priced
from synth.runs.ownership import read_note, read_run
from synth.runs.shard_plan import run_folders
from synth.teachers.rehearsed import calls_of
from synth.teachers.wire.replies import load_reply, read_chat


def describe(name: str, overrides: Values, plugins: Sequence[str] = ()) -> str:
    """Inputs, steps, filters and exports of a pack."""
    pack = Pack.load(name, overrides, plugins)
    spec = pack.spec
    inputs = [
        f"  {n}: {s.type}{', optional' if s.optional else ''}{_from(s.aliases)}"
        for n, s in spec.inputs.items()
    ]
    exports = [
        f"  {kind}: {', '.join(tasks)}" for kind, tasks in pack.exports.items()
    ]
    lines = [
        f"{spec.name} {spec.version}: {spec.about}",
        *([f"paper: {spec.paper}"] if spec.paper else []),
        "inputs:",
        *inputs,
        *(
            f"{block}: {_choice(chosen)} as {chosen.into}"
            for block, chosen in spec.retrieves.items()
        ),
    ]
    return "\n".join(
        [
            *lines,
            "steps:",
            *(_step(s) for s in pack.steps),
            "exports:",
            *(exports or ["  none"]),
        ]
    )


def _choice(spec: ChoiceSpec) -> str:
    """How many rows are chosen, how, and of what."""
    many = "all" if spec.choose == "all" else f"{spec.most} {spec.choose}"
    return f"{many} of {spec.place}"


def _from(aliases: list[str]) -> str:
    return f" (or column {', '.join(aliases)})" if aliases else ""


def _step(step: Step) -> str:
    sampling = (
        ", ".join(f"{k}={v}" for k, v in step.sampling.body.items())
        or "the provider's defaults"
    )
    parsers = " else ".join(
        repr(parser) + (f" where the row has {when}" if when else "")
        for when, parser in step.parsers
    )
    filters = [f"    filter: {part!r}" for part in step.filters]
    ways = [f"    rescues: what {step.rescues} lost"] if step.rescues else []
    if step.demonstrations:
        ways.append(f"    demonstrations: {len(step.demonstrations)}")
    if step.chosen:
        ways.append(f"    demonstrations: {_choice(step.chosen.spec)}")
    if step.gathers:
        ways.append(f"    gather: the rows of a seed as {step.gathers.into}")
    if step.before:
        ways.append(f"    turns before: {len(step.before)}")
    if step.talk:
        talk = step.talk
        ending = f", or until {talk.stop}" if talk.stop else ""
        ways.append(
            f"    talk: {talk.turns} replies{ending}, with role {talk.second.role}"
        )
    if step.tooling:
        named = ", ".join(step.tooling.tools)
        many = step.tooling.most_calls
        ways.append(f"    tools: {named}, at most {many} calls")
    ways += [
        f"    {word}: each {pair[1]} of {pair[0]}"
        for word, pair in (("each", step.each), ("spread", step.spread))
        if pair
    ]
    for word, fields in (("sets", step.sets), ("then", step.thens)):
        if fields:
            names = ", ".join(name for name, _ in fields)
            ways.append(f"    {word}: {names}")
    return "\n".join(
        [
            f"  {step.name}: {step.draws} draw(s) of role {step.role}, {sampling}",
            *ways,
            f"    parser: {parsers}",
            *filters,
        ]
    )


def render_first(
    name: str,
    source: str,
    overrides: Values,
    plugins: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
) -> str:
    """The first step's messages for the first seed of a file (and the first element, where the step
    walks or spreads a list).
    """
    from synth.pipeline.prepare import RunConfig, check  # noqa: PLC0415 - only with --input

    config = RunConfig(
        teachers={},
        limit=1,
        overrides=overrides,
        plugins=plugins,
        columns=columns or {},
    )
    pack, seeds, _ = check(name, source, config)
    seed = next(iter(seeds))
    step = pack.steps[0]
    library = Library(pack)
    asking = Asking(seed.id)
    fields = dict(seed.fields)
    for drawn in (False, True):
        whole = pack.values(fields)
        fields |= library.retrieved(step, whole, asking, drawn=drawn)
    values = step.first_of(pack.values(fields))
    step = library.showing(step, values, asking)
    request = step.request(
        values,
        model="MODEL",
        family="openai",
        seed_id=seed.id,
    )
    return "\n".join(
        f"--- {m['role']} ---\n{in_text(m['content'])}"
        for m in request.messages
    )


def check_cases(
    name: str, overrides: Values, plugins: Sequence[str] = ()
) -> tuple[int, int]:
    """(cases, replies) of a pack's cases.yaml, once all of them do as they declare.

    Raises:
        WrongUse: a case that does not, or cases of which no reply fails to be read.
    """
    pack = Pack.load(name, overrides, plugins)
    for step in pack.steps:
        if step.chosen and step.chosen.spec.file:
            open_demonstrations(pack, step)
    path = pack.folder / "cases.yaml"
    cases = pack.cases()
    replies = [
        _reply(pack, case, reply, path)
        for case in cases
        for reply in case["replies"]
    ]
    for case in cases:
        _rendering(pack, case, path)
    if replies and all(replies):
        raise WrongUse(
            str(path),
            "only replies that are read",
            "at least one that fails",
            "Record a reply with `reason`.",
        )
    for case in cases:
        if "ends" in case:
            _rehearse(pack, case, path, plugins)
    return len(cases), len(replies)


def _rehearse(
    pack: Pack, case: Values, path: Path, plugins: Sequence[str]
) -> None:
    """Walks a case through all steps, answered by the replies that the pack records; its exits must
    be those that it declares.
    """
    from synth.pipeline.run import make  # noqa: PLC0415 - only for cases that say how they end

    # Who plays a tool is rehearsed, too: no function of anybody's runs.
    tools = {
        name: step.role
        for step in pack.steps
        if step.tooling
        for name in step.tooling.unbound
    }
    teachers = dict.fromkeys(pack.roles, f"rehearsed/{pack.folder.absolute()}")
    with tempfile.TemporaryDirectory() as folder:
        counts = make(
            pack.folder,
            [case["inputs"]],
            teacher=teachers,
            output=folder,
            overrides=case.get("set", {}),
            plugins=plugins,
            tools=tools,
        ).counts
    exits = {
        kind: n
        for kind, n in {
            "kept": counts["kept"],
            **counts["dropped"],
            **counts["failed"],
        }.items()
        if n
    }
    if exits != case["ends"]:
        raise WrongUse(
            f"{path}: {case['about']}",
            f"exits {exits}",
            f"exits {case['ends']}",
            "Correct the replies, the filters or `ends`.",
        )


def _rendering(pack: Pack, case: Values, path: Path) -> None:
    values = pack.values(case["inputs"])
    pack.check_row(case["inputs"], f"{path}: {case['about']}")
    for step in pack.speakers:
        wanted = case.get("renders", {}).get(step.name)
        if wanted is not None:
            text = step.user.render(
                step.fill({**values, **case.get("fields", {})}),
            )
            if wanted not in text:
                raise WrongUse(
                    f"{path}: {case['about']}",
                    f"a prompt without {wanted!r}",
                    "what the case declares",
                    "Correct one of the two.",
                )


def _reply(pack: Pack, case: Values, reply: Values, path: Path) -> bool:
    """Whether a recorded reply was read; raises where that is not what the case declares."""
    step = next(
        (s for s in pack.said if s.name == reply.get("step")),
        pack.steps[0],
    )
    where = f"{path}: {case['about']}: {str(reply['text'])[:40]!r}"
    if reply["calls"]:
        return _calls(step, reply, where)
    row = {**case["inputs"], **case.get("fields", {})}
    try:
        fields = step.parser_for(row).parse(reply["text"], row)
    except Unreadable as error:
        if error.reason != reply.get("reason"):
            raise WrongUse(
                where,
                f"reason {error.reason}",
                str(reply.get("reason", "fields")),
                "Correct one of the two.",
            ) from error
        return False
    wanted = reply.get("fields")
    if wanted is None or any(fields.get(k) != v for k, v in wanted.items()):
        raise WrongUse(
            where,
            f"{fields}",
            f"{wanted or reply.get('reason')}",
            "Correct one of the two.",
        )
    return True


def _calls(step: Step, reply: Values, where: str) -> bool:
    """Whether the calls of a recorded reply can be answered; raises as `_reply`."""
    reason = ""
    for recorded in calls_of(reply):
        try:
            if step.tooling is None:
                raise Misuse("unknown_tool", "the step has no tools")
            step.tooling.read(recorded)
        except Misuse as misuse:
            reason = reason or misuse.reason
    if reason != reply.get("reason", ""):
        raise WrongUse(
            where,
            f"reason {reason or 'none'}",
            str(reply.get("reason", "calls that tools can answer")),
            "Correct one of the two.",
        )
    return not reason


def journal_counts(folder: Path, output: Path | None) -> str:
    """Replies, tokens, dollars and failures of a run, of all its shards together; optionally its
    replies as JSONL that `replay` reads.
    """
    folders = run_folders(folder)
    torn = 0
    totals = Totals()
    for one in folders:
        journal = Journal(one / "journal", writable=False)
        totals.join(journal.totals)
        torn += journal.torn
    usd = totals.usd if are_priced(folders) else None
    lines = [
        (
            f"replies: {totals.replies:,}; torn or damaged records: {torn:,}; calls of "
            f"unknown fate: {totals.unknown:,}"
        ),
        f"tokens: {totals.prompt_tokens:,} in ({totals.cached_tokens:,} cached)",
        (
            f"tokens: {totals.completion_tokens:,} out ({totals.reasoning_tokens:,} reasoning); "
            f"spent: {dollars(usd)}"
        ),
    ]
    reasons = Counter[str]()
    for failed in (one / "failed.jsonl" for one in folders):
        if failed.is_file() and failed.stat().st_size:
            reasons.update(str(row["reason"]) for row in read_rows(failed))
    lines += [
        f"failed, {kind}: {count:,}" for kind, count in sorted(reasons.items())
    ]
    if output:
        recorded = chain.from_iterable(map(_recorded, folders))
        count = write_jsonl(output, recorded)
        lines.append(f"{count:,} replies -> {output}")
    return "\n".join(lines)


def _recorded(folder: Path) -> Iterator[Fields]:
    """One line per journaled reply: its key, whom the run asked, what came, raw and read."""
    opened = read_note(folder)
    teachers = read_run(folder).get("settings", {}).get("teachers", {})
    asked = list(
        opened.endpoints if opened and opened.endpoints else teachers.values()
    )
    for key, raw in records(folder / "journal"):
        reply = load_reply(raw)[0]
        completion = read_chat(reply)
        yield {
            "key": key,
            "asked": asked,
            "completion": completion.text,
            "teacher": completion.model,
            "finish_reason": completion.finish_reason,
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.completion_tokens,
            "reply": reply,
        }


def tally(info: Values) -> str:
    """What a run ended with: the tally, the calls, the cost."""
    calls = info["calls"]
    cost = info["cost"]
    usd = dollars(cost["usd"])
    # Calls are those of this command, tokens and dollars those of the folder since it was made.
    before = ""
    if calls["reused"]:
        before = ", earlier runs included"
    lines = [
        f"note: {name} could judge none of its {one['rows']:,} rows"
        for name, one in info.get("judged", {}).items()
        if one["unknown"] == one["rows"]
    ]
    notes = "".join(f"\n{line}" for line in lines)
    return (
        f"{tally_table(info['counts'])}\n"
        f"calls: {calls['asked']:,} asked, {calls['reused']:,} reused, {calls['retried']:,} "
        "asked again; "
        f"tokens{before}: {cost['prompt_tokens']:,} in, {cost['completion_tokens']:,} out; "
        f"cost{before}: {usd}; {info['seconds']:.1f} s{notes}"
    )


def next_command(folder: Path, info: Values) -> str:
    """Where the rows lie and what a user may do with them next."""
    name = shlex.quote(str(folder))
    counts = info["counts"]
    if not info["complete"]:
        return f"rows so far -> {folder}; the same command goes on"
    if not counts["kept"]:
        reasons = "failed.jsonl"
        if counts["dropped"]:
            reasons = "dropped"
        return f"reasons -> {folder}/{reasons}; next: synth report {name}"
    if counts["failed"]:
        return f"rows -> {folder}; the same command asks again for those that failed"
    return (
        f"rows -> {folder}; next: synth report {name}, or finetune sft --input {name} --model "
        "MODEL --output DIR"
    )
