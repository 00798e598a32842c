"""The dataset card of a run: what was asked, kept and dropped, by whom, and at what cost."""

from __future__ import annotations

import re
from pathlib import Path

from synth.core.errors import markdown, printable
from synth.core.money import dollars
from synth.core.records import Fields
from synth.critics.calibration import card_lines

# `datasets` keeps what it has loaded under a hash of these configs and the folder's last name, and
# looks at no file again. The description names the rows, so that no folder is ever taken for
# another.
_HEAD = """---
configs:
- config_name: default
  data_files: data/*.parquet
  description: rows {content}
- config_name: dropped
  data_files: dropped/*.parquet
  description: rows {content}
tags: [distillation, synthetic]
size_categories: [{size}]
{more}---
"""
# Codes of ISO 639 as the hub takes them in a card's head.
_CODE = re.compile(r"[a-z]{2,3}")
# The hub's classes of sizes by the first number of rows that is beyond each.
_SIZES = {
    10**3: "n<1K",
    10**4: "1K<n<10K",
    10**5: "10K<n<100K",
    10**6: "100K<n<1M",
    10**7: "1M<n<10M",
    10**8: "10M<n<100M",
    10**9: "100M<n<1B",
}


def make_card(run: Fields, content: str) -> str:
    """README.md of a run folder, from its run.json and the hash of its rows."""
    pack = run["pack"]
    counts = run["counts"]
    cost = run["cost"]
    models = run["settings"]["teachers"].items()
    teachers = ", ".join(f"{role} = {name}" for role, name in models)
    kept = f"{counts['kept']:,} kept of {counts['asked']:,} asked"
    lines = [
        f"{_head(run, content)}# {pack['name']}: {kept}",
        "",
        markdown(pack["about"]),
        *([f"After {markdown(pack['paper'])}."] if pack["paper"] else []),
        "",
        tally_table(counts),
        "",
        *_nothing_kept(run),
        f"Pack {pack['name']} version {pack['version']}, hash `{pack['hash']}`.",
        f"Teachers: {markdown(teachers)}.",
        f"Calls: {run['calls']['asked']:,} asked, {run['calls']['reused']:,} reused.",
        (
            f"Tokens: {cost['prompt_tokens']:,} in, {cost['completion_tokens']:,} out. Cost: "
            f"{dollars(cost['usd'])}."
        ),
        *_terms(run),
        *_taint(run),
        *_shared(run),
        "",
        plan_table(run),
        *_critics(run),
        *(
            [
                "",
                "A simulated or rehearsed teacher wrote these rows: no model was asked.",
            ]
            if _simulated(run)
            else []
        ),
        "",
    ]
    return "\n".join(lines)


def _head(run: Fields, content: str) -> str:
    """What the hub reads: files, size, licence, languages."""
    kept = run["counts"]["kept"]
    classes = [name for most, name in _SIZES.items() if kept < most]
    size = classes[0] if classes else "1B<n<10B"
    shared = run.get("sharing") or {}
    more = ""
    if shared.get("license"):
        more += f"license: {shared['license']}\n"
    if languages := codes(shared.get("languages") or {}):
        # `no` would be false without its quotes.
        listed = ", ".join(f"'{name}'" for name in languages)
        more += f"language: [{listed}]\n"
    return _HEAD.format(
        content=content,
        size=size,
        more=more,
    )


def codes(languages: Fields) -> list[str]:
    """Those languages that are spelt as the hub takes them.

    >>> codes({"de": 3, "German": 1})
    ['de']
    """
    return [name for name in languages if _CODE.fullmatch(name)]


