"""The shape of flow.yaml: the stages of a system, by name. Unknown keys are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from finetune.flows.row_schema import (
    Formula,
    JoinSpec,
    NearestSpec,
    Reference,
    References,
    Scalar,
    SearchSpec,
    SelectSpec,
    Settings,
    check_near,
)
from synth.core.records import Fields
from synth.inputs.strict_model import Clear, Name, Strict
from synth.packs.schema import Line, Parts

MOST_STAGES = 40
MOST_ROUNDS = 1000
# Of a mix, beside the shares of others.
Share = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# In the place of a parser: a student that orders texts, and the measures of its order.
RETRIEVER = "retriever"
FOUND = ("ndcg", "mrr", "recall", "map")
# NAME[:key=value,...] of a room.
PartName = Annotated[str, Field(max_length=200)]
KINDS = (
    "run",
    "filter",
    "export",
    "train",
    "evaluate",
    "answer",
    "select",
    "mix",
    "pair",
    "search",
    "domains",
    "apportion",
)
# What each kind of stage may say besides `name` and the kind itself, and what it must say.
_SAYS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "run": (
        frozenset({"from", "roles", "set", "retrieve"}),
        frozenset({"from"}),
    ),
    "filter": (
        frozenset({"from", "group", "models", "parser"}),
        frozenset({"from"}),
    ),
    "export": (frozenset({"from", "models", "other"}), frozenset({"from"})),
    "train": (
        frozenset(
            {"from", "losses", "student", "models", "set", "teacher_reads"}
            | {"optimizer"}
        ),
        frozenset({"from", "student"}),
    ),
    "evaluate": (
        frozenset({"from", "student", "before", "corpus", "measures", "set"}),
        frozenset({"from", "student"}),
    ),
    "answer": (
        frozenset({"from", "student", "choices", "set"}),
        frozenset({"from", "student"}),
    ),
    "select": (
        frozenset({"from", "join", "nearest", "numbers"}),
        frozenset({"from"}),
    ),
    "mix": (frozenset({"key"}), frozenset()),
    "pair": (
        frozenset({"from", "most_alike", "other", "order", "per"}),
        frozenset({"from", "other"}),
    ),
    "search": (
        frozenset({"from", "models", "other"}),
        frozenset({"from", "other"}),
    ),
    "domains": (
        frozenset({"from", "student", "models", "other", "set"}),
        frozenset({"from", "student", "models"}),
    ),
    "apportion": (
        frozenset({"from", "other", "count"}),
        frozenset({"from", "other", "count"}),
    ),
}


class StageSpec(Strict):
    """One stage: its name, its kind as a key, and what that kind reads."""

    name: Name = Field(
        description="Name of the stage, under which others read what it leaves.",
        examples=["collect"],
    )
    source: References | None = Field(
        default=None,
        alias="from",
        description="The rows that it reads; several are read one behind the other.",
        examples=["collect.kept"],
    )
    run: str | None = Field(
        default=None,
        max_length=200,
        description="`run`: a pack, by name, or `.` for the one beside flow.yaml. It leaves "
        "`kept` and `dropped`.",
        examples=["star"],
    )
    roles: dict[Name, Reference] = Field(
        default_factory=dict,
        description="Role of the pack -> a teacher of the flow, or a student that answers. A "
        "role that is not named is asked of the flow's teacher of its name.",
        examples=[{"teacher": "previous.learn or teacher"}],
    )
    retrieve: Reference | None = Field(
        default=None,
        description="Rows of the flow that the pack's `retrieve` looks things up in, in each of "
        "its blocks that reads a file.",
        examples=["entries.rows"],
    )
    filter: Parts | None = Field(
        default=None,
        description="`filter`: filters as a step of a pack names them. It leaves `kept` and "
        "`dropped`.",
        examples=[[{"name": "length", "most": 200}]],
    )
    group: str = Field(
        default="question",
        max_length=64,
        description="Of `filter`: the column that draws of one seed share.",
    )
    parser: str | None = Field(
        default=None,
        max_length=200,
        description="Of `filter`: what reads `completion`.",
        examples=["final_number"],
    )
    export: str | None = Field(
        default=None,
        max_length=200,
        description="`export`: a format of `synth export --to`, of a run's rows. It leaves "
        "`rows`.",
        examples=["preference:order=unlike"],
    )
    other: Reference | None = Field(
        default=None,
        description="Of `export: preference`: a run of the student's, whose rows are the worse "
        "side. Of `pair`: those rows. Of `search`: the examples. Of `domains`: the shares so far. "
        "Of `apportion`: the shares.",
        examples=["written"],
    )
    train: str | None = Field(
        default=None,
        max_length=40,
        description="`train`: a command of `finetune`. It leaves a student.",
        examples=["sft"],
    )
    student: Reference | None = Field(
        default=None,
        description="The model that is trained, or that answers.",
        examples=["previous.learn or student"],
    )
    optimizer: Reference | None = Field(
        default=None,
        description="Of `train: sft` and `train: distill`: the student whose optimizer goes on, "
        "with its place on the way of the learning rate; `set: {steps_in_all: N}` says how long "
        "that is. A model that the user gives brings none: the optimizer is new then.",
        examples=["previous.learn or student"],
    )
    models: dict[Name, Reference] = Field(
        default_factory=dict,
        description="Option of the command, or parameter of a filter -> a model of the flow.",
        examples=[{"teacher": "best.learn"}],
    )
    losses: list[PartName] = Field(
        default_factory=list,
        max_length=8,
        description="Of `train: distill`: losses that are summed, NAME[=WEIGHT][:key=value,...].",
        examples=[["forward_kl", "hidden_mse=10:normalise=true"]],
    )
    teacher_reads: Name | None = Field(
        default=None,
        description="Of `train: distill`: the column with the prompt that the teacher reads in the "
        "place of the student's.",
        examples=["with_rule"],
    )
    evaluate: str | None = Field(
        default=None,
        max_length=200,
        description="`evaluate`: the parser that reads answers, which are held against the gold. "
        "It leaves `rows`, `right`, `wrong` and the measures `exact_match` and `unreadable`. Or "
        "`retriever`: how well the student orders texts for queries, as `finetune "
        "evaluate-retriever` measures it. It leaves `rows`, what was found, and the measures "
        "`ndcg`, `mrr`, `recall` and `map`.",
        examples=["final_number"],
    )
    corpus: Reference | None = Field(
        default=None,
        description="Of `evaluate: retriever`: the rows that are searched; without them each "
        "query's own texts are ordered.",
        examples=["input"],
    )
    measures: list[PartName] = Field(
        default_factory=list,
        max_length=8,
        description="Of `evaluate`: measures of `finetune evaluate --measure`, which the stage "
        "leaves as numbers by the name before the colon; none where no question counts.",
        examples=[["token_f1", "pass_at:k=4"]],
    )
    before: Reference | None = Field(
        default=None,
        description="Of `evaluate`: a student that speaks first.",
        examples=["learn_rationales"],
    )
    answer: Formula | None = Field(
        default=None,
        description="`answer`: template of a prompt; the student's reply becomes `reply`. It "
        "leaves `rows`.",
        examples=["{{ row.question }}\n"],
    )
    choices: Formula | None = Field(
        default=None,
        description="Of `answer`: template of a list of texts. The likeliest of them becomes "
        "`reply`, `shares` their probabilities and `margin` how far the first one is ahead.",
        examples=["{{ row.labels }}"],
    )
    select: SelectSpec | None = Field(
        default=None,
        description="`select`: rows chosen, ordered, joined, written anew. It leaves `rows`.",
        examples=[{"where": "{{ row.right }}", "most": 100}],
    )
    join: dict[Name, JoinSpec] = Field(
        default_factory=dict,
        description="Of `select`: name -> other rows; templates see the row that fits under this "
        "name, rows without one go.",
        examples=[{"student": {"rows": "answered", "by": "question"}}],
    )
    nearest: dict[Name, NearestSpec] = Field(
        default_factory=dict,
        description="Of `select`: name -> other rows that are searched by their words; templates "
        "see a list of the nearest texts under this name, nearest first.",
        examples=[
            {
                "entries": {
                    "rows": "analysed",
                    "query": "question",
                    "field": "question",
                }
            }
        ],
    )
    numbers: dict[Name, Reference] = Field(
        default_factory=dict,
        description="Of `select`: name -> a measure of another stage, which templates see under "
        "this name.",
        examples=[{"agreed": "checked.kept_share"}],
    )
    mix: dict[Reference, Share] | None = Field(
        default=None,
        min_length=1,
        description="`mix`: rows and their share. It leaves `rows`.",
        examples=[{"long.kept": 1, "short.kept": 4}],
    )
    pair: Name | None = Field(
        default=None,
        description="`pair`: the column that a better row (`from`) and a worse one (`other`) "
        "share; both have `completion`, the better one `prompt`. Rows whose `answer` agrees make "
        "no pair. It leaves `rows` of `prompt`, `chosen` and `rejected`.",
        examples=["question"],
    )
    order: Literal["diagonal", "unlike"] = Field(
        default="diagonal",
        description="Of `pair`: which pairs come first: of different rows, or those that share "
        "the fewest words.",
    )
    per: Formula = Field(
        default="1",
        description="Of `pair`: pairs at most of each value of the column.",
        examples=[3],
    )
    most_alike: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Of `pair`: pairs that share a larger part of their words are left out.",
    )
    search: SearchSpec | None = Field(
        default=None,
        description="`search`: rows in the order of how near they are to the examples in `other`, "
        "by a sentence model (`models: {embedding: NAME}`) or by hashed words. It leaves `rows` "
        "with `score`, `scores` and `texts`, what was searched.",
        examples=[{"columns": ["input", "output"], "most": 3000}],
    )
    domains: Name | None = Field(
        default=None,
        description="`domains`: the column that says the domain of a held-out row. The "
        "perplexities of the student and of `models: {teacher: NAME}` on each become its share. "
        "It leaves `rows`, one a domain, and the measure `gap`, the mean of student / teacher.",
        examples=["domain"],
    )
    apportion: Name | None = Field(
        default=None,
        description="`apportion`: the column that says the domain of a row. Of each are drawn as "
        "many as its `share` in `other` says, others in each round; it leaves `rows`.",
        examples=["domain"],
    )
    count: Formula = Field(
        default="1",
        description="Of `apportion`: rows in all.",
        examples=[8000, "{{ rows }}"],
    )
    key: str = Field(
        default="prompt",
        max_length=64,
        description="Of `mix`: the column that says what an item is; each comes from one source.",
    )
    set: Settings = Field(
        default_factory=dict,
        description="What the stage is told: `STEP.draws` and sampling of a pack, fields of a "
        "trainer, options of an evaluation. A text may be a template.",
        examples=[{"max_steps": "{{ steps }}", "learning_rate": 1e-4}],
    )

    @property
    def kind(self) -> str:
        """Which kind of stage it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def may_be_told(self) -> bool:
        """Whether a stage of its kind has settings."""
        return "set" in _SAYS[self.kind][0]

    @property
    def pack_named(self) -> str | None:
        """The pack that it reads, as flow.yaml names it: one that is run, or that exports."""
        select = self.select
        if select is not None and (select.prompt or select.completion):
            return select.pack
        return self.run

    @model_validator(mode="before")
    @classmethod
    def _one_kind(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("a stage: a mapping with `name` and its kind")  # noqa: TRY004 - which pydantic tells with its line
        kinds = [kind for kind in KINDS if value.get(kind) is not None]
        if len(kinds) != 1:
            got = " and ".join(kinds) or "none"
            raise ValueError(f"one of {', '.join(KINDS)}; it has {got}")
        may, must = _SAYS[kinds[0]]
        unknown = set(value) & set(_fields()) - may - {"name", kinds[0]}
        if unknown:
            raise ValueError(
                f"what a stage `{kinds[0]}` reads: {', '.join(sorted(may))}; it has "
                f"{', '.join(sorted(unknown))}"
            )
        told = {key for key, said in value.items() if said is not None}
        _check_evaluation(value)
        if missing := sorted(must - told):
            raise ValueError(
                f"what a stage `{kinds[0]}` needs: {', '.join(missing)}"
            )
        return value


def _check_evaluation(value: Fields) -> None:
    """Raises ValueError where a stage `evaluate` says what its kind of students does not read."""
    of_retriever = value.get("evaluate") == RETRIEVER
    for key in ("before", "measures"):
        if of_retriever and value.get(key):
            raise ValueError(f"no `{key}` beside `evaluate: {RETRIEVER}`")
    if value.get("corpus") and not of_retriever:
        raise ValueError(f"`evaluate: {RETRIEVER}` beside `corpus`")


def _fields() -> list[str]:
    """The keys of a stage as they are written."""
    return [
        field.alias or name for name, field in StageSpec.model_fields.items()
    ]


class RoundsSpec(Strict):
    """Stages that are played again and again."""

    most: Formula = Field(
        description="Rounds at most.", examples=[5, "{{ rounds }}"]
    )
    measure: Reference | None = Field(
        default=None,
        description="Number of a stage that should rise from round to round; the round where it "
        "is highest is `best`.",
        examples=["look.exact_match"],
    )
    falls: bool = Field(
        default=False, description="Whether the measure should fall instead."
    )
    patience: Formula = Field(
        default="0",
        description="Rounds without a better measure before they end; 0: all rounds are played.",
        examples=[1],
    )
    stages: list[StageSpec] = Field(
        min_length=1,
        max_length=MOST_STAGES,
        description="The stages of a round, in their order.",
    )


class PoolSpec(Strict):
    """Rows that grow from round to round."""

    start: Reference = Field(
        description="The rows that it holds in the first round.",
        examples=["input"],
    )
    add: References = Field(
        description="Rows of each round that it holds from the next one on.",
        examples=["made.kept"],
    )
    distinct: Name | None = Field(
        default=None,
        description="Column of which each value is held once.",
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

    @model_validator(mode="after")
    def _whole(self) -> Self:
        check_near(self.near, self.distinct)
        return self


class FlowSpec(Strict):
    """A whole flow.yaml."""

    name: Name = Field(description="Name of the flow, that of its folder.")
    version: int = Field(description="Version of the flow, for its readers.")
    about: Line = Field(description="What it does, in a sentence.")
    paper: Line = Field(default="", description="The paper that it follows.")
    inputs: dict[Name, Line] = Field(
        default_factory=dict,
        description="Files of rows that the user gives besides `input`, and what they hold.",
        examples=[{"held_out": "Rows to measure on, with their golds."}],
    )
    models: dict[Name, Line] = Field(
        default_factory=dict,
        description="Models that the user gives besides `student`, and what they are for.",
    )
    teachers: dict[Name, Line] = Field(
        default_factory=dict,
        description="Teachers that the user gives, and what they are asked.",
        examples=[{"teacher": "Writes rationales."}],
    )
    values: dict[Name, Annotated[Scalar, Clear]] = Field(
        default_factory=dict,
        description="Numbers and words that templates see, and that the user may set.",
        examples=[{"steps": 200, "growth": 1.2}],
    )
    pools: dict[Name, PoolSpec] = Field(
        default_factory=dict, description="Rows that grow from round to round."
    )
    before: list[StageSpec] = Field(
        default_factory=list,
        max_length=MOST_STAGES,
        description="Stages that are played once, before the rounds.",
    )
    rounds: RoundsSpec | None = Field(
        default=None, description="Stages that are played in rounds."
    )
    after: list[StageSpec] = Field(
        default_factory=list,
        max_length=MOST_STAGES,
        description="Stages that are played once, behind the rounds; they may read `best`.",
    )

    @model_validator(mode="after")
    def _some_stage(self) -> Self:
        if not self.before and self.rounds is None:
            raise ValueError("stages in `before`, or in `rounds`")
        return self

    def stages(self) -> list[StageSpec]:
        """All of them, in the order in which they are first played."""
        rounds = self.rounds.stages if self.rounds else []
        return [*self.before, *rounds, *self.after]


Part = Literal["rows", "model", "teacher", "number"]
# What a stage of each kind leaves: name -> kind of value; the first is meant where none is named.
LEAVES: Mapping[str, Mapping[str, Part]] = {
    "run": {"kept": "rows", "dropped": "rows", "kept_share": "number"},
    "filter": {"kept": "rows", "dropped": "rows", "kept_share": "number"},
    "export": {"rows": "rows", "count": "number"},
    "train": {"student": "model", "loss": "number"},
    "evaluate": {
        "rows": "rows",
        "right": "rows",
        "wrong": "rows",
        "exact_match": "number",
        "unreadable": "number",
    },
    "answer": {"rows": "rows", "count": "number"},
    "select": {"rows": "rows", "count": "number"},
    "mix": {"rows": "rows", "count": "number"},
    "pair": {"rows": "rows", "count": "number"},
    "search": {"rows": "rows", "count": "number"},
    "domains": {"rows": "rows", "gap": "number"},
    "apportion": {"rows": "rows", "count": "number"},
}


def leaves_of(stage: StageSpec) -> Mapping[str, Part]:
    """What a stage leaves, its own measures included."""
    own: dict[str, Part] = {
        measure.partition(":")[0]: "number" for measure in stage.measures
    }
    if stage.evaluate == RETRIEVER:
        numbers: dict[str, Part] = dict.fromkeys(FOUND, "number")
        return {"rows": "rows", **numbers}
    return {**LEAVES[stage.kind], **own}


def as_read(stage: StageSpec) -> Fields:
    """What a stage says, as flow.yaml has it."""
    return stage.model_dump(by_alias=True, exclude_defaults=True)
