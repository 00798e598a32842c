"""Every pack asked of real teachers: `python -m examples.real.study_packs --teacher qwen-1.5b`.

Of each step the study says how many replies its parser reads, of each pack how many rows are kept,
how long replies are beside their limit, and why rows are dropped, with the first replies of each
reason. A pack that was asked before and has not changed since is not asked again. Counts go to
`results.jsonl`, from which `python -m examples.write_docs` makes the table of docs/real.md.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import synth
from examples.real import models, server
from examples.real.results import (
    FILE,
    WITH_REPAIR,
    WITH_SCHEMAS,
    check_whole,
    hash_of,
    record,
    table,
)
from synth.core.errors import PotstillError
from synth.packs.pack import Pack, pack_names

Row = Mapping[str, Any]
INPUTS = Path(__file__).parent / "inputs"
# What a parser of any kind may find.
ANY_PARSER = (
    "empty_reply",
    "too_long",
    "wrong_kind",
    "open_thoughts",
    "only_thoughts",
    "no_rationale",
)
_SHOWN = 3  # replies of each reason
_MOST_SHOWN = 600  # characters of each


def file_of(pack: str) -> str:
    """The name of a pack's files here, which it may share with another pack."""
    shared: dict[str, str] = yaml.safe_load(
        (INPUTS / "shared.yaml").read_text(encoding="utf-8")
    )
    return shared.get(pack, pack)


def inputs_of(pack: str) -> list[dict[str, Any]]:
    """The rows that a pack is asked about."""
    path = INPUTS / f"{file_of(pack)}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def shelf_of(pack: str) -> dict[str, str]:
    """What `--set` says of the rows that a pack looks up; empty where it looks up none."""
    shelf = INPUTS / "shelves" / f"{file_of(pack)}.jsonl"
    if not shelf.is_file():
        return {}
    blocks = Pack.load(pack).spec.retrieves
    return {
        f"{place}.file": str(shelf)
        for place, block in blocks.items()
        if not (block.of or block.pool)
    }


def ask(
    name: str,
    teacher: str,
    url: str,
    folder: Path,
    count: int,
    *,
    schemas: bool = False,
    repair: bool = False,
) -> dict[str, Any]:
    """What became of a pack's rows. Replies that its folder holds are read anew, not asked again:
    parsers may have changed.
    """
    pack = Pack.load(name)
    pack_hash = hash_of(name)
    asked = teacher
    if schemas:
        asked += WITH_SCHEMAS
    if repair:
        asked += WITH_REPAIR
    run_name = f"{name}-{pack_hash[:12]}-{count}"
    output = folder / asked.replace(" ", "-") / run_name
    plain = folder / teacher / run_name
    changes: dict[str, Any] = dict(shelf_of(name))
    if repair:
        changes |= {f"{step.name}.repairs": 1 for step in pack.steps}
    run = synth.run(
        name,
        inputs_of(name)[:count],
        overrides=changes,
        reuse=[str(plain)] if plain.is_dir() and plain != output else (),
        teacher=dict.fromkeys(pack.roles, f"openai/{teacher}"),
        api_base=url,
        api_key_env="",
        concurrency=8,
        timeout=900.0,
        same_teacher=True,
        schemas=schemas,
        keep_going=True,
        output=output,
    )
    check_whole(run)
    found = summary(pack, run)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    (output / "study.json").write_text(text + "\n", encoding="utf-8")
    return {"pack": name, "teacher": asked, "hash": pack_hash, **found}


def summary(pack: Pack, run: synth.Run) -> dict[str, Any]:
    """Counts of a run: of its rows, and of each step that they came to."""
    order = [step.name for step in pack.steps]
    unread = {
        step.name: {
            reason
            for _, part in step.parsers
            for reason in (*part.reasons, *ANY_PARSER)
        }
        for step in pack.steps
    }
    reached: Counter[str] = Counter()
    read: Counter[str] = Counter()
    shown: dict[str, list[str]] = defaultdict(list)
    for row in (*run.kept, *run.dropped):
        meta = row["meta"]
        last = order.index(meta["step"]) if meta["step"] in order else 0
        reason = row.get("reason", "")
        # Of a reply that was cut off, the detail says why its parser did not read it.
        fault = str(row.get("detail") or "").partition(":")[0]
        for place, step in enumerate(order[: last + 1]):
            reached[step] += 1
            failed = place == last and bool({reason, fault} & unread[step])
            read[step] += not failed
        if reason and len(shown[reason]) < _SHOWN:
            shown[reason].append(str(row.get("reply"))[-_MOST_SHOWN:])
    return {
        "counts": run.counts,
        "steps": {
            step.name: {
                "reached": reached[step.name],
                "read": read[step.name],
                "tokens": mean_tokens(run, step.name),
                "limit": step.sampling.max_tokens,
            }
            for step in pack.steps
        },
        "dropped": shown,
    }


def mean_tokens(run: synth.Run, step: str) -> int:
    """Of a step's replies."""
    counts: dict[str, int] = run.info["steps"].get(step, {})
    return round(counts.get("completion_tokens", 0) / counts.get("calls", 1))


def main() -> None:
    """Reads the command line; prints a line a pack as it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packs", nargs="*", help="all, where none is named")
    parser.add_argument("--teacher", choices=models.MODELS, default="qwen-0.5b")
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("runs/study-packs"))
    parser.add_argument(
        "--schemas",
        action="store_true",
        help="hold JSON steps to their schema, as `synth run --schemas` does",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="ask once more, with the reason, where a reply cannot be read",
    )
    parser.add_argument(
        "--record",
        type=Path,
        default=FILE,
        help="the file of results that the docs' table is made of",
    )
    options = parser.parse_args()
    results = []
    try:
        with server.serving(models.fetch(options.teacher), slots=8) as url:
            for name in options.packs or pack_names():
                result = ask(
                    name,
                    options.teacher,
                    url,
                    options.output,
                    options.rows,
                    schemas=options.schemas,
                    repair=options.repair,
                )
                results.append(result)
                counts = {k: v for k, v in result.items() if k != "dropped"}
                record(counts, options.record)
                print(json.dumps(counts), flush=True)
    except PotstillError as error:
        raise SystemExit(f"study_packs: {error}") from error
    print(table(results))


if __name__ == "__main__":
    main()
