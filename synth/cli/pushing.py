"""`synth push` and `finetune push`: files on the hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from synth.cli.command_group import say, together

# Names of files that stay which are listed; of more, a number.
_MOST_LISTED = 12


def push_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """REPO, --dry-run and --public."""
    return together(
        click.argument("repo", metavar="OWNER/NAME"),
        click.option(
            "--dry-run",
            is_flag=True,
            help="List what would go up and what stays; ask nobody.",
        ),
        click.option(
            "--public",
            is_flag=True,
            help="Anybody may see it; private unless said.",
        ),
    )(command)


def push_folder(
    folder: Path, repo: str, kind: Any, *, dry_run: bool, public: bool
) -> None:
    """Lists files and sends them.

    Args:
        folder: of a run or a student.
        repo: OWNER/NAME.
        kind: `dataset` or `model`.
        dry_run: whether nothing is sent.
        public: whether anybody may see it.
    """
    from synth.runs import hub  # noqa: PLC0415

    hub.check_repo(repo)
    patterns = hub.OF_RUNS if kind == "dataset" else hub.OF_STUDENTS
    sending = hub.plan_sending(folder, patterns)
    for name, size in sending.up.items():
        say(f"up     {size:>14,}  {name}")
    for name in sending.stays[:_MOST_LISTED]:
        say(f"stays  {'':>14}  {name}")
    if len(sending.stays) > _MOST_LISTED:
        more = len(sending.stays) - _MOST_LISTED
        say(f"stays  {'':>14}  {more:,} more")
    seen = "public" if public else "private"
    if dry_run:
        say(f"{len(sending.up):,} files would go to {repo} ({seen})")
        return
    count, address = hub.send(folder, repo, kind, sending, public=public)
    there = len(sending.up) - count
    say(f"{count:,} files sent, {there:,} were there -> {address} ({seen})")


@click.command()
@click.argument(
    "folder", metavar="DIR", type=click.Path(path_type=Path, exists=True)
)
@push_options
def push(folder: Path, repo: str, **options: Any) -> None:
    """Send a run's rows, card and pack to the hub; its journal and settings stay here."""
    from synth.runs.publisher import RunFolder  # noqa: PLC0415

    RunFolder(folder)
    push_folder(folder, repo, "dataset", **options)
