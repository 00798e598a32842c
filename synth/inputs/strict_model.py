"""What models of users' files share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

# What packs, steps, fields and roles may be called.
NAME = r"[a-z][a-z0-9_]{0,63}"
Name = Annotated[str, Field(pattern=rf"^{NAME}$")]


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
