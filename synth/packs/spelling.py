"""What is wrong in a file of a pack, in words of its readers: pydantic's first fault, with its
line.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pydantic
from pydantic.fields import FieldInfo

from synth.core.errors import WrongUse, did_you_mean
from synth.core.strict_yaml import line_of
from synth.packs.choice_schema import (
    CHOSEN,
    KINDS,
    ChosenDemonstrationsSpec,
)
from synth.packs.sampling_schema import SamplingSpec
from synth.packs.schema import StepSpec

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    Lines = dict[tuple[Any, ...], int]

_SHOWN = 200
# What pydantic says before it says what is wanted.
_OPENINGS = ("Input should be ", "Value error, ", "Input should have ")


def first_fault(error: pydantic.ValidationError) -> ErrorDetails:
    """The fault to speak of: an unknown key before a key that is missing for it."""
    faults = error.errors()
    for fault in faults:
        if fault["type"] == "extra_forbidden":
            return fault
    return faults[0]


def place_of_fault(fault: ErrorDetails) -> tuple[int | str, ...]:
    """The keys that lead to a fault."""
    return tuple(key for key in fault["loc"] if key not in KINDS)


def spelt(
    error: pydantic.ValidationError,
    model: type[pydantic.BaseModel],
    path: Path,
    lines: Lines,
    *,
    override: tuple[str, Any] | None = None,
) -> WrongUse:
    """The first fault of a file.

    Args:
        error: what pydantic found.
        model: of the whole file.
        path: of the file.
        lines: the line of every place in it.
        override: (key, value) of the `--set` that put the fault there, None where the file did.
    """
    fault = first_fault(error)
    at = place_of_fault(fault)
    where = f"{path}:{line_of(lines, at)}"
    if override:
        where = f"--set {override[0]}"
    spot = ".".join(map(str, at))
    if fault["type"] == "extra_forbidden":
        return WrongUse(
            where,
            f"key {spot}",
            "a key that it knows",
            _advice(model, fault["loc"], override is not None),
        )
    if fault["type"] == "missing":
        parent = ".".join(map(str, at[:-1]))
        return WrongUse(
            where,
            f"no key {str(at[-1])!r}{f' in {parent}' if parent else ''}",
            "all keys that are needed",
            "Add it.",
        )
    value = override[1] if override else fault.get("input")
    shown = repr(value)
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}..."
    if override:
        return WrongUse(where, shown, _wanted(fault), "Correct the value.")
    return WrongUse(
        where,
        f"{spot} = {shown}",
        _wanted(fault),
        _todo(fault),
    )


def _wanted(fault: ErrorDetails) -> str:
    if fault["type"] == "string_pattern_mismatch":
        if "A-Z" in fault["ctx"]["pattern"]:
            return "letters, digits and _, the first no digit"
        return "small letters, digits and _, the first a letter"
    text = fault["msg"]
    for opening in _OPENINGS:
        text = text.removeprefix(opening)
    return text


def _todo(fault: ErrorDetails) -> str:
    """What to do about a line, whose text may lack its quotes."""
    value = fault.get("input")
    if fault["type"] == "string_type" and isinstance(value, int | float):
        return "Put the text in quotes."
    return "Correct that line."


def _advice(
    model: type[pydantic.BaseModel],
    at: tuple[int | str, ...],
    is_set: bool,
) -> str:
    """Where an unknown key belongs, or which one may be meant.

    Args:
        model: of the whole file.
        at: the keys that lead to it.
        is_set: whether `--set` named it, which may leave out `sampling`.
    """
    key = str(at[-1])
    above = _models(model, at)
    here = above[-1]
    keys = _keys(here)
    if is_set and here is StepSpec:
        return did_you_mean(key, [*keys, *SamplingSpec.model_fields])
    for name, field in _fields(here).items():
        inner = _model_in(field.annotation)
        if inner is not None and key in _keys(inner):
            return f"It stands below `{name}`."
    if len(above) > 1 and key in _keys(above[-2]):
        return "It stands one level higher."
    return did_you_mean(key, keys)


def _models(
    model: type[pydantic.BaseModel], at: tuple[int | str, ...]
) -> list[type[pydantic.BaseModel]]:
    """The models that the keys above an unknown one lead through."""
    models = [model]
    for key in at[:-1]:
        if key == CHOSEN:
            models.append(ChosenDemonstrationsSpec)
        field = _fields(models[-1]).get(str(key))
        inner = _model_in(field.annotation) if field else None
        if inner is not None:
            models.append(inner)
    return models


def _fields(model: type[pydantic.BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the names that a file has for them."""
    return {
        field.alias or name: field for name, field in model.model_fields.items()
    }


def _keys(model: type[pydantic.BaseModel]) -> list[str]:
    """The keys that a file may say."""
    return list(_fields(model))


def _model_in(annotation: Any) -> type[pydantic.BaseModel] | None:
    """The first model that an annotation names."""
    if isinstance(annotation, type) and issubclass(
        annotation, pydantic.BaseModel
    ):
        return annotation
    for part in get_args(annotation):
        model = _model_in(part)
        if model is not None:
            return model
    return None
