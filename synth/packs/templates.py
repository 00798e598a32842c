"""The templates of a pack: plain ones render here, with their loops counted, all others in a
process with limits.
"""

from __future__ import annotations

import json
import re
import uuid
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import orjson
from jinja2 import StrictUndefined, nodes

from synth.core.errors import RowFault, WrongUse
from synth.core.records import Values
from synth.packs import template_box
from synth.packs.template_box import (
    OWN_FILTERS,
    REMOVED_FILTERS,
    REMOVED_GLOBALS,
    Compiled,
    FolderLoader,
    Room,
    Sandbox,
    TooLong,
    named,
    short_range,
    with_includes,
)
from synth.packs.template_cost import count_loops, is_plain
from synth.processes.worker import Pool

# What a template renders where it says no.
NOTHING = ("", "False", "None")
# A template that took too long so often is not tried again.
_MOST_STRIKES = 2
# Characters of a template, includes and all, that is read here; a process with limits reads longer
# ones.
_MOST_HERE = 64 * 1024
_MOST_IN_ALL = 1024 * 1024
# Characters of a template that is kept compiled, and how many are kept.
_MOST_KEPT = 8 * 1024
_MOST_TEMPLATES = 2048
# A template by its text and those of its includes, in their order; None is more than plain. A pack
# is read several times for one run, and by every stage of a flow.
_KEPT: dict[tuple[str, ...], Compiled | None] = {}
# Words of one that may read files.
_INCLUDES = re.compile(r"include|import|extends")


class Templates:
    """Compiles and renders the templates of one folder (or of none, for inline text)."""

    def __init__(self, folder: Path | None = None) -> None:
        env = Sandbox(
            loader=FolderLoader(folder) if folder else None,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
        )
        for name in REMOVED_FILTERS:
            env.filters.pop(name, None)
        for name in REMOVED_GLOBALS:
            env.globals.pop(name, None)
        env.globals["range"] = short_range
        env.filters.update(OWN_FILTERS)
        self.env = env
        self.folder = folder

    def compile(
        self, source: str, where: str, *, keep_tail: bool = False
    ) -> Template:
        """A template from its text.

        Args:
            source: the text.
            where: its name in errors (path or pack.yaml path).
            keep_tail: the blanks and line ends behind the text stay as they are written, unless it
                ends in `-}}` or `-%}`. Else one line end goes, and the one behind a block.

        Raises:
            WrongUse: it is none, or compiling it takes too long.
        """
        body = source.rstrip() if keep_tail else source
        tail = (
            "" if body.endswith(("-}}", "-%}", "-#}")) else source[len(body) :]
        )
        return Template(source, where, self._made(body, where), tail)

    def _made(self, source: str, where: str) -> Compiled | _Elsewhere:
        """Compiled here where it is plain."""
        made = self.here(source, where)
        return made or _Elsewhere(self.folder, source, where)

    def here(self, source: str, where: str) -> Compiled | None:
        """A template compiled in this process; None where it is more than plain. Texts that were
        met before are not compiled again.
        """
        if (source,) in _KEPT and not _INCLUDES.search(source):
            return _KEPT[source,]
        if len(source) > _MOST_HERE:
            return None
        room = Room(_MOST_HERE)
        tree = self.tree(source, where, room)
        if room.left < 0:
            return None
        texts = tuple(room.texts)
        if texts in _KEPT:
            return _KEPT[texts]
        made = None
        if is_plain(tree):
            count_loops(tree, self.env)
            made = self._from_tree(tree, where)
        if room.left >= _MOST_HERE - _MOST_KEPT:
            if len(_KEPT) >= _MOST_TEMPLATES:
                _KEPT.clear()
            _KEPT[texts] = made
        return made

    def compiled(self, source: str, where: str) -> Compiled:
        """Any template, compiled in this process: for one that has limits of its own."""
        room = Room(_MOST_IN_ALL)
        tree = self.tree(source, where, room)
        if room.left < 0:
            raise WrongUse(
                where,
                f"more than {_MOST_IN_ALL:,} characters with its includes",
                "less",
                "Take some out.",
            )
        return self._from_tree(tree, where)

    def _from_tree(self, tree: nodes.Template, where: str) -> Compiled:
        with named(where):
            return Compiled(self.env, tree)

    def tree(self, source: str, where: str, room: Room) -> nodes.Template:
        """The tree of a text, with the trees of its includes in their places.

        Args:
            source: the text.
            where: its name in errors.
            room: what the text and its includes may have; below 0 the tree is not whole.
        """
        room.take(source)
        with named(where):
            return with_includes(self.env, self.env.parse(source), where, room)


