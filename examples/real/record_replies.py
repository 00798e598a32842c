"""Replies of real models as the cases of their packs: `python -m examples.real.record_replies`.

The runs of `study_packs` are walked again with their own packs and their own journals, without a
call. Of each step a few short replies, some that its parser does not read among them, go to the end
of the pack's cases.yaml, with the model and the day.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import synth
from examples.real.models import MODELS
from examples.real.recorded import Recorded
from examples.real.study_packs import inputs_of, shelf_of
from synth.calls.journal import Journal
from synth.core.errors import Unreadable
from synth.core.records import Fields, canonical_json
from synth.packs.pack import Pack, pack_names
from synth.packs.step import Step

HEAD = (
    "  # Replies of real models, as `python -m examples.real.record_replies` "
    "found them.\n"
)
# Of each step: replies in all, and of those that are not read.
MOST = 5
MOST_UNREAD = 2
# Characters of a reply, and of what was read of it, that is recorded.
LONGEST = 900
LONGEST_FIELD = 60


class Said(NamedTuple):
    """A reply of a model: what it answers, and what becomes of it.

    Attributes:
        inputs: the seed.
        fields: what else the parser reads of the row.
    """

    model: str
    day: str
    inputs: Fields
    fields: Fields
    step: str
    text: str
    read: Fields | None
    reason: str | None


def replies_of(pack: Pack, teacher: str, folder: Path) -> list[Said]:
    """Every reply of a study's run, read by the pack as it is now."""
    steps = {step.name: step for step in pack.steps}
    asked_pack = Pack.load(folder / "pack")
    Recorded.journal = Journal(folder / "journal", writable=False)
    Recorded.asked.clear()
    count = int(folder.name.rpartition("-")[2])
    with tempfile.TemporaryDirectory() as output:
        synth.run(
            folder / "pack",
            inputs_of(pack.name)[:count],
            overrides=shelf_of(pack.name),
            teacher=dict.fromkeys(
                asked_pack.roles, f"{Recorded.__module__}:Recorded/{teacher}"
            ),
            keep_going=True,
            output=output,
        )
    changed = (folder / "journal" / "replies.log").stat().st_mtime
    day = datetime.fromtimestamp(changed, UTC).strftime("%Y-%m-%d")
    return [
        _said(pack, steps[request.step], request.inputs, text, (teacher, day))
        for request, text in Recorded.asked
        if request.step in steps
    ]


def _said(
    pack: Pack,
    step: Step,
    values: Any,
    text: str,
    who: tuple[str, str],
) -> Said:
    inputs = {
        name: values[name]
        for name in pack.spec.inputs
        if values.get(name) is not None
    }
    needed = {name for _, parser in step.parsers for name in parser.needs()}
    needed |= {when for when, _ in step.parsers}
    fields = {
        name: values[name]
        for name in sorted(needed - {*inputs})
        if values.get(name) is not None
    }
    read = reason = None
    try:
        read = step.parser_for(values).parse(text, values)
    except Unreadable as error:
        reason = error.reason
    return Said(*who, inputs, fields, step.name, text, read, reason)


def chosen(replies: Iterable[Said]) -> list[Said]:
    """A few of each step: short ones, of seeds that serve other steps too, none twice."""
    by_step: dict[str, list[Said]] = defaultdict(list)
    seen: set[bytes] = set()
    for said in replies:
        answer = canonical_json([said.step, said.inputs, said.text])
        if len(said.text) <= LONGEST and answer not in seen:
            seen.add(answer)
            by_step[said.step].append(said)
    kept: list[Said] = []
    for listed in by_step.values():
        unread = [said for said in listed if said.reason]
        # One of each reason.
        reasons = dict.fromkeys(said.reason for said in unread)
        first = [
            next(said for said in unread if said.reason == reason)
            for reason in reasons
        ]
        some = first[:MOST_UNREAD]
        read = [said for said in listed if not said.reason]
        kept += [*some, *read[: MOST - len(some)]]
    return kept


def cases(replies: Sequence[Said]) -> list[Fields]:
    """As cases.yaml has them: those of one model to one seed together."""
    grouped: dict[tuple[Any, ...], list[Said]] = defaultdict(list)
    for said in replies:
        row = canonical_json({"inputs": said.inputs, "fields": said.fields})
        grouped[said.model, said.day, row].append(said)
    made = []
    for (model, day, _), group in grouped.items():
        case: Fields = {"about": f"{model}, {day}", "inputs": group[0].inputs}
        if group[0].fields:
            case["fields"] = group[0].fields
        case["replies"] = [_reply(said) for said in group]
        made.append(case)
    return made


def _reply(said: Said) -> Fields:
    if said.reason:
        return {"step": said.step, "text": said.text, "reason": said.reason}
    short = {
        name: value
        for name, value in (said.read or {}).items()
        if len(str(value)) <= LONGEST_FIELD
    }
    return {"step": said.step, "text": said.text, "fields": short}


class Dumper(yaml.SafeDumper):
    """Texts of several lines stand as they are."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """A text, as a block where it has lines."""
        style = "|" if "\n" in text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)

    def ignore_aliases(self, data: Any) -> bool:
        """Equal values are written twice: a pack has no aliases."""
        del data
        return True


Dumper.add_representer(str, Dumper.represent_text)


def write(pack: Pack, replies: Sequence[Said]) -> None:
    """The cases of real replies, in the place of those that were there."""
    path = pack.folder / "cases.yaml"
    own = path.read_text(encoding="utf-8").partition(HEAD)[0]
    text = yaml.dump(
        cases(replies),
        Dumper=Dumper,
        allow_unicode=True,
        sort_keys=False,
        width=10_000,
    )
    body = "".join(f"  {line}" for line in text.splitlines(keepends=True))
    path.write_text(f"{own.rstrip()}\n{HEAD}{body}", encoding="utf-8")


def main() -> None:
    """Reads the command line; prints a line a pack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packs", nargs="*", help="all, where none is named")
    parser.add_argument("--studies", type=Path, default="runs/study-packs")
    options = parser.parse_args()
    for name in options.packs or pack_names():
        pack = Pack.load(name)
        replies: list[Said] = []
        for teacher in MODELS:
            for folder in sorted(options.studies.glob(f"{teacher}/{name}-*-*")):
                if (folder / "run.json").is_file():
                    replies += replies_of(pack, teacher, folder)
        kept = chosen(replies)
        if kept:
            write(pack, kept)
        print(f"{name}: {len(kept)} of {len(replies)} replies", flush=True)


if __name__ == "__main__":
    main()
