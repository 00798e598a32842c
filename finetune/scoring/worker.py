"""Answers what `synth.local_models.scores` asks of a small model: `python -m
finetune.scoring.worker KIND PATH`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from finetune.scoring.frozen_critic import FILE, FrozenCritic
from finetune.scoring.models import KINDS, Model
from synth.processes.worker import serve


def main(kind: str, path: str) -> None:
    """Answers until the input ends."""
    try:
        if kind == "classify" and (Path(path) / FILE).is_file():
            critic = FrozenCritic(path)
            serve(lambda message: critic.classify(message["pairs"]))
            return
        model = Model(kind, path)
    except Exception as error:  # noqa: BLE001 - the parent says it to the user
        why = f"{type(error).__name__}: {error}"[:300]
        todo = "Give a folder with a saved model, or a name of the hub."
        sys.stdout.write(json.dumps({"error": why, "todo": todo}) + "\n")
        return
    serve(lambda message: KINDS[kind](model, message))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
