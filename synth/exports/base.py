"""The contract of an export: a published run in, training rows out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from synth.core.errors import WrongUse
from synth.core.records import Fields, Row, canonical_json
from synth.inputs.seeds import whole_file, write_jsonl
from synth.packs.pack import Pack
from synth.packs.templates import Template, Templates
from synth.runs.publisher import RunFolder


@dataclass(frozen=True, kw_only=True)
class Export(ABC):
    """Base of all export formats."""

    # Parameters that count something, with the least that each may be.
    counts: ClassVar[Mapping[str, int]] = {}

    def __post_init__(self) -> None:
        for name, least in self.counts.items():
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} {value}; {least} or more")

    @abstractmethod
    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        """Training rows, in the order of the run."""

    def why_none(self, run: RunFolder) -> str:
        """Why a run brings no training row, and what to do."""
        kept = sum(1 for _ in run.rows())
        why = f"`synth report {run.folder}` says why others left"
        return f"{run.folder} has {kept:,} kept rows; {why}"


def render(pair: Mapping[str, Template], values: Row) -> dict[str, str]:
    """One training row from its two templates."""
    return {side: template.render(values) for side, template in pair.items()}


def pictures_of(row: Row, pack: Pack) -> Fields:
    """{"pictures": ...} of the images that the steps of a row showed, {} where they show none.

    Not `images`: trainers take rows with that name for those of a student that sees.
    """
    showing = [f"{step.name}_pictures" for step in pack.steps if step.images]
    if not showing:
        return {}
    shown = [
        {"source": str(picture["source"]), "sha256": str(picture["sha256"])}
        for name in showing
        for picture in row.get(name) or []
    ]
    once = {picture["sha256"]: picture for picture in shown}
    return {"pictures": list(once.values())}


def pack_of(run: RunFolder, plugins: Sequence[str] = ()) -> Pack:
    """The pack that a run used: from its own copy in the run folder.

    Args:
        run: the folder.
        plugins: modules of the user's that the pack may name. Those that run.json names are not
            taken: the folder may come from a stranger.
    """
    overrides = run.run["settings"]["set"]
    return Pack.load(run.folder / "pack", overrides, plugins)


def spec_of(pack: Pack, name: str, where: str) -> Any:
    """What a pack says of an export.

    Raises:
        WrongUse: nothing.
    """
    spec = getattr(pack.spec.exports, name)
    if spec is None:
        raise WrongUse(
            where,
            f"pack {pack.name} without a {name} export",
            "a pack with one",
            "See `synth show`.",
        )
    return spec


def export_pair(
    pack: Pack, where: str, prompt: str | None, completion: str | None
) -> dict[str, Template]:
    """The SFT templates of a pack, with the user's texts in their place where given.

    Raises:
        WrongUse: the pack has no such templates and the user gave none.
    """
    declared = pack.exports.get("sft", {}).get("sft", {})
    given = {"prompt": prompt, "completion": completion}
    made = {
        side: pack_templates(pack).compile(
            text, f"{where}:{side}", keep_tail=side == "prompt"
        )
        for side, text in given.items()
        if text is not None
    }
    for side, template in made.items():
        _check_kept(pack, template, f"{where}:{side}")
    pair = {**declared, **made}
    if len(pair) < 2:
        todo = "Give both: --to 'sft:prompt={{ question }},completion={{ answer }}'."
        raise WrongUse(
            where,
            f"pack {pack.name} without sft templates",
            "a prompt and a completion",
            todo,
        )
    return pair


def _check_kept(pack: Pack, template: Template, where: str) -> None:
    """Raises WrongUse where a template of the user's reads a looked-up list that rows of the pack
    do not keep.
    """
    lists = {block.into for block in pack.spec.retrieves.values()}
    lost = (lists - {*pack.exported_lists}) & template.variables
    if lost:
        raise WrongUse(
            where,
            f"{min(lost)!r}, which rows of pack {pack.name} do not keep",
            "fields of its rows",
            "Rows keep it where an export of the pack reads it: write the template into a copy of "
            "the folder `pack` of the run, and run that with --reuse: nothing is asked again.",
        )


def thoughts_of(pack: Pack, where: str) -> str:
    """The field that holds what the teacher of the last step that keeps it thought.

    Raises:
        WrongUse: no step keeps it.
    """
    kept = [step.keeps for step in pack.steps if step.keeps]
    if not kept:
        raise WrongUse(
            where,
            f"pack {pack.name}, of which no step keeps thoughts",
            "a step with reasoning.keep",
            "Run it with --set STEP.reasoning.keep=thoughts; no reply is asked for again.",
        )
    return kept[-1]


def behind_thoughts(text: str, thoughts: Any) -> str:
    r"""A text with what was thought before it, as models that think write it.

    >>> behind_thoughts("5", "2 and 3."), behind_thoughts("5", "")
    ('<think>\n2 and 3.\n</think>\n\n5', '5')
    """
    return f"<think>\n{thoughts}\n</think>\n\n{text}" if thoughts else text


def pack_templates(pack: Pack) -> Templates:
    """Templates that may include the pack's files."""
    return Templates(pack.folder)


def write_rows(rows: Iterator[Fields], output: Path) -> int:
    """Writes training rows to FILE.jsonl / .parquet / .csv, or to a folder that `load_dataset` and
    TRL read.

    Returns:
        The number of rows.
    """
    if output.suffix == ".jsonl":
        return write_jsonl(output, rows)
    if output.suffix == ".csv":
        return _write_csv(output, rows)
    path = output if output.suffix == ".parquet" else output / "train.parquet"
    return _write_parquet(path, rows)


def _write_csv(path: Path, rows: Iterator[Fields]) -> int:
    """One line a row; lists and mappings as JSON. A cell that a spreadsheet would run as a formula
    gets an apostrophe in front.
    """
    import csv  # noqa: PLC0415

    listed = list(rows)
    names = dict.fromkeys(name for row in listed for name in row)
    with (
        whole_file(path) as aside,
        aside.open("w", encoding="utf-8", errors="replace", newline="") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(names))
        writer.writeheader()
        for row in listed:
            writer.writerow({name: _cell(value) for name, value in row.items()})
    return len(listed)


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else canonical_json(value).decode()
    if isinstance(value, str) and text.startswith(
        ("=", "+", "-", "@", "\t", "\r")
    ):
        return f"'{text}"
    return text


def _write_parquet(path: Path, rows: Iterator[Fields]) -> int:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    from synth.runs.columns import column  # noqa: PLC0415

    listed = list(rows)
    # A row may lack what others have, the first one too.
    names = dict.fromkeys(name for row in listed for name in row)
    missing = dict.fromkeys(names)
    try:
        table = pa.Table.from_pylist([{**missing, **row} for row in listed])
    except (
        pa.ArrowException,
        TypeError,
        ValueError,
        OverflowError,
    ):  # columns of several kinds, or half surrogate pairs
        columns = {}
        for name in names:
            columns[name] = column([row.get(name) for row in listed])
        table = pa.table(columns)
    with whole_file(path) as aside:
        pq.write_table(table, aside, compression="zstd")
    return len(listed)
