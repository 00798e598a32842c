"""The settings of a run as keyword arguments, for editors and type checkers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import TypedDict, TypeVar

from synth.core.records import Row
from synth.pipeline.prepare import RunConfig

F = TypeVar("F", bound=Callable[..., object])


class PlanOptions(TypedDict, total=False):
    """The fields of RunConfig but for teachers and shards; a test holds them alike."""

    limit: int | None
    draws: int | Mapping[str, int] | None
    seed: int | None
    concurrency: int | None
    rpm: float | Mapping[str, float] | None
    tpm: float | Mapping[str, float] | None
    target: int | None
    max_draws: int
    budget: float | None
    price: str | Mapping[str, str] | None
    batch: bool
    batch_bucket: str | None
    taint: tuple[str, ...]
    timeout: float
    patience: float
    api_base: str | Mapping[str, str] | None
    endpoints: str | Mapping[str, str] | None
    api_key_env: str | Mapping[str, str] | None
    header: Mapping[str, Mapping[str, str]]
    id_column: str
    columns: Mapping[str, str]
    replace: bool
    same_teacher: bool
    keep_going: bool
    upgrade_pack: bool
    strict_terms: bool
    trace: bool
    report_to: Sequence[str]
    schemas: bool
    reuse: Sequence[str]
    overrides: Row
    plugins: Sequence[str]
    tools: Mapping[str, str]
    mcp: Sequence[str]
    image_root: str | None
    image_urls: bool


class RunOptions(PlanOptions, total=False):
    """The same with the shards."""

    shards: int | None
    shard: int | None


def with_options(function: F) -> F:
    """A function whose signature names each option with its type and default: what a notebook
    shows.
    """
    signature = inspect.signature(function)
    parameters = dict(signature.parameters)
    del parameters["options"]
    for field in fields(RunConfig):
        if field.name in (*parameters, "teachers"):
            continue
        default = None if field.default is MISSING else field.default
        parameters[field.name] = inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=field.type,
        )
    shown = inspect.Signature(
        [*parameters.values()],
        return_annotation=signature.return_annotation,
    )
    function.__signature__ = shown  # type: ignore[attr-defined]
    return function
