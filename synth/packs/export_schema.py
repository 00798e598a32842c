"""The shape of a pack's exports: templates of what its rows become."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
# Text, or a number that stands for its text.
Text = Annotated[
    str,
    BeforeValidator(
        lambda value: str(value) if isinstance(value, int | float) else value
    ),
]


# A list field, or a list in the elements of one: `steps`, `relations.facts`.
Path = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}(\.[a-z][a-z0-9_]{0,63})?$")
]


class Strict(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TemplatePair(Strict):
    """One training row as two templates."""

    prompt: str
    completion: str


class TemplateTrio(TemplatePair):
    """One training conversation as three templates: a system message stands before the prompt."""

    system: str


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class DocumentSpec(Strict):
    """Texts that a query finds or should not find; with `each` one an element of a list, whose
    fields (or `item`) and `index` it sees.

    `grade` renders to a number: from 0.5 on the text answers the query. Several grades are
    rankings, fused by reciprocal ranks. `when` leaves the text out where it renders to nothing.
    """

    text: str
    grade: Annotated[
        list[Text], BeforeValidator(_listed), Field(min_length=1)
    ] = ["1"]
    each: Path | None = None
    when: Text = "yes"
    how: Text = ""


class RetrievalSpec(Strict):
    """A query and its texts by kind, for retrievers and rankers: a document's name says how it was
    found unless `how` does.

    A text that comes several times has its best grade, or their mean (the Copeland count of wins,
    where each row compares two texts). `group` names queries that stand in the same relation.
    """

    query: str
    group: str = ""
    combine: Literal["best", "mean"] = "best"
    documents: Annotated[dict[Name, DocumentSpec], Field(min_length=1)]


class TriplesSpec(Strict):
    """Knowledge as (head, relation, tail); with `each` one an element of a list."""

    head: str
    relation: str
    tail: str
    each: Path | None = None
    when: Text = "yes"


class ConversationSpec(Strict):
    """Turns of a conversation: an opening pair, where there is one, then one pair an element of the
    list `each`, told apart by `name`.

    `nothing` is the assistant's text where a name of other rows is asked for. `ordered` turns stay
    as they are, as in a dialogue.
    """

    user: str
    assistant: str
    each: Path
    name: Name
    opening: str = ""
    reply: str = ""
    nothing: str = ""
    ordered: bool = False


class ExportSpec(Strict):
    """Templates of the formats that a pack can write."""

    sft: TemplatePair | None = None
    messages: TemplateTrio | None = None
    multitask: dict[Name, TemplatePair] = Field(default_factory=dict)
    retrieval: RetrievalSpec | None = None
    triples: TriplesSpec | None = None
    conversation: ConversationSpec | None = None

    def tasks(self) -> Iterator[tuple[str, str, str | None, dict[str, str]]]:
        """(format, task, list whose elements it sees, templates by side); a format with one task
        calls it by its own name.
        """
        pairs = {"sft": self.sft, "messages": self.messages}
        for name, pair in pairs.items():
            if pair:
                yield name, name, None, pair.model_dump()
        for task, pair in self.multitask.items():
            yield "multitask", task, None, pair.model_dump()
        if self.triples:
            yield (
                "triples",
                "triples",
                self.triples.each,
                self.triples.model_dump(exclude={"each"}),
            )
        if self.conversation:
            yield (
                "conversation",
                "opening",
                None,
                self.conversation.model_dump(include={"opening", "reply"}),
            )
            yield (
                "conversation",
                "turn",
                self.conversation.each,
                self.conversation.model_dump(
                    include={"user", "assistant", "nothing"}
                ),
            )
        if self.retrieval:
            yield (
                "retrieval",
                "query",
                None,
                {"text": self.retrieval.query, "group": self.retrieval.group},
            )
            for kind, spec in self.retrieval.documents.items():
                grades = {
                    f"grade {place}": grade
                    for place, grade in enumerate(spec.grade)
                }
                yield (
                    "retrieval",
                    kind,
                    spec.each,
                    {
                        "text": spec.text,
                        "when": spec.when,
                        "how": spec.how or kind,
                        **grades,
                    },
                )
