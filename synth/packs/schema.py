"""The shape of pack.yaml: what a pack may say, with which names. Unknown keys are refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from synth.answers.choices import has_labels
from synth.core.errors import WrongUse, did_you_mean, printable
from synth.core.records import Sampling
from synth.packs.export_schema import ExportSpec, Name, Strict


def _line(value: Any) -> Any:
    """A text on one line, once nothing in it acts on a terminal or hides."""
    if not isinstance(value, str):
        return value
    if printable(value) != value:
        raise ValueError(
            f"has signs that act or hide: {printable(value)[:200]}"
        )
    return " ".join(value.split())


Line = Annotated[str, BeforeValidator(_line), Field(max_length=2000)]
Dollars = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(,\d+(\.\d+)?){1,2}$")]
Kind = Literal["text", "number", "list", "any"]
# How long a model thinks; which of these a model knows, its provider says.
Effort = Literal[
    "none", "minimal", "low", "medium", "high", "xhigh", "max", "default"
]
_PYTHON: dict[str, tuple[type, ...]] = {
    "text": (str, int, float),
    "number": (int, float),
    "list": (list,),
    "any": (object,),
}


class InputSpec(Strict):
    """One input: `text` or `optional` in short, or type, optional and the column names that also
    serve (`from`).
    """

    type: Kind = "text"
    optional: bool = False
    aliases: list[str] = Field(default_factory=list, alias="from")

    def fits(self, value: Any) -> bool:
        """Whether a seed's value has the declared type."""
        return isinstance(value, _PYTHON[self.type]) or (
            self.type == "list" and has_labels(value)
        )


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
    reasoning_effort: Effort | None = None
    extra: dict[str, Any] = Field(default_factory=dict)

    def record(self) -> Sampling:
        """The frozen record of the line."""
        values = self.model_dump()
        return Sampling(
            **{
                **values,
                "stop": tuple(self.stop) if self.stop is not None else None,
            }
        )


def _one_or_many(value: Any) -> Any:
    many = value if isinstance(value, list) else [value]
    return [{"name": part} if isinstance(part, str) else part for part in many]


