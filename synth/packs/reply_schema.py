"""The schema of a step: what it asks for, and what reads the replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pydantic

from synth.core import strict_json
from synth.core.errors import WrongUse
from synth.core.plugins import imported, is_import, require_allowed
from synth.core.records import Fields, Row
from synth.packs.files import read_text_inside
from synth.packs.step import Step
from synth.parsers.json_object import JsonObject
from synth.replies import schemas

_WANTED = "a JSON Schema, a .json file of the pack, or module:Model"


@dataclass(frozen=True, kw_only=True)
class ModelObject(JsonObject):
    """Reads objects that a pydantic model of the user's takes, with the rules that only its
    validators know.

    Args:
        model: the class.
    """

    model: type[pydantic.BaseModel]

    def misfit(self, value: Fields) -> str:
        """Where an object does not fit the schema or the model, and why; "" where it fits."""
        problem = super().misfit(value)
        if problem:
            return problem
        try:
            self.model.model_validate(value)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, ("$", *first["loc"])))
            return f"{place}: {first['msg']}"[:200]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a validator of the user's
            # It judged other values; this one it did not take.
            said = f"{type(error).__name__}: {error}"[:160]
            return f"$: {self.model.__name__} raised {said}"
        return ""


def reader(
    schema: Fields | str,
    folder: Path,
    where: str,
    allowed: Sequence[str],
) -> JsonObject:
    """The parser of a step's schema.

    Args:
        schema: as the pack says it.
        folder: the pack's.
        where: the key in the pack, for messages.
        allowed: modules that the user allowed.

    Raises:
        WrongUse: no schema within bounds, no such file or model, or a module that is not allowed.
    """
    try:
        if isinstance(schema, str) and not schema.endswith(".json"):
            model = _model(schema, where, allowed)
            return ModelObject(fits=_schema_of(model, schema), model=model)
        fits = schema if isinstance(schema, Mapping) else _file(schema, folder)
        return JsonObject(fits=fits)
    except WrongUse as error:
        place, *rest = error.args
        raise WrongUse(
            where if place == "json_schema" else place, *rest
        ) from error
    except ValueError as error:
        raise WrongUse(
            where,
            str(error),
            "a schema that endpoints can hold replies to",
            "docs/packs.md says what it may hold.",
        ) from error


def _schema_of(model: type[pydantic.BaseModel], name: str) -> Fields:
    """The schema of a model, without what no endpoint holds replies to: the model judges the rest.

    Raises:
        ValueError: the model has none, or none within bounds.
    """
    try:
        return schemas.held(model.model_json_schema(), loose=True)
    except pydantic.PydanticUserError as error:
        raise ValueError(f"{name}: {error.message}"[:300]) from error


def _file(name: str, folder: Path) -> Row:
    """The schema in a file of the pack."""
    text = read_text_inside(folder, name)
    try:
        found = strict_json.loads(text)
    except strict_json.NotStrict as error:
        raise ValueError(f"{name}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{name}: no object")  # noqa: TRY004 - a pack's mistake
    return found


def _model(
    name: str,
    where: str,
    allowed: Sequence[str],
) -> type[pydantic.BaseModel]:
    """The pydantic model that an import string names."""
    if not is_import(name):
        raise WrongUse(
            where,
            repr(name)[:200],
            _WANTED,
            "Correct the name.",
        )
    require_allowed(name, allowed, where)
    found: Any = imported(name, where)
    if not (isinstance(found, type) and issubclass(found, pydantic.BaseModel)):
        raise WrongUse(
            where,
            f"{name}, which is no pydantic model",
            _WANTED,
            "Name a class that inherits pydantic.BaseModel.",
        )
    return found


def asking_in_form(step: Step) -> Step:
    """The step with the form that its schema asks for."""
    parser = step.parsers[0][1]
    assert isinstance(parser, JsonObject)  # noqa: S101 - `reader` made it
    return replace(step, response_format=parser.response_format(step.name))
