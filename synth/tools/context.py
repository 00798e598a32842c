"""`synth context`: what a coding agent needs to know of both commands, on one page."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from typing import Any

from synth.core.records import Fields
from synth.tools.catalogue import described, listed

# Kinds of parts that packs and command lines name, with their parameters.
_KINDS = ("filters", "parsers", "exports")
EXIT_CODES = {
    0: "finished",
    2: "wrong use, pack or input, before any call: correct what the message names",
    3: "finished, but rows failed or are missing: the same command asks for them again",
    4: "stopped by --budget: the same command with a higher one goes on",
    5: "stopped by the provider or the machine: mend it, and the same command goes on",
    6: "nothing was kept: read `synth why` and `synth rows --kind dropped` first",
    130: "ended by Ctrl-C (129 SIGHUP, 143 SIGTERM): the same command goes on",
}
READING = (
    "An error has four parts: WHERE: found WHAT; wanted WHAT. WHAT TO DO.",
    "asked = kept + dropped + failed; a dropped row has `reason` and `detail`.",
    "A reply that was paid for is in the journal: the same command asks nothing twice.",
    "Another filter, parser or export costs no call; another prompt is asked anew.",
    "Before a paid run: `synth check`, then `synth plan`, then --limit 20 --budget USD.",
)


def context() -> Fields:
    """Commands with a line each, packs, filters, parsers and exports with their parameters, exit
    codes, and how failures are read.
    """
    return {
        "potstill": version("potstill"),
        "commands": {
            name: _commands(import_module(f"{name}.cli").main)
            for name in ("synth", "finetune")
        },
        "packs": {row["name"]: row["about"] for row in listed("packs")},
        **{kind: _parts(kind) for kind in _KINDS},
        "exit_codes": EXIT_CODES,
        "reading_failures": list(READING),
    }


def _commands(group: Any) -> dict[str, dict[str, str]]:
    """Title -> command -> its first sentence."""
    found = {}
    for title, commands in group.sections.items():
        lines = {}
        for command in commands:
            lines[str(command.name)] = command.get_short_help_str(200)
        found[title] = lines
    return found


def _parts(kind: str) -> Fields:
    """Name -> first sentence and parameters of the parts that are built in."""
    parts = {}
    for row in listed(kind):
        if row["from"] == "built in":
            parts[row["name"]] = {
                "about": row["about"],
                "parameters": _parameters(kind, row["name"]),
            }
    return parts


def _parameters(kind: str, name: str) -> list[str]:
    """`name` or `name=default` of each parameter."""
    found = []
    for row in described(kind, name)["parameters"]:
        default = "" if "required" in row else f"={row['default']}"
        found.append(f"{row['name']}{default}")
    return found


def as_text(told: Fields) -> str:
    """The same for a reader: a line a fact."""
    return "\n".join(_lines(told))


def _lines(told: Fields) -> Iterator[str]:
    yield f"# potstill {told['potstill']}"
    for program, sections in told["commands"].items():
        for title, commands in sections.items():
            yield f"\n## {program}: {title}"
            for name, about in commands.items():
                yield f"- {program} {name}: {about}"
    yield "\n## packs"
    for name, about in told["packs"].items():
        yield f"- {name}: {about}"
    for kind in _KINDS:
        yield f"\n## {kind} (NAME:key=value,...)"
        for name, part in told[kind].items():
            given = ", ".join(part["parameters"])
            yield f"- {name}({given}): {part['about']}"
    yield "\n## exit codes"
    for code, about in told["exit_codes"].items():
        yield f"- {code}: {about}"
    yield "\n## reading failures"
    for line in told["reading_failures"]:
        yield f"- {line}"
