"""YAML without surprises: a doubled key is an error, every value knows its line, no tags, no alias
bombs. Scalars are those of YAML 1.2: a time, a date, 010 and `no` are texts.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from synth.core.bare_words import BareWord, is_bare
from synth.core.errors import WrongUse
from synth.core.records import Fields

MOST_BYTES = 256 * 1024
_MOST_BITS = 1024


_TAG = "tag:yaml.org,2002:"
_FLOAT = (
    r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9]+[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
# Tag -> the plain scalars that have it, by their first characters.
_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (
        "int",
        r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+|0b[01]+)",
        list("-+0123456789"),
    ),
    (
        "float",
        _FLOAT,
        list("-+0123456789."),
    ),
    ("merge", r"<<", ["<"]),
)
_INT, _INT_FORM = _TAG + "int", re.compile(_SCALARS[2][1])


class _Loader(yaml.CSafeLoader):
    """SafeLoader that refuses doubled keys, anchors and merged mappings, with scalars of YAML
    1.2.
    """

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - PyYAML declares it so

    def construct_yaml_int(self, node: Any) -> int:
        # A tag (`!!int 010`) reaches it with any text.
        if not _INT_FORM.fullmatch(node.value):
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"{node.value!r} as a whole number",
                node.start_mark,
            )
        value = super().construct_yaml_int(node)
        # Integers that not even an error can show.
        if value.bit_length() > _MOST_BITS:
            raise yaml.constructor.ConstructorError(
                None,
                None,
                "a whole number without end",
                node.start_mark,
            )
        return value

    def construct_yaml_str(self, node: Any) -> str:
        text: str = super().construct_yaml_str(node)
        if not node.style and is_bare(text):
            return BareWord(text)
        return text

    def construct_mapping(
        self, node: Any, deep: bool = False
    ) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == _TAG + "merge":
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    "a merge (<<)",
                    key_node.start_mark,
                )
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    "a mapping or list as a key; a template that begins a value "
                    'needs quotes: "{{ name }}"',
                    key_node.start_mark,
                )
            if key in seen:
                problem = f"key {key!r} twice (first on line {seen[key]})"
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    problem,
                    key_node.start_mark,
                )
            seen[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep)


for _name, _form, _first in _SCALARS:
    _Loader.add_implicit_resolver(
        _TAG + _name,
        re.compile(f"(?:{_form})$"),
        _first,
    )
_Loader.add_constructor(_INT, _Loader.construct_yaml_int)
for _name in ("str", "timestamp"):
    _Loader.add_constructor(_TAG + _name, _Loader.construct_yaml_str)


def read_yaml(path: Path) -> tuple[Fields, dict[tuple[Any, ...], int]]:
    """A YAML mapping and the line (from 1) of every path in it.

    Raises:
        WrongUse: missing, too large (256 KiB), not UTF-8, not YAML, not a mapping, a doubled key or
            an alias.
    """
    return parse_yaml(read_text(path), path)


def parse_yaml(
    text: str, path: Path
) -> tuple[Fields, dict[tuple[Any, ...], int]]:
    """The same of a text that was read from `path`.

    Raises:
        WrongUse: not YAML, not a mapping, a doubled key or an alias.
    """
    try:
        value, node = _read(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise WrongUse(
            f"{path}:{line}",
            _problem(error, text),
            "plain YAML, each key once",
            "Correct that line.",
        ) from error
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise WrongUse(
            str(path),
            f"{type(error).__name__}: {str(error)[:200]}",
            "plain YAML",
            "Correct the file.",
        ) from error
    if not isinstance(value, dict):
        raise WrongUse(
            str(path),
            type(value).__name__,
            "a mapping (name: value)",
            "`synth init pack NAME` writes a pack that runs, to compare with.",
        )
    lines: dict[tuple[Any, ...], int] = {}
    _walk(node, (), lines)
    return value, lines


def parse_value(text: str) -> Any:
    """What one value says, such as that of an option; None of an empty text.

    Raises:
        yaml.YAMLError: no YAML.
        ValueError, ArithmeticError: a number that cannot be held.
    """
    return _read(text)[0]


def _read(text: str) -> tuple[Any, Any]:
    """The value of a document and its node."""
    loader = _Loader(text)
    node = loader.get_single_node()
    _refuse_aliases(node, text)
    return (loader.construct_document(node) if node else None), node


def read_text(path: Path) -> str:
    """A text file of the user's, of at most 256 KiB."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise WrongUse(
                str(path),
                f"{path.stat().st_size} bytes",
                f"at most {MOST_BYTES}",
                "Split the file.",
            )
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(
            str(path),
            f"no readable file ({error})",
            "a UTF-8 text file",
            "Check the path.",
        ) from error


def _refuse_aliases(root: Any, text: str) -> None:
    """Raises ConstructorError where one node stands in two places: that is what an alias makes."""
    seen: set[int] = set()
    waiting = [root] if root else []
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            events = yaml.parse(text, Loader=yaml.CSafeLoader)
            marks: Iterator[Any] = (
                event.start_mark
                for event in events
                if isinstance(event, yaml.AliasEvent)
            )
            raise yaml.constructor.ConstructorError(
                None,
                None,
                "an alias (*name)",
                next(marks, node.start_mark),
            )
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _problem(error: yaml.MarkedYAMLError, text: str) -> str:
    """What is wrong, with the character that nobody sees, such as a tab."""
    mark = error.problem_mark
    problem = str(error.problem)
    if mark and mark.index < len(text):
        character = f"found character {text[mark.index]!r} that"
        problem = problem.replace("found character that", character)
    return problem.removeprefix("found ")


def _walk(
    node: Any, at: tuple[Any, ...], lines: dict[tuple[Any, ...], int]
) -> None:
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _walk(value, (*at, key.value), lines)
            lines[(*at, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*at, index), lines)


def line_of(lines: dict[tuple[Any, ...], int], at: tuple[Any, ...]) -> int:
    """The line of a path, or of the nearest parent that the file has."""
    while at and at not in lines:
        at = at[:-1]
    return lines.get(at, 1)
