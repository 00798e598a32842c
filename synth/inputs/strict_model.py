"""What models of users' files share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from synth.core.bare_words import BareWord

# What packs, steps, fields and roles may be called.
NAME = r"[a-z][a-z0-9_]{0,63}"
Name = Annotated[str, Field(pattern=rf"^{NAME}$")]


def _no_bare_word(value: Any) -> Any:
    """The value, once no word in it may be a flag or a number just as well as a text."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, BareWord):
            # Pydantic reads no TypeError.
            raise ValueError(  # noqa: TRY004
                f'a plain reading in place of {part}: "{part}" in quotes for the text, '
                f"or {str(part.other).lower()}"
            )
    return value


# Values of no declared kind, where a bare `no` would be a text to some and a flag to others.
Clear = BeforeValidator(_no_bare_word)


class Strict(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


# Pydantic reads the signature of a default's factory: of `list` and `dict` from a text, with a
# tokenizer whose patterns take 3 ms.
def no_parts() -> list[Any]:
    """An empty list."""
    return []


def no_names() -> dict[str, Any]:
    """An empty mapping."""
    return {}
