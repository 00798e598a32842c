"""Models that options name."""

from __future__ import annotations

from typing import Any

import click

from synth.inputs.names import require_there


class ModelName(click.types.StringParamType):
    """A model's folder or its name on a hub, or one that is made (`scratch:tiny`). What can only be
    a path and leads nowhere is refused at once: the packages that open models take ten seconds to
    load.
    """

    name = "M"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """The name; a mistake of the call where nothing stands at its path."""
        model = super().convert(value, param, ctx)
        is_made = ":" in model
        if param is not None and not is_made:
            require_there(f"{param.opts[0]} {model}", model, "a model")
        return model


MODEL = ModelName()
