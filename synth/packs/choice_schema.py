"""The shape of what a pack chooses rows from: files, lists and pools; and what it makes of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from synth.core.records import Fields
from synth.inputs.strict_model import Name, Strict, no_parts
from synth.text.novelty import Likeness

Choice = Literal["nearest", "random", "first", "all"]


class ChoiceSpec(Strict):
    """Rows of a file, a list or a pool, of which some are chosen for a row."""

    file: str = Field(
        default="",
        description="File of rows in the pack's folder; the user names another with "
        "`--set BLOCK.file=FILE`, such as `--set retrieve.file=FILE`.",
        examples=["shelf.jsonl"],
    )
    of: Name | None = Field(
        default=None,
        description="In place of a file: a list of the row or of the pack's constants. An element "
        "that is no mapping is a row with the column `item`.",
        examples=["events"],
    )
    pool: Name | None = Field(
        default=None,
        description="In place of a file: a pool of the pack.",
        examples=["instructions"],
    )
    choose: Choice = Field(
        default="nearest",
        description="Which rows are chosen: the `nearest` ones to the text of `query`, some at "
        "`random`, the `first` ones or `all`. Random ones are others for each draw of a row, and "
        "the same on a rerun.",
        examples=["random"],
    )
    most: Annotated[int, Field(ge=1)] = Field(
        default=3,
        description="Most rows that are chosen, unless `all` are.",
        examples=[20],
    )
    seed: int = Field(
        default=0,
        description="Of what is chosen at `random`.",
        examples=[17],
    )
    query: Name | None = Field(
        default=None,
        description="Input or field whose text is looked up; `nearest` needs it.",
        examples=["question"],
    )
    field: str = Field(
        default="",
        description="Column that is searched; `nearest` needs it.",
        examples=["text"],
    )
    by: str = Field(
        default="bm25",
        description="How nearness is measured: `bm25`, `bm25_stems`, which takes English plurals "
        "for what they are plurals of, or `hashing`; the user may name a sentence model with "
        "`--set BLOCK.by=MODEL`.",
        examples=["hashing"],
    )
    same: list[Name] = Field(
        default_factory=no_parts,
        description="Columns in which a chosen row says what the row says.",
        examples=[["relation"]],
    )
    exclude: Literal["self"] | list[Name] = Field(
        default_factory=no_parts,
        description="Rows that are passed over: those that say what the row says in all of these "
        "columns. `self` stands for rows with the row's `id`, and for those that say the same in "
        "every input of the pack that they have.",
        examples=["self", ["question"]],
    )

    @property
    def sources(self) -> list[str]:
        """The keys that say where the rows are."""
        named = {"file": self.file, "of": self.of, "pool": self.pool}
        return [key for key, value in named.items() if value]

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if len(self.sources) > 1:
            both = " and ".join(self.sources)
            raise ValueError(f"one place of the rows, not {both}")
        if self.choose == "nearest" and not (self.query and self.needed):
            raise ValueError(
                "`query` and `field` where the nearest rows are chosen"
            )
        return self

    @property
    def place(self) -> str:
        """Where the rows are, in words."""
        if self.pool:
            return f"the pool {self.pool}"
        return self.of or self.file or "a file that the user names"

    @property
    def needed(self) -> str:
        """The column that a row must have: the one that is searched or shown; "" where none is."""
        if self.choose == "nearest" and self.of:
            return self.field or "item"
        return self.field


class RetrieveSpec(ChoiceSpec):
    """Rows of a file, a list or a pool that are looked up for a seed, as the list `into` of texts
    that templates see.

    `before` names the step that first needs them: `query` may then be a field that an earlier step
    writes.
    """

    show: str = Field(
        default="",
        description="Template of what is shown of a row; without one it is the column `field`, or "
        "`item`.",
        examples=["{{ title }}: {{ text }}"],
    )
    into: Name = Field(
        default="retrieved",
        description="Name of the list of texts that templates see; of one among several it is the "
        "block's own name, unless it says another.",
        examples=["passages"],
    )
    before: Name | None = Field(
        default=None,
        description="Step before which the rows are looked up; without it, the first one.",
        examples=["likelihood"],
    )

    @model_validator(mode="after")
    def _shows(self) -> Self:
        if not (self.field or self.show or self.of):
            raise ValueError("`field` or `show`: what is shown of a row")
        return self


class PoolSpec(Strict):
    """Rows that grow while a run goes: those that it starts with, and those that the run keeps."""

    file: str = Field(
        default="",
        description="File in the pack's folder of the rows that the pool starts with; the user "
        "names another with `--set pools.NAME.file=FILE`.",
        examples=["first.jsonl"],
    )
    of: Name | None = Field(
        default=None,
        description="In place of a file: a list of the pack's constants. An element that is no "
        "mapping is a row with the one column of `add`. Without either, the pool starts empty.",
        examples=["events"],
    )
    add: Annotated[dict[Name, str], Field(min_length=1)] = Field(
        description="Columns of a row of the pool, each with the template that writes it of a row "
        "which the run keeps.",
        examples=[{"event": "{{ head }}"}],
    )
    every: Annotated[int, Field(ge=1)] = Field(
        default=32,
        description="Questions about the first so many rows of the input see what the pool starts "
        "with, those about as many after them see what came of the first ones too, and so on. At "
        "most so many rows are under way at once.",
        examples=[64],
    )
    distinct: Name | None = Field(
        default=None,
        description="Column of which the pool has each text once, whatever its case and white "
        "space; the first 4,000 characters count. A kept row with a text that the pool has leaves "
        "with the reason `in_pool`.",
        examples=["event"],
    )
    near: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="With `distinct`: texts whose likeness reaches this count as the same.",
        examples=[0.7],
    )
    likeness: Likeness = Field(
        default="rouge_l",
        description="Of `near`: `rouge_l`, the F measure of the longest common subsequence of "
        "words, or `jaccard`, the share of common words.",
        examples=["jaccard"],
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.file and self.of:
            raise ValueError("one place of the first rows, not file and of")
        if self.near is not None and self.distinct is None:
            raise ValueError("`distinct`, of which `near` speaks")
        if self.distinct is not None and self.distinct not in self.add:
            raise ValueError(
                f"a column of `add`, not distinct: {self.distinct}"
            )
        return self


class DemonstrationSpec(Strict):
    """A question as the step asks it, and the reply that is wanted."""

    given: Fields = Field(
        description="Values of the names that the step's templates read.",
        examples=[{"question": "What is 2 + 3?"}],
    )
    reply: str = Field(
        description="What a teacher should answer; the step's parser must read it as it is.",
        examples=["2 and 3 are 5.\n#### 5"],
    )


class ChosenDemonstrationsSpec(ChoiceSpec):
    """Demonstrations that are chosen for each row: from `rows`, a file, a list or a pool."""

    choose: Choice = Field(
        default="random",
        description="Which rows are chosen: the `nearest` ones to the text of `query`, some at "
        "`random`, the `first` ones or `all`. Random ones are others for each draw of a row, and "
        "the same on a rerun. Of the nearest ones, the nearest stands last.",
        examples=["nearest"],
    )
    rows: list[DemonstrationSpec] = Field(
        default_factory=no_parts,
        description="In place of a file: the demonstrations themselves.",
        examples=[
            [{"given": {"question": "What is 2 + 3?"}, "reply": "#### 5"}],
        ],
    )
    reply: str = Field(
        default="{{ reply }}",
        description="Template of the assistant's turn over a row of a file, a list or a pool.",
        examples=["{{ rationale }}\n#### {{ answer }}"],
    )
    exclude: Literal["self"] | list[Name] = Field(
        default="self",
        description="Rows that are passed over: those that say what the row says in all of these "
        "columns. `self` stands for rows with the row's `id`, and for those that say the same in "
        "every input of the pack that they have.",
        examples=[["question"]],
    )

    @property
    def sources(self) -> list[str]:
        """The keys that say where the rows are."""
        return [*super().sources, *(["rows"] if self.rows else [])]

    @property
    def place(self) -> str:
        """Where the rows are, in words."""
        return f"{len(self.rows)} of the pack" if self.rows else super().place


def kind_of_demonstrations(value: Any) -> str:
    """Which of the two forms of `demonstrations` a pack uses."""
    if isinstance(value, dict | ChosenDemonstrationsSpec):
        return CHOSEN
    return LISTED


def kind_of_retrieve(value: Any) -> str:
    """Which of the two forms of `retrieve` a pack uses: a mapping of mappings names its blocks."""
    blocks = value.values() if isinstance(value, dict) else ()
    if blocks and all(isinstance(one, dict | RetrieveSpec) for one in blocks):
        return NAMED_ONES
    return ONE


# What pydantic writes into the place of a fault besides keys of the pack; no key has a blank.
LISTED = "listed ones"
CHOSEN = "chosen ones"
ONE = "a single one"
NAMED_ONES = "named ones"
KINDS = frozenset({LISTED, CHOSEN, ONE, NAMED_ONES})
