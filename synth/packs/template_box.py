"""Jinja in a box: immutable sandbox, undefined names are errors, files only from one folder, work
and sizes capped.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import (
    BaseLoader,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
    meta,
    nodes,
    pass_context,
)
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from synth.core.errors import RowFault, WrongUse
from synth.core.records import Values
from synth.packs.files import read_text_inside
from synth.packs.template_cost import WALKED
from synth.replies.calls import carried_out

# A prompt beyond this is a runaway loop: 2 MiB is some 500,000 tokens.
MOST_CHARS = 2 * 1024 * 1024
# Filters that turn a few characters of template into gigabytes of text, or draw without a seed.
REMOVED_FILTERS = (
    "center",
    "format",
    "indent",
    "wordwrap",
    "batch",
    "slice",
    "xmlattr",
    "pprint",
    "random",
    "urlize",
)
REMOVED_GLOBALS = ("lipsum", "cycler", "joiner")
_MOST_RANGE = 1000
# Pieces of a text that are counted at once.
_FEW = 64
# Nodes that the loops of one rendering may evaluate: some seconds. After the first thousand a clock
# runs, too.
MOST_STEPS = 5_000_000
_FREE_STEPS = 1_000
_CLOCKED = MOST_STEPS - _FREE_STEPS
# Seconds for one text.
SECONDS = 5.0
# What an include counts besides its text: one that includes nothing twice would be free.
_INCLUDE = 256
# Characters of an error: it may quote a value.
_MOST_SAID = 300


def _pick(choices: Any, *keys: Any) -> Any:
    """One of several, by a hash of the keys: the same for the same row, whatever the order of
    rows.
    """
    if not choices:
        raise SecurityError("nothing to pick from")
    digest = hashlib.sha256(
        "\x00".join(map(str, keys)).encode("utf-8", "replace")
    ).digest()
    return choices[int.from_bytes(digest[:8]) % len(choices)]


def _turned(values: Any, by: int = 1) -> list[Any]:
    """A list from its `by`-th element on, the first ones behind: another order, in which every
    element has moved.
    """
    listed = list(values)
    cut = by % len(listed) if listed else 0
    return listed[cut:] + listed[:cut]


def short_range(*args: int) -> range:
    """Python's own, but that it ends after a thousand."""
    steps = range(*args)
    if len(steps) > _MOST_RANGE:
        raise SecurityError(f"range of {len(steps)}; at most {_MOST_RANGE}")
    return steps


class TooLong(RowFault):
    """A template that worked longer than any text is worth."""


class _TooMuchError(SecurityError):
    """The same, while it renders."""


def _fits(size: int) -> None:
    if size > MOST_CHARS:
        raise SecurityError(f"more than {MOST_CHARS} characters")


# Filters that take the context are not evaluated while a template is compiled.
@pass_context
def _join(
    context: Context,
    values: Iterable[Any],
    d: Any = "",
    attribute: str | int | None = None,
) -> str:
    """Jinja's own, but that the size is known before the text is made."""
    if attribute is not None:
        values = context.environment.call_filter(
            "map",
            values,
            kwargs={"attribute": attribute},
            context=context,
        )
    parts = list[str]()
    between = str(d)
    size = 0
    for value in values:
        parts.append(str(value))
        size += len(parts[-1]) + len(between)
        _fits(size - len(between))
    return between.join(parts)


@pass_context
def _replace_text(
    context: Context,  # noqa: ARG001
    s: Any,
    old: Any,
    new: Any,
    count: int | None = None,
) -> str:
    """Jinja's own, but that the size is known before the text is made."""
    text = str(s)
    old = str(old)
    new = str(new)
    most = -1 if count is None else count
    if len(new) > len(old):
        places = text.count(old) if most < 0 else min(most, text.count(old))
        _fits(len(text) + places * (len(new) - len(old)))
    return text.replace(old, new, most)


@pass_context
def _walked(context: _Context, values: Any, weight: int) -> Any:
    """What a loop walks, once its turns are counted; after the first thousand steps the clock runs
    along.
    """
    try:
        turns = len(values)
    except TypeError:  # what `map` and its like give
        values = list(islice(values, MOST_STEPS + 1))
        turns = len(values)
    left = context.steps = context.steps - (turns + 1) * weight
    if left >= _CLOCKED:
        return values
    if left < 0:
        raise _TooMuchError(f"loops of more than {MOST_STEPS:,} steps")
    context.deadline = context.deadline or time.monotonic() + SECONDS
    return _timed(values, context.deadline)


