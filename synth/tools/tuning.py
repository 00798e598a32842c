"""Better prompts for a pack: a model rewrites its templates after rows that they lost.

A small form of GEPA (arXiv:2507.19457, algorithm 1): candidates are kept in a pool, a parent is
drawn among those that no other beats on some row, one template of it is rewritten, and rows that
nobody looked at say in the end what was gained. Two lineages are not merged.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from synth.core.errors import Unfinished, WrongUse, did_you_mean
from synth.core.records import Fields, Row
from synth.inputs.seeds import Seeds
from synth.packs import files as pack_files
from synth.packs.pack import Pack, pack_names
from synth.packs.step import Step
from synth.packs.templates import Templates
from synth.pipeline.run import make
from synth.runs.batches import rows_of
from synth.runs.ledger import left_for, runs_in
from synth.runs.ownership import (
    make_folder,
    put_json,
    read_object,
    read_run,
)
from synth.runs.result import EXIT_FAILED, Run
from synth.statistics.paired import mean_interval
from synth.teachers.wire.access import EVERY
from synth.tools.candidates import Candidate, Tuned, drawn_parent, shares

EDITOR_PACK, EDITOR = "better_prompt", "editor"
NOTE = "tune.json"
# Rows on either side of the split: below it an interval spans most of what could be.
_FEWEST = 8
# Characters of a row, a reply and a reason that the editor sees.
_MOST_SEEN = 800
# Settings that a role may have of its own; that the search sets; that only the pack's runs have.
_BY_ROLE = (
    "api_base",
    "endpoints",
    "api_key_env",
    "header",
    "price",
    "rpm",
    "tpm",
)
_OF_THE_SEARCH = (
    "limit",
    "id_column",
    "columns",
    "budget",
    "keep_going",
    "same_teacher",
)
_OF_THE_PACK = ("draws", "seed", "overrides", "tools", "schemas", "target")
# Files of a step's prompt, and what the editor is told that they are.
_PARTS = {"system": "what the system says", "user": "what the user says"}


@dataclass
class Tuner:
    """A search.

    Args:
        pack: a built-in name or a folder; nothing in it is touched.
        output: a folder of its own; the same search goes on in it.
        teachers: role -> PROVIDER/MODEL; the role `editor` rewrites, else the teacher does.
        rounds: rewritings that are tried.
        held_out: share of the rows that alone say what was gained.
        shown: lost rows that the editor sees at a time.
        step: the step whose templates are rewritten; None for the one that loses most rows.
        seed: of the split, of parents and of rows shown.
        budget: dollars for all runs together.
        options: further fields of RunConfig.
    """

    pack: str | Path
    output: Path
    teachers: Mapping[str, str]
    rounds: int = 6
    held_out: float = 0.5
    shown: int = 4
    step: str | None = None
    seed: int = 0
    budget: float | None = None
    options: Fields = field(default_factory=dict)

    def run(self, source: Any) -> Iterator[Candidate | Tuned]:
        """Each candidate as it is judged, then what was gained.

        Args:
            source: rows, as `synth.run` takes them.

        Raises:
            WrongUse: before any call: too few rows, another search in the folder, a step that is
                none.
            Unfinished: a run stopped.
        """
        looked_at, held = self._split(source)
        self._open([*looked_at, *held])
        first = self._judged(
            Candidate(0, self._copy(0, Path(self.loaded.folder))), looked_at
        )
        pool = [first]
        yield first
        for number in range(1, self.rounds + 1):
            one = self._rewritten(number, pool)
            if one is None:
                break
            if not one.fault:
                one = self._judged(one, looked_at)
            pool.append(one)
            yield one
        yield self._measured(pool, looked_at, held)

    @cached_property
    def loaded(self) -> Pack:
        """The pack as it is."""
        overrides = self.options.get("overrides", {})
        return Pack.load(
            self.pack,
            overrides,
            self.options.get("plugins", ()),
        )

    def _split(self, source: Any) -> tuple[list[Row], list[Row]]:
        """Rows to look at and rows held out, with their ids; a row's side hangs on its id alone."""
        named = {
            name: self.options[name]
            for name in ("limit", "id_column", "columns")
            if name in self.options
        }
        rows: list[Row] = [
            {**seed.fields, "id": seed.id} for seed in Seeds(source, **named)
        ]
        unique = {row["id"]: row for row in rows}
        ordered = sorted(unique.values(), key=lambda row: self._hash(row["id"]))
        count = round(len(ordered) * self.held_out)
        held, looked_at = ordered[:count], ordered[count:]
        if min(len(held), len(looked_at)) < _FEWEST:
            raise WrongUse(
                "--input",
                f"{len(looked_at)} rows to look at and {len(held)} held out",
                f"at least {_FEWEST} of each",
                "Give more rows, or another --held-out.",
            )
        return looked_at, held

    def _hash(self, text: str) -> str:
        return hashlib.sha256(f"{self.seed} {text}".encode()).hexdigest()

    def _open(self, rows: Sequence[Row]) -> None:
        """Makes the folder, or finds this very search in it.

        Raises:
            WrongUse: something else stands there.
        """
        steps = [step.name for step in self.loaded.steps]
        if self.step is not None and self.step not in steps:
            raise WrongUse(
                "--step",
                repr(self.step),
                "a step of the pack",
                did_you_mean(self.step, steps),
            )
        ids = "".join(sorted(row["id"] for row in rows))
        note = {
            "pack": self.loaded.hash,
            "rows": hashlib.sha256(ids.encode()).hexdigest()[:16],
            "held_out": self.held_out,
            "seed": self.seed,
        }
        path = self.output / NOTE
        is_full = self.output.is_dir() and any(self.output.iterdir())
        if is_full and read_object(path) != note:
            raise WrongUse(
                str(self.output),
                "another search, or files of something else",
                "a new folder, or that of this search",
                "Name another --output.",
            )
        make_folder(self.output)
        put_json(path, note)

    def _copy(
        self,
        number: int,
        folder: Path,
    ) -> Path:
        target = self.output / f"{number:02}" / "pack"
        make_folder(target.parent)
        pack_files.copy(folder, target)
        return target

    def _run(
        self,
        pack: str | Path,
        rows: Sequence[Row],
        folder: Path,
        role: str,
    ) -> Run:
        """A run of the search, with the replies and under the budget of all.

        Raises:
            Unfinished: it stopped, or calls failed.
        """
        options = {
            name: _of_role(value, role) if name in _BY_ROLE else value
            for name, value in self.options.items()
            if name not in _OF_THE_SEARCH
            and (role != EDITOR or name not in _OF_THE_PACK)
        }
        others = [str(one) for one in runs_in(self.output) if one != folder]
        options["reuse"] = [*options.get("reuse", ()), *others]
        teachers = {
            name: model
            for name, model in self.teachers.items()
            if name != EDITOR
        }
        if role == EDITOR:
            fallback = next(iter(teachers.values()), "")
            model = self.teachers.get(EDITOR, teachers.get("teacher", fallback))
            teachers = {EDITOR: model}
        done = make(
            pack,
            list(rows),
            teacher=teachers,
            output=folder,
            progress=False,
            keep_going=True,
            same_teacher=True,
            budget=left_for(folder, self.output, self.budget),
            **options,
        )
        failed = done.counts["failed"]
        if done.stopped or failed:
            reasons = ", ".join(failed)
            why = (
                done.stopped
                or f"{sum(failed.values()):,} calls failed ({reasons})"
            )
            raise Unfinished(
                f"{folder}: {why}; the same command goes on from here",
                done.exit_code if done.stopped else EXIT_FAILED,
            )
        return done

    def _judged(
        self,
        one: Candidate,
        rows: Sequence[Row],
    ) -> Candidate:
        done = self._run(
            one.folder,
            rows,
            self._looked(one),
            "teacher",
        )
        return replace(one, scores=shares(done, rows))

    def _looked(self, one: Candidate) -> Path:
        return one.folder.parent / "looked_at"

    def _rewritten(
        self,
        number: int,
        pool: Sequence[Candidate],
    ) -> Candidate | None:
        """The next candidate; None where the parent loses no row that could be shown."""
        draw = random.Random(f"{self.seed} {number}")
        parent = drawn_parent(pool, draw)
        dropped = list(rows_of(self._looked(parent) / "dropped"))
        step = self._step(dropped)
        lost = [row for row in dropped if row["meta"]["step"] == step.name]
        if not lost:
            return None
        folder = self._copy(number, parent.folder)
        names = [f"{step.name}.{part}.j2" for part in _PARTS]
        files = [name for name in names if (folder / name).is_file()]
        file = files[number % len(files)]
        asked = self._question(
            folder,
            step,
            file,
            lost,
            draw,
        )
        done = self._run(
            EDITOR_PACK,
            [asked],
            folder.parent / "rewriting",
            EDITOR,
        )
        one = Candidate(number, folder, parent.number, file)
        if not done.counts["kept"]:
            reasons = ", ".join(done.counts["dropped"])
            return replace(one, fault=f"the editor's reply: {reasons}")
        (kept,) = rows_of(done.folder / "data", ["rewritten"])
        text = str(kept["rewritten"])
        return self._written(one, text, pool)

    def _step(self, dropped: Sequence[Row]) -> Step:
        """The step that is rewritten."""
        steps = {step.name: step for step in self.loaded.steps}
        if self.step is not None:
            return steps[self.step]
        losses = Counter(row["meta"]["step"] for row in dropped)
        if not losses:
            return next(iter(steps.values()))
        most = max(losses.values())
        name = next(name for name in steps if losses[name] == most)
        return steps[name]

    def _question(
        self,
        folder: Path,
        step: Step,
        file: str,
        lost: Sequence[Row],
        draw: random.Random,
    ) -> Fields:
        """What the editor is asked."""
        part = file.split(".")[-2]
        (other,) = _PARTS.keys() - {part}
        beside = folder / f"{step.name}.{other}.j2"
        text = (folder / file).read_text(encoding="utf-8")
        return {
            "purpose": self.loaded.spec.about,
            "part": _PARTS[part],
            "template": text,
            "values": sorted(Templates(folder).compile(text, file).variables),
            "beside": (
                beside.read_text(encoding="utf-8") if beside.is_file() else None
            ),
            "failures": [
                self._failure(step, row)
                for row in _varied(lost, self.shown, draw)
            ],
        }

    def _failure(self, step: Step, row: Row) -> Fields:
        """A lost row as the editor sees it, with what its parser looks at, such as choices."""
        values = self.loaded.values(row)
        parser = step.parser_for(values)
        shown = [
            f"{name}: {values[name]}"
            for name in dict.fromkeys(
                (*self.loaded.spec.inputs, *parser.needs())
            )
            if values.get(name) is not None
        ]
        reason = str(row["reason"])
        meaning = parser.reasons.get(reason)
        named = f"{reason} ({meaning})" if meaning else reason
        return {
            "row": _clipped("\n".join(shown)),
            "reply": _clipped(str(row["reply"])),
            "why": _clipped(f"{named}: {row['detail']}"),
        }

    def _written(
        self,
        one: Candidate,
        text: str,
        pool: Sequence[Candidate],
    ) -> Candidate:
        """The candidate with its new template, or with what speaks against it."""
        path = one.folder / one.file
        before = path.read_text(encoding="utf-8")
        if before.endswith("\n") and not text.endswith("\n"):
            text += "\n"
        tried = {
            (other.folder / one.file).read_text(encoding="utf-8")
            for other in pool
        }
        if text in tried:
            return replace(one, fault="a text that was tried before")
        templates = Templates(one.folder)
        try:
            new = templates.compile(text, one.file).variables
            old = templates.compile(before, one.file).variables
            if new != old:
                return replace(one, fault=_other_values(old, new))
            path.write_text(text, encoding="utf-8")
            Pack.load(
                one.folder,
                self.options.get("overrides", {}),
                self.options.get("plugins", ()),
            )
        except WrongUse as error:
            path.write_text(before, encoding="utf-8")
            return replace(one, fault=str(error))
        return one

    def _measured(
        self,
        pool: Sequence[Candidate],
        looked_at: Sequence[Row],
        held: Sequence[Row],
    ) -> Tuned:
        """The best candidate and the first one on the rows held out."""
        best = max(pool, key=lambda one: (one.score, -one.number))
        sides = []
        for one in (pool[0], best):
            folder = one.folder.parent / "held_out"
            done = self._run(
                one.folder,
                held,
                folder,
                "teacher",
            )
            sides.append(shares(done, held))
        before, after = sides
        gains = [after[name] - before[name] for name in before]
        costs = [
            read_run(folder)["cost"]["usd"] for folder in runs_in(self.output)
        ]
        usd = None if None in costs else sum(costs)
        return Tuned(
            tuple(pool),
            best,
            sum(before.values()) / len(before),
            sum(after.values()) / len(after),
            mean_interval(gains, self.seed),
            (len(looked_at), len(held)),
            usd,
        )


