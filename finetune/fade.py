"""A curriculum that takes a context away: all of it at first, nothing at the end (SKIntern, arXiv:2409.13183)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, log
from typing import Any

from finetune import rows, sft
from finetune.settings import TrainConfig
from synth.errors import WrongUse

_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_WORD = re.compile(r"\w+")
# Linear from all to nothing in four stages: the paper's best schedule (section 4.5).
STAGES = (1.0, 2 / 3, 1 / 3, 0.0)


def run(config: TrainConfig, *, stages: Sequence[float] = STAGES) -> dict[str, Any]:
    """Trains stage after stage on `context`, `prompt`, `completion`, each stage from the weights of the one before.

    Args:
        config: data, model, output, fields of the TRL config; steps or epochs are those of one stage.
        stages: share of each context's sentences that is left (0 to 1), never rising, 0 at the end.

    Returns:
        The content of OUTPUT/train.json of the last stage, with the losses of all.

    Raises:
        WrongUse: stages that rise or do not end at 0; data or a model that cannot be used.
    """
    if not stages or stages[-1] != 0 or any(not 0 <= s <= 1 for s in stages) or list(stages) != sorted(stages, reverse=True):
        raise WrongUse("--stages", f"{list(stages)}", "shares from 1 to 0 that never rise, 0 at the end", "For example 1,0.67,0.33,0.")
    data = [dict(row) for row in rows.with_columns(config.data, ("context", "prompt", "completion"))]
    weights = salience([row["context"] for row in data])
    config.output.mkdir(parents=True, exist_ok=True)
    losses: list[float] = []
    model = config.model
    for number, share in enumerate(stages):
        path = config.output / f"stage{number}.jsonl"
        path.write_text("".join(json.dumps(staged(row, share, weights)) + "\n" for row in data), encoding="utf-8")
        last = number == len(stages) - 1
        place = config.output if last else config.output / f"stage{number}"
        done = sft.run(replace(config, data=str(path), model=model, output=place, lora=config.lora if number == 0 else None))
        losses.append(done["loss"])
        model = str(place)
    info = {**done, "stages": list(stages), "losses": losses}
    (config.output / "train.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    return info


def staged(row: dict[str, Any], share: float, weights: dict[str, float]) -> dict[str, str]:
    """A training row with so much of its context before the prompt."""
    context = faded(str(row["context"]), share, weights)
    return {"prompt": f"{context}\n\n{row['prompt']}" if context else str(row["prompt"]), "completion": str(row["completion"])}


def salience(texts: Sequence[str]) -> dict[str, float]:
    """Inverse document frequency of each word: rare words say more."""
    counts = Counter(word for text in texts for word in set(_WORD.findall(text.casefold())))
    return {word: log((1 + len(texts)) / (1 + count)) + 1 for word, count in counts.items()}


def faded(text: str, share: float, weights: dict[str, float]) -> str:
    """The most telling sentences of a text, as many as the share says (rounded up), in their order; "" for 0.

    >>> faded("Add the parts. It is easy. Then halve.", 1 / 3, {"parts": 3.0, "halve": 2.0})
    'Add the parts.'
    """
    parts = [part.strip() for part in _SENTENCE.split(text) if part.strip()]
    count = ceil(share * len(parts) - 1e-9)

    def telling(place: int) -> float:
        words = _WORD.findall(parts[place].casefold())
        return sum(weights.get(word, 1.0) for word in words) / max(1, len(words))

    chosen = sorted(sorted(range(len(parts)), key=lambda place: (-telling(place), place))[:count])
    return "\n".join(parts[place] for place in chosen)
