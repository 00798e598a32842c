"""A flow as text: what it asks for, and its stages with what each reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from finetune.flows.loading import Flow, references_of, sources_of
from finetune.flows.schema import LEAVES, StageSpec


class _Page:
    """Lines with a margin for their heads."""

    def __init__(self, first: str) -> None:
        self.lines = [first]

    def add(self, head: str, text: str, bar: str = "") -> None:
        head = f"{head.ljust(11)} "
        self.lines.append(f"  {bar}{head}{text}")

    def given(self, what: str, names: Mapping[str, str]) -> None:
        """What the user gives, by name."""
        for name, about in names.items():
            self.add(what, f"{name}: {about}")

    def stages(
        self,
        title: str,
        stages: Sequence[StageSpec],
        bar: str = "   ",
    ) -> None:
        if not stages:
            return
        self.lines.append("")
        self.add(title, "")
        for stage in stages:
            self.add(stage.name, _what(stage), bar)


def drawn(flow: Flow) -> str:
    """The picture of a flow."""
    spec = flow.spec
    rounds = spec.rounds
    page = _Page(f"{spec.name} {spec.version}: {spec.about}")
    page.add(spec.paper, "")
    page.given("rows", {"input": "Rows that it starts from."})
    page.given("rows", spec.inputs)
    page.given("model", {"student": "The model that learns."})
    page.given("model", spec.models)
    page.given("teacher", spec.teachers)
    page.given("value", {name: str(one) for name, one in spec.values.items()})
    for name, pool in spec.pools.items():
        grown = ", ".join(pool.add)
        page.add("pool", f"{name}: {pool.start}, then + {grown}")
    page.stages("once, before:", spec.before)
    if rounds is not None:
        page.stages(
            f"rounds, at most {rounds.most}:",
            rounds.stages,
            "|  ",
        )
        again = "again"
        if rounds.measure is not None:
            again += f", while {rounds.measure} gets better"
            again += f" (patience {rounds.patience})"
        page.add(again, "", "'--< ")
    page.stages("once, after:", spec.after)
    return "\n".join(line.rstrip() for line in page.lines)


def _what(stage: StageSpec) -> str:
    """What a stage does with what, and what it leaves."""
    text = stage.kind
    said = getattr(stage, stage.kind)
    if isinstance(said, str) and "{" not in said:
        text += f" {said}"
    sources = sources_of(stage)
    if sources:
        text += " <- "
        text += ", ".join(sources)
    references = references_of(stage)
    for name, who in references.items():
        text += f"  ({name}: {who})"
    rows = [
        name for name, kind in LEAVES[stage.kind].items() if kind != "number"
    ]
    text += "  -> "
    return text + ", ".join(rows)
