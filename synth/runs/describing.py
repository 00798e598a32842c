"""`synth card`: what a run's folder says of itself to those who get its rows."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import orjson
import pyarrow.parquet as pq

from synth.core.errors import WrongUse
from synth.core.records import Fields
from synth.runs.card import make_card
from synth.runs.croissant import croissant_of
from synth.runs.ownership import digest, is_our_card
from synth.runs.publisher import RunFolder, put_in_place

CROISSANT = "croissant.json"
# Columns that name a row's language, where the user names none.
_LANGUAGE_COLUMNS = ("language", "lang")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")


def describe_run(
    folder: Path, license_id: str | None = None, language: str | None = None
) -> Fields:
    """Writes README.md and croissant.json anew; the rows stay as they are.

    Args:
        folder: of a published run.
        license_id: of the rows, as the hub spells it; None for the one that was said before.
        language: column that holds a row's language; None for `language` or `lang`, where there is
            one.

    Returns:
        `license` and `languages` (code -> rows), what is known of them.

    Raises:
        WrongUse: no run, no such column, a licence of another spelling, or a card that somebody
            changed.
    """
    run = RunFolder(folder).run
    card = folder / "README.md"
    if card.is_file() and not is_our_card(folder, run):
        raise WrongUse(
            str(card),
            "a card that somebody changed",
            "the one that the run wrote",
            "Move it elsewhere first: its words would be lost.",
        )
    before = run.get("sharing") or {}
    if license_id is not None and not _LICENSE.fullmatch(license_id):
        raise WrongUse(
            f"--license {license_id}",
            "another spelling",
            "one as the hub has it, such as apache-2.0, cc-by-4.0 or other",
            "See https://huggingface.co/docs/hub/repositories-licenses.",
        )
    sharing: Fields = {
        "license": license_id or before.get("license"),
        "languages": _languages(folder, language),
        "bytes": {part: _bytes(folder / part) for part in ("data", "dropped")},
    }
    made = {**run, "sharing": sharing}
    made.pop("card_next", None)
    aside = card.with_suffix(".new")
    aside.write_text(make_card(made, run["content"]), encoding="utf-8")
    made["card_sha256"] = digest(aside)
    # Who is killed before the end leaves a card that is known by this.
    _write_json(folder / "run.json", {**run, "card_next": made["card_sha256"]})
    put_in_place(aside, card)
    _write_json(folder / CROISSANT, croissant_of(folder, made))
    _write_json(folder / "run.json", made)
    return sharing


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.parquet"))


def _languages(folder: Path, column: str | None) -> dict[str, int]:
    """Language -> kept rows, the most frequent first; {} where no column says it."""
    counts = Counter[str]()
    named = (column,) if column else _LANGUAGE_COLUMNS
    for path in sorted((folder / "data").glob("*.parquet")):
        names = pq.read_schema(path).names
        found = [name for name in named if name in names]
        if column and not found:
            raise WrongUse(
                f"--language-column {column}",
                "no such column",
                f"one of {', '.join(names)}",
                "Name another one, or leave it out.",
            )
        if found:
            values = pq.read_table(path, columns=found[:1]).column(0)
            counts.update(str(value) for value in values.to_pylist() if value)
    return dict(counts.most_common())


def _write_json(path: Path, content: Fields) -> None:
    """Writes an object, which stands in its place in one move."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    aside = path.with_suffix(".new")
    aside.write_bytes(orjson.dumps(content, option=option))
    put_in_place(aside, path)
