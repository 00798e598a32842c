"""Keeps rows whose two texts are near each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Row, Verdict
from synth.core.rows import field_text
from synth.filters.base import WorkFilter
from synth.local_models.minilm import MINILM
from synth.local_models.scores import vectors


@dataclass(frozen=True, kw_only=True)
class Similarity(WorkFilter):
    """Cosine of the sentence vectors of two fields: of an answer and what it is about, of what two
    teachers say, or of an input and what a teacher makes of the output again (the proxies without
    labels of uDistil-Whisper, arXiv:2407.01257).

    Sees: one row. Costs: nothing but time: 400 short texts a second on two cores.

    Args:
        field: the text; the raw reply where a row lacks it.
        other: the field with the other text.
        least: least cosine (-1 to 1) that is kept; with `mode: mark` and the filter `quota` behind
            it, the best share is.
        embedding: a folder or a name of the hub, or `hashing`.

    Reasons:
        too_unlike: below `least`.
        no_text: the other text is missing or empty (unknown).

    Marks: `similarity`.

    Example:
        >>> part = Similarity(other="question", least=0.3, embedding="hashing")
        >>> part.judge({"question": "Where is the red pen?", "answer": "the pen is red"}).keep
        True
        >>> part.judge({"question": "Where is the red pen?", "answer": "no"}).reason
        'too_unlike'
    """

    field: str = "answer"
    other: str = "question"
    least: float = 0.5
    embedding: str = MINILM

    score: ClassVar[str] = "similarity"
    reasons: ClassVar[dict[str, str]] = {
        "too_unlike": "below least",
        "no_text": "a text is missing",
    }

    def needs(self) -> tuple[str, ...]:
        """The other text."""
        return (self.other,)

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        """One verdict a row, the model asked about many at once."""
        verdicts = [Verdict(None, "no_text")] * len(rows)
        places = []
        ours = []
        theirs = []
        for place, row in enumerate(rows):
            if not row.get(self.other):
                continue
            places.append(place)
            ours.append(field_text(row, self.field))
            theirs.append(str(row[self.other]))
        made = vectors([*ours, *theirs], self.embedding)
        count = len(places)
        products = made[:count] * made[count:]
        cosines = products.sum(axis=1).tolist()
        for place, cosine in zip(places, cosines, strict=True):
            reason = ""
            if cosine < self.least:
                reason = "too_unlike"
            marks = {"similarity": round(cosine, 4)}
            verdicts[place] = Verdict(not reason, reason, marks)
        return verdicts
