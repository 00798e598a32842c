"""Walks a pack's own sample through all of its steps and prints what comes out: `python -m
examples.system star`.

The replies are those that the pack records (a rehearsal: no model is asked). With a teacher and
rows of your own it is the same command line as the one printed at the end.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import synth
from synth.core import registry
from synth.core.strict_yaml import read_yaml
from synth.exports.base import pack_of
from synth.packs.pack import Pack
from synth.runs.card import tally_table
from synth.runs.publisher import RunFolder


def rehearse(name: str, output: Path) -> synth.Run:
    """Runs the first case whose end is recorded as kept, else the first one, with the settings that
    the case names.
    """
    pack = Pack.load(name)
    cases = read_yaml(pack.folder / "cases.yaml")[0]["cases"]
    whole = (case for case in cases if case.get("ends", {}).get("kept"))
    case = next(whole, cases[0])
    teachers = dict.fromkeys(pack.roles, f"rehearsed/{name}")
    return synth.run(
        name,
        [case["inputs"]],
        teacher=teachers,
        output=output,
        overrides=case.get("set", {}),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack")
    name = parser.parse_args().pack
    with tempfile.TemporaryDirectory() as folder:
        run = rehearse(name, Path(folder))
        pack, rows = Pack.load(name), RunFolder(run.folder)
        print(
            f"{pack.spec.about}\nAfter {pack.spec.paper}\n\n{tally_table(run.counts)}"
        )
        retrieval = (
            ("triplets", "ranked") if "retrieval" in pack.exports else ()
        )
        for export in (
            "sft",
            "messages",
            "multitask",
            "triples",
            "conversation",
            *retrieval,
            "labelled",
        ):
            if export in (*pack.exports, *retrieval) or (
                export == "labelled" and run.counts["dropped"]
            ):
                made = list(
                    registry.build("synth.exports", export).rows(
                        rows, pack_of(rows)
                    )
                )
                print(f"\n{export}: {len(made)} rows, the first one:")
                for key, value in (made or [{}])[0].items():
                    print(f"  {key}: {str(value)[:300]!r}")
    roles = " ".join(
        f"--teacher {role}=openai/MODEL" for role in sorted(pack.roles)
    )
    print(f"\nsynth run {name} --input ROWS.jsonl {roles} --output runs/{name}")


if __name__ == "__main__":
    main()