def _each(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1:
        return next(iter(value.items()))
    return value


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
    """Rows of a file of the user's that are near a seed, as the list `into` of texts that templates
    see.

    `before` names the step that first needs them: `query` may then be a field that an earlier step
    writes.
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
    about: Line
    paper: Line = ""
    inputs: dict[Name, Annotated[InputSpec, BeforeValidator(_input)]]
    prices: dict[str, Dollars] = Field(default_factory=dict)
    constants: dict[Name, Any] = Field(default_factory=dict)
    examples: list[dict[str, Any]] = Field(default_factory=list)
    low_yield: bool = False
    retrieve: RetrieveSpec | None = None
    steps: Annotated[list[StepSpec], Field(min_length=1)]
    exports: ExportSpec = ExportSpec()


def apply_overrides(
    raw: dict[str, Any], overrides: Mapping[str, Any], where: str
) -> None:
    """Writes `step.key[.key] = value` into a pack as read, before it is validated;
    `step.filters.NAME.key` reaches one filter.

    Raises:
        WrongUse: a step or block that the pack does not have.
    """
    listed = raw.get("steps")
    steps = (
        {str(s.get("name")): s for s in listed if isinstance(s, dict)}
        if isinstance(listed, list)
        else {}
    )
    blocks: dict[str, Any] = {
        key: raw[key]
        for key in ("constants", "exports", "retrieve")
        if key in raw
    }
    for path, value in overrides.items():
        head, *rest = place_of(path, steps)
        if head in ("constants", "exports") and head not in steps:
            blocks.setdefault(head, raw.setdefault(head, {}))
        found = {**blocks, **steps}
        if head not in found or not rest:
            raise WrongUse(
                f"--set {path}",
                f"{head!r}",
                f"STEP.key of pack {where}",
                _meant(path, found, steps),
            )
        spot = found[head]
        for key in rest[:-1]:
            spot = _inside(spot, key, f"--set {path}")
        _set(spot, rest[-1], value, f"--set {path}")


def place_of(path: str, steps: Collection[str]) -> list[str]:
    """The keys that `--set PATH` means: `sampling` may be left out, and the step where a pack has
    only one.

    >>> place_of("solve.temperature", ["plan", "solve"]), place_of("max_tokens", ["solve"])
    (['solve', 'sampling', 'temperature'], ['solve', 'sampling', 'max_tokens'])
    """
    keys = path.split(".")
    if keys[0] not in steps and len(steps) == 1 and keys[0] in _OF_A_STEP:
        keys.insert(0, next(iter(steps)))
    if (
        len(keys) > 1
        and keys[0] in steps
        and keys[1] in SamplingSpec.model_fields
    ):
        keys.insert(1, "sampling")
    return keys


# What a step may say, and what its sampling may.
_OF_A_STEP = frozenset(
    {*StepSpec.model_fields, *SamplingSpec.model_fields} - {"name"}
)


def _meant(path: str, found: Collection[str], steps: Collection[str]) -> str:
    """What to do where the head of an override is no step: the same key of a step, or a name near
    it.
    """
    head = path.partition(".")[0]
    if head in _OF_A_STEP:
        return (
            f"Name the step: {', '.join(f'{step}.{path}' for step in steps)}."
        )
    if path in found:
        return f"Name what changes: --set {path}.KEY=VALUE."
    return did_you_mean(
        head, {*found, *_OF_A_STEP} if len(steps) == 1 else found
    )


def _inside(spot: Any, key: str, where: str) -> Any:
    """What stands under a key of a mapping, or under the number or the name of a part in a list."""
    if isinstance(spot, list):
        return spot[_place(spot, key, where)]
    if not isinstance(spot, dict):
        raise WrongUse(
            where,
            f"{type(spot).__name__} before {key!r}",
            "a mapping or a list of parts",
            "Set the whole key.",
        )
    found = spot.setdefault(key, {})
    if isinstance(found, str) and key in ("filters", "parser"):
        found = spot[key] = [found]
    return found


def _set(spot: Any, key: str, value: Any, where: str) -> None:
    if isinstance(spot, list):
        spot[_place(spot, key, where)] = value
    elif isinstance(spot, dict):
        spot[key] = value
    else:
        raise WrongUse(
            where,
            f"{type(spot).__name__} before {key!r}",
            "a mapping or a list of parts",
            "Set the whole key.",
        )


def _place(parts: list[Any], key: str, where: str) -> int:
    """The place of a part in a list, by its number or its name; a part that is only named can then
    be given parameters.
    """
    for place, part in enumerate(parts):
        if isinstance(part, str):
            parts[place] = {"name": part}
    known = [
        str(part.get("name")) if isinstance(part, dict) else ""
        for part in parts
    ]
    if key.isdecimal() and int(key) < len(parts):
        return int(key)
    if key not in known:
        raise WrongUse(
            where,
            repr(key),
            "the name or the number of one of them",
            did_you_mean(key, known),
        )
    return known.index(key)


def drawn_step(steps: Sequence[Any]) -> str:
    """The step that `--draws N` is about: the one that draws several already, else the last one."""
    return str(next((step for step in steps if step.draws > 1), steps[-1]).name)


def set_draws(
    steps: Sequence[Any], draws: int | Mapping[str, int]
) -> dict[str, Any]:
    """The overrides that `--draws` means.

    Args:
        steps: the pack's.
        draws: completions a sample, or step -> completions.

    Raises:
        WrongUse: a step that the pack does not have.
    """
    named = draws if isinstance(draws, Mapping) else {drawn_step(steps): draws}
    known = [str(step.name) for step in steps]
    for name in named:
        if name not in known:
            raise WrongUse(
                f"--draws {name}={named[name]}",
                f"{name!r}",
                "a step of the pack",
                did_you_mean(name, known),
            )
    return {f"{name}.draws": count for name, count in named.items()}
