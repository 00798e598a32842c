"""Answers what `synth.local_models.scores` asks of small models: `python -m
finetune.scoring.worker`.

A message names its model and what is wanted of it; models that were asked before stay open.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

from finetune.core.rows import JsonObject
from finetune.scoring.frozen_critic import FILE, FrozenCritic
from finetune.scoring.models import KINDS, Model
from synth.processes.worker import serve

_MOST_OPEN = 4


@lru_cache(maxsize=_MOST_OPEN)
def _opened(kind: str, path: str) -> Callable[[JsonObject], JsonObject]:
    """What answers a message to one model."""
    if kind == "classify" and (Path(path) / FILE).is_file():
        critic = FrozenCritic(path)
        return lambda message: critic.classify(message["pairs"])
    return partial(KINDS[kind], Model(kind, path))


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
