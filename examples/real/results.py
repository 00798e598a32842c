"""What real teachers made of each pack: a line a pack and teacher, kept beside this file, and the
table of the docs that follows from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from synth.core.errors import WrongUse
from synth.core.records import canonical_json
from synth.core.strict_yaml import read_yaml
from synth.packs.pack import built_in, pack_names
from synth.pipeline.prepare import asking_files
from synth.runs.result import Run
from synth.statistics.intervals import wilson

Result = Mapping[str, Any]
FILE = Path(__file__).parent / "results.jsonl"
TEACHERS = ("qwen-1.5b", "qwen-0.5b", "smollm2-135m")
# Behind the teacher's name where JSON steps were held to their schema.
WITH_SCHEMAS = " with schemas"
WITH_REPAIR = " with a repair"


def hash_of(name: str) -> str:
    """16 hex digits of everything in a pack that asks or reads; its recorded cases, its exports and
    what it says of itself do neither.
    """
    folder = built_in() / name
    files: dict[str, Any] = asking_files(folder)
    spec, _ = read_yaml(folder / "pack.yaml")
    for key in ("about", "exports", "paper"):
        spec.pop(key, None)
    files["pack.yaml"] = spec
    return hashlib.sha256(canonical_json(files)).hexdigest()[:16]


def recorded(
    path: Path = FILE, of: str = "pack"
) -> dict[tuple[str, str], Result]:
    """(pack, teacher) -> the last result; `of` names the column that stands for the pack."""
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    results = [json.loads(line) for line in lines]
    return {(result[of], result["teacher"]): result for result in results}


def record(result: Result, path: Path = FILE, of: str = "pack") -> None:
    """Keeps a result in place of the one that was there for its pack and teacher."""
    results = recorded(path, of)
    results[result[of], result["teacher"]] = result
    lines = [
        json.dumps(results[key], ensure_ascii=False) for key in sorted(results)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def check_whole(run: Run) -> None:
    """Raises WrongUse where calls of a study's run failed: what they would say is not known."""
    if run.counts["failed"] or run.stopped:
        raise WrongUse(
            str(run.folder),
            f"calls that failed: {run.counts['failed'] or run.stopped}",
            "a reply to every call",
            "See whether the server still runs, then start the study again.",
        )


def share(hits: int, count: int) -> str:
    """A share with its 95 % interval; "-" where nothing came that far."""
    if not count:
        return "-"
    low, high = wilson(hits, count)
    return f"{hits / count:.2f} ({low:.2f} to {high:.2f})"


def lines_of(result: Result) -> Iterator[str]:
    """Markdown, a line a step."""
    counts = result["counts"]
    reasons = sorted(counts["dropped"].items())
    dropped = ", ".join(f"{reason} {number}" for reason, number in reasons)
    first = [
        f"`{result['pack']}`",
        result["teacher"],
        f"{counts['kept']} of {counts['asked']}",
        dropped,
    ]
    for name, step in result["steps"].items():
        pack, teacher, kept, dropped = first
        read = share(step["read"], step["reached"])
        length = f"{step['tokens']} of {step['limit']}"
        cells = (pack, teacher, name, read, length, kept, dropped)
        yield f"| {' | '.join(cells)} |"
        first = [""] * len(first)


def table(results: Sequence[Result]) -> str:
    """Markdown, with a line for each step of each pack."""
    lines = [
        "| pack | teacher | step | read (95 % interval) | mean tokens of limit | kept | dropped |",
        "|---|---|---|---|---:|---:|---|",
    ]
    for result in results:
        lines += lines_of(result)
    return "\n".join(lines) + "\n"


def page(path: Path = FILE) -> str:
    """The table of all results that are of the packs as they stand now, and the names of packs
    that no teacher was asked since they changed.
    """
    results = recorded(path)
    current: list[Result] = []
    missing: dict[str, list[str]] = {teacher: [] for teacher in TEACHERS}
    for name in pack_names():
        pack_hash = hash_of(name)
        for teacher in TEACHERS:
            for way in ("", WITH_SCHEMAS, WITH_REPAIR):
                asked = teacher + way
                result = results.get((name, asked))
                if result and result["hash"] == pack_hash:
                    current.append(result)
                elif asked == teacher:
                    missing[teacher].append(f"`{name}`")
    count = len(pack_names())
    lines = [
        f"Not run on {teacher} as they stand now: "
        f"{'all packs' if len(names) == count else ', '.join(names)}."
        for teacher, names in missing.items()
        if names
    ]
    return "\n\n".join([table(current), *lines]) + "\n"
