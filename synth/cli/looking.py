"""Commands that look at runs: `view`, `report`, `card`, `rows`, `why`, `diff`, `journal`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click
import orjson

from synth.cli.command_group import say
from synth.core.errors import printable

_FOLDER = click.Path(path_type=Path)
_KINDS = ("kept", "dropped", "failed")


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(_KINDS),
    multiple=True,
    help="Rows of this exit; several. All where none is named.",
)
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Rows that meet this; several: all of them. Signs: = != ~ > < >= <=.",
)
@click.option(
    "--fields",
    metavar="NAME,NAME",
    help="These fields alone, such as id,meta.draw.",
)
@click.option("--limit", type=click.IntRange(1), help="So many rows at most.")
def rows(
    folder: Path,
    kinds: tuple[str, ...],
    conditions: tuple[str, ...],
    fields: str | None,
    limit: int | None,
) -> None:
    """Print rows of a run as JSON, one a line, with how each left in `exit`."""
    from synth.view.words import Condition, chosen, exits_of, fields_of  # noqa: PLC0415

    wanted = list(map(Condition.read, conditions))
    names = [name.strip() for name in (fields or "").split(",") if name.strip()]
    found = chosen(folder, kinds or _KINDS, wanted, names)
    count = 0
    for count, row in enumerate(islice(found, limit), 1):  # noqa: B007
        shown = fields_of(row, names) if names else row
        say(orjson.dumps(shown, default=str).decode())
    if not count:
        say(f"synth: note: no such row; {exits_of(folder)}", err=True)


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.argument("seed_id", metavar="ID")
@click.option(
    "--whole",
    is_flag=True,
    help="Also what was sent, and with --json the reply as it came.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def why(folder: Path, seed_id: str, *, whole: bool, as_json: bool) -> None:
    """Say what became of a seed: each draw, its verdicts, its reason."""
    from synth.view.words import became, story  # noqa: PLC0415

    told = became(folder, seed_id, whole=whole)
    if as_json:
        say(orjson.dumps(told, default=str).decode())
        return
    say(printable(story(told)))


@click.command()
@click.argument("before", metavar="DIR", type=_FOLDER)
@click.argument("after", metavar="DIR", type=_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(before: Path, after: Path, *, as_json: bool) -> None:
    """Compare two runs by seed: gained, lost, dropped for another reason."""
    from synth.view.words import compared, comparison  # noqa: PLC0415

    result = compared(before, after)
    if as_json:
        say(orjson.dumps(result).decode())
        return
    say(printable(comparison(result)))


@click.command()
@click.argument("folder", metavar="DIR")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write every raw reply to this .jsonl file.",
)
def journal(folder: str, output: Path | None) -> None:
    """Count what a run's journal holds, also while the run goes on."""
    from synth.pipeline.preview import journal_counts  # noqa: PLC0415

    say(journal_counts(Path(folder), output))


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--license",
    "license_id",
    metavar="ID",
    help="Of the rows, as the hub spells it: apache-2.0, cc-by-4.0, other.",
)
@click.option(
    "--language-column",
    "language",
    metavar="NAME",
    help="Column that holds a row's language; else language or lang, where there is one.",
)
def card(folder: Path, license_id: str | None, language: str | None) -> None:
    """Describe a run to those who get its rows: README.md, and croissant.json for catalogues."""
    from synth.runs.describing import describe_run  # noqa: PLC0415

    told = describe_run(folder, license_id, language)
    languages = ", ".join(told["languages"]) or "not said"
    say(
        f"{folder}: README.md and croissant.json; licence "
        f"{told['license'] or 'not said'}, languages {languages}"
    )


@click.command()
@click.argument("folder", metavar="DIR")
def report(folder: str) -> None:
    """Write DIR/report.html, a page about a run that a person can read."""
    from synth.view.report import write_report  # noqa: PLC0415

    say(str(write_report(folder)))


@click.command()
@click.argument(
    "folders",
    metavar="DIR...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port on 127.0.0.1; a free one unless said.",
)
@click.option(
    "--labels",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write labels of rows to this .jsonl file, for `synth calibrate`; a second one is "
    "another person's, to compare with.",
)
def view(
    folders: tuple[Path, ...],
    port: int,
    labels: tuple[Path, ...],
) -> None:
    """Serve pages about runs to this machine: where rows left, and each row whole."""
    from synth.core.aio import run_async  # noqa: PLC0415
    from synth.view.server import serve  # noqa: PLC0415

    run_async(serve(folders, say, port=port, labels=labels))
