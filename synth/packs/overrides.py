"""What `--set` and `--draws` change of a pack, before it is validated."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import Fields, Values
from synth.packs.sampling_schema import SamplingSpec
from synth.packs.schema import StepSpec


def apply_overrides(raw: Fields, overrides: Values, where: str) -> None:
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
    blocks: Fields = {
        key: raw[key]
        for key in ("constants", "exports", "retrieve", "pools", "seeds")
        if key in raw
    }
    for path, value in overrides.items():
        head, *rest = place_of(path, steps)
        if head in ("constants", "exports") and head not in steps:
            blocks.setdefault(head, raw.setdefault(head, {}))
        targets = {**blocks, **steps}
        if head not in targets or not rest:
            raise WrongUse(
                f"--set {path}",
                f"{head!r}",
                f"STEP.key of pack {where}",
                _meant(path, targets, steps),
            )
        spot = targets[head]
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
    {field.alias or name for name, field in StepSpec.model_fields.items()}
    | {*SamplingSpec.model_fields}
) - {"name"}


def _meant(path: str, targets: Collection[str], steps: Collection[str]) -> str:
    """What to do where the head of an override is no step: the same key of a step, or a name near
    it.
    """
    head = path.partition(".")[0]
    if head in _OF_A_STEP:
        return (
            f"Name the step: {', '.join(f'{step}.{path}' for step in steps)}."
        )
    if path in targets:
        return f"Name what changes: --set {path}.KEY=VALUE."
    return did_you_mean(
        head, {*targets, *_OF_A_STEP} if len(steps) == 1 else targets
    )


def _inside(spot: Any, key: str, where: str) -> Any:
    """What stands under a key of a mapping, or under the number or the name of a part in a list."""
    if isinstance(spot, list):
        return spot[_number_of(spot, key, where)]
    if not isinstance(spot, dict):
        raise WrongUse(
            where,
            f"{type(spot).__name__} before {key!r}",
            "a mapping or a list of parts",
            "Set the whole key.",
        )
    inner = spot.setdefault(key, {})
    if isinstance(inner, str) and key in ("filters", "parser"):
        inner = spot[key] = [inner]
    return inner


def _set(spot: Any, key: str, value: Any, where: str) -> None:
    if isinstance(spot, list):
        spot[_number_of(spot, key, where)] = value
    elif isinstance(spot, dict):
        spot[key] = value
    else:
        raise WrongUse(
            where,
            f"{type(spot).__name__} before {key!r}",
            "a mapping or a list of parts",
            "Set the whole key.",
        )


def _number_of(parts: list[Any], key: str, where: str) -> int:
    """The place of a part in a list, by its number or its name; a part that is only named can then
    be given parameters.
    """
    for number, part in enumerate(parts):
        if isinstance(part, str):
            parts[number] = {"name": part}
    names = [
        str(part.get("name")) if isinstance(part, dict) else ""
        for part in parts
    ]
    if key.isdecimal() and int(key) < len(parts):
        return int(key)
    if key not in names:
        raise WrongUse(
            where,
            repr(key),
            "the name or the number of one of them",
            did_you_mean(key, names),
        )
    return names.index(key)


def drawn_step(steps: Sequence[Any]) -> str:
    """The step that `--draws N` is about: the one that draws several already, else the last one."""
    drawn = [step for step in steps if step.draws > 1]
    step = drawn[0] if drawn else steps[-1]
    return str(step.name)


def set_draws(steps: Sequence[Any], draws: int | Mapping[str, int]) -> Fields:
    """The overrides that `--draws` means.

    Args:
        steps: the pack's.
        draws: completions a sample, or step -> completions.

    Raises:
        WrongUse: a step that the pack does not have.
    """
    named = draws if isinstance(draws, Mapping) else {drawn_step(steps): draws}
    names = [str(step.name) for step in steps]
    for name in named:
        if name not in names:
            raise WrongUse(
                f"--draws {name}={named[name]}",
                f"{name!r}",
                "a step of the pack",
                did_you_mean(name, names),
            )
    return {f"{name}.draws": count for name, count in named.items()}
