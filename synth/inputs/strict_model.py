"""What models of users' files share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# What packs, steps, fields and roles may be called.
NAME = r"[a-z][a-z0-9_]{0,63}"
Name = Annotated[str, Field(pattern=rf"^{NAME}$")]


class Strict(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
