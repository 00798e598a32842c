"""What stages of a flow do to rows: choose, join, search and write them; and the spellings of
names and templates.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from synth.core.bare_words import BareWord
from synth.inputs.strict_model import NAME, Clear, Name, Strict

# `collect.kept`, `previous.learn or student`: the first alternative that there is.
_ONE = rf"{NAME}(\.{NAME}){{0,2}}"
Reference = Annotated[
    str, Field(pattern=rf"^{_ONE}( or {_ONE}){{0,3}}$", max_length=400)
]
References = Annotated[
    list[Reference],
    BeforeValidator(
        lambda value: value if isinstance(value, list) else [value],
        json_schema_input_type=str | list[str],
    ),
    Field(min_length=1, max_length=16),
]
Scalar = str | int | float | bool
ExportName = Annotated[
    str, Field(pattern=rf"^(sft|multitask\.{NAME})$", max_length=80)
]
# A template, or a number that stands for its text.
Formula = Annotated[
    str,
    BeforeValidator(
        lambda value: str(value) if isinstance(value, int | float) else value,
        json_schema_input_type=str | float,
    ),
    Field(max_length=4000),
]
# A template of a value; a number or a switch stands for itself.
Made = Annotated[
    str,
    BeforeValidator(
        lambda value: (
            f"{{{{ {json.dumps(value)} }}}}"
            if isinstance(value, int | float)
            else value
        ),
        json_schema_input_type=Scalar,
    ),
    Clear,
    Field(max_length=4000),
]


def as_setting(key: str, value: object) -> object:
    """A stage's setting as an option wants it: a bare word is a flag or a number, but for the word
    of a strategy that is off.

    >>> as_setting("fp16", BareWord("no")), as_setting("save_strategy", BareWord("no"))
    (False, 'no')
    """
    if not isinstance(value, BareWord) or key.endswith("_strategy"):
        return value
    return value.other


def _as_settings(values: object) -> object:
    if not isinstance(values, dict):
        return values
    return {key: as_setting(str(key), value) for key, value in values.items()}


Settings = Annotated[dict[str, Scalar], BeforeValidator(_as_settings)]


def check_near(near: float | None, distinct: str | None) -> None:
    """Texts that are near need the column in which they stand."""
    if near is not None and distinct is None:
        raise ValueError("`distinct` beside `near`: the column of the texts")


class JoinSpec(Strict):
    """Other rows, beside each row that they belong to."""

    rows: Reference = Field(
        description="Rows that are looked up.", examples=["answered"]
    )
    # Not `on`, which YAML reads as true.
    by: Name = Field(
        description="Column whose value both have.", examples=["question"]
    )


class NearestSpec(Strict):
    """Other rows, as texts that are near each row. A row that says just what the row says is passed
    over, so that nothing is shown what was made of itself.
    """

    rows: Reference = Field(
        description="Rows that are searched.", examples=["analysed.kept"]
    )
    query: Name = Field(
        description="Column whose text is looked up.", examples=["question"]
    )
    field: Name = Field(
        description="Column that is searched.", examples=["question"]
    )
    show: str = Field(
        default="",
        max_length=4000,
        description="Template of what is shown of a row that is found; without one it is the "
        "searched column.",
        examples=["{{ summary }}"],
    )
    most: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1, description="Texts at most."
    )


class SelectSpec(Strict):
    """Which rows go on, in which order, with which columns; every part of it is left out where it
    is not named.

    The parts act in this order: `where`, `each`, `make` (of a row, or of a `group`), `prompt` and
    `completion`, `distinct`, `order`, `sample`, `share`, `most`, `times`. Templates see the columns
    of a row as `row`, the rows of a group as `rows`, what was joined by its name, the flow's
    values, and `round`, from 0.
    """

    where: Formula | None = Field(
        default=None,
        description="Template: rows for which it says `True` go on.",
        examples=["{{ not row.right }}"],
    )
    each: Formula | None = Field(
        default=None,
        description="Template of a list: the row goes on once for each element, which templates "
        "see as `item`, and its place, from 0, as `index`.",
        examples=["{{ row.steps }}"],
    )
    make: dict[Name, Made] = Field(
        default_factory=dict,
        description="Columns that templates write; a template that is one expression keeps the "
        "kind of its value.",
        examples=[{"question": "{{ row.instruction }}"}],
    )
    only: bool = Field(
        default=False,
        description="Whether the columns of `make` are all that a row keeps.",
    )
    pack: str = Field(
        default=".",
        max_length=200,
        description="Of `prompt` and `completion`: the pack that exports, by name, or `.` for "
        "the one beside flow.yaml.",
        examples=["two_stages"],
    )
    prompt: ExportName | None = Field(
        default=None,
        description="An export of the pack, `sft` or `multitask.TASK`: its template writes the "
        "column `prompt`, out of what `make` left.",
        examples=["multitask.rationale"],
    )
    completion: ExportName | None = Field(
        default=None,
        description="The same for the column `completion`.",
        examples=["sft"],
    )
    distinct: Name | None = Field(
        default=None,
        description="Column of which each value goes on once, the first.",
        examples=["question"],
    )
    near: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="With `distinct`: texts whose likeness reaches this count as the same.",
        examples=[0.7],
    )
    likeness: Literal["jaccard", "rouge_l"] = Field(
        default="jaccard", description="Of `near`: how alike two texts are."
    )
    group: Formula | None = Field(
        default=None,
        description="Template of a key: each group of rows becomes one row, which `make` writes.",
        examples=["{{ row.target }}"],
    )
    order: Formula | None = Field(
        default=None,
        description="Template of a number: the smallest go first.",
        examples=["{{ row.margin }}"],
    )
    sample: Formula | None = Field(
        default=None,
        description="Template of a weight from 0 on: rows are drawn by it, without repetition, "
        "the same ones each time.",
        examples=["{{ 1 / (1 + row.margin) }}"],
    )
    mistakes: Formula | None = Field(
        default=None,
        description="Of `sample`, whose weight is then what a row would teach: share (0 to 1) of "
        "the rows that a teacher is expected to label wrongly. Of the rows that would teach most, "
        "those that teach less are drawn more, and the others never (see `robust_weights`).",
        examples=["{{ error_rate }}"],
    )
    share: float | None = Field(
        default=None, gt=0, le=1, description="Share of the rows that goes on."
    )
    most: Formula | None = Field(
        default=None,
        description="Rows that go on at most.",
        examples=[100, "{{ budget_of_rows }}"],
    )
    times: Formula | None = Field(
        default=None,
        description="How often all of them go on, one time behind the other; 1 where nothing is "
        "said.",
        examples=["{{ [1, (hard / easy) | int] | max }}"],
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.make and (self.only or self.group is not None):
            key = "group" if self.group is not None else "only"
            raise ValueError(
                f"`make` beside `{key}`: the columns that are left"
            )
        check_near(self.near, self.distinct)
        return self


class SearchSpec(Strict):
    """How near rows of any columns are to a few examples of a task: by each of their texts to the
    examples, and by what is said of the dataset that they are from.

    Each part is a cosine, -1 to 1; a row's `score` is the mean of its parts.
    """

    columns: list[Name] = Field(
        min_length=1,
        max_length=8,
        description="Columns of the examples. Each is a part: the largest, over the texts of a "
        "row, of the mean cosine to the examples' texts.",
        examples=[["input", "output"]],
    )
    about: dict[Name, Name] = Field(
        default_factory=dict,
        max_length=4,
        description="Column of the examples -> column of a row: each is one part more, the mean "
        "cosine of the two.",
        examples=[{"task": "description"}],
    )
    skip: list[Name] = Field(
        default_factory=list,
        description="Columns of a row that are not searched, besides `id` and those of `about`.",
        examples=[["dataset"]],
    )
    most: Formula | None = Field(
        default=None,
        description="Rows that go on at most, those of the highest score first.",
        examples=[3000],
    )
