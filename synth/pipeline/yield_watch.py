"""Something is wrong here: notices early that a run brings nothing, and says why in words that a
user can act on.

Twenty seeds without a row are no bad luck where nearly all of their exits have one reason, and that
reason is about how gold, answer and reply are read. Then the run stops; the same command with
`--keep-going` goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from synth.calls.advice import advice
from synth.core.errors import NothingKept
from synth.core.records import Exit, Row, Sample

# Seeds, in input order, of which at least one should bring a row, and the share of exits that one
# reason must have.
FIRST_SEEDS = 20
SHARE = 0.95
_EXAMPLES = 3
_SHOWN = 60
# Where one of these is the only exit, a setting is wrong more often than a model.
WRONG = "wrong_answer"
_TODO = {
    WRONG: "Compare the columns above. Is the gold in the column that the pack compares "
    "(--column target=NAME)? Does it hold more "
    "than the answer? `synth check PACK --input FILE` reads every gold.",
    "unreadable": "The pack's parser finds no answer in these replies. Does `synth show PACK` "
    "ask for the form that it reads? Another "
    "parser is --set STEP.parser=NAME; a reply that is cut off needs a larger max_tokens.",
    "broken_part": "A part broke over these rows; its name and place stand above. Mend it and run "
    "the same command: the replies are kept.",
}
_ELSEWHERE = "The rows in dropped/ and failed.jsonl say why each left."


class YieldWatch:
    """Takes the exits of seeds in input order, and says when nothing will come.

    Args:
        stops: whether the first seeds may end the run.
    """

    def __init__(self, *, stops: bool) -> None:
        self._stops = stops
        self._seeds = 0
        self._kept = 0
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], list[Exit]] = {}

    def book(self, exits: Sequence[Exit]) -> NothingKept | None:
        """Books the exits of one seed; what ends the run, once the first seeds have shown it."""
        if self._kept and self._seeds >= FIRST_SEEDS:
            return None
        self._seeds += 1
        for exit_ in exits:
            self._kept += exit_.kind == "kept"
            self._book(exit_)
        if self._stops and self._seeds == FIRST_SEEDS and not self._kept:
            return self._verdict()
        return None

    def _book(self, exit_: Exit) -> None:
        kind = (_family(exit_), exit_.reason)
        self._reasons[kind] += 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < _EXAMPLES:
            examples.append(exit_)

    def _verdict(self) -> NothingKept | None:
        (family, reason), count = (
            self._reasons.most_common(1)[0] if self._reasons else (("", ""), 0)
        )
        total = self._reasons.total()
        todo = _todo(family, reason)
        if not todo or count <= SHARE * total:
            return None
        head = (
            f"of the first {self._seeds} seeds not one brought a row: {count:,} of {total:,} "
            f"exits are {reason}"
        )
        return NothingKept(
            f"{head}\n{self._table((family, reason))}\n{todo} --keep-going goes on all "
            "the same"
        )

    def why(self) -> str:
        """Why a finished run has kept nothing; "" where nobody asked for anything."""
        if not self._reasons:
            return ""
        kind, count = self._reasons.most_common(1)[0]
        todo = _todo(*kind) or _ELSEWHERE
        head = (
            f"nothing was kept: {count:,} of the first {self._reasons.total():,} exits are "
            f"{kind[1]}"
        )
        return f"{head}\n{self._table(kind)}\n{todo}"

    def _table(self, kind: tuple[str, str]) -> str:
        return "\n".join(_example(exit_) for exit_ in self._examples[kind])


def _todo(family: str, reason: str) -> str:
    """What to do about exits of a kind; "" where no setting explains them."""
    return advice(reason) if family == "failed" else _TODO.get(family, "")


def _family(exit_: Exit) -> str:
    """What kind of reason an exit has: `failed`, a key of `_TODO`, or "" for a vote, a critic or a
    corpus filter.
    """
    if exit_.kind == "kept":
        return ""
    if exit_.kind == "failed":
        # A replay file may hold few of the rows: asking it for the others costs nothing.
        if exit_.reason == "not_recorded":
            return ""
        if exit_.reason.startswith("error_"):
            return "broken_part"
        return "failed"
    refused = any(verdict.keep is False for verdict in exit_.sample.verdicts)
    if exit_.reason == WRONG:
        return WRONG
    # No filter has seen the row: its reply could not be read.
    return "" if refused or exit_.sample.verdicts else "unreadable"


def _example(exit_: Exit) -> str:
    fields = exit_.sample.fields
    parts = [
        f"gold {_short(_first(fields, _GOLDS))}",
        f"answer {_short(_first(fields, ('answer',)))}",
    ]
    if exit_.kind == "failed":
        parts = []
    reply = _end(exit_.sample)
    reply_end = [f"reply ends {_short(reply, end=True)}"] if reply else []
    detail = [exit_.detail[:200]] if exit_.detail else []
    return "  " + " | ".join([*parts, *reply_end, *detail])


_GOLDS = ("target", "gold", "label")


def _first(fields: Row, names: Sequence[str]) -> Any:
    return next(
        (fields[name] for name in names if fields.get(name) is not None), None
    )


def _end(sample: Sample) -> str:
    return str(sample.fields.get("reply") or "").strip()


def _short(value: Any, *, end: bool = False) -> str:
    text = " ".join(str(value).split()) if value is not None else "(none)"
    if len(text) <= _SHOWN:
        return repr(text) if value is not None else text
    return repr(f"...{text[-_SHOWN:]}" if end else f"{text[:_SHOWN]}...")
