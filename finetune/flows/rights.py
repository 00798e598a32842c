"""What flow.yaml may say: data. Models, files, endpoints, code, reporting and uploads are the
user's to name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from finetune.flows.row_schema import Scalar
from finetune.flows.schema import RETRIEVER, StageSpec
from synth.core import registry
from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import Row
from synth.packs import rights as pack_rights
from synth.packs.pack import pack_names

# Commands whose result is a student.
COMMANDS = (
    "sft",
    "dpo",
    "kto",
    "cpo",
    "orpo",
    "grpo",
    "rank",
    "nat",
    "curriculum",
    "fade",
    "critic",
    "distill",
    "codistill",
    "retriever",
)
# Those whose optimizer may go on.
GOING_ON = ("sft", "distill")
# Options and fields of a training that decide what is learnt, and nothing else.
TRAINING = frozenset(
    """
    alpha assistant_only_loss average_tokens_across_devices beta bins by coefficients
    completion_only_loss correct corrupt cpo_alpha cumulative data_seed dataloader_drop_last
    descending desirable_weight disable_dropout epsilon epsilon_high first gate_rate graded
    gradient_accumulation_steps gradient_checkpointing kind label label_smoothing
    label_smoothing_factor learning_rate likelihood likelihood_to logging_strategy lora loss
    loss_type lr_scheduler_type margin mask_truncated_completions masked match_layers
    max_completion_length max_grad_norm max_length max_steps neftune_noise_alpha negative_margin
    negatives normalise num_generations num_iterations num_train_epochs objective on_policy optim
    order packing padding_free parser per_device_train_batch_size push r replay reward
    reward_weights scale_rewards schedule second seed simpo_gamma sparsity sparsity_warmup stages
    steps_in_all strength targets task teacher_share teacher_state temperature template top_p
    train_sampling_strategy truncation_mode undesirable_weight warmup_ratio warmup_steps
    weight_decay
    """.split()  # noqa: SIM905 - as a paragraph
)
# Models that an option of a training may name, out of the flow's own.
MODEL_OPTIONS = frozenset({"teacher", "other", "nli", "embedding", "reference"})
# The same of a filter's parameters.
MODELS_OF_FILTERS = frozenset(
    {"model", "nli", "embedding", "reference", "student"}
)
ANSWERING = frozenset(
    {
        "max_new_tokens",
        "draws",
        "temperature",
        "template",
        "batch",
        "banned",
        "calculator",
    }
)
# Of `evaluate: retriever`.
SEARCHING = frozenset({"field", "k", "kind"})
MEASURING = ANSWERING | {"gate", "limit", "weigh"}
_RUNNING = frozenset({"draws", "seed", "target", "max_draws", "limit"})
_OF_STEPS = re.compile(
    r"\w{1,64}\.(draws|repairs|(sampling\.)?"
    r"(temperature|top_p|max_tokens|presence_penalty|frequency_penalty))"
)
_OF_FILTERS = re.compile(r"\w{1,64}\.filters\.\w{1,64}\.(?P<key>\w{1,64})")
# A word, a number, a list of shares or of names: no path, no URL and no command is one.
_PLAIN = re.compile(r"[\w.+=,:-]{0,200}", re.ASCII)
_LOSS = re.compile(
    r"(?P<name>[a-z]\w*)(=[\d.e+-]+)?(:[a-z]\w*=[\w.+-]+(,[a-z]\w*=[\w.+-]+)*)?",
    re.ASCII,
)
_MOST_DRAWS = pack_rights.MOST_DRAWS


def check(stage: StageSpec, where: str) -> None:
    """Refuses what a stage, as flow.yaml has it, has no right to say.

    Args:
        stage: as it was read.
        where: its line.

    Raises:
        WrongUse: with how the user may say it.
    """
    for key, value in stage.set.items():
        _check_setting(stage, key, value, f"{where} set.{key}")
    if stage.train is not None and stage.train not in COMMANDS:
        raise WrongUse(
            where,
            f"train: {stage.train!r}",
            f"one of {', '.join(COMMANDS)}",
            did_you_mean(stage.train, COMMANDS),
        )
    if stage.losses or stage.teacher_reads:
        _check_losses(stage, where)
    if stage.optimizer and stage.train not in GOING_ON:
        raise WrongUse(
            where,
            f"optimizer with train: {stage.train}",
            f"train: {' or '.join(GOING_ON)}",
            "Take it out.",
        )
    options = MODELS_OF_FILTERS if stage.filter else MODEL_OPTIONS
    unknown = sorted(stage.models.keys() - options)
    if unknown:
        raise WrongUse(
            where,
            f"models.{unknown[0]}",
            ", ".join(sorted(options)),
            did_you_mean(unknown[0], options),
        )
    if stage.filter is not None:
        _check_filters(stage.filter, stage.models.keys(), where)
    for room, spec in (
        ("synth.exports", stage.export),
        ("synth.parsers", _parser_of(stage)),
        ("synth.parsers", stage.parser),
    ):
        if spec is not None:
            later = [*stage.models, *(["other"] if stage.other else [])]
            _check_part(room, spec, later, where)
    for measure in stage.measures:
        _check_part("finetune.measures", measure, (), f"{where} measures")


def _check_losses(stage: StageSpec, where: str) -> None:
    """Losses by their names and plain parameters, of a command that has them."""
    if stage.train != "distill":
        key = "losses" if stage.losses else "teacher_reads"
        raise WrongUse(
            where,
            f"{key} with train: {stage.train}",
            "train: distill",
            "Take it out.",
        )
    for loss in stage.losses:
        _check_loss(loss, f"{where} losses")


def _check_loss(loss: str, where: str) -> None:
    """A loss that ships with the package: a module of one's own is code."""
    named = _LOSS.fullmatch(loss)
    known = registry.built_in("finetune.losses")
    if named is None or named["name"] not in known:
        raise WrongUse(
            where,
            repr(loss)[:200],
            "NAME[=WEIGHT][:key=value,...] of `synth list losses`: a flow is data",
            did_you_mean(loss, known),
        )


