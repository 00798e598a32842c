"""The shape of a pack's exports: templates of what its rows become."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from synth.inputs.strict_model import NAME, Name, Strict, no_names

# Text, or a number that stands for its text.
Text = Annotated[
    str,
    BeforeValidator(
        lambda value: str(value) if isinstance(value, int | float) else value
    ),
]


# A list field, or a list in the elements of one: `steps`, `relations.facts`.
Path = Annotated[str, Field(pattern=rf"^{NAME}(\.{NAME})?$")]


class TemplatePair(Strict):
    """One training row as two templates."""

    prompt: str = Field(
        description="Template of the prompt; its last line ends stay.",
        examples=["{{ question }}\n"],
    )
    completion: str = Field(
        description="Template of what the student learns to say.",
        examples=["{{ rationale }}\n#### {{ answer }}"],
    )


class TaskSpec(TemplatePair):
    """One task of `multitask`; with `each` one training row an element of a list."""

    each: Path | None = Field(
        default=None,
        description="List whose elements are one training row each; templates see an element's "
        "fields, or `item`, and its `index`.",
        examples=["solve"],
    )
    when: Text = Field(
        default="yes",
        description="Template; where it renders to nothing, `False` or `None`, the training row "
        "is left out.",
        examples=["{{ index > 0 }}"],
    )


class MessagesSpec(Strict):
    """One training conversation behind a system message: a prompt and a completion, or the turns of
    a talk.
    """

    system: str = Field(
        description="Template of the system message; none where it renders to nothing.",
        examples=["Think step by step."],
    )
    prompt: str = Field(
        default="",
        description="Template of the prompt.",
        examples=["{{ question }}"],
    )
    completion: str = Field(
        default="",
        description="Template of what the student learns to say.",
        examples=["{{ rationale }}\n#### {{ answer }}"],
    )
    each: Path | None = Field(
        default=None,
        description="In place of `prompt` and `completion`: a list of turns with `role` and "
        "`content`, such as a step with `talk` writes. Every turn of the assistant is learnt.",
        examples=["chat"],
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        pair = bool(self.prompt) + bool(self.completion)
        if pair != (0 if self.each else 2):
            raise ValueError("either `prompt` and `completion`, or `each`")
        return self


_TextOrTexts = str | float | list[str | float]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class DocumentSpec(Strict):
    """Texts that a query finds or should not find; with `each` one an element of a list, whose
    fields (or `item`) and `index` it sees.

    `grade` renders to a number: from 0.5 on the text answers the query. Several grades are
    rankings, fused by reciprocal ranks. `when` leaves the text out where it renders to nothing.
    """

    text: str = Field(
        description="Template of the text.",
        examples=["{{ passage }}"],
    )
    grade: Annotated[
        list[Text],
        BeforeValidator(_listed, json_schema_input_type=_TextOrTexts),
        Field(min_length=1),
    ] = Field(
        default=["1"],
        description="Template of a number: from 0.5 on the text answers the query. Several "
        "grades are rankings, which are fused.",
        examples=["{{ likelihood }}"],
    )
    each: Path | None = Field(
        default=None,
        description="List whose elements are one text each; templates see an element's fields, "
        "or `item`, and its `index`.",
        examples=["retrieved"],
    )
    when: Text = Field(
        default="yes",
        description="Template; where it renders to nothing, `False` or `None`, the text is left "
        "out.",
        examples=["{{ is_wrong }}"],
    )
    how: Text = Field(
        default="",
        description="Template of how the text was found; without one it is the document's name.",
        examples=["written"],
    )


class RetrievalSpec(Strict):
    """A query and its texts by kind, for retrievers and rankers: a document's name says how it was
    found unless `how` does.

    A text that comes several times has its best grade, or their mean (the Copeland count of wins,
    where each row compares two texts). `group` names queries that stand in the same relation.
    """

    query: str = Field(
        description="Template of the query.",
        examples=["{{ query }}"],
    )
    group: str = Field(
        default="",
        description="Template of a name that queries share which stand in the same relation.",
        examples=["{{ relation }}"],
    )
    combine: Literal["best", "mean"] = Field(
        default="best",
        description="Grade of a text that comes several times: the best of its grades or their "
        "mean.",
        examples=["mean"],
    )
    documents: Annotated[dict[Name, DocumentSpec], Field(min_length=1)] = Field(
        description="Texts of the query, by kind.",
        examples=[{"written": {"text": "{{ passage }}"}}],
    )


class TriplesSpec(Strict):
    """Knowledge as (head, relation, tail); with `each` one an element of a list."""

    head: str = Field(
        description="Template of the head.",
        examples=["{{ city }}"],
    )
    relation: str = Field(
        description="Template of the relation.",
        examples=["capital_of"],
    )
    tail: str = Field(
        description="Template of the tail.",
        examples=["{{ country }}"],
    )
    each: Path | None = Field(
        default=None,
        description="List whose elements are one triple each.",
        examples=["facts"],
    )
    when: Text = Field(
        default="yes",
        description="Template; where it renders to nothing, `False` or `None`, the triple is left "
        "out.",
        examples=["{{ is_true }}"],
    )


class ConversationSpec(Strict):
    """Turns of a conversation: an opening pair, where there is one, then one pair an element of the
    list `each`, told apart by `name`.

    `nothing` is the assistant's text where a name of other rows is asked for. `ordered` turns stay
    as they are, as in a dialogue.
    """

    user: str = Field(
        description="Template of what the user says in a turn.",
        examples=["What describes {{ type }} in the text?"],
    )
    assistant: str = Field(
        description="Template of what the assistant answers.",
        examples=["{{ entities | tojson }}"],
    )
    each: Path = Field(
        description="List whose elements are one turn each.",
        examples=["types"],
    )
    name: Name = Field(
        description="Field of an element that tells turns apart.",
        examples=["type"],
    )
    opening: str = Field(
        default="",
        description="Template of what the user says before all turns.",
        examples=["Text: {{ passage }}"],
    )
    reply: str = Field(
        default="",
        description="Template of the answer to the opening.",
        examples=["I have read this text."],
    )
    nothing: str = Field(
        default="",
        description="What the assistant answers where a turn asks for a name that only other "
        "rows have.",
        examples=["[]"],
    )
    ordered: bool = Field(
        default=False,
        description="Whether turns stay in their order, as those of a dialogue do.",
        examples=[True],
    )


class ExportSpec(Strict):
    """Templates of the formats that a pack can write."""

    sft: TemplatePair | None = Field(
        default=None,
        description="Prompt and completion of a row; they also stand in the run's own rows.",
        examples=[
            {"prompt": "{{ question }}\n", "completion": "{{ answer }}"},
        ],
    )
    messages: MessagesSpec | None = Field(
        default=None,
        description="A conversation of a system message, a prompt and a completion, or of the "
        "turns of a talk.",
        examples=[
            {
                "system": "Think step by step.",
                "prompt": "{{ question }}",
                "completion": "{{ rationale }}",
            }
        ],
    )
    multitask: dict[Name, TaskSpec] = Field(
        default_factory=no_names,
        description="Several training rows of one row, by task; of a task with `each`, one for "
        "each element of a list.",
        examples=[
            {
                "label": {
                    "prompt": "predict: {{ question }}\n",
                    "completion": "{{ answer }}",
                }
            }
        ],
    )
    retrieval: RetrievalSpec | None = Field(
        default=None,
        description="A query and its texts, for retrievers and rankers.",
        examples=[
            {
                "query": "{{ query }}",
                "documents": {"written": {"text": "{{ passage }}"}},
            }
        ],
    )
    triples: TriplesSpec | None = Field(
        default=None,
        description="Knowledge as head, relation and tail.",
        examples=[
            {
                "head": "{{ city }}",
                "relation": "capital_of",
                "tail": "{{ country }}",
            }
        ],
    )
    conversation: ConversationSpec | None = Field(
        default=None,
        description="A conversation with one turn for each element of a list.",
        examples=[
            {
                "each": "turns",
                "name": "turn",
                "user": "{{ question }}",
                "assistant": "{{ answer }}",
                "ordered": True,
            }
        ],
    )

    def tasks(self) -> Iterator[tuple[str, str, str | None, dict[str, str]]]:
        """(format, task, list whose elements it sees, templates by side); a format with one task
        calls it by its own name.
        """
        if self.sft:
            yield "sft", "sft", None, self.sft.model_dump()
        if self.messages:
            sides = self.messages.model_dump(exclude={"each"})
            yield "messages", "messages", None, sides
        for task, pair in self.multitask.items():
            sides = pair.model_dump(exclude={"each"})
            yield "multitask", task, pair.each, sides
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
                    f"grade {number}": grade
                    for number, grade in enumerate(spec.grade)
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
