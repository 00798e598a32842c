"""YAML without surprises: a doubled key is an error, every value knows its line, no tags, no alias
bombs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from synth.core.errors import WrongUse
from synth.core.records import Fields

MOST_BYTES = 256 * 1024
_MOST_BITS = 1024
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.CSafeLoader):
    """SafeLoader that refuses doubled keys, anchors and merged mappings."""

    def construct_yaml_int(self, node: Any) -> int:
        value = super().construct_yaml_int(node)
        # Numbers of base 60 make integers that not even an error can show.
        if value.bit_length() > _MOST_BITS:
            raise yaml.constructor.ConstructorError(
                None,
                None,
                "a whole number without end",
                node.start_mark,
            )
        return value

    def construct_mapping(
        self, node: Any, deep: bool = False
    ) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
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


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


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
        loader = _Loader(text)
        node = loader.get_single_node()
        _refuse_aliases(node, text)
        value = loader.construct_document(node) if node else None
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