def _parser_of(stage: StageSpec) -> str | None:
    """The parser of an evaluation; a retriever's has none."""
    return None if stage.evaluate == RETRIEVER else stage.evaluate


def may_set(stage: StageSpec, key: str) -> bool:
    """Whether flow.yaml may set a key of a stage."""
    if stage.kind == "train":
        return key in TRAINING
    if stage.kind == "evaluate":
        of_retriever = stage.evaluate == RETRIEVER
        return key in (SEARCHING if of_retriever else MEASURING)
    if stage.kind == "answer":
        return key in ANSWERING
    if stage.kind == "domains":
        return key == "smoothing"
    if stage.kind != "run":
        return False
    of_filter = _OF_FILTERS.fullmatch(key)
    if of_filter:
        return of_filter["key"] not in pack_rights.GUARDED
    return key in _RUNNING or _OF_STEPS.fullmatch(key) is not None


def _check_setting(
    stage: StageSpec, key: str, value: Scalar, where: str
) -> None:
    if not may_set(stage, key):
        raise WrongUse(
            where,
            f"{key!r}",
            f"a setting that a flow may give a stage `{stage.kind}`: a flow is data",
            f"Take it out; a user who wants it says --set {stage.name}.{key}=VALUE.",
        )
    is_template = isinstance(value, str) and "{" in value
    if not is_template:
        check_value(stage, key, value, where)


def check_value(stage: StageSpec, key: str, value: Scalar, where: str) -> None:
    """Refuses a value that reaches out, or asks too often: of flow.yaml, or what a template of it
    became.
    """
    is_number = isinstance(value, int | float)
    may_be_a_word = stage.kind != "run"
    if not is_number and not (may_be_a_word and _PLAIN.fullmatch(str(value))):
        raise WrongUse(
            where,
            repr(value)[:200],
            "a number, or a word where one is due: a flow is data",
            f"Take it out; a user who wants it says --set {stage.name}.{key}=VALUE.",
        )
    if stage.train in ("distill", "codistill") and key == "loss":
        _check_loss(str(value), where)
    if stage.train == "grpo" and key == "reward":
        _check_filters([registry.parse_spec(str(value), where)], (), where)
    if stage.train == "grpo" and key == "parser":
        _check_part("synth.parsers", str(value), (), where)
    if (
        key.endswith("draws")
        and isinstance(value, int | float)
        and value > _MOST_DRAWS
    ):
        raise WrongUse(
            where, f"{value}", f"at most {_MOST_DRAWS:,}", "Lower it."
        )


def with_models(
    filters: Sequence[str | Row], models: Mapping[str, str], where: str
) -> list[Row]:
    """The filters of a stage, each with the models of the flow that it has parameters for.

    Raises:
        WrongUse: a model for which none of them has a parameter.
    """
    given: list[Row] = []
    taken: set[str] = set()
    for spec in filters:
        named = {"name": spec} if isinstance(spec, str) else dict(spec)
        kind = registry.find("synth.filters", str(named["name"]), where, ())
        own = {field.name for field in fields(kind)} & models.keys()
        taken |= own
        given.append({**named, **{name: models[name] for name in own}})
    for name in models:
        if name not in taken:
            raise WrongUse(
                where,
                f"models.{name}",
                "a parameter of one of the filters",
                "Correct the name, or take it out.",
            )
    return given


def _check_filters(
    filters: list[Any], models: Iterable[str], where: str
) -> None:
    """Filters as a step of a pack may name them, besides models of the flow."""
    step = {"name": "filter", "parser": "whole", "filters": filters}
    pack_rights.check({"steps": [step]}, lambda *_: where, pack_names())
    later = dict.fromkeys(models, "a model of the flow")
    for spec in with_models(filters, later, where):
        part = registry.build("synth.filters", spec, where, ())
        if part.roles():
            raise WrongUse(
                where,
                f"filter {spec['name']}, which asks a teacher",
                "filters that ask nobody",
                "Put it into a pack, and `run` that.",
            )


def _check_part(room: str, spec: str, later: Sequence[str], where: str) -> None:
    """A part by its name and plain parameters; what the flow makes is known `later`."""
    named: Mapping[str, Any] = registry.parse_spec(spec, where)
    for key, value in named.items():
        guarded = key in pack_rights.GUARDED or key == "other"
        plain = isinstance(value, int | float) or _PLAIN.fullmatch(str(value))
        if guarded or not plain:
            raise WrongUse(
                where,
                f"{key} = {value!r}"[:200],
                "plain parameters: a flow is data",
                "Name models and rows of the flow under `models` and `other`.",
            )
    part = registry.find(room, str(named["name"]), where, ())
    for name in later:
        if name not in registry.parameters(part):
            raise WrongUse(
                where,
                f"{name} of {named['name']}",
                "a parameter that it has",
                did_you_mean(name, registry.parameters(part)),
            )
    if not later:
        registry.build(room, named, where, ())