def _timed(values: Iterable[Any], deadline: float) -> Iterator[Any]:
    for value in values:
        if time.monotonic() > deadline:
            raise _TooMuchError(f"more than {SECONDS:g} s")
        yield value


def _power(base: float, exponent: float) -> float:
    """Base to the power of exponent, as a fraction: a number of 16 digits, however large."""
    return math.pow(base, exponent)


OWN_FILTERS = {
    "power": _power,
    "called": carried_out,
    "pick": _pick,
    "turned": _turned,
    "join": _join,
    "replace": _replace_text,
    WALKED: _walked,
}


class _Names(dict[str, Any]):
    """Values by name; one that is not there is what Jinja takes for it."""

    def __missing__(self, name: str) -> Any:
        return missing


class _Context(Context):
    """Jinja's own, but that it does not list the names of all globals for every text and every
    include.

    Attributes:
        steps: what the loops of this rendering may still evaluate.
        deadline: when it must be done, once the clock runs.
    """

    steps = MOST_STEPS
    deadline = 0.0

    def __init__(
        self,
        environment: Any,
        parent: Any,
        name: Any,
        blocks: Any,
        globals: Any = None,  # noqa: A002, ARG002
    ) -> None:
        super().__init__(environment, parent, name, blocks or {})


class _PlainContext(_Context):
    """One of a template that changes nothing of it."""

    def __init__(self, names: _Names) -> None:
        self.parent = names
        self.resolve_or_missing = names.__getitem__  # type: ignore[assignment, method-assign]
        self.vars = {}
        self.exported_vars = set()


class Sandbox(ImmutableSandboxedEnvironment):
    """Also caps what `*`, `**`, `+` and `%` can grow, which stops constant folding from growing it
    while compiling.
    """

    context_class = _Context

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def call_binop(
        self, context: Any, operator: str, left: Any, right: Any
    ) -> Any:
        """The result of an operator, where it cannot grow a few signs into gigabytes."""
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise SecurityError(
                f"operator {operator} is not available in templates"
            )
        if operator == "*" and not all(
            isinstance(x, int | float) for x in (left, right)
        ):
            raise SecurityError(
                "text or lists cannot be multiplied in templates"
            )
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Jinja's own word, and no method of texts that grows them."""
        grows = isinstance(obj, str) and attr in {
            "center",
            "ljust",
            "rjust",
            "zfill",
            "replace",
            "expandtabs",
            "format",
        }
        return not grows and super().is_safe_attribute(obj, attr, value)