def _shared(run: Fields) -> list[str]:
    """What `synth card` found: licence, languages, bytes."""
    shared = run.get("sharing") or {}
    lines = []
    if shared.get("license"):
        lines.append(f"Licence of the rows: {shared['license']}.")
    if languages := shared.get("languages"):
        listed = []
        for name, rows in languages.items():
            listed.append(f"{name} {rows:,}")
        found = markdown(", ".join(listed))
        lines.append(f"Languages, by kept rows: {found}.")
    sizes = shared.get("bytes") or {}
    for part, size in sizes.items():
        lines.append(f"Size of {part}/: {size:,} bytes.")
    if "input" in run["settings"] and shared:
        source = str(run["settings"]["input"])
        name = markdown(Path(source).name)
        lines.append(f"Source of the seeds: {name}.")
    return lines


def _nothing_kept(run: Fields) -> list[str]:
    """Why a run has no rows, as the terminal said it."""
    why = run.get("nothing_kept") or (
        run["stopped"] if run["stopped"] and not run["counts"]["kept"] else None
    )
    if not why:
        return []
    quoted = [f"    {line}" for line in printable(str(why)).splitlines()]
    return ["Why there are no rows:", "", *quoted, ""]


def _terms(run: Fields) -> list[str]:
    """What the teachers' terms say about training; nothing where none are known to apply."""
    terms = run.get("terms") or {}
    lines = []
    for name, known in terms.items():
        said = "; ".join(map(markdown, known))
        teacher = markdown(name)
        lines.append(f"Training on replies of {teacher}: {said}.")
    return lines


def _taint(run: Fields) -> list[str]:
    names = run["settings"].get("taint") or ()
    if not names:
        return []
    seen = markdown(", ".join(names))
    return [
        f"Taint: the teachers may have seen {seen}; results on it say little."
    ]


def _critics(run: Fields) -> list[str]:
    """What was measured of the critics: on labelled rows, and on forged ones before the run."""
    lines = card_lines(run.get("promises", {}).items())
    for critic, shares in run.get("canaries", {}).items():
        forged = [share for kind, share in shares.items() if kind != "right"]
        forgeries = (
            ", ".join(
                f"{kind} {share:.2f}"
                for kind, share in shares.items()
                if share and kind != "right"
            )
            or "none"
        )
        lines.append(
            f"- `{critic}` accepted {sum(forged) / len(forged):.2f} of forged rows "
            f"({forgeries}) and "
            f"{shares['right']:.2f} of right ones."
        )
    return ["", "## Critics", "", *lines] if lines else []


def plan_table(run: Fields) -> str:
    """What was planned beside what came: tokens and dollars of the journal, earlier runs into the
    folder included.
    """
    plan = run["plan"]
    cost = run["cost"]
    facts = {"calls": run["calls"]["asked"] + run["calls"]["reused"], **cost}
    names = {
        "calls": "calls",
        "prompt_tokens": "tokens in",
        "completion_tokens": "tokens out, at most",
        "usd": "dollars, at most",
    }
    lines = [
        f"| {label} | {_number(plan[name])} | {_number(facts[name])} |"
        for name, label in names.items()
    ]
    return "\n".join(["| | plan | fact |", "|---|---:|---:|", *lines])


def _number(value: float | None) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4f}"


def tally_rows(counts: Fields) -> list[tuple[str, str, int]]:
    """(exit, reason, rows) of every exit, then of what was asked: the sum."""
    rows = [
        (kind, reason, n)
        for kind in ("dropped", "failed")
        for reason, n in sorted(counts[kind].items())
    ]
    return [("kept", "", counts["kept"]), *rows, ("asked", "", counts["asked"])]


def tally_table(counts: Fields) -> str:
    """The tally as a Markdown table; its rows add up to `asked`."""
    lines = [
        f"| {kind} | {markdown(reason)} | {n:,} |".replace("|  |", "| |")
        for kind, reason, n in tally_rows(counts)
    ]
    return "\n".join(["| exit | reason | rows |", "|---|---|---:|", *lines])


def _simulated(run: Fields) -> bool:
    return any(
        str(name).startswith(("simulated/", "rehearsed/"))
        for name in run["settings"]["teachers"].values()
    )
