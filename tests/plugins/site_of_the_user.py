"""A package of the user's with one part of each kind, as pip would install it."""

from __future__ import annotations

from pathlib import Path

PARTS = '''
"""Parts of somebody's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from synth.core.errors import Unreadable
from synth.core.records import Verdict
from synth.exports.base import Export
from synth.filters.base import RowFilter
from synth.parsers.base import Parser
from synth.teachers.base import Teacher, chat_reply
from synth.verifiers.base import Verifier


@dataclass(frozen=True, kw_only=True)
class NoShouting(RowFilter):
    """Drops rows that shout. Capitals are counted, and nothing else.

    Sees: one row. Costs: nothing at all,
    and no call.

    Args:
        most: capitals that are
            allowed.
        field: name of the field.
        pattern: a text of any kind.

    Reasons:
        shouting: more capitals than `most`.
    """

    most: int = 3
    field: str = "answer"
    pattern: str = ""

    reasons: ClassVar[dict[str, str]] = {"shouting": "too many capitals"}

    def verdict(self, row: Any) -> Verdict:
        capitals = sum(sign.isupper() for sign in str(row.get(self.field)))
        keep = capitals <= self.most
        return Verdict(keep, "" if keep else "shouting", {"capitals": capitals})


@dataclass(frozen=True, kw_only=True)
class Strict(NoShouting):
    """Says itself what a pack may give it."""

    command: str = ""

    data: ClassVar[tuple[str, ...]] = ("pattern",)


@dataclass(frozen=True, kw_only=True)
class LastWord(Parser):
    """Reads the last word.

    Reasons:
        one_word: there is only one.
    """

    main: ClassVar[str] = "answer"
    fields: ClassVar[dict[str, str]] = {"answer": "text"}
    reasons: ClassVar[dict[str, str]] = {"one_word": "there is only one"}

    def read(self, text: str, row: Any) -> dict[str, Any]:
        words = text.split()
        if len(words) < 2:
            raise Unreadable("one_word")
        return {"answer": words[-1]}


@dataclass(frozen=True, kw_only=True)
class SameLength(Verifier):
    """Says yes where both texts are equally long."""

    slack: int = 0

    def verify(self, answer: str, gold: str) -> bool | None:
        if not gold:
            return None
        return abs(len(answer) - len(gold)) <= self.slack


@dataclass(frozen=True, kw_only=True)
class Cards(Export):
    """Writes flash cards."""

    mark: str = "?"

    def rows(self, run: Any, pack: Any) -> Iterator[dict[str, Any]]:
        for row in run.rows("data"):
            yield {"front": row["question"] + self.mark, "back": row["answer"]}


class Parrot(Teacher):
    """Says the question again."""

    async def ask(self, request: Any) -> Any:
        text = f"{self.model} {request.messages[-1]['content']}"
        return chat_reply(text, model=self.model, prompt_tokens=1, completion_tokens=1)


def not_a_class() -> None:
    """Nothing."""
'''
LOSSES = '''
"""Losses of somebody's own."""

from dataclasses import dataclass

from finetune.list_losses.base import ListLoss
from finetune.losses.base import Divergence, dot


@dataclass(frozen=True, kw_only=True)
class TwiceKl(Divergence):
    """Twice the reverse KL."""

    factor: float = 2.0

    def diverge(self, ls, ps, lt, pt):
        gap = ls.sub_(lt)
        mean = dot(ps, gap)
        slope = gap.sub_(mean[:, None]).mul_(ps)
        return mean.mul_(self.factor), slope.mul_(self.factor)


@dataclass(frozen=True, kw_only=True)
class Hinge(ListLoss):
    """The first text is to stand above the others by a margin."""

    margin: float = 1.0

    def __call__(self, lists):
        scores = lists.own()
        return (self.margin - scores[:, :1] + scores[:, 1:]).clamp(min=0).mean()
'''
ENTRY_POINTS = """
[potstill.filters]
no_shouting = stills.parts:NoShouting
strict = stills.parts:Strict
length = stills.parts:NoShouting
function = stills.parts:not_a_class
broken = stills.nowhere:Nothing

[potstill.parsers]
last_word = stills.parts:LastWord

[potstill.verifiers]
same_length = stills.parts:SameLength

[potstill.exports]
cards = stills.parts:Cards

[potstill.teachers]
parrot = stills.parts:Parrot
openai = stills.parts:Parrot

[potstill.losses]
twice_kl = stills.losses:TwiceKl

[potstill.list_losses]
hinge = stills.losses:Hinge

[potstill.packs]
questions = stills.questions
cot = stills.questions
"""
PACK = """
name: questions
version: 1
about: Asks what is asked.
inputs: {question: text}
steps:
  - name: ask
    parser: last_word
    filters: [{name: no_shouting, most: 5, field: answer}]
exports:
  sft: {prompt: "{{ question }}", completion: "{{ answer }}"}
"""


def install(folder: Path) -> Path:
    """Makes a folder for sys.path, with the package and what pip writes beside it."""
    package = folder / "stills"
    info = folder / "stills-1.2.dist-info"
    pack = package / "questions"
    for path in (info, pack):
        path.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: stills\nVersion: 1.2\n"
    )
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (package / "__init__.py").write_text('"""Stills."""\n')
    (package / "parts.py").write_text(PARTS)
    (package / "losses.py").write_text(LOSSES)
    (pack / "pack.yaml").write_text(PACK)
    (pack / "ask.user.j2").write_text("{{ question }}")
    return folder