class FolderLoader(BaseLoader):
    """Templates of one folder; `..`, absolute paths and links do not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get_source(
        self,
        environment: Any,  # noqa: ARG002
        template: str,
    ) -> tuple[str, str, Callable[[], bool]]:
        """(text, path, whether it is still the same) of a file of the folder."""
        try:
            return (
                read_text_inside(self.folder, template),
                str(self.folder / template),
                lambda: True,
            )
        except WrongUse as error:
            raise TemplateNotFound(template) from error


@contextmanager
def named(where: str) -> Iterator[None]:
    """Turns what Jinja and Python say of a template into one error."""
    try:
        yield
    except TemplateSyntaxError as error:
        wanted = "a template that Jinja can read"
        raise WrongUse(
            f"{error.filename or where}:{error.lineno}",
            str(error.message),
            wanted,
            "Correct that line.",
        ) from error
    except RecursionError as error:
        raise WrongUse(
            where,
            "a template nested without end",
            "a flat template",
            "Take that include or nesting out.",
        ) from error
    except (TemplateError, SyntaxError, MemoryError, ValueError) as error:
        if isinstance(error, WrongUse):
            raise
        got = f"{type(error).__name__}: {str(error)[:_MOST_SAID]}"
        raise WrongUse(
            where,
            got,
            "a template without forbidden calls",
            "Take that call out.",
        ) from error


@dataclass
class Room:
    """Characters that a template and its includes may still have, and the texts that were read."""

    left: int
    texts: list[str] = field(default_factory=list)

    def take(self, text: str, more: int = 0) -> None:
        """One text, and what it costs beside its characters."""
        self.left -= len(text) + more
        self.texts.append(text)


def with_includes(
    env: ImmutableSandboxedEnvironment,
    tree: nodes.Template,
    where: str,
    room: Room,
) -> nodes.Template:
    """The tree with the texts of its includes in their places: looking each up again for every text
    takes twice as long.
    """
    for node in list(tree.find_all(nodes.Include)):
        name = (
            node.template.value
            if isinstance(node.template, nodes.Const)
            else "a computed name"
        )
        try:
            source, path, _ = env.loader.get_source(env, name)  # type: ignore[union-attr]
        except (TemplateNotFound, AttributeError) as error:
            todo = "Put the file beside pack.yaml and name it; links are not followed."
            raise WrongUse(
                where,
                f"include of {name!r}",
                "a file inside the pack",
                todo,
            ) from error
        room.take(source, _INCLUDE)
        if room.left < 0:
            break
        body = with_includes(
            env,
            env.parse(source, filename=path),
            str(path),
            room,
        ).body
        _replace(tree, node, nodes.Scope(body))
    return tree


def _replace(tree: nodes.Node, old: nodes.Node, new: nodes.Node) -> None:
    for parent in [tree, *tree.find_all(nodes.Node)]:
        for _, value in parent.iter_fields():
            if isinstance(value, list) and old in value:
                value[value.index(old)] = new


def _rest(stream: Iterator[str], size: int) -> list[str]:
    """What a long template still gives, or enough of it to be too much."""
    parts: list[str] = []
    while size <= MOST_CHARS and (block := list(islice(stream, _FEW))):
        size += sum(map(len, block))
        parts += block
    return parts


# A block looks names up after others were set; `{% autoescape %}` changes how a text is evaluated,
# for ever where the text fails inside.
_CHANGING: tuple[type[nodes.Node], ...] = (
    nodes.Block,
    nodes.Extends,
    nodes.EvalContextModifier,
)


class Compiled:
    """A template compiled in this process."""

    def __init__(
        self,
        env: ImmutableSandboxedEnvironment,
        tree: nodes.Template,
    ) -> None:
        self._env = env
        self._compiled = env.template_class.from_code(
            env, env.compile(tree), env.make_globals(None)
        )
        self.variables = frozenset(
            meta.find_undeclared_variables(tree) - set(env.globals)
        )
        self._globals = dict(env.globals)
        self._stream = self._compiled.root_render_func
        changes = any(map(tree.find, _CHANGING))
        self._context = self._whole_context if changes else self._plain_kind()

    def _whole_context(self, names: _Names) -> _Context:
        """Jinja's own, with globals among the names: it would copy both through a ChainMap."""
        name, blocks = self._compiled.name, self._compiled.blocks
        return _Context(self._env, names, name, blocks)

    def _plain_kind(self) -> type[_PlainContext]:
        """Its contexts share all but the names: each is made in a third of the steps."""
        shared = vars(self._whole_context(_Names()))
        return type(_PlainContext.__name__, (_PlainContext,), shared)

    def text(self, values: Values, where: str) -> str:
        """The text.

        Args:
            values: by variable.
            where: the template's name in errors.

        Raises:
            WrongUse: a value is missing, or the text or the work grows too large.
        """
        try:
            names = _Names(self._globals, **values)
            stream = self._stream(self._context(names))
            parts = list(islice(stream, _FEW))
            if len(parts) == _FEW:
                parts += _rest(stream, sum(map(len, parts)))
            text = "".join(parts)
            if len(text) > MOST_CHARS:
                _fits(len(text))
        except (
            TemplateError,
            TypeError,
            ValueError,
            LookupError,
            ArithmeticError,
            RecursionError,
            MemoryError,
        ) as error:
            message = (
                "more memory than a template may take"
                if isinstance(error, MemoryError)
                else str(error)
            )
            got = f"{type(error).__name__.strip('_')}: {message[:_MOST_SAID]}"
            kind = TooLong if isinstance(error, _TooMuchError) else RowFault
            raise kind(
                where,
                got,
                "a text",
                "Correct the template or the row.",
            ) from error
        return text