def check_writable(pack: str | Path) -> None:
    """Raises WrongUse for a pack that is not the user's."""
    if str(pack) in pack_names():
        raise WrongUse(
            "--write",
            f"the built-in pack {pack}",
            "a pack in a folder of your own",
            "Leave --write out: the pack with the best words lies in --output.",
        )


def write_back(tuned: Tuned, pack: str | Path) -> list[str]:
    """Writes the templates of the best candidate into the user's pack; returns their names.

    Raises:
        WrongUse: as `check_writable`.
    """
    check_writable(pack)
    folder = Path(pack)
    written = []
    for name in pack_files.regular_files(tuned.best.folder):
        new = (tuned.best.folder / name).read_bytes()
        if new != (folder / name).read_bytes():
            (folder / name).write_bytes(new)
            written.append(str(name))
    return written


def _of_role(value: Any, role: str) -> Any:
    """What is said for the editor alone, or for all others."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: one
        for name, one in value.items()
        if name == EVERY or (name == EDITOR) == (role == EDITOR)
    }


def _other_values(old: frozenset[str], new: frozenset[str]) -> str:
    lacks = ", ".join(sorted(old - new))
    brings = ", ".join(sorted(new - old))
    faults = [
        f"it leaves {lacks} out" if lacks else "",
        f"it reads {brings}, which the template did not" if brings else "",
    ]
    return "; ".join(filter(None, faults))


def _varied(
    rows: Sequence[Row],
    most: int,
    draw: random.Random,
) -> list[Row]:
    """Rows of as many reasons as there are, in turns."""
    by_reason: dict[str, list[Row]] = defaultdict(list)
    for row in draw.sample(list(rows), len(rows)):
        by_reason[row["reason"]].append(row)
    chosen: list[Row] = []
    while len(chosen) < min(most, len(rows)):
        for waiting in by_reason.values():
            if waiting and len(chosen) < most:
                chosen.append(waiting.pop())
    return chosen


def _clipped(text: str) -> str:
    if len(text) <= _MOST_SEEN:
        return text
    half = _MOST_SEEN // 2
    return f"{text[:half]} [...] {text[-half:]}"
