"""Jinja in a box: immutable sandbox, undefined names are errors, files only from one folder, sizes capped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from synth.errors import RowFault, WrongUse
from synth.pack_files import read_text_inside

# A prompt beyond this is a runaway loop: 2 MiB is some 500,000 tokens.
MOST_CHARS = 2 * 1024 * 1024
# Filters that turn a few characters of template into gigabytes of text, or draw without a seed.
_REMOVED_FILTERS = ("center", "format", "indent", "wordwrap", "batch", "slice", "xmlattr", "pprint", "random", "urlize")
_REMOVED_GLOBALS = ("lipsum", "cycler", "joiner")
_MOST_RANGE = 1000
# Prompts come in fewer pieces than this; more pieces are counted one by one.
_FEW = 4096


def _pick(choices: Any, *keys: Any) -> Any:
    """One of several, by a hash of the keys: the same for the same row, whatever the order of rows."""
    if not choices:
        raise SecurityError("nothing to pick from")
    digest = hashlib.sha256("\x00".join(map(str, keys)).encode("utf-8", "replace")).digest()
    return choices[int.from_bytes(digest[:8]) % len(choices)]


def _turned(values: Any, by: int = 1) -> list[Any]:
    """A list from its `by`-th element on, the first ones behind: another order, in which every element has moved."""
    listed = list(values)
    cut = by % len(listed) if listed else 0
    return listed[cut:] + listed[:cut]


def _short_range(*args: int) -> range:
    steps = range(*args)
    if len(steps) > _MOST_RANGE:
        raise SecurityError(f"range of {len(steps)}; at most {_MOST_RANGE}")
    return steps


class _Context(Context):
    """Jinja's own, but that it does not list the names of all globals for every text and every include."""

    def __init__(self, environment: Any, parent: Any, name: Any, blocks: Any, globals: Any = None) -> None:  # noqa: A002, ARG002
        super().__init__(environment, parent, name, blocks, None)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Also caps what `*`, `**`, `+` and `%` can grow, which stops constant folding from growing it while compiling."""

    context_class = _Context
    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise SecurityError(f"operator {operator} is not available in templates")
        if operator == "*" and not all(isinstance(x, int | float) for x in (left, right)):
            raise SecurityError("text or lists cannot be multiplied in templates")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
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


class _FolderLoader(BaseLoader):
    """Templates of one folder; `..`, absolute paths and links do not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get_source(self, environment: Any, template: str) -> tuple[str, str, Callable[[], bool]]:  # noqa: ARG002
        try:
            return read_text_inside(self.folder, template), str(self.folder / template), lambda: True
        except WrongUse as error:
            raise TemplateNotFound(template) from error


class Templates:
    """Compiles and renders the templates of one folder (or of none, for inline text)."""

    def __init__(self, folder: Path | None = None) -> None:
        env = _Sandbox(
            loader=_FolderLoader(folder) if folder else None,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
        )
        for name in _REMOVED_FILTERS:
            env.filters.pop(name, None)
        for name in _REMOVED_GLOBALS:
            env.globals.pop(name, None)
        env.globals["range"] = _short_range
        env.filters.update(pick=_pick, turned=_turned)
        self.env = env

    def compile(self, source: str, where: str, *, keep_tail: bool = False) -> Template:
        """A template from its text; `where` names it in errors (path or pack.yaml path), `keep_tail` is that of `Template`."""
        return Template(self.env, source, where, keep_tail=keep_tail)


def _with_includes(env: ImmutableSandboxedEnvironment, tree: nodes.Template, where: str) -> nodes.Template:
    """The tree with the texts of its includes in their places: looking each up again for every text takes twice as long."""
    for node in list(tree.find_all(nodes.Include)):
        name = node.template.value if isinstance(node.template, nodes.Const) else "a computed name"
        try:
            source, path, _ = env.loader.get_source(env, name)  # type: ignore[union-attr]
        except (TemplateNotFound, AttributeError) as error:
            todo = "Put the file beside pack.yaml and name it; links out of the folder are not followed."
            raise WrongUse(where, f"include of {name!r}", "a file inside the pack", todo) from error
        body = _with_includes(env, env.parse(source, filename=path), str(path)).body
        _replace(tree, node, nodes.Scope(body))
    return tree


def _replace(tree: nodes.Node, old: nodes.Node, new: nodes.Node) -> None:
    for parent in [tree, *tree.find_all(nodes.Node)]:
        for _, value in parent.iter_fields():
            if isinstance(value, list) and old in value:
                value[value.index(old)] = new


class Template:
    """One compiled template: `variables` it needs, `render(values)` to text.

    Args:
        env: that it is compiled in.
        source: its text.
        where: its name in errors.
        keep_tail: the blanks and line ends behind the text stay as they are written, unless it ends in `-}}` or `-%}`. Else one line
            end goes, and the one behind a block.
    """

    def __init__(self, env: ImmutableSandboxedEnvironment, source: str, where: str, *, keep_tail: bool = False) -> None:
        self.where, self.source, self._env = where, source, env
        body = source.rstrip() if keep_tail else source
        self._tail = "" if body.endswith(("-}}", "-%}", "-#}")) else source[len(body) :]
        try:
            self._tree = _with_includes(env, env.parse(body), where)
            self._compiled = env.template_class.from_code(env, env.compile(self._tree), env.make_globals(None))
            self._globals = dict(env.globals)
        except TemplateSyntaxError as error:
            wanted = "a template that Jinja can read"
            raise WrongUse(f"{error.filename or where}:{error.lineno}", str(error.message), wanted, "Correct that line.") from error
        except RecursionError as error:
            raise WrongUse(where, "a template that includes itself", "includes that end", "Take that include out.") from error
        except (TemplateError, SecurityError) as error:
            raise WrongUse(where, str(error), "a template without forbidden calls", "Take that call out.") from error

    @cached_property
    def variables(self) -> frozenset[str]:
        """Names that the template reads and does not set itself, through its includes."""
        return frozenset(meta.find_undeclared_variables(self._tree) - set(self._env.globals))

    def line_of(self, variable: str) -> int:
        """The first line that mentions a variable."""
        return next((n for n, line in enumerate(self.source.splitlines(), 1) if variable in line), 1)

    def render(self, values: Mapping[str, Any]) -> str:
        """The text.

        Raises:
            WrongUse: a value that the template needs is missing, or the text grows beyond 2 MiB.
        """
        if self._constant is None:
            return self._text(values)
        return self._constant

    @cached_property
    def _constant(self) -> str | None:
        """The text of a template that reads nothing: rendered once."""
        return None if self.variables else self._text({})

    def _text(self, values: Mapping[str, Any]) -> str:
        try:
            # A shared context over one plain dict: Jinja's own copies its globals through a ChainMap for every text.
            context = self._compiled.new_context({**self._globals, **values}, shared=True)
            stream = self._compiled.root_render_func(context)
            parts = list(islice(stream, _FEW))
            if len(parts) == _FEW or sum(map(len, parts)) > MOST_CHARS:
                parts = list(_capped(chain(parts, stream)))
        except (TemplateError, SecurityError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError, MemoryError) as error:
            raise RowFault(self.where, f"{type(error).__name__}: {error}", "a text", "Correct the template or the row.") from error
        return "".join(parts) + self._tail


def _capped(parts: Iterable[str]) -> Iterator[str]:
    room = MOST_CHARS
    for part in parts:
        room -= len(part)
        if room < 0:
            raise SecurityError(f"more than {MOST_CHARS} characters")
        yield part
