"""Answers what `synth.local_models.scores` asks of small models: `python -m
finetune.scoring.worker`.

A message names its model and what is wanted of it; models that were asked before stay open.
"""

from __future__ import annotations

from functools import lru_cache

from finetune.core.rows import JsonObject
from finetune.scoring.opened import opened
from synth.processes.worker import serve

_MOST_OPEN = 4


_opened = lru_cache(maxsize=_MOST_OPEN)(opened)


def answer(message: JsonObject) -> JsonObject:
    """What a model says of texts, as `finetune.scoring.models` has it; {"error", "todo"} where the
    model does not open.
    """
    try:
        model = _opened(message["kind"], message["model"])
    except Exception as error:  # noqa: BLE001 - the parent says it to the user
        return {
            "error": f"{type(error).__name__}: {error}"[:300],
            "todo": "Give a folder with a saved model, or a name of the hub.",
        }
    return model(message)


if __name__ == "__main__":
    serve(answer)
