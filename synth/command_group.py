"""The wall of both commands: an error of ours becomes one message and its exit code."""

from __future__ import annotations

from typing import Any

import click

from synth.errors import PotstillError, printable


def say(text: str, *, err: bool = False) -> None:
    """Prints a text that may hold a model's or a stranger's words."""
    click.echo(printable(text), err=err)


class CommandGroup(click.Group):
    """A click group whose commands may raise any PotstillError."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; prints the error and leaves with its code where there is one."""
        try:
            return super().invoke(ctx)
        except PotstillError as error:
            say(f"{ctx.info_name}: {error}", err=True)
            ctx.exit(error.exit_code)