@cache
def _process() -> Pool:
    """The process that renders what is more than plain."""
    # The process ends itself after `template_box.SECONDS`; should it not, it is ended two seconds
    # later.
    return Pool(
        1,
        "-m",
        "synth.packs.render",
        str(template_box.SECONDS),
        seconds=template_box.SECONDS + 2,
    )


class _Elsewhere:
    """A template that a process with limits compiles and renders."""

    def __init__(self, folder: Path | None, source: str, where: str) -> None:
        self.where = where
        folder_name = str(folder.absolute()) if folder else None
        self._message = {
            "id": uuid.uuid4().hex,
            "folder": folder_name,
            "source": source,
            "where": where,
        }
        self.variables = frozenset(self._ask(None)["variables"])

    def text(self, values: Values, where: str) -> str:  # noqa: ARG002
        """As `Compiled.text`, but that values are handed over as JSON."""
        return str(
            self._ask(
                {
                    name: values[name]
                    for name in self.variables
                    if name in values
                }
            )["text"]
        )

    def _ask(self, values: Values | None) -> Any:
        answer = _process().ask(
            {
                **self._message,
                "values": None if values is None else _json(values),
            }
        )
        if answer is None:
            got = f"a template that takes more than {template_box.SECONDS:g} s or too much memory"
            raise TooLong(self.where, got, "a text", "Correct the template.")
        if "error" in answer:
            raise (WrongUse if values is None else RowFault)(*answer["error"])
        return answer


def _json(values: Values) -> str:
    try:
        return orjson.dumps(
            values, default=str, option=orjson.OPT_NON_STR_KEYS
        ).decode()
    except TypeError:  # lone surrogates, whole numbers beyond 64 bits
        return json.dumps(values, default=str)


class _GivenUp:
    """A template that took too long so often that no row waits for it again."""

    def __init__(self, error: TooLong, variables: frozenset[str]) -> None:
        self.error = error
        self.variables = variables

    def text(self, values: Values, where: str) -> str:  # noqa: ARG002
        raise TooLong(*self.error.args)


class Template:
    """One compiled template: `variables` it needs, `render(values)` to text."""

    def __init__(
        self,
        source: str,
        where: str,
        compiled: Compiled | _Elsewhere | _GivenUp,
        tail: str,
    ) -> None:
        self.source = source
        self.where = where
        self._compiled = compiled
        self._tail = tail
        self._strikes = 0
        self.variables = compiled.variables

    def line_of(self, variable: str) -> int:
        """The first line that mentions a variable."""
        return next(
            (
                n
                for n, line in enumerate(self.source.splitlines(), 1)
                if variable in line
            ),
            1,
        )

    def render(self, values: Values) -> str:
        """The text.

        Raises:
            WrongUse: a value that the template needs is missing, or the text grows beyond 2 MiB, or
                it takes too long.
        """
        if self._constant is not None:
            return self._constant
        try:
            return self._compiled.text(values, self.where) + self._tail
        except TooLong as error:
            self._strikes += 1
            if self._strikes >= _MOST_STRIKES:
                self._compiled = _GivenUp(error, self.variables)
            raise

    @cached_property
    def _constant(self) -> str | None:
        """The text of a template that reads nothing: rendered once."""
        if self.variables:
            return None
        return self._compiled.text({}, self.where) + self._tail
