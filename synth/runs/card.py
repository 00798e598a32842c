"""The dataset card of a run: what was asked, kept and dropped, by whom, and at what cost."""

from __future__ import annotations

from pathlib import Path

from synth.core.errors import markdown, printable
from synth.core.records import Fields
from synth.critics.calibration import card_lines
from synth.runs.card_head import card_head


def make_card(run: Fields, content: str) -> str:
    """README.md of a run folder, from its run.json and the hash of its rows."""
    pack = run["pack"]
    counts = run["counts"]
    cost = run["cost"]
    models = run["settings"]["teachers"].items()
    teachers = ", ".join(f"{role} = {name}" for role, name in models)
    kept = f"{counts['kept']:,} kept of {counts['asked']:,} asked"
    lines = [
        f"{card_head(run, content)}# {pack['name']}: {kept}",
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


def _shared(run: Fields) -> list[str]:
    """What `synth card` found: licence, languages, bytes."""
    shared = run.get("sharing") or {}
    lines = []
    if shared.get("license"):
        lines.append(f"Licence of the rows: {shared['license']}.")
    if languages := shared.get("languages"):
        listed = [f"{name} {rows:,}" for name, rows in languages.items()]
        lines.append(f"Languages, by kept rows: {markdown(', '.join(listed))}.")
    for part, size in (shared.get("bytes") or {}).items():
        lines.append(f"Size of {part}/: {size:,} bytes.")
    if "input" in run["settings"] and shared:
        name = Path(str(run["settings"]["input"])).name
        lines.append(f"Source of the seeds: {markdown(name)}.")
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
        lines.append(f"Training on replies of {markdown(name)}: {said}.")
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


def dollars(usd: float | None) -> str:
    """A cost in words."""
    return "price unknown" if usd is None else f"${usd:,.4f}"
