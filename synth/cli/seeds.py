"""The command `synth seeds`: rows without a teacher, for packs to begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from synth.cli.command_group import output_option, say
from synth.core.errors import WrongUse
from synth.core.records import Fields


@click.command()
@click.argument(
    "recipe", required=False, type=click.Path(path_type=Path), metavar="FILE"
)
@click.option(
    "--rows",
    type=click.IntRange(1),
    help="With FILE: how many rows, in place of its own `rows`.",
)
@click.option(
    "--documents",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Pieces of the documents in a folder (.pdf .docx .html .md .txt).",
)
@click.option(
    "--most",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    help="With --documents: words of a piece at most, or tokens with --tokenizer.",
)
@click.option(
    "--tokenizer",
    metavar="MODEL",
    help="With --documents: count the tokens of this model's tokenizer.",
)
@click.option(
    "--encoding",
    metavar="NAME",
    help="With --documents: of texts that are neither Unicode nor say what they are in.",
)
@click.option(
    "--logs",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Talks in logs of agents: ATIF, OpenAI's messages, Claude Code, Codex, ShareGPT.",
)
@output_option("The rows (.jsonl).", "FILE")
def seeds(
    recipe: Path | None,
    rows: int | None,
    documents: Path | None,
    logs: Path | None,
    output: Path,
    **pieces: Any,
) -> None:
    """Make rows without a teacher: from a recipe of columns, from documents, or from logs.

    FILE is a recipe in YAML (docs/recipes.md). The same command makes the same rows; each says
    how it was made.
    """
    from synth.inputs.made.agent_logs import log_rows  # noqa: PLC0415
    from synth.inputs.seeds import write_jsonl  # noqa: PLC0415
    from synth.tools.seeds import from_documents, from_recipe  # noqa: PLC0415

    given = [one for one in (recipe, documents, logs) if one is not None]
    if len(given) != 1:
        raise WrongUse(
            "synth seeds",
            f"{len(given)} sources",
            "FILE, --documents DIR or --logs PATH",
            "Give just one of them.",
        )
    passed: dict[str, str] = {}
    taken: dict[str, str] = {}
    if recipe is not None:
        made = from_recipe(recipe, rows)
    elif documents is not None:
        made = from_documents(documents, passed=passed, taken=taken, **pieces)
    else:
        assert logs is not None  # noqa: S101 - one of three
        made = log_rows(logs, passed)
    try:
        count = write_jsonl(output, _some(made, given[0]))
    finally:
        for name, why in sorted(passed.items()):
            line = f"synth: note: {name} is passed over: {why}"
            say(line, err=True)
        for name, encoding in sorted(taken.items()):
            line = f"synth: note: {name} is read as {encoding}, by its bytes; if not so: --encoding"
            say(line, err=True)
    say(f"{count:,} rows -> {output}")


def _some(rows: Iterator[Fields], source: Path) -> Iterator[Fields]:
    """Rows, one at least.

    Raises:
        WrongUse: there is none.
    """
    none = True
    for row in rows:
        none = False
        yield row
    if none:
        raise WrongUse(
            str(source),
            "no row in it",
            "a source of one row at least",
            "See why its files are passed over.",
        )
