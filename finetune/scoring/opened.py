"""Whatever answers a message about texts: a model, or a critic or a probe that lies in a folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from finetune.core.rows import JsonObject
from finetune.scoring import frozen_critic, hidden_probe
from finetune.scoring.models import KINDS, Model

# The file that shows what a folder holds -> what opens it.
_OF_FILES: dict[
    str, type[frozen_critic.FrozenCritic | hidden_probe.HiddenProbe]
] = {
    frozen_critic.FILE: frozen_critic.FrozenCritic,
    hidden_probe.FILE: hidden_probe.HiddenProbe,
}


def opened(kind: str, path: str) -> Callable[[JsonObject], JsonObject]:
    """What answers messages of a kind (`finetune.scoring.models`) to one model.

    Args:
        kind: embed, classify or loss.
        path: a folder or a name of the hub.
    """
    for file, critic in _OF_FILES.items():
        if kind == "classify" and (Path(path) / file).is_file():
            classify = critic(path).classify
            return lambda message: classify(message["pairs"])
    return partial(KINDS[kind], Model(kind, path))
