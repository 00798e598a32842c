"""What a user should know of a run before its first call."""

from __future__ import annotations

from synth.pipeline.prepare import Prepared
from synth.runs.ownership import read_run
from synth.teachers.wire.terms import doubtful


def terms_told(prepared: Prepared) -> dict[str, list[str]]:
    """Teacher -> its terms in a line each, as run.json holds them; teachers without any are left
    out.
    """
    told = {}
    for name, terms in prepared.terms().items():
        if terms:
            told[name] = [one.line for one in terms]
    return told


def _changed_note(prepared: Prepared) -> list[str]:
    """What a changed pack means for the calls of a run that was begun with another one."""
    if not prepared.changed_pack:
        return []
    text = f"pack {prepared.pack.name} has changed since this run was begun; "
    if prepared.config.upgrade_pack:
        draws = sum(step.draws for step in prepared.pack.steps)
        text += f"what changed is asked again: {prepared.scan.rows * draws:,} calls where all "
        text += (
            "steps did, more where a step asks about every element of a list"
        )
    else:
        text += f"it goes on with the copy in {prepared.output / 'pack'}. --upgrade-pack takes "
        text += "the new one and asks again what changed"
    return [text]


def _other_teachers(prepared: Prepared) -> list[str]:
    """What another teacher than that of the published rows means for them."""
    settings = read_run(prepared.output).get("settings")
    if not isinstance(settings, dict):
        return []
    before = settings.get("teachers")
    if not isinstance(before, dict) or before == dict(prepared.config.teachers):
        return []
    names = ", ".join(map(str, before.values()))
    return [
        f"the rows in {prepared.output} are of {names}; they are replaced, its replies stay"
    ]


def _unread_golds(prepared: Prepared) -> list[str]:
    """Golds that nothing reads, or none where a filter compares."""
    golds = prepared.scan.golds
    worth_a_look = "nothing reads" in golds or "no row has" in golds
    return [golds] if worth_a_look else []


def _prices_of_the_pack(prepared: Prepared) -> list[str]:
    """What a pack says of prices, which nobody counts: a stranger's word is a reason to look."""
    prices = prepared.pack.spec.prices
    notes = []
    for name in prepared.teachers().values():
        if name in prices:
            note = f"pack {prepared.pack.name} says that {name} costs {prices[name]}; that is not "
            note += "counted: --price and the price table are"
            notes.append(note)
    return notes


def _terms(prepared: Prepared) -> list[str]:
    """Teachers whose terms restrict training on replies, or are not known."""
    notes = []
    for name, terms in prepared.terms().items():
        if one := doubtful(terms):
            notes.append(f"training on replies of {name}: {one.line}")
    return notes


def notes_before(prepared: Prepared) -> list[str]:
    """What a user should know before the first call; of a finished run, that it stands."""
    if prepared.unchanged:
        return [f"nothing has changed since {prepared.output} was finished"]
    return [
        *_changed_note(prepared),
        *_other_teachers(prepared),
        *_unread_golds(prepared),
        *_prices_of_the_pack(prepared),
        *_terms(prepared),
    ]
