"""What the user binds to tools of a flow's packs: functions of modules, or teachers that play."""

from __future__ import annotations

from collections.abc import Mapping

from finetune.flows.loading import Flow
from synth.core.plugins import is_import
from synth.packs.pack import Pack
from synth.packs.tooling import check_bindings, check_known


def tools_of(pack: Pack) -> set[str]:
    """The tools that a pack's teachers may call."""
    return {
        name
        for step in pack.steps
        if step.tooling
        for name in step.tooling.tools
    }


def bound_to(pack: Pack, named: Mapping[str, str]) -> dict[str, str]:
    """Of what is bound to the flow's tools, that of a pack's, in the order of their names."""
    own = tools_of(pack)
    return {name: named[name] for name in sorted(own & named.keys())}


def players_of(named: Mapping[str, str]) -> set[str]:
    """The roles that play tools."""
    return {target for target in named.values() if not is_import(target)}


def check_tools(
    flow: Flow, named: Mapping[str, str], plugins: tuple[str, ...]
) -> None:
    """Every tool of every pack that a flow runs is answered, and nothing else is bound.

    Raises:
        WrongUse: a tool without an answer, or a binding that no pack or no module has.
    """
    check_bindings(named, plugins)
    packs = [
        Pack.load(flow.pack(stage))
        for stage in flow.spec.stages()
        if stage.run is not None
    ]
    check_known(named, {name for pack in packs for name in tools_of(pack)})
    for pack in packs:
        pack.with_tools(bound_to(pack, named), plugins).check_bound()
