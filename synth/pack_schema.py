"""The shape of pack.yaml: what a pack may say, with which names. Unknown keys are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from synth.errors import WrongUse, did_you_mean
from synth.export_schema import ExportSpec, Name, Strict
from synth.records import Sampling

Dollars = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(,\d+(\.\d+)?){1,2}$")]
Kind = Literal["text", "number", "list", "any"]
_PYTHON: dict[str, tuple[type, ...]] = {
    "text": (str, int, float),
    "number": (int, float),
    "list": (list,),
    "any": (object,),
}


class InputSpec(Strict):
    """One input: `text` or `optional` in short, or type, optional and the column names that also serve (`from`)."""

    type: Kind = "text"
    optional: bool = False
    aliases: list[str] = Field(default_factory=list, alias="from")

    def fits(self, value: Any) -> bool:
        """Whether a seed's value has the declared type."""
        return isinstance(value, _PYTHON[self.type])


def _input(value: Any) -> Any:
    if value == "optional":
        return {"type": "any", "optional": True}
    return {"type": value} if isinstance(value, str) else value


class SamplingSpec(Strict):
    """Sampling of a step; `extra` passes provider fields that have no name here."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    extra: dict[str, Any] = Field(default_factory=dict)

    def record(self) -> Sampling:
        """The frozen record of the line."""
        values = self.model_dump()
        return Sampling(**{**values, "stop": tuple(self.stop) if self.stop is not None else None})


def _one_or_many(value: Any) -> Any:
    many = value if isinstance(value, list) else [value]
    return [{"name": part} if isinstance(part, str) else part for part in many]


def _each(value: Any) -> Any:
    return next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else value


Parts = Annotated[list[dict[str, Any]], BeforeValidator(_one_or_many)]


class StepSpec(Strict):
    """One step: a question with its sampling, draws, parser and filters."""

    name: Name
    teacher: Name = "teacher"
    sampling: SamplingSpec = SamplingSpec()
    draws: Annotated[int, Field(ge=1)] = 1
    each: Annotated[tuple[str, str], BeforeValidator(_each)] | None = None
    spread: Annotated[tuple[str, str], BeforeValidator(_each)] | None = None
    parser: Annotated[Parts, Field(min_length=1)]
    filters: Parts = Field(default_factory=list)
    response_format: dict[str, Any] | None = None
    rescues: Name | None = None
    until: str = ""
    set: dict[Name, str] = Field(default_factory=dict)


class RetrieveSpec(Strict):
    """Rows of a file of the user's that are near a seed, as the list `into` of texts that templates see.

    `before` names the step that first needs them: `query` may then be a field that an earlier step writes.
    """

    file: str = ""
    query: Name
    field: str
    show: str = ""
    most: Annotated[int, Field(ge=1)] = 3
    by: str = "bm25"
    into: Name = "retrieved"
    before: Name | None = None


class PackSpec(Strict):
    """A whole pack.yaml."""

    name: Name
    version: int
    about: str
    paper: str = ""
    inputs: dict[Name, Annotated[InputSpec, BeforeValidator(_input)]]
    prices: dict[str, Dollars] = Field(default_factory=dict)
    constants: dict[Name, Any] = Field(default_factory=dict)
    examples: list[dict[str, Any]] = Field(default_factory=list)
    retrieve: RetrieveSpec | None = None
    steps: Annotated[list[StepSpec], Field(min_length=1)]
    exports: ExportSpec = ExportSpec()


def apply_overrides(raw: dict[str, Any], overrides: Mapping[str, Any], where: str) -> None:
    """Writes `step.key[.key] = value` into a pack as read, before it is validated.

    Raises:
        WrongUse: a step or block that the pack does not have.
    """
    steps = {s.get("name"): s for s in raw.get("steps", []) if isinstance(s, dict)}
    blocks: dict[Any, Any] = {
        **{k: raw.setdefault(k, {}) for k in ("constants", "exports")},
        **({"retrieve": raw["retrieve"]} if "retrieve" in raw else {}),
        **steps,
    }
    for path, value in overrides.items():
        head, *rest = path.split(".")
        if head not in blocks or not rest:
            raise WrongUse(f"--set {path}", f"{head!r}", f"STEP.key of pack {where}", did_you_mean(head, map(str, blocks)))
        spot = blocks[head]
        for key in rest[:-1]:
            spot = spot.setdefault(key, {})
        spot[rest[-1]] = value


def set_draws(raw_steps: list[StepSpec], draws: int) -> dict[str, Any]:
    """The override that `--draws` means: for the step that draws several already, else for the last one."""
    chosen = next((s for s in raw_steps if s.draws > 1), raw_steps[-1])
    return {f"{chosen.name}.draws": draws}
