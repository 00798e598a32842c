"""What there is, and a first pack of the user's own: `list`, `context` and `init`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.cli.command_group import say

if TYPE_CHECKING:
    from synth.core.records import Fields


# The rooms themselves are imported by the command alone; a test holds this list to theirs.
KINDS = (
    "filters",
    "parsers",
    "verifiers",
    "exports",
    "teachers",
    "losses",
    "list_losses",
    "packs",
)


@click.command(name="list")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name", required=False)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print JSON, for scripts.",
)
def list_(kind: str, name: str | None, as_json: bool) -> None:
    r"""List the parts of a kind; with NAME, what one takes, costs and says.

    Parts of your own are listed, too, once a package that you installed announces them. NAME may
    also be module:Class.

    \b
    synth list filters
    synth list filters length
    synth list packs --json
    """
    from synth.tools.catalogue import described, listed  # noqa: PLC0415

    listing: Any = described(kind, name) if name else listed(kind)
    if as_json:
        say(json.dumps(listing, ensure_ascii=False, default=str, indent=2))
    elif name:
        say(_spelt(listing))
    else:
        for row in listing:
            own = row["from"] == "built in"
            origin = "" if own else f" [{row['from']}]"
            say(f"{row['name']:28} {row['about']}{origin}")


def _spelt(part: Fields) -> str:
    """One part for a reader."""
    lines = [f"{part['name']}: {part['about']}", f"from: {part['from']}"]
    if part["parameters"]:
        lines.append("parameters:")
    for row in part["parameters"]:
        default = "" if "required" in row else f" = {row['default']!r}"
        lines.append(f"  {row['name']}{default}: {row['about']}".rstrip(": "))
    if part["costs"]:
        lines.append(f"costs: {part['costs']}")
    if part["reasons"]:
        lines.append("reasons:")
    for reason, text in part["reasons"].items():
        lines.append(f"  {reason}: {text}")
    return "\n".join(lines)


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for programs."
)
def context(*, as_json: bool) -> None:
    """Print what a coding agent needs: commands, packs, filters, parsers, exports, exit codes."""
    from synth.tools.context import as_text  # noqa: PLC0415
    from synth.tools.context import context as found  # noqa: PLC0415

    told = found()
    say(json.dumps(told, default=str) if as_json else as_text(told))


@click.group()
def init() -> None:
    """Write the first files of something of your own: `synth init pack NAME`."""


@init.command(name="pack")
@click.argument("name", type=click.Path(path_type=Path))
def init_pack(name: Path) -> None:
    """Write a pack that runs into the folder NAME, to be changed into yours.

    NAME is a new folder; its last part is the pack's name: a-z, digits and _.
    """
    from synth.tools.starter import write_pack  # noqa: PLC0415

    say(write_pack(name))
