"""What a stage `run` is told by its `set`: settings of the pack's steps, and fields of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from finetune.flows.formulas import rendered
from finetune.flows.loading import Flow
from finetune.flows.row_schema import Scalar
from finetune.flows.tooling import bound_to
from synth.core.errors import WrongUse, did_you_mean
from synth.packs.pack import Pack
from synth.pipeline.prepare import RunConfig, load_pack

# Fields of a run that a flow fills itself, or that only a run of its own has.
_OF_THE_FLOW = frozenset(
    """
    budget endpoints header mcp overrides plugins replace report_to reuse same_teacher shard shards
    teachers tools
    """.split()  # noqa: SIM905 - as a paragraph
)


class RunSettings(NamedTuple):
    """The settings of a stage, parted.

    Attributes:
        pack: `STEP.key` -> value, for the pack.
        run: field of RunConfig -> value.
    """

    pack: dict[str, Any]
    run: dict[str, Any]


def parted(settings: Mapping[str, Scalar]) -> RunSettings:
    """Settings with a dot are the pack's, others the run's."""
    pack = {key: value for key, value in settings.items() if "." in key}
    run = {key: value for key, value in settings.items() if "." not in key}
    return RunSettings(pack, run)


def check_runs(
    flow: Flow, tools: Mapping[str, str], plugins: tuple[str, ...]
) -> None:
    """Every run of a flow, as its first round has it, takes what it is told.

    Args:
        flow: with the user's settings.
        tools: what is bound to tools of its packs.
        plugins: modules that the user allows.

    Raises:
        WrongUse: a setting that no run and no step has, or a value that it cannot have, with the
            line of the stage.
    """
    known = {field.name for field in fields(RunConfig)} - _OF_THE_FLOW
    values = {**flow.spec.values, "round": 0}
    for stage in flow.spec.stages():
        if stage.run is None:
            continue
        line = flow.spots[stage.name].line
        settings = parted(
            {
                key: rendered(value, values, f"{line} set.{key}")
                for key, value in stage.set.items()
            }
        )
        for key, value in settings.run.items():
            if key not in known:
                raise WrongUse(
                    f"{line} set.{key}",
                    repr(value),
                    "STEP.KEY of the pack, or a field of a run",
                    did_you_mean(key, known),
                )
        named = flow.pack(stage)
        try:
            own = bound_to(Pack.load(named, settings.pack), tools)
            load_pack(
                named,
                RunConfig(
                    teachers={},
                    overrides=settings.pack,
                    plugins=plugins,
                    tools=own,
                    **settings.run,
                ),
            )
        except WrongUse as error:
            where, *more = error.args
            raise WrongUse(f"{line} set: {where}", *more) from error
