"""flow.json and README.md of a flow's folder: how far it is, what each round came to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from finetune.core.rows import JsonObject
from finetune.flows.artifacts import Result, put_text
from finetune.flows.schema import FlowSpec
from synth.core.errors import WrongUse
from synth.core.money import dollars

RECORD = "flow.json"
CARD = "README.md"
_BAR = 40  # signs of the longest bar


def check_output(output: Path, name: str) -> None:
    """Checks that a flow may stand in a folder; writes nothing.

    Raises:
        WrongUse: a file, another flow's folder, or one with files of the user's.
    """
    if output.is_file():
        raise WrongUse(
            f"--output {output}",
            "a file",
            "an empty folder, or one of this flow",
            "Give another --output.",
        )
    record = output / RECORD
    if record.is_file():
        before = json.loads(record.read_text(encoding="utf-8"))
        if before.get("flow") == name:
            return
        raise WrongUse(
            f"--output {output}",
            f"the flow {before.get('flow')!r}",
            f"a folder for {name!r}",
            "Give another --output.",
        )
    if output.is_dir() and any(output.iterdir()):
        raise WrongUse(
            f"--output {output}",
            f"no {RECORD} in it",
            "an empty folder, or one of this flow",
            "Give another --output.",
        )


def write_record(
    output: Path,
    spec: FlowSpec,
    *,
    before: Mapping[str, Result],
    rounds: Sequence[Mapping[str, Result]],
    after: Mapping[str, Result],
    best: int | None,
    ended: str,
    complete: bool,
    usd: float | None,
) -> JsonObject:
    """Writes both files, each at once; returns the content of flow.json."""
    content: JsonObject = {
        "flow": spec.name,
        "version": spec.version,
        "paper": spec.paper,
        "complete": complete,
        "ended": ended,
        "best": best,
        "usd": None if usd is None else round(usd, 6),
        "before": _told(before),
        "rounds": [_told(played) for played in rounds],
        "after": _told(after),
    }
    put_text(output / RECORD, json.dumps(content, indent=1, ensure_ascii=False))
    put_text(output / CARD, card(spec, content))
    return content


def _told(results: Mapping[str, Result]) -> JsonObject:
    return {
        name: {
            "folder": result.folder,
            **result.facts,
            "measures": dict(result.measures),
            "seconds": result.seconds,
        }
        for name, result in results.items()
    }


def card(spec: FlowSpec, content: JsonObject) -> str:
    """A page about what the flow made: each stage of each round, and the measure as bars."""
    lines = [f"# {spec.name}", "", spec.about, ""]
    if spec.paper:
        lines += [spec.paper, ""]
    state = "finished" if content["complete"] else "not finished"
    lines += [
        f"The flow is {state}. What its calls cost: {dollars(content['usd'])}.",
        "",
        "| round | stage | what it left | seconds |",
        "|---|---|---|---:|",
    ]
    lines += _rows("before", content["before"])
    for number, played in enumerate(content["rounds"]):
        lines += _rows(str(number), played)
    lines += _rows("after", content["after"])
    measure = spec.rounds.measure if spec.rounds else None
    if measure and content["rounds"]:
        lines += ["", *_bars(measure, content)]
    if content["ended"]:
        lines += ["", f"The rounds ended: {content['ended']}."]
    return "\n".join(lines)


def _rows(phase: str, results: Mapping[str, JsonObject]) -> list[str]:
    lines = []
    for name, result in results.items():
        facts = [
            f"{key} {shown(value)}"
            for key, value in result.items()
            if key not in ("folder", "seconds", "measures")
        ]
        text = "; ".join(facts)
        lines.append(f"| {phase} | {name} | {text} | {result['seconds']:.0f} |")
    return lines


def shown(value: object) -> str:
    """A fact of a stage in words: a share with its 95 % interval, counts by name, a number."""
    if isinstance(value, Mapping) and "share" in value:
        return (
            f"{value['share']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
        )
    if isinstance(value, Mapping):
        parts = [f"{name} {count}" for name, count in value.items()]
        return ", ".join(parts) or "none"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if value is None:
        return "not known"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _bars(measure: str, content: JsonObject) -> list[str]:
    """The measure of each round as a bar, the best one marked."""
    stage, _, name = measure.partition(".")
    scores = [played[stage]["measures"][name] for played in content["rounds"]]
    longest = max(map(abs, scores)) or 1.0
    lines = [f"{measure} by round:", "", "```text"]
    for number, score in enumerate(scores):
        bar = "#" * round(_BAR * abs(score) / longest)
        mark = " best" if number == content["best"] else ""
        lines.append(f"{number:>3}  {score:8.4f}  {bar}{mark}")
    return [*lines, "```"]
