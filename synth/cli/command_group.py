"""The wall of both commands: whatever ends a command becomes one message and a documented exit
code.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import click

from synth.core.errors import (
    PotstillError,
    Stopped,
    WrongUse,
    is_out_of_memory,
    printable,
)
from synth.processes.interrupts import exit_code, interrupt_behind
from synth.processes.ranks import is_first_process

# What a path can have against it that another path would not: the user's to correct (2). Anything
# else is the machine's (5).
_OF_PATHS = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.ENAMETOOLONG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EINVAL,
    errno.ELOOP,
    errno.ENXIO,
    errno.ENODEV,
    errno.EXDEV,
    errno.ETXTBSY,
}


# What the wall turns into messages where it knows it.
_ENDS = (OSError, UnicodeError, MemoryError, RuntimeError)


def say(text: str, *, err: bool = False) -> None:
    """Prints a text that may hold a model's or a stranger's words; a reader who has left misses it,
    and nothing else happens. Of several processes of one training, the first prints what came of
    it.

    Raises:
        Stopped: standard output goes to a file that takes no more.
    """
    if not err and not is_first_process():
        return
    try:
        click.echo(printable(text), err=err)
    except OSError as error:
        _mute(sys.stderr if err else sys.stdout)
        if error.errno != errno.EPIPE and not err:
            raise Stopped(
                "output",
                f"{error.strerror} while printing; what was written to files is whole",
            ) from error


def _mute(stream: Any) -> None:
    """Sends the rest of a stream nowhere, so that Python can close it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _hold_standard_files() -> None:
    """Opens what the caller closed of files 0, 1 and 2: else a journal would get its number, and
    words of a library its lines.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(
                os.devnull, os.O_RDWR
            )  # the lowest number that is free: this one
    # As long as the process.
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def as_ours(error: Exception) -> PotstillError:
    """What the system said, as an error with an exit code; anything else is raised again."""
    if (
        isinstance(error, OSError)
        and error.errno in _OF_PATHS
        and error.filename is not None
    ):
        todo = "Check the path and its rights."
        return WrongUse(
            os.fsdecode(error.filename)[:200],
            str(error.strerror),
            "a path that can be used so",
            todo,
        )
    if isinstance(error, OSError):
        return Stopped(
            "machine",
            f"{error.strerror or error}; what was written before is whole, and the same command "
            "goes on",
        )
    if isinstance(error, UnicodeError):
        return WrongUse(
            "a file",
            f"{error}"[:200],
            "UTF-8",
            "Save it as UTF-8.",
        )
    if is_out_of_memory(error):
        return Stopped(
            "machine",
            "no memory left; what was written before is whole. Take smaller batches, shorter "
            "texts or a smaller model",
        )
    raise error


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def together(*options: Decorator) -> Decorator:
    """Several options of a command as one, shown in this order."""

    def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return with_options


def output_option(
    about: str, metavar: str = "DIR", kind: Any = Path
) -> Decorator:
    """--output, which must be given.

    Args:
        about: its help.
        metavar: what the help calls it.
        kind: Path, or str where it may be a URL.
    """
    path_type = click.Path(path_type=kind)
    return click.option(
        "--output",
        required=True,
        type=path_type,
        metavar=metavar,
        help=about,
    )


class CommandGroup(click.Group):
    """A click group whose commands may raise any PotstillError; its help lists them by task.

    Attributes:
        sections: commands by the title that they stand under.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.sections: dict[str, list[click.Command]] = {}

    def add_section(
        self, title: str, commands: Iterable[click.Command]
    ) -> None:
        """Adds commands that its help shows under a title."""
        listed = list(commands)
        for command in listed:
            self.add_command(command)
        self.sections[title] = listed

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """Writes a list of commands for each section."""
        for title, commands in self.sections.items():
            rows = [
                (str(command.name), command.get_short_help_str(200))
                for command in commands
            ]
            with formatter.section(title):
                formatter.write_dl(rows)

    def main(self, *args: Any, **more: Any) -> Any:
        """Runs the command line."""
        _hold_standard_files()
        return super().main(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; prints the error and leaves with its code where there is one."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            _leave(ctx, str(error) or "interrupted", exit_code(error))
        except PotstillError as error:
            _leave(ctx, str(error), error.exit_code)
        except _ENDS as error:
            if interrupt := interrupt_behind(error):
                words = str(interrupt) or "interrupted"
                _leave(ctx, words, exit_code(interrupt))
            ours = as_ours(error)
            _leave(ctx, str(ours), ours.exit_code)


def _leave(context: click.Context, words: str, code: int) -> NoReturn:
    say(f"{context.info_name}: {words}", err=True)
    context.exit(code)
