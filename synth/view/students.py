"""Folders of `finetune`: what students answered, beside the gold, and curves of trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import orjson

from synth.core.errors import WrongUse
from synth.core.records import Fields
from synth.inputs.seeds import read_rows

_PREDICTIONS = "predictions.jsonl"
_EVALUATION = "evaluation.json"
_TRAINING = "train.json"
_STATE = "trainer_state.json"


class Evaluation:
    """What one student answered.

    Args:
        folder: of `finetune evaluate`.

    Raises:
        WrongUse: rows without prompt, target or reply.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.figures = _object(folder / _EVALUATION)
        self.rows: list[Fields] = list(read_rows(str(folder / _PREDICTIONS)))
        for number, row in enumerate(self.rows, 1):
            missing = sorted({"prompt", "target", "reply"} - row.keys())
            if missing:
                raise WrongUse(
                    f"{folder / _PREDICTIONS} row {number}",
                    f"no {missing[0]!r}",
                    "prompt, target and reply, as `finetune evaluate` writes them",
                    "Name the folder of an evaluation.",
                )

    @staticmethod
    def is_here(folder: Path) -> bool:
        """Whether a folder holds an evaluation's answers."""
        return (folder / _PREDICTIONS).is_file()


class Both(NamedTuple):
    """Answers of two students to one question."""

    prompt: str
    target: str
    first: Fields
    second: Fields


def flips(
    first: Evaluation,
    second: Evaluation,
) -> dict[str, list[Both]]:
    """Questions of both students by who is right; rows of one prompt meet in their order."""
    waiting: dict[tuple[str, str], list[Fields]] = {}
    for row in second.rows:
        waiting.setdefault(_question(row), []).append(row)
    found: dict[str, list[Both]] = {
        "gained": [],
        "lost": [],
        "both right": [],
        "both wrong": [],
    }
    names = {
        (False, True): "gained",
        (True, False): "lost",
        (True, True): "both right",
        (False, False): "both wrong",
    }
    for row in first.rows:
        twins = waiting.get(_question(row))
        if not twins:
            continue
        other = twins.pop(0)
        fate = names[bool(row.get("right")), bool(other.get("right"))]
        prompt, target = _question(row)
        both = Both(
            prompt,
            target,
            row,
            other,
        )
        found[fate].append(both)
    return found


def _question(row: Fields) -> tuple[str, str]:
    return str(row["prompt"]), str(row["target"])


class Training:
    """A training: its facts, and what its trainer logged in its last checkpoint.

    Args:
        folder: of a command of `finetune` that trains.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def is_here(folder: Path) -> bool:
        """Whether a folder holds a training."""
        return (folder / _TRAINING).is_file() or bool(_states(folder))

    def facts(self) -> Fields:
        """What train.json says; empty while the training goes on."""
        return _object(self.folder / _TRAINING)

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """(step, value) of every number that the trainer logged."""
        states = _states(self.folder)
        history = _object(states[-1]).get("log_history") if states else None
        curves: dict[str, list[tuple[float, float]]] = {}
        for entry in history if isinstance(history, list) else ():
            step = entry.get("step") if isinstance(entry, dict) else None
            if not isinstance(step, int | float):
                continue
            for name, value in entry.items():
                if name not in ("step", "epoch") and _is_number(value):
                    curves.setdefault(name, []).append((step, value))
        return {name: line for name, line in curves.items() if len(line) > 1}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _states(folder: Path) -> list[Path]:
    """What trainers wrote at checkpoints, the last step last."""
    found = [*folder.glob(_STATE), *folder.glob(f"checkpoint-*/{_STATE}")]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def _object(path: Path) -> Fields:
    """A JSON object; empty where there is none that can be read."""
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
