"""What `--set` says: values read as YAML, or the texts that were typed where a text is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from synth.core.records import Fields


class Sets(dict[str, Any]):
    """STEP.key -> value, read as YAML.

    Attributes:
        texts: the same with every scalar as it was typed, of the values where that is another
            reading: numbers, booleans, nothing.
    """

    def __init__(self, values: Fields, texts: Fields) -> None:
        super().__init__(values)
        self.texts = texts


def sets(
    ctx: click.Context,  # noqa: ARG001
    param: click.Parameter,  # noqa: ARG001
    values: Sequence[str],
) -> Sets:
    """STEP.key=value pairs, values read as YAML."""
    import yaml  # noqa: PLC0415

    from synth.core.strict_yaml import parse_value  # noqa: PLC0415

    pairs = [value.partition("=") for value in values]
    bad = next((p for p in pairs if not p[1]), None)
    if bad:
        raise WrongUse(
            "--set",
            repr(bad[0]),
            "STEP.key=value",
            "For example --set rationale.sampling.temperature=0.2.",
        )
    try:
        read = {key: parse_value(value) for key, _, value in pairs}
        typed = {key: _typed(value) for key, _, value in pairs}
    except (yaml.YAMLError, ValueError, ArithmeticError) as error:
        raise WrongUse(
            "--set",
            f"a value that is no YAML ({error})",
            "STEP.key=value",
            "Quote the value.",
        ) from error
    texts = {key: text for key, text in typed.items() if text != read[key]}
    return Sets(read, texts)


def as_wanted(said: Sets, load: Callable[[Fields], object]) -> Fields:
    """The values as what takes them wants them: a value that is refused as YAML reads it is the
    text that was typed, where that is taken. Values are tried in their order, behind those before.

    >>> class Wanted:
    ...     def load(self, values):
    ...         if not isinstance(values.get("word", ""), str):
    ...             raise WrongUse("--set word", "no text", "a text", "Write one.")
    >>> as_wanted(Sets({"count": 4, "word": True}, {"count": "4", "word": "on"}), Wanted().load)
    {'count': 4, 'word': 'on'}

    Args:
        said: what `--set` says.
        load: takes values, or raises WrongUse.
    """
    if not said.texts or _is_taken(load, said):
        return dict(said)
    wanted: Fields = {}
    for key, value in said.items():
        wanted[key] = value
        if key not in said.texts or _is_taken(load, wanted):
            continue
        typed = {**wanted, key: said.texts[key]}
        if _is_taken(load, typed):
            wanted = typed
    return wanted


def of_pack(pack: str, said: Sets, plugins: Sequence[str] = ()) -> Fields:
    """The values as a pack wants them."""
    from synth.packs.pack import Pack  # noqa: PLC0415

    return as_wanted(said, lambda values: Pack.load(pack, values, plugins))


def _typed(value: str) -> Any:
    """A value of YAML whose scalars are texts, as they were typed."""
    import yaml  # noqa: PLC0415

    # An empty text is no document. This loader makes nothing but texts.
    return yaml.load(value, yaml.BaseLoader) or value  # noqa: S506


def _is_taken(load: Callable[[Fields], object], values: Fields) -> bool:
    try:
        load(values)
    except WrongUse:
        return False
    return True
