"""A built-in system is played with a loopback teacher and students of 96,000 weights that learn for a few steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from finetune.data import rows
from finetune.flows.loading import load
from finetune.recipes import sft
from finetune.settings import TrainConfig
from tests.conftest import serving, write
from tests.finetune.flows.test_flow import play

QUICK = {
    "per_device_train_batch_size": 8,
    "learning_rate": 5e-3,
    "logging_strategy": "no",
}


class Played(NamedTuple):
    """What a flow left: its folder, flow.json, and what each call to the teacher asked."""

    output: Path
    done: dict[str, Any]
    bodies: Sequence[dict[str, Any]]

    def phase(self, number: int | None = None) -> dict[str, Any]:
        """Stages before the rounds, or those of a round, by name."""
        if number is None:
            return {**self.done["before"], **self.done["after"]}
        return self.done["rounds"][number]

    def folder(self, stage: str, number: int | None = None) -> Path:
        """Where a stage left what it made."""
        return self.output / self.phase(number)[stage]["folder"]

    def rows(
        self, stage: str, number: int | None = None, part: str = "rows"
    ) -> list[dict[str, Any]]:
        """What a stage left: `rows`, `right`, `wrong`, or `data` and `dropped` of a run."""
        folder = self.folder(stage, number)
        if part in ("data", "dropped"):
            return [dict(row) for row in rows.load(folder, part)]
        text = (folder / f"{part}.jsonl").read_text()
        return list(map(json.loads, text.splitlines()))

    def trained(self, stage: str, number: int | None = None) -> dict[str, Any]:
        """The record of a training."""
        return json.loads(
            (self.folder(stage, number) / "train.json").read_text()
        )

    @property
    def asked(self) -> list[str]:
        """All that each call said, as one text."""
        return [
            "\n".join(message["content"] for message in body["messages"])
            for body in self.bodies
        ]


def quick(name: str | Path, steps: int) -> dict[str, object]:
    """Settings that let each training of a flow take so many steps."""
    settings: dict[str, object] = {}
    for stage in load(name).spec.stages():
        if stage.train is not None:
            settings[f"{stage.name}.max_steps"] = steps
            settings |= {f"{stage.name}.{key}": QUICK[key] for key in QUICK}
    return settings


def base_of(
    folder: Path,
    rows: Sequence[dict[str, str]],
    steps: int,
    model: str = "scratch:tiny",
) -> str:
    """A small base model that has learnt `rows` for some steps, so that it can be asked at once."""
    folder.mkdir(exist_ok=True)
    data = write(folder / "of_the_base.jsonl", list(rows))
    config = TrainConfig(
        data=str(data),
        model=model,
        output=folder / "base",
        trainer={**QUICK, "max_steps": steps, "disable_tqdm": True},
    )
    sft.run(config)
    return str(folder / "base")


def play_system(
    name: str,
    folder: Path,
    answer: Callable[[dict[str, Any], int], Any],
    source: Sequence[dict[str, Any]],
    *,
    steps: int = 2,
    overrides: dict[str, object] | None = None,
    models: dict[str, str] | None = None,
    names: dict[str, str] | None = None,
    tools: dict[str, str] | None = None,
    plugins: tuple[str, ...] = (),
    **inputs: Sequence[dict[str, Any]],
) -> Played:
    """Plays a flow twice: the second time nothing is asked."""
    files = {
        key: str(write(folder / f"{key}.jsonl", list(given)))
        for key, given in inputs.items()
    }
    given = write(folder / "input.jsonl", list(source))
    said = {**quick(name, steps), **(overrides or {})}
    roles = load(name).spec.teachers
    options: dict[str, Any] = {
        "inputs": files,
        "models": {"student": "scratch:tiny", **(models or {})},
        "teachers": names or dict.fromkeys(roles, "openai/m"),
        "overrides": said,
        "tools": tools or {},
        "plugins": plugins,
    }
    output = folder / "out"
    with serving(answer) as server:
        done = play(name, output, given, server.url, **options)
        bodies = list(server.bodies)
        again = play(name, output, given, server.url, **options)
        assert len(server.bodies) == len(bodies)
    assert done["complete"]
    assert again == done
    return Played(output, done, bodies)
